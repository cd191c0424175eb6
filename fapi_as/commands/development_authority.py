"""The authority of a laptop: its key and its file beside the configuration, made by `init --dev` alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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
        click.ClickException: a file is there that cannot be read.
    """
    from fapi_as.adapters.keys import read_authority_key, write_authority_key
    from fapi_as.commands.operator import read_members

    key_file, authority_file = directory / KEY_FILE, directory / AUTHORITY_FILE
    written: tuple[Path, ...] = ()
    if key_file.exists():
        key = read_authority_key(key_file)
    else:
        key = write_authority_key(key_file)
        written = (key_file,)
    if not authority_file.exists():
        authority_file.write_text(json.dumps(_members(key), indent=2) + "\n", encoding="utf-8")
        written = (*written, authority_file)
    return dict(read_members(str(authority_file))), written


def _members(key: SigningKey) -> dict[str, object]:
    return {
        "issuer": _ISSUER,
        "jwks": {"keys": [key.public_jwk()]},
        "policy": {"grant_types": list(_GRANT_TYPES)},
    }
