"""An authorization server that registers clients (RFC 7591, RFC 7592), as an agent sees it: honest until told to lie.

Knows nothing of the server's code: proofs and statements are opened with base64 and json, and checked by hand.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import httpx2

from fapi_as.agent.identity import Identity
from fapi_as.agent.ports import RegistrationStore
from fapi_as.agent.registrant import Registrant
from fapi_as.agent.registrar import Registrar
from fapi_as.agent.steps import Answer, Request
from fapi_as.agent.token_store import MemoryRegistrationStore
from rs_kit.protocol.secret import Secret
from tests.support.agent_peer import ISSUER, Peer, as_json, header, identity, opened

SOFTWARE = "ledger-software"


def statement(**claims: object) -> str:
    """A software statement as an authority writes one; nobody here verifies its signature."""
    said = {"iss": "https://authority.example", "software_id": SOFTWARE, "jti": "statement-1", **claims}
    return ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "ES256"}, said)) + ".c2lnbmF0dXJl"


def registrant(issuer: str = ISSUER, **changes: Any) -> Registrant:
    """An agent that has a statement for this issuer."""
    here = changes.pop("identity", None) or unregistered(issuer)
    members: dict[str, Any] = {"identity": here, "software_statement": Secret(statement(aud=issuer))}
    return Registrant(**{**members, **changes})


def unregistered(issuer: str = ISSUER, **changes: Any) -> Identity:
    """The identity of an agent that nobody registered."""
    return identity(issuer=issuer, client_id="", **changes)


@dataclass
class RegisteringPeer(Peer):
    """One issuer; `registered` are its clients, and `refuses` answers instead of the registration endpoints."""

    issuer: str = ISSUER
    binds_keys: bool = True
    lies: dict[str, object] = field(default_factory=dict)
    omits: frozenset[str] = frozenset()
    refuses: Callable[[Request], Answer] | None = None
    registered: dict[str, dict[str, Any]] = field(default_factory=dict)
    _tokens: dict[str, set[str]] = field(default_factory=dict)
    _keys: dict[str, str | None] = field(default_factory=dict)
    _made: count[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.metadata = {
            name: value.replace(ISSUER, self.issuer) if isinstance(value, str) else value
            for name, value in {"registration_endpoint": f"{ISSUER}/register", **self.metadata}.items()
        }

    def answer(self, request: Request) -> Answer:
        """What this server answers; only its registration endpoints are added."""
        path = urlsplit(request.url).path
        if path != "/register" and not path.startswith("/register/"):
            return super().answer(request)
        self.seen.append(request)
        if self.refuses is not None:
            return self.refuses(request)
        return self._register(request) if path == "/register" else self._manage(request, path.rpartition("/")[2])

    def body(self, request: Request) -> dict[str, Any]:
        """The client metadata of a request, signed or not."""
        if header(request, "content-type") == "application/jwt":
            return opened(request.body.decode())[1]
        return dict(json.loads(request.body))

    def _register(self, request: Request) -> Answer:
        asked = self.body(request)
        if "software_statement" not in asked and "authorization" not in dict(request.headers):
            return Answer(status=401, headers=(("www-authenticate", "Bearer"),))
        client_id = f"client-{next(self._made)}-of-{urlsplit(self.issuer).hostname}"
        token = dict(request.headers).get("authorization", "").partition(" ")[2] or None
        self._keys[client_id] = _proved_key(request, token) if self.binds_keys else None
        return self._answered(201, client_id, asked)

    def _manage(self, request: Request, client_id: str) -> Answer:
        scheme, _, token = header(request, "authorization").partition(" ")
        bound = self._keys.get(client_id)
        right = token in self._tokens.get(client_id, set()) and scheme == ("Bearer" if bound is None else "DPoP")
        if not right or (bound is not None and _proved_key(request, token) != bound):
            offered = "Bearer" if bound is None else "DPoP"
            return Answer(status=401, headers=(("www-authenticate", f'{offered} error="invalid_token"'),))
        self._tokens[client_id] &= {token}  # it was used: those before it are dead
        if request.method == "DELETE":
            del self.registered[client_id], self._tokens[client_id]
            return Answer(status=204)
        if request.method == "PUT":
            return self._answered(200, client_id, self.body(request))
        return as_json(200, {**self.registered[client_id], "client_id": client_id, **self.lies})

    def _answered(self, status: int, client_id: str, asked: Mapping[str, Any]) -> Answer:
        token = f"registration-token-{next(self._made)}"
        self._tokens.setdefault(client_id, set()).add(token)
        self.registered[client_id] = dict(asked)
        document = {
            **asked,
            "client_id": client_id,
            "registration_client_uri": f"{self.issuer}/register/{client_id}",
            "registration_access_token": token,
            **self.lies,
        }
        return as_json(status, {name: value for name, value in document.items() if name not in self.omits})


def registrar(*peers: RegisteringPeer, store: RegistrationStore | None = None) -> Registrar:
    """What registers at these servers, and keeps it there or nowhere."""
    return Registrar(back_channel=network(*peers), store=store if store is not None else MemoryRegistrationStore())


def network(*peers: RegisteringPeer) -> httpx2.AsyncClient:
    """A client for which these servers are the whole network."""
    return httpx2.AsyncClient(transport=transport(*peers))


def transport(*peers: RegisteringPeer) -> httpx2.MockTransport:
    """What brings requests to these servers and to no other."""

    async def answered(request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(0)  # whoever else is about to ask does so first
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        asked = Request(method=request.method, url=str(request.url), headers=headers, body=request.content)
        here = next(peer for peer in peers if peer.issuer == f"https://{request.url.host}")
        answer = here.answer(asked)
        return httpx2.Response(answer.status, headers=list(answer.headers), content=answer.body)

    return httpx2.MockTransport(answered)


def _proved_key(request: Request, token: str | None) -> str | None:
    """The thumbprint of the key in a proof, None when there is no proof for this request."""
    proof = dict(request.headers).get("dpop")
    if proof is None:
        return None
    head, claims = opened(proof)
    ath = _encoded(hashlib.sha256(token.encode()).digest()) if token is not None else None
    if (claims["htm"], claims["htu"], claims.get("ath")) != (request.method, request.url, ath):
        return None
    members = {name: head["jwk"][name] for name in ("crv", "kty", "x", "y")}
    text = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    return _encoded(hashlib.sha256(text).digest())


def _encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")
