"""The body of a registration: one JSON object, or the same as the claims of a signed request (DCR-1, SSA-7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fapi_as.kernel.messages import EndpointRequest
from fapi_as.kernel.seam import Context
from fapi_as.protocol import signed_registration
from fapi_as.protocol.client import ClientKeySet, KeysUnavailable, RegisteredClient
from fapi_as.protocol.effects import TakeOnce
from fapi_as.protocol.errors import InvalidRequest, UnsupportedMediaType
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.signed_registration import PresentedRegistration
from rs_kit.protocol.http import single
from rs_kit.protocol.jwk import PublicJwk
from rs_kit.protocol.strict_json import InvalidJson, parse_object

_JSON: Final = "application/json"
_SIGNED: Final = frozenset({"application/jose", "application/jwt"})
_STATEMENT: Final = "software_statement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wants to be registered, still without anybody's approval."""

    members: Mapping[str, object]
    statement: object | None  # as it came, if one came
    signed: PresentedRegistration | None


def read_body(request: EndpointRequest) -> Asked:
    """Read the body; nothing in it is believed yet.

    Raises:
        InvalidRequest: parameters in the URL, or a repeated Content-Type.
        UnsupportedMediaType: another media type.
        InvalidClientMetadata: not one JSON object that every parser reads alike, or no signed request of this kind.
    """
    if request.query_string:  # where a token would be written down by whoever forwards it (RFC 6750 §2.3)
        raise InvalidRequest("parameters in the URL", "parameters belong in the body")
    media_type = (single(request.headers, b"content-type") or "").partition(";")[0].strip().lower()
    if media_type in _SIGNED:
        signed = signed_registration.present(request.body)
        members = signed.members
        return Asked(members=members, statement=members.pop(_STATEMENT, None), signed=signed)
    if media_type != _JSON:
        raise UnsupportedMediaType("content type")
    try:
        members = parse_object(request.body)
    except InvalidJson as error:
        raise InvalidClientMetadata(
            f"body: {error}", "the request body must be one JSON object without repeated members"
        ) from None
    return Asked(members=members, statement=members.pop(_STATEMENT, None), signed=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Software:
    """Whose key a signed request is verified with; one owner for all clients of a piece of software."""

    key_owner: str
    version: int
    keys: tuple[PublicJwk, ...]
    certificates: tuple[bytes, ...]
    jwks_uri: str | None


async def verified_signature(
    context: Context, request: EndpointRequest, asked: Asked, client: RegisteredClient
) -> TakeOnce | None:
    """Verify the signature of a signed request with a key of the client that it describes; None for a plain one.

    Raises:
        InvalidClientMetadata: the signature, or what is signed, does not hold.
    """
    if asked.signed is None:
        return None
    software_id = client.description.software_id
    approval = client.approval
    software = _Software(
        key_owner=f"software {software_id} of {None if approval is None else approval.approver}",
        version=0 if approval is None else approval.version,
        keys=client.keys,
        certificates=client.certificates,
        jwks_uri=client.jwks_uri,
    )
    try:
        found: ClientKeySet = await context.client_keys.keys(software, asked.signed.kid)
    except KeysUnavailable as error:
        raise InvalidClientMetadata(f"signed registration: {error}", "the keys of the software cannot be had") from None
    return signed_registration.verify(
        asked.signed, found.keys, software_id=software_id, audience=context.policy.issuer, now=request.now
    )
