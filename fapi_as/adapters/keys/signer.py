"""The Signer port: the active key of each algorithm, and the set of all that are published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fapi_as.adapters.keys.rotation import active_key, state_of, turning_points
from fapi_as.adapters.keys.sealing import UnusableSealingKey
from fapi_as.adapters.store.signing_keys import SigningKeys, StoredSigningKey
from fapi_as.ports import Clock
from rs_kit.protocol import jwk, jws
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS, canonical
from rs_kit.protocol.errors import InvalidJwk

DEFAULT_ALG: Final = "ES256"
_TWO_NAMES: Final = frozenset({"Ed25519"})  # also called EdDSA (RFC 9864)
_NEVER: Final = 2**63

Unseal = Callable[[str, StoredSigningKey], jws.SigningKey]


class NoSigningKey(Exception):
    """The tenant has no signing key of this algorithm: nobody has called `ensure`."""


class KeyringSigner:
    """The Signer port of one tenant; looks for other keys when the epoch or the time says so."""

    def __init__(self, tenant: str, signing_keys: SigningKeys, unseal: Unseal, clock: Clock) -> None:
        self._tenant = tenant
        self._signing_keys = signing_keys
        self._unseal = unseal
        self._clock = clock
        self._epoch = -1
        self._valid_from = 0
        self._valid_until = 0
        self._active: dict[str, jws.SigningKey] = {}
        self._published: tuple[Mapping[str, str], ...] = ()

    def sign(self, claims: Mapping[str, object], *, typ: str, alg: str | None = None) -> str:
        """A compact JWS over `claims` with the active key of this algorithm, of the default one without it.

        Raises:
            NoSigningKey: nobody has called `ensure` for this tenant and algorithm.
            StorageUnavailable: the store cannot answer.
        """
        self._refresh()
        key = self._active.get(canonical(alg or DEFAULT_ALG))
        if key is None:
            raise NoSigningKey(f"tenant {self._tenant} has no signing key for {alg or DEFAULT_ALG}")
        # under the name that was asked for: a client that registered EdDSA looks for that one in the header
        return key.sign_segment(key.header_segment(typ, alg), claims)

    def public_jwks(self) -> dict[str, object]:
        """The RFC 7517 set of next, active and retiring public keys (JOSE-30).

        Raises:
            StorageUnavailable: the store cannot answer.
        """
        self._refresh()
        return {"keys": [dict(members) for members in self._published]}

    def _refresh(self) -> None:
        epoch, now = self._signing_keys.epoch(self._tenant), self._clock.now()
        if epoch == self._epoch and self._valid_from <= now < self._valid_until:
            return
        keys = self._signing_keys.keys(self._tenant)
        self._active = {
            alg: self._opened(key) for alg in SIGNING_ALGORITHMS if (key := active_key(keys, alg, now)) is not None
        }
        self._published = tuple(_public_members(key) for key in keys if state_of(key, keys, now) is not None)
        self._valid_from, self._valid_until = now, min((at for at in turning_points(keys) if at > now), default=_NEVER)
        self._epoch = epoch

    def _opened(self, key: StoredSigningKey) -> jws.SigningKey:
        known = self._active.get(key.alg)
        return known if known is not None and known.kid == key.kid else self._unseal(self._tenant, key)


def _public_members(key: StoredSigningKey) -> dict[str, str]:
    """Read and written anew: whatever lies in the table, only public members of keys that verify get out (JOSE-30)."""
    try:
        members = jwk.parse_public(key.public_jwk).to_jwk()
    except InvalidJwk as error:
        raise UnusableSealingKey(f"signing key {key.kid} must not be published: {error.detail}") from None
    if members.get("kid") != key.kid:  # FAPI2-JWKS-3: the table keeps its own apart, so none is published twice
        raise UnusableSealingKey(f"signing key {key.kid} must not be published: its kid is another or missing")
    if key.alg in _TWO_NAMES:
        del members["alg"]  # optional in RFC 7517 §4.4, and peers compare it with the header's name letter by letter
    return members
