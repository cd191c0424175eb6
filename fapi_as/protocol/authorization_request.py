"""A pushed authorization request after every check, and what a code stands for; both with their sealed form."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from fapi_as.protocol.openid_request import OpenidRequest
from rs_kit.protocol.strict_json import parse_object


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _decode(payload: bytes) -> dict[str, Any]:
    members: dict[str, Any] = parse_object(payload)
    members["scope"] = tuple(members["scope"])
    members["resources"] = tuple(members["resources"])
    openid = members.get("openid")
    return members | {"openid": None if openid is None else OpenidRequest.from_members(openid)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatedAuthorizationRequest:
    """RFC 9126 §2.1: only a validated request can redirect; `scope` keeps the order in which it was asked."""

    client_id: str
    client_version: int
    redirect_uri: str
    scope: tuple[str, ...]
    resources: tuple[str, ...]
    code_challenge: str
    state: str | None
    nonce: str | None
    dpop_jkt: str | None
    signed_response_alg: str | None = None  # JARM; None is a plain query
    openid: OpenidRequest | None = None  # only with the scope value openid (OIDC-1)
    document_digest: str | None = None  # of the client's metadata document as it was then (CIMD-14)

    def to_bytes(self) -> bytes:
        """The payload that the store seals."""
        return _encode(asdict(self))

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """Read back what `to_bytes` wrote; the seal has already proved that it is ours."""
        return cls(**_decode(payload))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationGrant:
    """What a person allowed: the payload of a code and of a refresh token.

    `resource_scopes` are the values that the page showed under each of `resources`: a registration that changes later
    moves none of them to another resource. `code_challenge`, `redirect_uri` and `dpop_jkt` bind the code; a refresh
    token carries them and `nonce` no further; its `ends_at` is where no use moves its end any more (RT-3), counted
    from `begins_at`.
    """

    authorization_id: str
    client_id: str
    subject: str
    user_version: int
    scope: tuple[str, ...]
    resources: tuple[str, ...]
    resource_scopes: tuple[tuple[str, ...], ...]
    auth_time: int
    acr: str
    redirect_uri: str | None = None
    code_challenge: str | None = None
    dpop_jkt: str | None = None
    ends_at: int | None = None
    nonce: str | None = None
    openid: OpenidRequest | None = None
    document_digest: str | None = None  # of the client's metadata document as it was allowed (CIMD-14)
    begins_at: int | None = None

    def scope_of(self, resource: str) -> tuple[str, ...]:
        """What was allowed at one of `resources` (RES-4), or at the issuer, which comes with `openid`."""
        if resource not in self.resources and self.openid is not None:
            return self.openid.scope
        return self.resource_scopes[self.resources.index(resource)]

    def to_bytes(self) -> bytes:
        """The payload that the store seals."""
        return _encode(asdict(self))

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """Read back what `to_bytes` wrote; the seal has already proved that it is ours."""
        members = _decode(payload)
        members["resource_scopes"] = tuple(map(tuple, members["resource_scopes"]))
        return cls(**members)
