"""What the rules' shell needs from outside: named security operations, no CRUD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.authorization import LiveAuthorization
from fapi_as.protocol.client import ClientKeySet, RegisteredClient
from fapi_as.protocol.decisions import Decision
from fapi_as.protocol.effects import Attempt, HandleKind, Register
from fapi_as.protocol.fetched_document import FetchedDocument
from fapi_as.protocol.handles import KeptHandle
from fapi_as.protocol.registration import InitialAccessToken, KeptRegistration, TrustedAuthority
from fapi_as.protocol.resource import RegisteredResource
from fapi_as.protocol.user import RegisteredUser
from rs_kit.protocol.jwk import PublicJwk


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> int:
        """Seconds since the epoch (RFC 7519 NumericDate)."""
        ...


class Entropy(Protocol):
    """The only source of randomness."""

    def handle(self) -> str:
        """A fresh URL-safe string with 256 bits of entropy (FAPI2-CR-6)."""
        ...

    def identifier(self) -> str:
        """A fresh URL-safe string with 128 bits of entropy, for names that are not credentials."""
        ...


class Reading(Protocol):
    """What `load` may ask; bound to one tenant. Disabled or removed rows are absent.

    Every method raises StorageUnavailable when the store cannot answer.
    """

    async def client(self, client_id: str) -> RegisteredClient | None:
        """The live client with this id, as today's policy of its approver leaves it."""
        ...

    async def registration(self, client_id: str) -> KeptRegistration | None:
        """The live client with this id as it was registered, where it has a registration access token."""
        ...

    async def authority(self, issuer: str) -> TrustedAuthority | None:
        """The authority with this `iss`, unless it is suspended."""
        ...

    async def initial_access_token(self, digest: bytes) -> InitialAccessToken | None:
        """The initial access token with this digest, used up or over or not, unless it is revoked."""
        ...

    async def is_withdrawn(self, issuer: str, jti: str, software_id: str) -> bool:
        """Whether a statement of this authority, or the software that it is about, was revoked here."""
        ...

    async def is_blocked(self, client_id: str) -> bool:
        """Whether a client that has a metadata document may not be used here."""
        ...

    async def resource(self, resource: str) -> RegisteredResource | None:
        """The live resource with this URI."""
        ...

    async def resources(self) -> tuple[RegisteredResource, ...]:
        """All live resources."""
        ...

    async def handle(self, kind: HandleKind, digest: bytes) -> KeptHandle | None:
        """A handle of this kind, spent or not, as long as its row is kept; looking does not spend."""
        ...

    async def authorization(self, authorization_id: str, now: int) -> LiveAuthorization | None:
        """An authorization that has not ended: not revoked, and not over."""
        ...

    async def is_allowed_something(self, client_id: str, now: int) -> bool:
        """Whether a client with this id has an authorization that has not ended."""
        ...

    async def has_room(self, effect: Attempt | Register, now: int) -> bool:
        """Whether this would find room now; only the transaction decides, and what has none needs no transaction.

        Where to look would take long, there is room.
        """
        ...

    async def user_named(self, username: str) -> RegisteredUser | None:
        """The user with this name, disabled ones too (the caller decides after the password)."""
        ...

    async def user(self, subject: str) -> RegisteredUser | None:
        """The live user with this subject."""
        ...


class Store(Protocol):
    """Reading, and the one way to change anything."""

    @property
    def reading(self) -> Reading:
        """The reads of this tenant."""
        ...

    async def commit(self, decision: Decision, stamp: Stamp) -> Decision:
        """Apply a decision in one transaction and give the decision that came true.

        Raises:
            StorageUnavailable: nothing was changed.
        """
        ...


class StoreCheck(Protocol):
    """Whether one tenant's store works; however often it is asked, it costs next to nothing."""

    async def require(self, stamp: Stamp) -> None:
        """Let those go on who may rely on the store.

        Raises:
            StorageUnavailable: it cannot be read, or not be written.
        """
        ...


class Signer(Protocol):
    """Signs with the active key of this tenant; private keys never leave the adapter."""

    def sign(self, claims: Mapping[str, object], *, typ: str, alg: str | None = None) -> str:
        """A compact JWS over `claims` with the active key of this algorithm, of the default one without it."""
        ...

    def public_jwks(self) -> dict[str, object]:
        """The RFC 7517 set of next, active and retiring public keys."""
        ...


class PublishesKeys(Protocol):
    """Whoever has keys by value or by reference: a client, or an authority that signs software statements."""

    @property
    def key_owner(self) -> str:
        """A name that no other owner has."""
        ...

    @property
    def version(self) -> int:
        """Changes with everything that was registered."""
        ...

    @property
    def keys(self) -> tuple[PublicJwk, ...]:
        """The keys by value."""
        ...

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The certificates of the keys by value, DER."""
        ...

    @property
    def jwks_uri(self) -> str | None:
        """Where the keys are published instead."""
        ...


class ClientKeys(Protocol):
    """What somebody registered as keys, by value or by reference."""

    async def keys(self, owner: PublishesKeys, kid: str | None) -> ClientKeySet:
        """The keys and certificates as they are now; `kid` is the one that is looked for, where a message names one.

        Raises:
            KeysUnavailable: they are behind a jwks_uri that cannot be had now.
        """
        ...


class ClientDocuments(Protocol):
    """Clients whose client_id is the URL of a metadata document, in the eyes of one tenant (CIMD)."""

    async def client(self, client_id: str, *, is_proved: bool = False) -> RegisteredClient:
        """The client that the document describes now.

        With `is_proved` its keys have signed what it is asked for, and no stranger has merely named it.

        Raises:
            ClientUnavailable: there is none that may be used here.
            TooManyRequests: too much is being asked for of its host, or of all.
        """
        ...


class CertificateTrust(Protocol):
    """Whom one tenant trusts to certify clients (RFC 8705 §2.1)."""

    def refusal(self, leaf: bytes, chain: tuple[bytes, ...], now: int) -> str | None:
        """The private reason why this certificate (DER, with what else the peer sent) proves nobody, or None."""
        ...


class Passwords(Protocol):
    """argon2id on a bounded pool."""

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is right; None costs the same time and is never right.

        Raises:
            TooManyRequests: the pool's queue is full.
        """
        ...


class Turns(Protocol):
    """Work that is dear and rare waits for its turn, so that it does not hold up what is cheap and frequent."""

    async def take(self, party: str) -> None:
        """Come back when it is the caller's turn; `party` is whoever must not take the places of all others.

        Raises:
            TooManyAtOnce: too many are waiting, of all or of this party.
        """
        ...


class Fetch(Protocol):
    """The only way to a URL that somebody else chose: https, public addresses, no redirects, bounded."""

    async def get(self, url: str, *, max_bytes: int, entity_tag: str | None = None) -> FetchedDocument:
        """The JSON document there, of at most `max_bytes`, within five seconds.

        With the `entity_tag` of the one that is at hand, the answer may be that this still is the one (RFC 9110 §13).

        Raises:
            FetchFailed: the URL may not be fetched, or nothing good came from it.
        """
        ...
