"""A software authority, its statements, and a client that registers by them; it shares no code with the server.

authority = SoftwareAuthority()                       # authority.members(policy={...}) is its file for `trust add`
agent = Registrant(http, authority=authority, issuer=…, scope=…, now=…)
response = await agent.register()                     # 201, and from now on `agent` is that client: push, obtain, …
response = await agent.register(statement=agent.statement(exp=...), client_name="Another")
response = await agent.register(statement=None, token="…")               # by an initial access token
response = await agent.manage("PUT", agent.replacement(client_name="New"))  # with its registration access token
agent.binds = True                                    # its registration access token is bound to its DPoP key
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from tests.support.fapi_client import FapiClient
from tests.support.fapi_messages import TRUTH, Message, origin_of
from tests.support.peer_keys import PeerKey

AUTHORITY: Final = "https://authority.example"
SOFTWARE: Final = "software-1"
REDIRECT_URI: Final = "https://agent.example/callback"
GRANTS: Final = ["authorization_code", "refresh_token", "client_credentials"]
WIDE: Final = {"grant_types": GRANTS}  # a policy with nothing in it but that agents may act for themselves, too
_CREATED: Final = 201
_OK: Final = 200


class SoftwareAuthority:
    """Whoever signs software statements, with one key."""

    def __init__(self, issuer: str = AUTHORITY, *, key: PeerKey | None = None, kid: str = "authority-1") -> None:
        self.issuer = issuer
        self.key = key or PeerKey.es256(seed=90_001)
        self.kid = kid

    def members(self, *, policy: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        """Its file, as `fapi-as trust add` reads it; `...` leaves a member out."""
        jwks = {"keys": [self.key.jwk(kid=self.kid, alg=self.key.alg, use="sig")]}
        members = {"issuer": self.issuer, "jwks": jwks, "policy": dict(WIDE if policy is None else policy)} | changes
        return said(members)

    def signed(self, claims: Mapping[str, Any], *, key: PeerKey | None = None, **header: Any) -> str:
        """A statement with exactly these claims."""
        key = key or self.key
        return key.sign(said({"alg": key.alg, "kid": self.kid} | header), dict(claims))


class Registrant(FapiClient):
    """A client that nobody has registered yet.

    Args:
        authority: who vouches for it.
        software_id: what it is.
        what: as FapiClient, without a client_id.
    """

    def __init__(
        self, http: httpx2.AsyncClient, *, authority: SoftwareAuthority, software_id: str = SOFTWARE, **what: Any
    ) -> None:
        keys = {"client_key": PeerKey.es256(), "redirect_uri": REDIRECT_URI}
        super().__init__(http, **{**keys, "client_id": "", **what})
        self.authority = authority
        self.software_id = software_id
        self.binds = False
        self.shown: Any = None  # the certificate that it shows where it is asked for one (tests.support.certificates)
        self.information: dict[str, Any] = {}
        self.metadata["registration_endpoint"] = f"{self.issuer}/register"

    # --- what is said of it

    def described(self, **changes: Any) -> dict[str, Any]:
        """RFC 7591 metadata; `...` leaves a member out."""
        members = {
            "client_name": "Honest agent",
            "redirect_uris": [self.redirect_uri],
            "token_endpoint_auth_method": "private_key_jwt",
            "grant_types": GRANTS,
            "scope": self.scope or "",
            "jwks": self.jwks(),
        }
        return said(members | changes)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a fresh statement about it; `...` leaves one out."""
        times = {"iat": self.now(), "exp": self.now() + 3600, "jti": secrets.token_urlsafe(16)}
        named = {"iss": self.authority.issuer, "software_id": self.software_id, "software_version": "1.0"}
        return said({**named, **times, **self.described(), **changes})

    def statement(self, **changes: Any) -> str:
        """A fresh statement about it."""
        return self.authority.signed(self.claims(**changes))

    def replacement(self, **changes: Any) -> dict[str, Any]:
        """The body of an update: everything as it was told, with changes; `...` leaves a member out."""
        told = {name: value for name, value in self.information.items() if name not in _TOLD_ONLY}
        return said(told | changes)

    def signed_request(self, members: Mapping[str, Any], *, key: PeerKey | None = None, **changes: Any) -> str:
        """The same as a JWS of the software (SSA-7)."""
        about = {"iss": self.software_id, "aud": self.issuer, "iat": self.now(), "exp": self.now() + 60}
        claims = said({**members, **about, "jti": secrets.token_urlsafe(16), **changes})
        key = key or self.client_key
        return key.sign({"typ": "JWT", "alg": key.alg, **({"kid": self.kid} if self.kid else {})}, claims)

    # --- what it sends

    def register_request(
        self, body: bytes, *, token: str | None = None, content_type: str = "application/json"
    ) -> Message:
        """One POST to the registration endpoint."""
        url = self.address("registration_endpoint")
        return Message(url, (*self._authorized("POST", url, token), ("content-type", content_type)), body)

    def manage_request(self, method: str, body: bytes = b"", *, token: Any = TRUTH, url: str | None = None) -> Message:
        """One request to a registration; `token=None` brings none."""
        url = url or str(self.information["registration_client_uri"])
        token = self.information.get("registration_access_token") if token is TRUTH else token
        kind = [("content-type", "application/json")] if body else []
        return Message(url, (*self._authorized(method, url, token), *kind), body)

    def _authorized(self, method: str, url: str, token: str | None) -> list[tuple[str, str]]:
        headers = list(self.lies.headers)
        said_ = f"{'DPoP' if self.binds else 'Bearer'} {token}" if token is not None else ...
        authorization = said_ if self.lies.authorization is TRUTH else self.lies.authorization
        if authorization is not ...:
            headers.append(("authorization", str(authorization)))
        if self.binds or self.lies.proof is not TRUTH:
            headers += [("dpop", value) for value in self._proofs(method, url, token, None)]
        return headers

    async def send(self, message: Message, *, method: str = "POST", key: PeerKey | None = None) -> httpx2.Response:
        """Send a message as it is, with the certificate where one is shown."""
        url, headers, body = message
        extensions = {} if self.shown is None else {"certificate": self.shown}
        request = self.http.build_request(method, url, headers=list(headers), content=body, extensions=extensions)
        response = await self.http.send(request, follow_redirects=False)
        self.http.cookies.clear()
        self.remember(url, response, key=key)
        return response

    async def register(
        self, *, statement: Any = TRUTH, token: str | None = None, sign: bool = False, **members: Any
    ) -> httpx2.Response:
        """Register: by a fresh statement alone, or by what is given; with 201 it is that client from now on."""
        statement = self.statement() if statement is TRUTH else statement
        asked = said(({} if statement is None else {"software_statement": statement}) | members)

        def build() -> Message:
            if sign:
                return self.register_request(
                    self.signed_request(asked).encode(), token=token, content_type="application/jwt"
                )
            return self.register_request(json.dumps(asked).encode(), token=token)

        response = await self.attempt(build)
        if response.status_code == _CREATED:
            self.learn(response.json())
        return response

    async def manage(
        self, method: str, members: Mapping[str, Any] | None = None, *, token: Any = TRUTH, url: str | None = None
    ) -> httpx2.Response:
        """Manage its registration; what an update answers counts from now on."""
        body = b"" if members is None else json.dumps(members).encode()
        response = await self.attempt(lambda: self.manage_request(method, body, token=token, url=url), method=method)
        if response.status_code == _OK and method == "PUT":
            self.learn(response.json())
        return response

    def learn(self, information: dict[str, Any]) -> None:
        """Be the client that this answer tells about."""
        self.information = information
        self.client_id = information["client_id"]

    async def registered(self, **members: Any) -> dict[str, Any]:
        """Register, and insist on it."""
        response = await self.register(**members)
        assert response.status_code == _CREATED, response.text
        return self.information


_TOLD_ONLY: Final = frozenset({"client_id_issued_at", "registration_client_uri", "registration_access_token"})


def said(members: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is left out."""
    return {name: value for name, value in members.items() if value is not ...}


def at(url: str, path: str) -> str:
    """Another path of the same server."""
    return origin_of(url) + path
