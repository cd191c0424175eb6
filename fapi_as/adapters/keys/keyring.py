"""Signing keys: next → active → retiring, by time alone, so that all workers agree without talking to each other.

Each algorithm has a key of its own, because each client says which one it wants its signed answers in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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

from fapi_as.adapters.keys.rotation import KeyState, RotationTimes, active_key, state_of, waiting_key
from fapi_as.adapters.keys.sealing import Sealing, UnusableSealingKey
from fapi_as.adapters.keys.signer import DEFAULT_ALG, KeyringSigner, NoSigningKey
from fapi_as.adapters.store.operators import NotFound
from fapi_as.adapters.store.sealed_payload import BrokenSeal
from fapi_as.adapters.store.signing_keys import SigningKeys, SigningKeysChange, StoredSigningKey
from fapi_as.ports import Clock
from fapi_as.protocol.audit_events import Stamp
from rs_kit.protocol import jws
from rs_kit.protocol.errors import InvalidJwk

_RSA_BITS: Final = 3072
_RSA_EXPONENT: Final = 65537
_PUBLISHED_LIMIT: Final = 30  # keys; peers refuse a set of more than 32


class AlreadyRotating(Exception):
    """A next key is published and may not sign yet; the message is one sentence."""


class KeyInUse(Exception):
    """The key that signs cannot be taken away before another does; the message is one sentence."""


class TooManyKeys(Exception):
    """Peers would refuse a set of so many keys; the message is one sentence."""


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
        times: how long a key is published before and after it signs.
    """

    def __init__(
        self, signing_keys: SigningKeys, *, sealing: Sealing, clock: Clock, times: RotationTimes | None = None
    ) -> None:
        self._signing_keys = signing_keys
        self._sealing = sealing
        self._clock = clock
        self._times = times or RotationTimes()

    @classmethod
    def open(cls, url: str, *, sealing: Sealing, clock: Clock, times: RotationTimes | None = None) -> Self:
        """Open a migrated database.

        Raises:
            UnsupportedDatabase: another engine than SQLite in a file.
            UnusableDatabase: missing, unreadable, damaged, or of another schema.
        """
        return cls(SigningKeys.open(url), sealing=sealing, clock=clock, times=times)

    def ensure(self, tenant: str, stamp: Stamp, *, algorithms: Iterable[str] = (DEFAULT_ALG,)) -> None:
        """Make what is missing of the keys of a tenant, once however many ask; and see that those at hand open.

        Raises:
            UnusableSealingKey: the keys were sealed under another sealing key.
        """
        for alg in algorithms:
            if active_key(self._signing_keys.keys(tenant), alg, stamp.at) is not None:
                continue
            first = self._generate(tenant, alg, published_at=stamp.at, active_from=stamp.at)
            with self._signing_keys.change(tenant) as change:
                if active_key(change.keys, alg, stamp.at) is None:
                    change.add(first)
                    change.record(f"first key {first.kid} for {alg}", stamp)
        for key in self._signing_keys.keys(tenant):
            self._unseal(tenant, key)

    def rotate(self, tenant: str, stamp: Stamp, *, alg: str = DEFAULT_ALG) -> ListedKey:
        """Publish a next key, or let the one that waits sign from now on if peers have had time to fetch it (JOSE-34).

        What is only published becomes active by itself. The present key retires then, and is published until the last
        token that it signed has expired.

        Raises:
            AlreadyRotating: the key that waits is not published for as long as peers may keep the set before it.
            NoSigningKey: there is no key of this algorithm yet.
            TooManyKeys: too many are retiring.
            UnusableSealingKey: the present key was sealed under another sealing key; no worker could open the next.
        """
        now = stamp.at
        spare = self._spare(tenant, alg, now, active_from=now + self._times.published_before_use)
        with self._signing_keys.change(tenant) as change:
            active = self._replaceable(tenant, change, alg, now)
            waiting = waiting_key(change.keys, alg, now)
            if waiting is None:
                return self._follow(change, active, spare, stamp)
            if now - waiting.published_at < self._times.jwks_max_age:
                raise AlreadyRotating(
                    f"key {waiting.kid} is published since {waiting.published_at} and becomes active at "
                    f"{waiting.active_from}; peers may keep the set before it for {self._times.jwks_max_age} seconds"
                )
            return self._begin(change, active, waiting, stamp)

    def rotate_at_once(self, tenant: str, stamp: Stamp, *, alg: str = DEFAULT_ALG) -> ListedKey:
        """Let another key sign from now on, whatever peers have fetched: for a key that somebody else may have.

        Raises:
            NoSigningKey, TooManyKeys, UnusableSealingKey: as `rotate`.
        """
        now = stamp.at
        spare = self._spare(tenant, alg, now, active_from=now)
        with self._signing_keys.change(tenant) as change:
            active = self._replaceable(tenant, change, alg, now)
            waiting = waiting_key(change.keys, alg, now)
            if waiting is None:
                return self._follow(change, active, spare, stamp)
            return self._begin(change, active, waiting, stamp)

    def remove(self, tenant: str, kid: str, stamp: Stamp) -> None:
        """Take a key out of the set at once: whatever it signed is good nowhere, as soon as peers fetch the set anew.

        Raises:
            NotFound: there is none of this kid.
            KeyInUse: it is the one that signs.
        """
        now = stamp.at
        with self._signing_keys.change(tenant) as change:
            keys = change.keys
            key = next((key for key in keys if key.kid == kid), None)
            if key is None:
                raise NotFound(f"no signing key has the kid {kid}")
            active, state = active_key(keys, key.alg, now), state_of(key, keys, now)
            if state is KeyState.ACTIVE:
                raise KeyInUse(f"key {kid} signs; fapi-as keys rotate --alg {key.alg} --emergency replaces it first")
            if state is KeyState.NEXT and active is not None:
                change.end(active.kid, None)  # it has no successor any more
            change.delete(kid)
            change.record(f"key {kid} is removed", stamp)

    def list(self, tenant: str) -> tuple[ListedKey, ...]:
        """Every published key, by the time of its first use."""
        keys = self._signing_keys.keys(tenant)
        now = self._clock.now()
        states = ((key, state_of(key, keys, now)) for key in keys)
        return tuple(_listed(key, state) for key, state in states if state is not None)

    def signer(self, tenant: str) -> KeyringSigner:
        """The Signer port of one tenant."""
        return KeyringSigner(tenant, self._signing_keys, self._unseal, self._clock)

    def close(self) -> None:
        """Close the connection."""
        self._signing_keys.close()

    def _spare(self, tenant: str, alg: str, now: int, *, active_from: int) -> StoredSigningKey | None:
        """A key made before the transaction, since an RSA key takes its time; None where one waits already."""
        if waiting_key(self._signing_keys.keys(tenant), alg, now) is not None:
            return None
        return self._generate(tenant, alg, published_at=now, active_from=active_from)

    def _replaceable(self, tenant: str, change: SigningKeysChange, alg: str, now: int) -> StoredSigningKey:
        active = active_key(change.keys, alg, now)
        if active is None:
            raise NoSigningKey(f"tenant {tenant} has no signing key for {alg}")
        self._unseal(tenant, active)
        return active

    def _follow(
        self, change: SigningKeysChange, active: StoredSigningKey, new: StoredSigningKey | None, stamp: Stamp
    ) -> ListedKey:
        if new is None:
            raise AlreadyRotating(f"the key that waited for {active.alg} is gone in this moment; try again")
        keys, now = change.keys, stamp.at
        gone = [key.kid for key in keys if state_of(key, keys, now) is None]
        if len(keys) - len(gone) >= _PUBLISHED_LIMIT:
            raise TooManyKeys(
                f"{_PUBLISHED_LIMIT} keys are published; peers refuse a larger set, so wait or remove one"
            )
        for kid in gone:
            change.delete(kid)
        change.add(new)
        change.end(active.kid, new.active_from + self._times.kept_after_use)
        change.record(f"key {active.kid} is followed by {new.kid} from {new.active_from}", stamp)
        return _listed(new, KeyState.ACTIVE if new.active_from <= now else KeyState.NEXT)

    def _begin(
        self, change: SigningKeysChange, active: StoredSigningKey, waiting: StoredSigningKey, stamp: Stamp
    ) -> ListedKey:
        change.begin(waiting.kid, stamp.at)
        change.end(active.kid, stamp.at + self._times.kept_after_use)
        change.record(f"key {active.kid} is followed by {waiting.kid} from {stamp.at}", stamp)
        begun = next(key for key in change.keys if key.kid == waiting.kid)
        return _listed(begun, KeyState.ACTIVE)

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
