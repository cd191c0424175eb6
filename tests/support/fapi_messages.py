"""What an honest FAPI 2.0 client says, with a knob for every lie: assertions, proofs, forms; nothing is sent here."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode, urlsplit

import httpx2

from tests.support.peer_keys import PeerKey, b64

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ENDPOINTS = {
    "authorization_endpoint": "/authorize",
    "token_endpoint": "/token",
    "pushed_authorization_request_endpoint": "/par",
    "jwks_uri": "/jwks",
}


class Truth:
    """The value of a knob that nobody turned."""

    def __repr__(self) -> str:
        return "TRUTH"


TRUTH: Any = Truth()


@dataclass(slots=True)
class Lies:
    """Every knob: TRUTH is honest, `...` leaves the member out, anything else is said instead; a misspelt one fails."""

    # the DPoP proof
    htm: Any = TRUTH
    htu: Any = TRUTH
    iat: Any = TRUTH
    jti: Any = TRUTH
    nonce: Any = TRUTH
    ath: Any = TRUTH
    proof_header: dict[str, Any] = field(default_factory=dict)
    proof_claims: dict[str, Any] = field(default_factory=dict)
    proof_key: PeerKey | None = None  # signs; the header still shows the true key
    proof: Any = TRUTH  # the whole header value; `...` sends none, a list sends several
    # the client assertion
    iss: Any = TRUTH
    sub: Any = TRUTH
    aud: Any = TRUTH
    exp: Any = TRUTH
    assertion_iat: Any = TRUTH
    assertion_jti: Any = TRUTH
    assertion_header: dict[str, Any] = field(default_factory=dict)
    assertion_claims: dict[str, Any] = field(default_factory=dict)
    assertion_key: PeerKey | None = None
    assertion: Any = TRUTH  # the whole string
    # the request around them
    form: dict[str, Any] = field(default_factory=dict)  # a list repeats the parameter
    authorize: dict[str, Any] = field(default_factory=dict)  # the query of the authorization endpoint
    headers: list[tuple[str, str]] = field(default_factory=list)  # further header lines
    authorization: Any = TRUTH  # the Authorization line of a resource request


class Message(NamedTuple):
    """A signed request that nobody sent yet; POST where nothing else is said."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Pushed:
    """A pushed authorization request, with what only its client knows."""

    request_uri: str
    expires_in: int
    code_verifier: str
    state: str
    redirect_uri: str
    response: httpx2.Response


