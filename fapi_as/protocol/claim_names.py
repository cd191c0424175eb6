"""Under which names an authority asserts client metadata: those of RFC 7591, or of Open Banking directories (SSA-6)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from fapi_as.protocol.client_certificate import (
    UNREADABLE,
    UnreadableCertificate,
    read,
    registered_subject,
    subject_refusal,
)
from fapi_as.protocol.errors import InvalidSoftwareStatement, UnapprovedSoftwareStatement
from fapi_as.protocol.metadata_members import InvalidClientMetadata, base_name, understood
from fapi_as.protocol.registration import ClaimNames, TrustedAuthority

_OPEN_BANKING: Final[Mapping[str, str]] = {
    "software_redirect_uris": "redirect_uris",
    "software_jwks_endpoint": "jwks_uri",
    "software_client_name": "client_name",
    "software_client_uri": "client_uri",
    "software_logo_uri": "logo_uri",
    "software_policy_uri": "policy_uri",
    "software_tos_uri": "tos_uri",
}
_REQUIRED: Final = ("software_redirect_uris", "software_jwks_endpoint")
_ROLES: Final = "software_roles"
_OUR_OWN: Final = frozenset({"software_id", "software_version"})  # read by whoever reads the statement
_ORGANIZATION: Final = (NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_IDENTIFIER)
_SOFTWARE: Final = (NameOID.COMMON_NAME, NameOID.USER_ID)


def asserted(claims: Mapping[str, object], authority: TrustedAuthority) -> Mapping[str, object]:
    """The client metadata that a verified statement asserts, under the names of RFC 7591.

    Raises:
        InvalidSoftwareStatement: a claim of another type than its member has.
        UnapprovedSoftwareStatement: a member that this authority may not assert.
    """
    named = claims if authority.claims is ClaimNames.RFC_7591 else _renamed(claims, authority)
    try:
        members = understood({name: value for name, value in named.items() if name not in _OUR_OWN})
    except InvalidClientMetadata as error:
        raise InvalidSoftwareStatement(f"statement: {error.detail}") from None
    if not {base_name(name) for name in members} <= authority.may_assert:
        raise UnapprovedSoftwareStatement(
            "statement: a claim that the authority may not assert",
            "the issuer of the software statement may not assert all that it says",
        )
    return MappingProxyType(members)


def _renamed(claims: Mapping[str, object], authority: TrustedAuthority) -> dict[str, object]:
    """What stands there under names of the directory; what says the same under a name of RFC 7591 does not count."""
    for name in _REQUIRED:
        if claims.get(name) is None:
            raise InvalidSoftwareStatement(f"statement: {name} is missing")
    members: dict[str, object] = {
        ours: claims[theirs] for theirs, ours in _OPEN_BANKING.items() if claims.get(theirs) is not None
    }
    if authority.role_scopes:
        members["scope"] = _scope(claims.get(_ROLES), authority)
    return members


def _scope(roles: object, authority: TrustedAuthority) -> str:
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise InvalidSoftwareStatement(f"statement: {_ROLES} is missing or no list of names")
    scope = {value for role, values in authority.role_scopes if role in roles for value in values}
    if not scope:
        raise UnapprovedSoftwareStatement("statement: no role that may do anything here")
    return " ".join(sorted(scope))


def certificate_refusal(
    claims: Mapping[str, object],
    members: Mapping[str, object],
    authority: TrustedAuthority,
    certificate: bytes | None,
) -> str | None:
    """Why the certificate of whoever brings the statement is of another organisation or software, or None (DCR-20)."""
    if certificate is None:
        return None
    try:
        subject = registered_subject(members)
        if subject is not None and subject_refusal(subject, certificate) is not None:
            return "the certificate is not for the asserted subject"
        if authority.claims is ClaimNames.OPEN_BANKING:
            return _directory_refusal(claims, read(certificate))
    except InvalidClientMetadata as error:
        return error.detail
    except UnreadableCertificate as error:
        return str(error)
    return None


def _directory_refusal(claims: Mapping[str, object], certificate: x509.Certificate) -> str | None:
    organization, software = claims.get("org_id"), claims["software_id"]
    if not isinstance(organization, str) or not organization:
        return "org_id is missing or no name"
    if organization not in _values(certificate, _ORGANIZATION):
        return "the certificate is of another organisation"
    if software not in _values(certificate, _SOFTWARE):
        return "the certificate is of other software"
    return None


def _values(certificate: x509.Certificate, types: tuple[ObjectIdentifier, ...]) -> set[str]:
    try:
        attributes = [attribute for oid in types for attribute in certificate.subject.get_attributes_for_oid(oid)]
    except UNREADABLE:
        return set()
    return {value for attribute in attributes if isinstance(value := attribute.value, str)}
