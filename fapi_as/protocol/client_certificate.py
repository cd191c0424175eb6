"""Client certificates: which one a client registered (RFC 8705 §2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fapi_as.protocol.metadata_members import wrong

_SUBJECT_LIMIT: Final = 1024  # characters


class SubjectKind(StrEnum):
    """The metadata member that names the subject (RFC 8705 §2.1.2)."""

    DN = "tls_client_auth_subject_dn"
    DNS = "tls_client_auth_san_dns"
    URI = "tls_client_auth_san_uri"
    IP = "tls_client_auth_san_ip"
    EMAIL = "tls_client_auth_san_email"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSubject:
    """The one subject that a client's certificates have, as it was registered."""

    kind: SubjectKind
    value: str


def registered_subject(members: Mapping[str, object]) -> CertificateSubject | None:
    """The subject that a registration names.

    Raises:
        InvalidClientMetadata: more than one (MTLS-4), or one that no certificate could have.
    """
    named = [kind for kind in SubjectKind if members.get(kind) is not None]
    if not named:
        return None
    if len(named) > 1:
        raise wrong("exactly one tls_client_auth subject may be registered")
    (kind,) = named
    value = members[kind]
    if not isinstance(value, str) or not 0 < len(value) <= _SUBJECT_LIMIT or not value.isprintable():
        raise wrong(f"{kind} must be a text of at most {_SUBJECT_LIMIT} characters")
    return CertificateSubject(kind=kind, value=value)
