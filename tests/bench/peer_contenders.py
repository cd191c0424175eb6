"""Who checks calls in `make bench-peers`: rs_kit, joserfc used by hand, and two others in processes of their own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from rs_kit.adapters.asgi import RsKit
from rs_kit.protocol import base64url
from rs_kit.protocol.errors import ProtocolError
from rs_kit.protocol.http import HttpRequest
from rs_kit.testing import TestAgent, TestIssuer
from tests.bench import rs_kit_bench as ours
from tests.support.node_peers import MODULES, NoPeers
from tests.support.processes import ROOT

PYTHON: Final = ROOT / "build" / "peers" / "python" / "bin" / "python"
AGENTS: Final = 50
SLICE: Final = 20  # calls
BLOCK: Final = 12  # slices of one contender before the next has its turn; the first warms the core's caches
ROUNDS: Final = 8
SLICES: Final = BLOCK * ROUNDS
TIMES: Final = 16
_HERE: Final = Path(__file__).parent
_SCOPE: Final = "mcp:use accounts:read"

Requests = Sequence[HttpRequest]


class Contender(Protocol):
    """Whoever checks the calls of one workload."""

    def run(self, first: int, last: int) -> float:
        """Check these calls, all of which are good; CPU seconds."""
        ...

    def raw(self, first: int, last: int) -> float:
        """Verify their signatures and do nothing else; CPU seconds."""
        ...

    def same(self) -> int:
        """Send one proof 16 times; how often it was accepted."""
        ...


class Workload(NamedTuple):
    """Calls, the bare checks of their signatures, and one more call for the repetition."""

    calls: Requests
    checks: Sequence[Sequence[Callable[[], None]]]
    warm: Requests
    same: HttpRequest


class InProcess:
    """A contender in this process and on this event loop."""

    def __init__(
        self, loop: asyncio.Runner, workload: Workload, one: Callable[[HttpRequest], Awaitable[object]]
    ) -> None:
        self._loop = loop
        self._workload = workload
        self._one = one
        for request in workload.warm:
            loop.run(self._all([request]))

    async def _all(self, calls: Requests) -> float:
        before = time.process_time()
        for call in calls:
            await self._one(call)
        return time.process_time() - before

    def run(self, first: int, last: int) -> float:
        return self._loop.run(self._all(self._workload.calls[first:last]))

    def raw(self, first: int, last: int) -> float:
        before = time.process_time()
        for checks in self._workload.checks[first:last]:
            for check in checks:
                check()
        return time.process_time() - before

    def same(self) -> int:
        async def accepted() -> int:
            count = 0
            for _ in range(TIMES):
                try:
                    await self._one(self._workload.same)
                except (ProtocolError, JoseError, AssertionError):
                    continue
                count += 1
            return count

        logging.disable()  # 15 refusals are expected, and told about in the table
        try:
            return self._loop.run(accepted())
        finally:
            logging.disable(logging.NOTSET)


class OtherProcess:
    """A contender that is told what to do a line at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        if self._heard() != "ready":
            raise NoPeers(f"{process.args!r} did not start")

    def _heard(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise NoPeers(f"a peer ended with {self._process.wait(10)}; what it wrote stands above")
        return line

    def _ask(self, *words: object) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        return self._heard()

    def run(self, first: int, last: int) -> float:
        return float(self._ask("run", first, last))

    def raw(self, first: int, last: int) -> float:
        return float(self._ask("raw", first, last))

    def same(self) -> int:
        return int(self._ask("same"))


@contextmanager
def other_process(command: Sequence[str]) -> Iterator[OtherProcess]:
    """Start a peer, on the core that this process keeps to, and end it."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield OtherProcess(process)
    finally:
        process.kill()
        process.wait()


def credentials(request: HttpRequest) -> dict[str, str]:
    """The two headers of a call."""
    return {name: dict(request.headers)[name.encode()].decode() for name in ("authorization", "dpop")}


def workload(issuer: TestIssuer, *, new_tokens: bool, checks_token: bool) -> Workload:
    """Calls with fresh proofs; with a fresh token each, or with the tokens of 50 agents over and over."""
    agents = [issuer.agent(scope=_SCOPE, exp=issuer.clock.now() + 3600) for _ in range(AGENTS)]
    warm = [ours._request(agent) for agent in agents]
    calls, checks = [], []
    for number in range(SLICE * SLICES):
        agent = agents[number % AGENTS]
        token = _token(issuer, agent) if new_tokens else agent.token
        call = ours._request(agent, token)
        proof = ours._bare(credentials(call)["dpop"], agent.key.public.public_key)
        bare = ours._bare(token, issuer.key.public.public_key)
        calls.append(call)
        checks.append((bare, proof) if checks_token else (proof,))
    return Workload(calls, checks, warm, ours._request(agents[0]))


def _token(issuer: TestIssuer, agent: TestAgent) -> str:
    claims = {"cnf": {"jkt": agent.key.thumbprint}, "scope": _SCOPE, "exp": issuer.clock.now() + 3600}
    return issuer.token(claims)


def plain_joserfc(issuer: TestIssuer) -> Callable[[HttpRequest], Awaitable[object]]:
    """What one writes in an afternoon: both signatures and the claims, nothing remembered."""
    key = ECKey.import_key({name: str(value) for name, value in issuer.key.public_jwk().items()})

    async def check(request: HttpRequest) -> object:
        sent = credentials(request)
        token = sent["authorization"].removeprefix("DPoP ")
        access = jwt.decode(token, key, algorithms=["ES256"])
        claims = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": issuer.issuer}, aud={"essential": True, "value": issuer.resource}
        )
        claims.validate(access.claims)
        header = json.loads(base64url.decode(sent["dpop"].partition(".")[0]))
        proof_key = ECKey.import_key(header["jwk"])
        proof = jwt.decode(sent["dpop"], proof_key, algorithms=["ES256"])
        ath = base64url.encode(hashlib.sha256(token.encode()).digest())
        if (
            access.header.get("typ") != "at+jwt"
            or proof.header.get("typ") != "dpop+jwt"
            or proof.claims["htm"] != request.method
            or proof.claims["htu"] != issuer.resource
            or proof.claims["ath"] != ath
            or abs(time.time() - proof.claims["iat"]) > 300
            or access.claims["cnf"]["jkt"] != proof_key.thumbprint()
        ):
            raise AssertionError("the benchmark's call was refused")
        return access

    return check


class _StoppedClock:
    """The proofs are as fresh at the end of the run as at its beginning; the peers allow minutes anyway."""

    def __init__(self) -> None:
        self._now = int(time.time())

    def now(self) -> int:
        return self._now


def _rs256(key: RSAPrivateKey, issuer: TestIssuer, call: HttpRequest) -> str:
    """The claims of the call's token, under the only algorithm that auth0-api-python takes."""
    payload = json.loads(base64url.decode(credentials(call)["authorization"].split(".")[1]))
    payload["iss"] = f"{issuer.issuer}/"
    header = {"alg": "RS256", "typ": "at+jwt", "kid": "rsa"}
    message = ".".join(base64url.encode(json.dumps(part).encode()) for part in (header, payload))
    return f"{message}.{base64url.encode(key.sign(message.encode(), padding.PKCS1v15(), SHA256()))}"


def told_to_oauth4webapi(issuer: TestIssuer, some: Workload) -> dict[str, Any]:
    """The workload as it is."""
    return {
        "url": issuer.resource,
        "issuer": issuer.issuer,
        "jwks": {"keys": [{**issuer.key.public_jwk(), "use": "sig"}]},
        "calls": [credentials(call) for call in some.calls],
        "same": credentials(some.same),
    }


def told_to_auth0(issuer: TestIssuer) -> dict[str, Any]:
    """The same workload with RS256 tokens, and the proofs that belong to them."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    agents = [issuer.agent(scope=_SCOPE, exp=issuer.clock.now() + 3600) for _ in range(AGENTS)]
    for agent in agents:
        agent.token = _rs256(key, issuer, ours._request(agent))
    numbers = key.public_key().public_numbers()
    jwk = {
        "kty": "RSA",
        "kid": "rsa",
        "n": base64url.encode(numbers.n.to_bytes(256)),
        "e": base64url.encode(numbers.e.to_bytes(3)),
    }
    return {
        "url": issuer.resource,
        "issuer": f"{issuer.issuer}/",
        "jwks": {"keys": [jwk]},
        "calls": [credentials(ours._request(agents[number % AGENTS])) for number in range(SLICE * SLICES)],
        "same": credentials(ours._request(agents[0])),
    }


def contenders(stack: ExitStack, node: str) -> dict[str, Contender]:
    """All of them, ready and warm."""
    loop = stack.enter_context(asyncio.Runner())
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    clock = _StoppedClock()

    def issuer() -> TestIssuer:
        return TestIssuer(resource=ours.RESOURCE, clock=clock)

    def kit(one: Callable[[TestIssuer], Callable[[HttpRequest], Awaitable[object]]], *, new_tokens: bool) -> Contender:
        mine = issuer()
        return InProcess(loop, workload(mine, new_tokens=new_tokens, checks_token=new_tokens), one(mine))

    def peer(name: str, told: Mapping[str, Any], command: Callable[[str], list[str]]) -> Contender:
        path = scratch / f"{name}.json"
        path.write_text(json.dumps(told), encoding="utf-8")
        return stack.enter_context(other_process(command(str(path))))

    theirs = issuer()
    both = workload(theirs, new_tokens=False, checks_token=True)
    return {
        "rs_kit.admit.cached_token": kit(lambda mine: mine.guard(tools=ours.TOOLS).admit, new_tokens=False),
        "rs_kit.admit.new_token": kit(lambda mine: mine.guard(tools=ours.TOOLS).admit, new_tokens=True),
        "rs_kit.asgi.tool_call": kit(
            lambda mine: ours._over(RsKit(ours._empty_application, mine.guard(tools=ours.TOOLS))), new_tokens=False
        ),
        "joserfc, written by hand": InProcess(loop, both, plain_joserfc(theirs)),
        "oauth4webapi on Node": peer(
            "oauth4webapi",
            told_to_oauth4webapi(theirs, both),
            lambda path: [node, str(_HERE / "peer_oauth4webapi.mjs"), path, str(MODULES)],
        ),
        "auth0-api-python (RS256 token)": peer(
            "auth0",
            told_to_auth0(issuer()),
            lambda path: [str(PYTHON), "-W", "ignore", str(_HERE / "peer_auth0.py"), path],
        ),
    }
