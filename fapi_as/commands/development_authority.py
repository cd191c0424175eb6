"""The authority of a laptop: its key and its file beside the configuration, made by `init --dev` alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from rs_kit.protocol.jws import SigningKey

KEY_FILE: Final = "development-authority.key"
AUTHORITY_FILE: Final = "development-authority.json"
_ISSUER: Final = "https://development-authority.invalid"  # RFC 6761 §6.4: nobody can ever answer there
_GRANT_TYPES: Final = ("authorization_code", "client_credentials", "refresh_token")


def ensure_development_authority(directory: Path) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """The authority that signs with the key in this directory, and the files that were written for it.

    Nothing that exists is overwritten: whoever has changed the policy in the file keeps it.

    Raises:
        UnusableAuthorityKey: a key is there that cannot be used, or none can be written.
        InvalidClientMetadata, InvalidRegistrationPolicy: a file is there that describes no authority.
        click.ClickException: it cannot be read, or somebody else could sign for that authority.
    """
    from fapi_as.adapters.keys import read_authority_key, write_authority_key
    from fapi_as.commands.operator import read_members
    from fapi_as.protocol.authority_registration import parse_authority

    key_file, authority_file = directory / KEY_FILE, directory / AUTHORITY_FILE
    written: tuple[Path, ...] = ()
    if os.path.lexists(key_file):
        key = read_authority_key(key_file)
    else:
        key = write_authority_key(key_file)
        written = (key_file,)
    if not os.path.lexists(authority_file):
        with authority_file.open("x", encoding="utf-8") as file:  # also no link that leads elsewhere
            file.write(json.dumps(_members(key), indent=2) + "\n")
        written = (*written, authority_file)
    members = dict(read_members(str(authority_file)))
    if [published.thumbprint for published in parse_authority(members, version=0).keys] != [key.thumbprint]:
        # planted there, or left over from another key: whoever has that one would let clients in
        raise click.ClickException(f"{authority_file} names other keys than {key_file} and is not trusted")
    return members, written


def _members(key: SigningKey) -> dict[str, object]:
    return {
        "issuer": _ISSUER,
        "jwks": {"keys": [key.public_jwk()]},
        "policy": {"grant_types": list(_GRANT_TYPES)},
    }
