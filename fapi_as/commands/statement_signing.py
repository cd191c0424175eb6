"""What `fapi-as statement issue` signs: what was asked for, and nothing that this server would not believe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fapi_as.adapters.entropy import SystemEntropy
from fapi_as.adapters.keys import read_authority_key
from fapi_as.commands.operator import read_members
from fapi_as.protocol import software_statement
from fapi_as.protocol.authority_registration import parse_authority
from fapi_as.protocol.client import ClientKeySet
from rs_kit.protocol import jws
from rs_kit.protocol.confirmation import certificate_thumbprint

if TYPE_CHECKING:
    from fapi_as.protocol.registration import TrustedAuthority
    from rs_kit.protocol.jws import SigningKey

_TYPE: Final = "software-statement+jwt"
_OURS: Final = frozenset({"iss", "aud", "iat", "nbf", "exp", "jti", "cnf", "software_id", "software_statement"})
_PEM_LIMIT: Final = 262_144  # octets of a chain


def signed_statement(asked: Mapping[str, Any], audience: str, now: int) -> dict[str, Any]:
    """The statement that the options of the command ask for, with what an operator may need of it later.

    Raises:
        click.ClickException: a file cannot be used, or it contradicts the options.
        UnusableAuthorityKey: the private key cannot.
        InvalidClientMetadata: the authority cannot.
        InvalidSoftwareStatement: the key is not one of the authority's, or a name or a digest is none.
        UnapprovedSoftwareStatement: the authority may not assert that.
    """
    authority = parse_authority(read_members(str(asked["authority"])), version=0)
    key = read_authority_key(asked["key"], authority.keys)
    certificate = None if asked["certificate"] is None else _certificate(asked["certificate"])
    claims = {
        **_asserted(asked),
        "iss": authority.issuer,
        "aud": audience,
        "iat": now,
        "exp": now + asked["expires_in"],
        "jti": SystemEntropy().identifier(),
        "software_id": asked["software_id"],
        **_confirmation(certificate, asked["jkt"]),
    }
    compact = jws.sign(key, claims, typ=_TYPE)
    _require_believed(compact, authority, key, audience=audience, now=now, certificate=certificate, jkt=asked["jkt"])
    return {"software_statement": compact, "expires_at": claims["exp"], **_named(claims)}


def _named(claims: Mapping[str, Any]) -> dict[str, Any]:
    return {name: claims[name] for name in ("iss", "jti", "software_id")}


def _asserted(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The members of the file and of the options; who says one thing twice may mean either."""
    given = {
        "redirect_uris": list(asked["redirect_uris"]) or None,
        "software_version": asked["software_version"],
    }
    by_option = {name: value for name, value in given.items() if value is not None}
    by_file = {} if asked["claims"] is None else dict(read_members(asked["claims"]))
    twice = by_file.keys() & (_OURS | by_option.keys())
    if twice:
        raise click.ClickException(f"{min(twice)} is said by an option, and not by a file")
    return {**by_file, **by_option}


def _confirmation(certificate: bytes | None, jkt: str | None) -> dict[str, Any]:
    """RFC 7800 §3.1: who must show what, so that a statement that was copied brings nobody in."""
    cnf: dict[str, str] = {}
    if certificate is not None:
        cnf["x5t#S256"] = certificate_thumbprint(certificate)
    if jkt is not None:
        cnf["jkt"] = jkt
    return {"cnf": cnf} if cnf else {}


def _certificate(path: Path) -> bytes:
    """The first certificate of a file, DER."""
    try:
        with path.open("rb") as file:
            found = x509.load_pem_x509_certificates(file.read(_PEM_LIMIT))
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise click.ClickException(f"{path} holds no PEM certificate") from None
    return found[0].public_bytes(Encoding.DER)


def _require_believed(
    compact: str,
    authority: TrustedAuthority,
    key: SigningKey,
    **facts: Any,
) -> None:
    keys = ClientKeySet(keys=authority.keys or (key.public,))
    software_statement.verify(software_statement.present(compact), authority, keys, **facts)
