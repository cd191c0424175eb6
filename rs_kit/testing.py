"""For the tests of an MCP server: an issuer and agents, so that a tool is tested in five lines.

issuer = TestIssuer(resource="https://mcp.example/mcp")
guard = issuer.guard(tools=ToolPolicy(tools={"get_balance": ["accounts:read"]}))
agent = issuer.agent(scope="accounts:read")
headers = agent.headers("POST", nonce=...)

Where certificates bind, `issuer.certificate_agent(scope=...)` calls the application as `agent.connected(app)` shows it.

And for whoever writes a replay store of their own: `UsedOnceContract`. For whoever asks persons something:
`rs_kit.protocol.elicitation.solicited_credentials`, which must find nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from itertools import count
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from rs_kit.adapters.asgi_exchange import Application, Receive, Scope, Send
from rs_kit.adapters.clock import SystemClock
from rs_kit.adapters.issuer_keys import StaticIssuerKeys
from rs_kit.adapters.observer import LoggingObserver
from rs_kit.adapters.peer_certificate import MUTUAL_TLS, PEER_CERTIFICATE, PEER_CHAIN
from rs_kit.adapters.self_signed import TestCertificate as TestCertificate  # noqa: PLC0414 - public here
from rs_kit.adapters.self_signed import new_certificate as new_certificate  # noqa: PLC0414 - public here
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.guard import Guard
from rs_kit.ports import AuthorizedCall, Clock, Observer, Refusal, UsedOnce
from rs_kit.protocol import nonce
from rs_kit.protocol.confirmation import SenderConstraint
from rs_kit.protocol.dpop import NONCE_WINDOW_SECONDS, make_proof
from rs_kit.protocol.errors import Unavailable
from rs_kit.protocol.jws import SigningKey, sign
from rs_kit.protocol.tool_policy import ToolPolicy

NONCE_KEY: Final = b"a nonce key that is for tests only"
_LIFETIME_SECONDS: Final = 300
_START: Final = 1_790_000_000  # where the contract's clock stands
_CALLERS: Final = 50
_CROWD: Final = 2_000  # so many other proofs that a store which makes room by count would forget the first


def new_key(kid: str | None = None) -> SigningKey:
    """A fresh ES256 key."""
    return SigningKey.from_private_key(generate_private_key(SECP256R1()), kid=kid)


class RecordingObserver:
    """The Observer port as two lists."""

    __slots__ = ("admissions", "refusals")

    def __init__(self) -> None:
        self.admissions: list[AuthorizedCall] = []
        self.refusals: list[Refusal] = []

    def admitted(self, call: AuthorizedCall) -> None:
        """Keep it."""
        self.admissions.append(call)

    def refused(self, refusal: Refusal) -> None:
        """Keep it."""
        self.refusals.append(refusal)


class TestIssuer:
    """An authorization server reduced to its signing key.

    Args:
        resource: the audience of the tokens.
        clock: the time that tokens and proofs are made at.
    """

    __test__ = False  # for pytest: a tool of tests, not a class of them

    def __init__(
        self, *, resource: str = "https://mcp.test/mcp", issuer: str = "https://as.test", clock: Clock | None = None
    ) -> None:
        self.resource = resource
        self.issuer = issuer
        self.clock: Clock = SystemClock() if clock is None else clock
        self.key = new_key("test-1")
        self._numbers = count(1)

    def keys(self) -> StaticIssuerKeys:
        """The IssuerKeys port."""
        return StaticIssuerKeys(self.issuer, {"keys": [self.key.public_jwk()]})

    def guard(
        self,
        *,
        tools: ToolPolicy,
        used_once: UsedOnce | None = None,
        observer: Observer | None = None,
        sender_constraint: SenderConstraint = SenderConstraint.DPOP,
    ) -> Guard:
        """A guard that trusts this issuer."""
        return Guard(
            resource=self.resource,
            issuer=self.issuer,
            keys=self.keys(),
            used_once=MemoryUsedOnce() if used_once is None else used_once,
            tools=tools,
            nonce_key=NONCE_KEY,
            clock=self.clock,
            observer=LoggingObserver() if observer is None else observer,
            sender_constraint=sender_constraint,
        )

    def agent(self, *, scope: str = "", **claims: Any) -> TestAgent:
        """An agent with a key of its own and a token bound to it; `claims` are added or replace ours."""
        key = new_key()
        return TestAgent(self, key, self.token({"cnf": {"jkt": key.thumbprint}, "scope": scope, **claims}))

    def certificate_agent(self, *, scope: str = "", **claims: Any) -> TestCertificateAgent:
        """An agent with a certificate of its own and a token bound to it; `claims` are added or replace ours."""
        shown = new_certificate()
        return TestCertificateAgent(
            shown, self.token({"cnf": {"x5t#S256": shown.thumbprint}, "scope": scope, **claims})
        )

    def token(self, claims: Mapping[str, object], *, typ: str = "at+jwt") -> str:
        """An access token; a claim of None is left out."""
        now = self.clock.now()
        ours: dict[str, object] = {
            "iss": self.issuer,
            "aud": self.resource,
            "sub": "user-1",
            "client_id": "agent-1",
            "iat": now,
            "exp": now + _LIFETIME_SECONDS,
            "jti": f"token-{next(self._numbers)}",
        }
        said = {name: value for name, value in (ours | dict(claims)).items() if value is not None}
        return sign(self.key, said, typ=typ)


class TestAgent:
    """A client that holds a key and a token bound to it."""

    __test__ = False

    def __init__(self, issuer: TestIssuer, key: SigningKey, token: str) -> None:
        self.key = key
        self.token = token
        self._issuer = issuer
        self._numbers = count(1)

    def nonce(self) -> str:
        """A nonce that a guard made by `TestIssuer.guard` accepts from this agent."""
        return nonce.issue(
            NONCE_KEY,
            now=self._issuer.clock.now(),
            jkt=self.key.thumbprint,
            window_seconds=NONCE_WINDOW_SECONDS,
        )

    def proof(self, method: str = "POST", url: str | None = None, *, nonce: str | None = None) -> str:
        """A fresh proof for one request; by default with a nonce that is valid now."""
        return make_proof(
            self.key,
            method=method,
            url=self._issuer.resource if url is None else url,
            jti=f"{self.key.thumbprint}-{next(self._numbers)}",
            issued_at=self._issuer.clock.now(),
            nonce=self.nonce() if nonce is None else nonce,
            access_token=self.token,
        )

    def headers(self, method: str = "POST", url: str | None = None, *, nonce: str | None = None) -> dict[str, str]:
        """The credentials of one request."""
        return {"authorization": f"DPoP {self.token}", "dpop": self.proof(method, url, nonce=nonce)}


class TestCertificateAgent:
    """A client that holds a certificate and a token bound to it."""

    __test__ = False

    def __init__(self, certificate: TestCertificate, token: str) -> None:
        self.certificate = certificate
        self.token = token

    def headers(self) -> dict[str, str]:
        """The credentials of one request; the certificate is not among them."""
        return {"authorization": f"Bearer {self.token}"}

    def connected(self, app: Application) -> Application:
        """The application as it hears this agent: the scope says what a listener would say of its connection."""

        async def over_mutual_tls(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            state = {
                **(scope.get("state") or {}),
                PEER_CERTIFICATE: self.certificate.der,
                PEER_CHAIN: (),
                MUTUAL_TLS: True,
            }
            tls = {"client_cert_chain": [self.certificate.pem], "client_cert_error": None}
            extensions = {**(scope.get("extensions") or {}), "tls": tls}
            await app({**scope, "state": state, "extensions": extensions}, receive, send)

        return over_mutual_tls


class UsedOnceContract:
    """What every replay store does, as tests: subclass it, say how your store is opened, and run pytest.

    class TestMyStore(UsedOnceContract):
        def opened(self):
            return contextlib.aclosing(MyStore(...))  # any async context manager that gives a UsedOnce

        def failing(self):
            return contextlib.aclosing(MyStore(...))  # one that cannot do its work: full, locked, out of reach

    Each test runs in an event loop of its own; no plugin is needed, and `unittest.TestCase` may stand beside it.

    Attributes:
        shared: whether `opened` gives, each time it is called in one test, another worker's view of the same uses.
    """

    shared: bool = False

    def opened(self) -> AbstractAsyncContextManager[UsedOnce]:
        """A store; for a shared one, one worker's view of the store of this test."""
        raise NotImplementedError

    def failing(self) -> AbstractAsyncContextManager[UsedOnce]:
        """A store that cannot do its work at the moment."""
        raise NotImplementedError

    def test_the_first_use_counts_and_no_other(self) -> None:
        """The answer is True once, and False until the last second of `until` is over."""

        async def rule(store: UsedOnce) -> None:
            await _first(store, _Use(b"a"), "a proof that was never used is refused")
            for later in (0, 1, 59, 60):
                await _again(store, _Use(b"a", now=_START + later), "a proof is accepted a second time")

        self._run(rule)

    def test_another_proof_is_another_use(self) -> None:
        """Neither another digest nor another resource is in the way."""

        async def rule(store: UsedOnce) -> None:
            await _first(store, _Use(b"a"), "a proof that was never used is refused")
            await _first(store, _Use(b"b"), "a proof is refused because of another one")
            await _first(store, _Use(b"a", namespace="other"), "a proof is refused because of one at another resource")
            await _again(
                store, _Use(b"a", namespace="other"), "a proof is accepted a second time at the other resource"
            )

        self._run(rule)

    def test_another_end_does_not_make_it_another_proof(self) -> None:
        """Who repeats a jti with a later iat repeats it (RFC 9449 §11.1)."""

        async def rule(store: UsedOnce) -> None:
            await _first(store, _Use(b"a"), "a proof that was never used is refused")
            await _again(store, _Use(b"a", until=_START + 90), "a proof is accepted again with a later end")
            await _again(store, _Use(b"a", until=_START + 30), "a proof is accepted again with an earlier end")

        self._run(rule)

    def test_of_many_at_once_exactly_one_is_first(self) -> None:
        """What is looked up first and written afterwards lets several in; a shared store is asked through two views."""

        async def rule(*stores: UsedOnce) -> None:
            for proof in (b"a", b"b", b"c"):
                uses = [
                    stores[number % len(stores)].take("rs", proof, until=_START + 60, now=_START)
                    for number in range(_CALLERS)
                ]
                winners = (await asyncio.gather(*uses)).count(True)
                if winners != 1:
                    raise AssertionError(f"of {_CALLERS} simultaneous uses of one proof, {winners} are accepted")

        self._run(rule, views=2 if self.shared else 1)

    def test_nothing_is_forgotten_early(self) -> None:
        """Neither a crowd of other proofs nor the passing of time makes room too soon."""

        async def rule(store: UsedOnce) -> None:
            await _first(store, _Use(b"a"), "a proof that was never used is refused")
            await _crowd(store, b"others", until=_START + 60, now=_START)
            await _again(store, _Use(b"a"), "a proof is forgotten because many others came")
            await _crowd(store, b"later", until=_START + 120, now=_START + 60)
            await _again(store, _Use(b"a", now=_START + 60), "a proof is forgotten before its last second is over")

        self._run(rule)

    def test_a_clock_that_steps_back_brings_nothing_back(self) -> None:
        """What was forgotten because the clock ran ahead stays used when it is set right."""

        async def rule(store: UsedOnce) -> None:
            await _first(store, _Use(b"a"), "a proof that was never used is refused")
            await _crowd(store, b"ahead", until=_START + 3660, now=_START + 3600)
            await _again(store, _Use(b"a"), "a proof is accepted again after the clock was set back")

        self._run(rule)

    def test_what_cannot_be_told_is_no_yes(self) -> None:
        """A store that fails raises Unavailable; each answer would be a verdict on the caller (RSE-10)."""

        async def rule(store: UsedOnce) -> None:
            for _ in range(2):
                try:
                    answer = await store.take("rs", b"a", until=_START + 60, now=_START)
                except Unavailable:
                    continue
                raise AssertionError(f"a store that cannot do its work answers {answer}")

        async def main() -> None:
            async with self.failing() as store:
                await rule(store)

        asyncio.run(main())

    def test_what_one_worker_takes_is_taken_for_all(self) -> None:
        """For a shared store: another view, and a view that is opened after the first one ended, know it, too."""
        if not self.shared:
            return

        async def main() -> None:
            async with self.opened() as one:
                await _first(one, _Use(b"a"), "a proof that was never used is refused")
                async with self.opened() as other:
                    await _again(other, _Use(b"a"), "a proof is accepted by a second worker")
                    await _first(other, _Use(b"b"), "a proof that was never used is refused by a second worker")
                await _again(one, _Use(b"b"), "a proof is accepted by a second worker")
            async with self.opened() as restarted:
                await _again(restarted, _Use(b"a"), "a proof is accepted again after a restart")

        asyncio.run(main())

    def _run(self, rule: Callable[..., Awaitable[None]], *, views: int = 1) -> None:
        async def main() -> None:
            async with self.opened() as store:
                if views == 1:
                    await rule(store)
                    return
                async with self.opened() as other:
                    await rule(store, other)

        asyncio.run(main())


class _Use(NamedTuple):
    digest: bytes
    namespace: str = "rs"
    until: int = _START + 60
    now: int = _START


async def _first(store: UsedOnce, use: _Use, otherwise: str) -> None:
    if await store.take(use.namespace, use.digest, until=use.until, now=use.now) is not True:
        raise AssertionError(otherwise)


async def _again(store: UsedOnce, use: _Use, otherwise: str) -> None:
    if await store.take(use.namespace, use.digest, until=use.until, now=use.now) is not False:
        raise AssertionError(otherwise)


async def _crowd(store: UsedOnce, name: bytes, *, until: int, now: int) -> None:
    """Many other proofs, a few of them at a time."""
    for start in range(0, _CROWD, _CALLERS):
        uses = [
            store.take("rs", b"%b %d" % (name, number), until=until, now=now)
            for number in range(start, start + _CALLERS)
        ]
        if not all(await asyncio.gather(*uses)):
            raise AssertionError("a proof that was never used is refused")
