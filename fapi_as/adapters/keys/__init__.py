"""Keys: what is sealed at rest, and what signs."""

from fapi_as.adapters.keys.keyring import AlreadyRotating, Keyring, KeyringSigner, KeyState, ListedKey, NoSigningKey
from fapi_as.adapters.keys.sealing import Sealing, UnusableSealingKey, read_sealing_key, write_sealing_key

__all__ = [
    "AlreadyRotating",
    "KeyState",
    "Keyring",
    "KeyringSigner",
    "ListedKey",
    "NoSigningKey",
    "Sealing",
    "UnusableSealingKey",
    "read_sealing_key",
    "write_sealing_key",
]