@dataclass(frozen=True)
class Tokens:
    """The answer of the token endpoint, with the key that the access token is bound to."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    refresh_token: str | None
    key: PeerKey
    response: httpx2.Response


class FapiMessages:
    """Everything that one registered client (private_key_jwt) with one DPoP key says; signed when it is asked for.

    Args:
        now: seconds since the epoch; a test with a frozen clock passes its `now`.
    """

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_key: PeerKey,
        kid: str | None = "client-key",
        resource: str | None = None,
        scope: str | None = None,
        redirect_uri: str = "https://client.example/callback",
        dpop_key: PeerKey | None = None,
        now: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self.client_key = client_key
        self.kid = kid
        self.resource = resource
        self.scope = scope
        self.redirect_uri = redirect_uri
        self.dpop_key = dpop_key or PeerKey.es256()
        self.now = now
        self.lies = Lies()
        self.nonces: dict[tuple[str, str], str] = {}  # by origin and key: servers may bind them to the key
        self.metadata: dict[str, Any] = {"issuer": issuer} | {name: issuer + path for name, path in ENDPOINTS.items()}

    def jwks(self) -> dict[str, Any]:
        """What to register."""
        return {
            "keys": [
                self.client_key.jwk(alg=self.client_key.alg, use="sig", **({"kid": self.kid} if self.kid else {}))
            ],
        }

    def registration(self, **changes: Any) -> dict[str, Any]:
        """RFC 7591 metadata of this client."""
        return {
            "client_id": self.client_id,
            "client_name": "Honest client",
            "token_endpoint_auth_method": "private_key_jwt",
            "redirect_uris": [self.redirect_uri],
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "scope": self.scope or "",
            "jwks": self.jwks(),
        } | changes

    @contextmanager
    def lying(self, **lies: Any) -> Iterator[Self]:
        """Turn some knobs for a while."""
        before = {name: getattr(self.lies, name) for name in lies}
        for name, value in lies.items():
            setattr(self.lies, name, value)
        try:
            yield self
        finally:
            for name, value in before.items():
                setattr(self.lies, name, value)

    def assertion(self) -> str:
        """A fresh client assertion (RFC 7523 §3), good for one request."""
        lies, now = self.lies, self.now()
        if lies.assertion is not TRUTH:
            return str(lies.assertion)
        header = {"typ": "client-authentication+jwt"} | ({"kid": self.kid} if self.kid else {}) | lies.assertion_header
        claims = {
            "iss": _said(lies.iss, self.client_id),
            "sub": _said(lies.sub, self.client_id),
            "aud": _said(lies.aud, self.issuer),
            "iat": _said(lies.assertion_iat, now),
            "exp": _said(lies.exp, now + 60),
            "jti": _said(lies.assertion_jti, secrets.token_urlsafe(16)),
        } | lies.assertion_claims
        key = lies.assertion_key or self.client_key
        return key.sign(_without({"alg": key.alg, **header}), _without(claims))

    def proof(self, method: str, url: str, *, access_token: str | None = None, key: PeerKey | None = None) -> str:
        """A fresh DPoP proof (RFC 9449 §4.2) with the newest nonce of that server."""
        lies, key = self.lies, key or self.dpop_key
        nonce = self.nonces.get((origin_of(url), key.thumbprint), ...)
        ath: Any = ... if access_token is None else b64(hashlib.sha256(access_token.encode()).digest())
        header = {"typ": "dpop+jwt", "alg": key.alg, "jwk": key.jwk()} | lies.proof_header
        claims = {
            "jti": _said(lies.jti, secrets.token_urlsafe(16)),
            "htm": _said(lies.htm, method),
            "htu": _said(lies.htu, url.partition("#")[0].partition("?")[0]),
            "iat": _said(lies.iat, self.now()),
            "nonce": _said(lies.nonce, nonce),
            "ath": _said(lies.ath, ath),
        } | lies.proof_claims
        return (lies.proof_key or key).sign(_without(header), _without(claims))

    def address(self, endpoint: str) -> str:
        """Where one endpoint of the metadata is."""
        return str(self.metadata[endpoint])

    def credentials(self) -> dict[str, Any]:
        """What a form says of who sends it."""
        return {
            "client_id": self.client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion(),
        }

    def form_request(self, endpoint: str, parameters: dict[str, Any], *, key: PeerKey | None = None) -> Message:
        """An authenticated form POST to one endpoint of the metadata; `key` makes the proof."""
        url = self.address(endpoint)
        body = urlencode(list(pairs(self.credentials() | parameters | self.lies.form))).encode()
        headers = [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")]
        headers += [("dpop", value) for value in self._proofs("POST", url, None, key)]
        return Message(url, (*headers, *self.lies.headers), body)

    def push_request(self, *, code_verifier: str, state: str, key: PeerKey | None = None, **changes: Any) -> Message:
        """The pushed authorization request (RFC 9126)."""
        challenge = b64(hashlib.sha256(code_verifier.encode()).digest())
        parameters: dict[str, Any] = {
            "response_type": "code",
            "redirect_uri": self.redirect_uri,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "state": state,
            "scope": self.scope or ...,
            "resource": self.resource or ...,
        }
        return self.form_request("pushed_authorization_request_endpoint", parameters | changes, key=key)

    def token_request(self, grant_type: str, *, key: PeerKey | None = None, **parameters: Any) -> Message:
        """A token request of any grant type."""
        return self.form_request("token_endpoint", {"grant_type": grant_type, **parameters}, key=key)

    def code_request(self, code: str, pushed: Pushed, *, key: PeerKey | None = None, **changes: Any) -> Message:
        """Redeem a code."""
        parameters = {
            "code": code,
            "code_verifier": pushed.code_verifier,
            "redirect_uri": pushed.redirect_uri,
        } | changes
        return self.token_request("authorization_code", key=key, **parameters)

    def refresh_request(self, refresh_token: str, *, key: PeerKey | None = None, **changes: Any) -> Message:
        """Use a refresh token."""
        return self.token_request("refresh_token", key=key, refresh_token=refresh_token, **changes)

    def credentials_request(self, *, key: PeerKey | None = None, **changes: Any) -> Message:
        """client_credentials for the configured resource and scope."""
        parameters = {"resource": self.resource or ..., "scope": self.scope or ...} | changes
        return self.token_request("client_credentials", key=key, **parameters)

    def resource_request(
        self, tokens: Tokens, url: str | None = None, *, method: str = "POST", json_body: Any = None
    ) -> Message:
        """A call to the protected resource with a bound token."""
        url = url or str(self.resource)
        authorization = _said(self.lies.authorization, f"DPoP {tokens.access_token}")
        headers = [] if authorization is ... else [("authorization", str(authorization))]
        headers += [("dpop", value) for value in self._proofs(method, url, tokens.access_token, tokens.key)]
        body = b""
        if json_body is not None:
            body = json_body if isinstance(json_body, bytes) else json.dumps(json_body).encode()
            headers += [("content-type", "application/json"), ("accept", "application/json, text/event-stream")]
        return Message(url, (*headers, *self.lies.headers), body)

    def _proofs(self, method: str, url: str, access_token: str | None, key: PeerKey | None) -> list[str]:
        said = self.lies.proof
        if said is TRUTH:
            return [self.proof(method, url, access_token=access_token, key=key)]
        if said is ...:
            return []
        return [str(value) for value in (said if isinstance(said, list) else [said])]


def _said(lie: Any, truth: Any) -> Any:
    return truth if lie is TRUTH else lie


def _without(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not ...}


def pairs(form: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in form.items():
        if value is not ...:
            for one in value if isinstance(value, list | tuple) else [value]:
                yield name, str(one)


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
