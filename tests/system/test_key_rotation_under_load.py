"""Signing keys that are rotated while tokens are issued and used: no token is refused at any moment.

A server of two workers with a JWKS that may be kept for three seconds, a resource server that keeps it for three, a
rotation every five seconds by command, and a hundred calls per second, every fifth with a token that was just issued.
`make test` plays three rotations, `make load` twenty.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rs_kit import Guard, HttpRequest, HttpsIssuerKeys, MemoryUsedOnce, SystemClock, ToolPolicy
from rs_kit.protocol.errors import ProtocolError
from rs_kit.protocol.jws import SigningKey
from rs_kit.testing import NONCE_KEY, RecordingObserver, TestAgent, TestIssuer
from tests.support.authorization_server import RESOURCE, SCOPE, AuthorizationServer, register
from tests.support.fapi_client import FapiClient
from tests.support.processes import running
from tests.support.token_scene import header_of

FULL = os.environ.get("LOAD") == "full"
ROTATIONS = 20 if FULL else 3
EVERY = 5  # seconds
RATE = 100  # calls per second
MAX_AGE = 3  # seconds: of the JWKS, and of the resource server's copy
PUBLISHED_BEFORE_USE = 4
BODY = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_balance"}}'
pytestmark = pytest.mark.xdist_group("races")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[AuthorizationServer]:
    registered = register(tmp_path)
    registered.commands.change("#jwks_max_age = 60", f"jwks_max_age = {MAX_AGE}")
    registered.commands.change("#published_before_use = 360", f"published_before_use = {PUBLISHED_BEFORE_USE}")
    with running(registered.serving(2), tmp_path) as server:
        yield registered.running(server)


@dataclass(kw_only=True)
class Resource:
    """A resource server in this process, which fetches the keys over TLS, and what its callers were told."""

    guard: Guard
    agent: FapiClient
    caller: TestAgent
    tokens: list[str] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    kids: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, served: AuthorizationServer, agent: FapiClient) -> Resource:
        clock = SystemClock()
        keys = HttpsIssuerKeys(
            served.issuer, ca_file=served.directory / "certs" / "ca.pem", fresh_seconds=float(MAX_AGE)
        )
        guard = Guard(
            resource=RESOURCE,
            issuer=served.issuer,
            keys=keys,
            used_once=MemoryUsedOnce(),
            tools=ToolPolicy(tools={"get_balance": [SCOPE]}),
            nonce_key=NONCE_KEY,
            clock=clock,
            observer=RecordingObserver(),
        )
        holder = SigningKey.from_private_key(agent.dpop_key.private)
        caller = TestAgent(TestIssuer(resource=RESOURCE, clock=clock), holder, "")
        return cls(guard=guard, agent=agent, caller=caller)

    async def fresh(self) -> str:
        """A token that was issued just now."""
        token = (await self.agent.client_credentials()).access_token
        kid = str(header_of(token)["kid"])
        if not self.kids or self.kids[-1] != kid:
            self.kids.append(kid)
        self.tokens = [*self.tokens[-30:], token]
        return token

    async def call(self, token: str) -> str:
        """What a call with a fresh proof is answered: `admitted`, or the error code."""
        self.caller.token = token
        headers = {"content-type": "application/json", **self.caller.headers()}
        pairs = tuple((name.encode(), value.encode()) for name, value in headers.items())
        try:
            await self.guard.admit(HttpRequest("POST", "/mcp", pairs, BODY))
        except ProtocolError as error:
            return error.error
        return "admitted"

    async def load(self, until: asyncio.Task[None]) -> None:
        """RATE calls per second; every fifth with a new token, the others with those of the last while."""
        started = time.monotonic()
        await self.fresh()
        for number in itertools.count():
            if until.done():
                return
            await asyncio.sleep(max(0.0, started + number / RATE - time.monotonic()))
            token = await self.fresh() if number % 5 == 0 else self.tokens[number % len(self.tokens)]
            self.told[await self.call(token)] += 1


async def test_no_token_is_refused_while_keys_rotate(served: AuthorizationServer) -> None:
    async with served.http() as http:
        resource = Resource.of(served, served.client(http))

        async def rotating() -> None:
            for _ in range(ROTATIONS):
                following = await asyncio.to_thread(served.commands.json, "keys", "rotate")
                assert following["state"] == "next"
                await asyncio.sleep(EVERY)

        started = time.monotonic()
        rotation = asyncio.create_task(rotating())
        await resource.load(rotation)
        await rotation
        await resource.fresh()
        seconds = time.monotonic() - started
    calls = resource.told.total()
    print(f"{ROTATIONS} rotations in {seconds:.0f} s: {dict(resource.told)}, {len(resource.kids)} keys signed")
    assert resource.told == {"admitted": calls}
    assert calls >= (0.95 if FULL else 0.5) * RATE * seconds  # a machine that does other things, too, may fall behind
    assert len(set(resource.kids)) == len(resource.kids) == ROTATIONS + 1  # each signed once, and none came back


async def test_a_removed_key_is_refused_within_the_age_of_the_set_and_a_second(served: AuthorizationServer) -> None:
    async with served.http() as http:
        resource = Resource.of(served, served.client(http))
        stolen = await resource.fresh()
        assert await resource.call(stolen) == "admitted"
        kid = str(header_of(stolen)["kid"])
        assert "--emergency" in await asyncio.to_thread(served.commands.refused, "keys", "remove", kid)
        done = await asyncio.to_thread(served.commands.run, "keys", "rotate", "--emergency")
        assert done.code == 0, done.err
        await asyncio.to_thread(served.commands.json, "keys", "remove", kid)
        removed, last_admitted = time.monotonic(), 0.0
        while time.monotonic() - removed < MAX_AGE + 3:
            if await resource.call(stolen) == "admitted":
                last_admitted = time.monotonic() - removed
            await asyncio.sleep(1 / RATE)
        print(f"the removed key was last believed {last_admitted:.2f} s after it was removed")
        assert last_admitted <= MAX_AGE + 1
        assert await resource.call(stolen) == "invalid_token"
        assert await resource.call(await resource.fresh()) == "admitted"
