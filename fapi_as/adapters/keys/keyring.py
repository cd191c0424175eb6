"""Signing keys: next → active → retiring, by time alone, so that all workers agree without talking to each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from fapi_as.adapters.keys.sealing import Sealing, UnusableSealingKey
from fapi_as.adapters.store.sealed_payload import BrokenSeal
from fapi_as.adapters.store.signing_keys import SigningKeys, StoredSigningKey
from fapi_as.ports import Clock
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import SIGNING_KEY_KEPT_AFTER_USE, SIGNING_KEY_PUBLISHED_BEFORE_USE
from rs_kit.protocol import jwk, jws
from rs_kit.protocol.errors import InvalidJwk

_RSA_BITS: Final = 3072
_RSA_EXPONENT: Final = 65537
_PUBLISHED_BEFORE_USE: Final = seconds(SIGNING_KEY_PUBLISHED_BEFORE_USE)
_KEPT_AFTER_USE: Final = seconds(SIGNING_KEY_KEPT_AFTER_USE)
_NEVER: Final = 2**63


class KeyState(StrEnum):
    """Where a signing key is in its life (JOSE-34)."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"


class AlreadyRotating(Exception):
    """A next key is published and not in use yet; the message is one sentence."""


class NoSigningKey(Exception):
    """The tenant has no signing key: nobody has called `ensure`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedKey:
    """A published key; the next one is active from `active_from`, a retiring one is gone from `gone_from`."""

    kid: str
    alg: str
    state: KeyState
    published_at: int
    active_from: int
    gone_from: int | None


class Keyring:
    """The signing keys of every tenant; private keys never leave this package and lie sealed at rest.

    Args:
        signing_keys: the table.
        sealing: seals private keys.
        clock: tells which key is active.
    """

    def __init__(self, signing_keys: SigningKeys, *, sealing: Sealing, clock: Clock) -> None:
        self._signing_keys = signing_keys
        self._sealing = sealing
        self._clock = clock

    @classmethod
    def open(cls, url: str, *, sealing: Sealing, clock: Clock) -> Self:
        """Open a migrated database.

        Raises:
            UnsupportedDatabase: another engine than SQLite in a file.
            UnusableDatabase: missing, unreadable, damaged, or of another schema.
        """
        return cls(SigningKeys.open(url), sealing=sealing, clock=clock)

    def ensure(self, tenant: str, stamp: Stamp, *, alg: str = "ES256") -> None:
        """Make the first key of a tenant, once however many ask; else see that the key at hand opens.

        Raises:
            UnusableSealingKey: the keys were sealed under another sealing key.
        """
        keys = self._signing_keys.keys(tenant)
        if not keys:
            with self._signing_keys.change(tenant) as change:
                if not change.keys:
                    key = self._generate(tenant, alg, published_at=stamp.at, active_from=stamp.at)
                    change.add(key)
                    change.record(f"first key {key.kid}", stamp)
            keys = self._signing_keys.keys(tenant)
        for key in keys:
            self._unseal(tenant, key)

    def rotate(self, tenant: str, stamp: Stamp, *, alg: str | None = None) -> ListedKey:
        """Publish a next key; it becomes active by itself when every peer has had time to fetch it (JOSE-34).

        The present key retires at that moment and is published until the last token that it signed has expired.

        Raises:
            AlreadyRotating: a next key is waiting.
            NoSigningKey: there is no key yet.
            UnusableSealingKey: the present key was sealed under another sealing key; no worker could open the next.
        """
        now = stamp.at
        with self._signing_keys.change(tenant) as change:
            keys = change.keys
            listed = {key.kid: _state(key, keys, now) for key in keys}
            waiting = next((key for key in keys if listed[key.kid] is KeyState.NEXT), None)
            if waiting is not None:
                raise AlreadyRotating(f"key {waiting.kid} is published and becomes active at {waiting.active_from}")
            active = next((key for key in keys if listed[key.kid] is KeyState.ACTIVE), None)
            if active is None:
                raise NoSigningKey(f"tenant {tenant} has no signing key")
            self._unseal(tenant, active)
            new = self._generate(tenant, alg or active.alg, published_at=now, active_from=now + _PUBLISHED_BEFORE_USE)
            change.add(new)
            change.end(active.kid, new.active_from + _KEPT_AFTER_USE)
            for key in keys:
                if listed[key.kid] is None:
                    change.delete(key.kid)
            change.record(f"key {active.kid} is followed by {new.kid}", stamp)
            return _listed(new, KeyState.NEXT)

    def list(self, tenant: str) -> tuple[ListedKey, ...]:
        """Every published key, by the time of its first use."""
        keys = self._signing_keys.keys(tenant)
        now = self._clock.now()
        states = ((key, _state(key, keys, now)) for key in keys)
        return tuple(_listed(key, state) for key, state in states if state is not None)

    def signer(self, tenant: str) -> KeyringSigner:
        """The Signer port of one tenant."""
        return KeyringSigner(tenant, self._signing_keys, self._unseal, self._clock)

    def close(self) -> None:
        """Close the connection."""
        self._signing_keys.close()

    def _generate(self, tenant: str, alg: str, *, published_at: int, active_from: int) -> StoredSigningKey:
        private_key = _new_private_key(alg)
        thumbprint = jws.SigningKey.from_private_key(private_key, alg=alg).thumbprint
        named = jws.SigningKey.from_private_key(private_key, alg=alg, kid=thumbprint)
        der = private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return StoredSigningKey(
            kid=thumbprint,
            alg=named.alg,
            public_jwk=named.public_jwk(),
            sealed_private_key=self._sealing.seal(der, _associated_data(tenant, thumbprint)),
            published_at=published_at,
            active_from=active_from,
        )

    def _unseal(self, tenant: str, key: StoredSigningKey) -> jws.SigningKey:
        try:
            der = self._sealing.open(key.sealed_private_key, _associated_data(tenant, key.kid))
        except BrokenSeal:
            raise UnusableSealingKey(
                f"signing key {key.kid} does not open: it was sealed under another sealing key"
            ) from None
        private_key = load_der_private_key(der, password=None)
        if not isinstance(private_key, jws.PrivateKey):
            raise NoSigningKey(f"signing key {key.kid} is of a kind that does not sign here")
        try:
            signing_key = jws.SigningKey.from_private_key(private_key, alg=key.alg, kid=key.kid)
        except InvalidJwk as error:
            raise UnusableSealingKey(f"signing key {key.kid} may not sign here: {error.detail}") from None
        if signing_key.public_jwk() != key.public_jwk:
            raise UnusableSealingKey(f"signing key {key.kid} is published as another key than it is")
        return signing_key


class KeyringSigner:
    """The Signer port of one tenant; looks for other keys when the epoch or the time says so."""

    def __init__(self, tenant: str, signing_keys: SigningKeys, unseal: _Unseal, clock: Clock) -> None:
        self._tenant = tenant
        self._signing_keys = signing_keys
        self._unseal = unseal
        self._clock = clock
        self._epoch = -1
        self._valid_from = 0
        self._valid_until = 0
        self._active: jws.SigningKey | None = None
        self._published: tuple[Mapping[str, str], ...] = ()

    def sign(self, claims: Mapping[str, object], *, typ: str, alg: str | None = None) -> str:
        """A compact JWS over `claims` with the active key.

        Raises:
            NoSigningKey: nobody has called `ensure` for this tenant.
            StorageUnavailable: the store cannot answer.
        """
        self._refresh()
        if self._active is None:
            raise NoSigningKey(f"tenant {self._tenant} has no signing key")
        if alg not in {None, self._active.alg}:
            raise NoSigningKey(f"tenant {self._tenant} has no signing key for {alg}")
        return jws.sign(self._active, claims, typ=typ)

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
        active = _active(keys, now)
        known = self._active
        if active is None or known is None or known.kid != active.kid:
            self._active = None if active is None else self._unseal(self._tenant, active)
        self._published = tuple(_public_members(key) for key in keys if _state(key, keys, now) is not None)
        self._valid_from, self._valid_until = now, min((at for at in _turning_points(keys) if at > now), default=_NEVER)
        self._epoch = epoch


_Unseal = Callable[[str, StoredSigningKey], jws.SigningKey]


def _public_members(key: StoredSigningKey) -> dict[str, str]:
    """Read and written anew: whatever lies in the table, only public members of keys that verify get out (JOSE-30)."""
    try:
        members = jwk.parse_public(key.public_jwk).to_jwk()
    except InvalidJwk as error:
        raise UnusableSealingKey(f"signing key {key.kid} must not be published: {error.detail}") from None
    if members.get("kid") != key.kid:  # FAPI2-JWKS-3: the table keeps its own apart, so none is published twice
        raise UnusableSealingKey(f"signing key {key.kid} must not be published: its kid is another or missing")
    return members


def _turning_points(keys: Iterable[StoredSigningKey]) -> Iterator[int]:
    """The times at which a key changes its state."""
    for key in keys:
        yield key.active_from
        if key.gone_from is not None:
            yield key.gone_from


def _active(keys: Iterable[StoredSigningKey], now: int) -> StoredSigningKey | None:
    """The last key whose time has come; when the clock was set back before the first, that first one (TIM-02)."""
    live = [key for key in keys if key.gone_from is None or now < key.gone_from]
    begun = [key for key in live if key.active_from <= now]
    return max(begun, key=_first_use) if begun else min(live, key=_first_use, default=None)


def _first_use(key: StoredSigningKey) -> tuple[int, str]:
    return key.active_from, key.kid


def _state(key: StoredSigningKey, keys: Iterable[StoredSigningKey], now: int) -> KeyState | None:
    """The state of a key; None when it is gone and no token of it can be valid any more."""
    if key.gone_from is not None and now >= key.gone_from:
        return None
    if key is _active(keys, now):
        return KeyState.ACTIVE
    return KeyState.NEXT if key.active_from > now else KeyState.RETIRING


def _listed(key: StoredSigningKey, state: KeyState) -> ListedKey:
    return ListedKey(
        kid=key.kid,
        alg=key.alg,
        state=state,
        published_at=key.published_at,
        active_from=key.active_from,
        gone_from=key.gone_from,
    )


def _associated_data(tenant: str, kid: str) -> bytes:
    return f"signing_key:{len(tenant)}:{tenant}:{kid}".encode()


def _new_private_key(alg: str) -> jws.PrivateKey:
    if alg == "ES256":
        return generate_private_key(SECP256R1())
    if alg == "PS256":
        return generate_rsa_key(_RSA_EXPONENT, _RSA_BITS)
    if alg == "Ed25519":
        return Ed25519PrivateKey.generate()
    raise ValueError(f"no signing algorithm of ours: {alg}")
