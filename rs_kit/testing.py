"""For the tests of an MCP server: an issuer and agents, so that a tool is tested in five lines.

issuer = TestIssuer(resource="https://mcp.example/mcp")
guard = issuer.guard(tools=ToolPolicy(tools={"get_balance": ["accounts:read"]}))
agent = issuer.agent(scope="accounts:read")
headers = agent.headers("POST", nonce=...)
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from rs_kit.adapters.clock import SystemClock
from rs_kit.adapters.issuer_keys import StaticIssuerKeys
from rs_kit.adapters.observer import LoggingObserver
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.guard import Guard
from rs_kit.ports import AuthorizedCall, Clock, Observer, Refusal, UsedOnce
from rs_kit.protocol import nonce
from rs_kit.protocol.dpop import NONCE_WINDOW_SECONDS, make_proof
from rs_kit.protocol.jws import SigningKey, sign
from rs_kit.protocol.tool_policy import ToolPolicy

NONCE_KEY: Final = b"a nonce key that is for tests only"
_LIFETIME_SECONDS: Final = 300


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

    def guard(self, *, tools: ToolPolicy, used_once: UsedOnce | None = None, observer: Observer | None = None) -> Guard:
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
        )

    def agent(self, *, scope: str = "", **claims: Any) -> TestAgent:
        """An agent with a key of its own and a token bound to it; `claims` are added or replace ours."""
        key = new_key()
        return TestAgent(self, key, self.token({"cnf": {"jkt": key.thumbprint}, "scope": scope, **claims}))

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
