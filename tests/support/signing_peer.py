"""A scripted authorization server that takes and gives signed messages: honest until a member is changed.

It opens what it gets with base64 and json, as its parent does, and signs with a key that it publishes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from typing_extensions import override

from fapi_as.agent.steps import Answer, Request
from rs_kit.protocol import jws
from rs_kit.protocol.jws import SigningKey
from tests.support.agent_peer import CLIENT_KEY, ISSUER, NOW, Peer, as_json, identity, opened

ISSUER_KEY: Final = SigningKey.from_private_key(ec.generate_private_key(ec.SECP256R1()), kid="as-1")
OTHER_KEY: Final = SigningKey.from_private_key(ec.generate_private_key(ec.SECP256R1()), kid="as-1")
ED25519_KEY: Final = SigningKey.from_private_key(ed25519.Ed25519PrivateKey.generate(), kid="as-ed")
ALL: Final = ["ES256", "PS256", "Ed25519"]
JWKS: Final = "/jwks"

Changes = dict[str, Any]  # claims to put in; None takes one out


@dataclass
class SigningPeer(Peer):
    """The scripted peer with request objects, JARM and ID tokens.

    `lies` change the claims of the next responses and ID tokens, `forged` what becomes of the whole JWT.
    """

    issuer: str = ISSUER
    key: SigningKey = ISSUER_KEY
    published: list[SigningKey] = field(default_factory=lambda: [ISSUER_KEY, ED25519_KEY])
    time: int = NOW
    response_lies: Changes = field(default_factory=dict)
    id_token_lies: Changes = field(default_factory=dict)
    response_key: SigningKey | None = None
    id_token_key: SigningKey | None = None
    header_lies: Changes = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)  # beside the signed response
    plain: bool = False  # the response is not signed, whatever was asked for
    swapped: bool = False  # an ID token in the place of the response
    userinfo_lies: Changes = field(default_factory=dict)
    userinfo_signed: bool = False
    userinfo_nonce: str | None = None  # where it is another than the token endpoint's
    told_in_a_challenge: bool = False  # the demand for a nonce, as resource servers do it
    request_objects: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    id_tokens: list[str] = field(default_factory=list)
    numbers: count[int] = field(default_factory=lambda: count(1))

    @override
    def __post_init__(self) -> None:
        self.metadata = {
            "jwks_uri": f"{self.issuer}{JWKS}",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "request_object_signing_alg_values_supported": ALL,
            "authorization_signing_alg_values_supported": ALL,
            "response_modes_supported": ["query", "jwt"],
            "tls_client_certificate_bound_access_tokens": True,
            "token_endpoint_auth_methods_supported": [
                "private_key_jwt",
                "tls_client_auth",
                "self_signed_tls_client_auth",
            ],
            **self.metadata,
        }
        super().__post_init__()

    @override
    def answer(self, request: Request) -> Answer:
        if request.url == self.metadata.get("jwks_uri") and JWKS not in self.overrides:
            self.seen.append(request)
            return as_json(200, {"keys": [key.public_jwk() for key in self.published]})
        if request.url == self.metadata.get("userinfo_endpoint") and "/userinfo" not in self.overrides:
            self.seen.append(request)
            return self.told(request)
        return super().answer(request)

    def told(self, request: Request) -> Answer:
        """What userinfo says to whoever has a token that this peer issued."""
        headers = dict(request.headers)
        if headers["authorization"].partition(" ")[2] not in self.issued:
            return as_json(401, {"error": "invalid_token"})
        wanted = self.userinfo_nonce or self.server_nonce
        nonce = (("dpop-nonce", wanted),) if wanted is not None else ()
        if nonce and opened(headers["dpop"])[1].get("nonce") != wanted:
            if self.told_in_a_challenge:
                return Answer(status=401, headers=(("www-authenticate", 'DPoP error="use_dpop_nonce"'), *nonce))
            return as_json(401, {"error": "use_dpop_nonce"}, nonce)
        claims = {"sub": "alice", "name": "Alice", **self.userinfo_lies}
        if not self.userinfo_signed:
            return as_json(200, {name: value for name, value in claims.items() if value is not None}, nonce)
        token = self.signed({"iss": self.issuer, "aud": "agent", **claims}, self.id_token_key)
        return Answer(status=200, headers=(("content-type", "application/jwt"), *nonce), body=token.encode())

    @override
    def parameters(self, asked: dict[str, str]) -> dict[str, str]:
        if "request" not in asked:
            return asked
        self.request_objects.append(opened(asked["request"]))
        return {name: str(value) for name, value in self.request_objects[-1][1].items()}

    @override
    def response_to(self, pushed: dict[str, str], values: dict[str, str | None]) -> str:
        if pushed.get("response_mode") != "jwt" or self.plain:
            return super().response_to(pushed, values)
        if self.swapped:
            return urlencode({"response": self.id_token(pushed, "opaque-0"), **self.outside})
        claims = {"iss": self.issuer, "aud": "agent", "exp": self.time + 60, **values, **self.response_lies}
        return urlencode({"response": self.signed(claims, self.response_key), **self.outside})

    @override
    def members_of(self, asked: dict[str, str], access_token: str) -> dict[str, object]:
        if asked["grant_type"] == "authorization_code":
            pushed = self.pushed[asked["code"]]
            return {"id_token": self.id_token(pushed, access_token)} if "openid" in pushed.get("scope", "") else {}
        return {"id_token": self.id_token({}, access_token)} if "openid" in asked.get("scope", "") else {}

    def id_token(self, pushed: dict[str, str], access_token: str) -> str:
        key = self.id_token_key or self.key
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": "alice",
            "aud": "agent",
            "iat": self.time,
            "exp": self.time + 300,
            "auth_time": self.time - 5,
            "acr": "urn:example:gold",
            "nonce": pushed.get("nonce"),
            "at_hash": half_hash(access_token, "sha512" if key.alg == "Ed25519" else "sha256"),
        }
        self.id_tokens.append(self.signed({**claims, **self.id_token_lies}, key))
        return self.id_tokens[-1]

    def signed(self, claims: Changes, key: SigningKey | None) -> str:
        present = {name: value for name, value in claims.items() if value is not None}
        key = key or self.key
        if not self.header_lies:
            return jws.sign(key, present, typ="JWT")
        header = {"alg": key.alg, "typ": "JWT", "kid": key.kid, **self.header_lies}
        segment = segment_of({name: value for name, value in header.items() if value is not None})
        return key.sign_segment(segment.encode("ascii"), present)


def half_hash(text: str, algorithm: str) -> str:
    """OIDC Core §3.1.3.6."""
    digest = hashlib.new(algorithm, text.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).decode().rstrip("=")


def segment_of(members: Changes) -> str:
    """One segment of a JWS, by hand."""
    return base64.urlsafe_b64encode(json.dumps(members).encode()).decode().rstrip("=")


def signing_identity(**changes: Any) -> Any:
    """A registration with signed messages both ways."""
    members = {"request_object_signing_alg": "ES256", "authorization_signed_response_alg": "ES256", **changes}
    return identity(**members)


def verified_by_client_key(token: str, types: Iterable[str]) -> dict[str, Any]:
    """The claims of a JWT that this agent's key signed."""
    unverified = jws.parse_compact(token, algorithms=frozenset({"ES256"}), types=frozenset(types), max_length=16_384)
    return dict(jws.verify(unverified, [CLIENT_KEY.public]).claims)
