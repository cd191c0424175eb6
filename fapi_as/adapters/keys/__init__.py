"""Keys: what is sealed at rest, and what signs."""

from fapi_as.adapters.keys.authority_key import UnusableAuthorityKey, read_authority_key, write_authority_key
from fapi_as.adapters.keys.keyring import AlreadyRotating, KeyInUse, Keyring, ListedKey, TooManyKeys
from fapi_as.adapters.keys.rotation import KeyState, RotationTimes
from fapi_as.adapters.keys.sealing import Sealing, UnusableSealingKey, read_sealing_key, write_sealing_key
from fapi_as.adapters.keys.signer import KeyringSigner, NoSigningKey

__all__ = [
    "AlreadyRotating",
    "KeyInUse",
    "KeyState",
    "Keyring",
    "KeyringSigner",
    "ListedKey",
    "NoSigningKey",
    "RotationTimes",
    "Sealing",
    "TooManyKeys",
    "UnusableAuthorityKey",
    "UnusableSealingKey",
    "read_authority_key",
    "read_sealing_key",
    "write_authority_key",
    "write_sealing_key",
]
