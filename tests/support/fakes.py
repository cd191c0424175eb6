"""Fakes of the ports: time that a test moves, randomness with a seed, a signer with a fixed key, passwords in clear."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from fapi_as.adapters.client_documents import NoDocuments
from fapi_as.adapters.client_keys import RegisteredKeys
from fapi_as.adapters.store import SharedCheck
from fapi_as.adapters.tls.client_trust import NoTrust
from fapi_as.kernel import capabilities
from fapi_as.kernel.seam import Context, Feature
from fapi_as.ports import CertificateTrust
from fapi_as.protocol.errors import StorageUnavailable, TooManyAtOnce, TooManyRequests
from fapi_as.protocol.policy import Policy
from rs_kit.protocol import base64url
from rs_kit.protocol.algorithms import canonical
from rs_kit.protocol.dpop import ProofKeys
from rs_kit.protocol.jws import SigningKey
from tests.support.fake_fetch import FakeFetch
from tests.support.memory_store import MemoryStore
from tests.support.peer_keys import PeerKey

NOW: Final = 1_800_000_000
ISSUER: Final = "https://as.example"
NONCE_KEY: Final = b"n" * 32
BROWSER_KEY: Final = b"b" * 32
PAIRWISE_KEY: Final = b"p" * 32


class FrozenClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: int = NOW) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def advance(self, duration: timedelta | int) -> int:
        """Move on and tell the new time; a number is seconds."""
        self._now += int(duration.total_seconds()) if isinstance(duration, timedelta) else duration
        return self._now


class SeededEntropy:
    """Strings that look random, differ from each other and come again with the same seed."""

    def __init__(self, seed: str = "seed") -> None:
        self._seed = seed
        self._drawn = 0

    def handle(self) -> str:
        return base64url.encode(self._next())

    def identifier(self) -> str:
        return base64url.encode(self._next()[:16])

    def _next(self) -> bytes:
        self._drawn += 1
        return hashlib.sha256(f"{self._seed}:{self._drawn}".encode()).digest()


class FakeSigner:
    """A real ES256 key with a fixed secret, and one for each other algorithm; `signed` keeps what was signed.

    `unable = True` makes every signature fail.
    """

    def __init__(self, *, kid: str = "signer-1", secret: int = 0x5EC2E7) -> None:
        self.key = SigningKey.from_private_key(ec.derive_private_key(secret, ec.SECP256R1()), kid=kid)
        self.signed: list[tuple[str, Mapping[str, object]]] = []
        self.unable = False

    def sign(self, claims: Mapping[str, object], *, typ: str, alg: str | None = None) -> str:
        if self.unable:
            raise StorageUnavailable("no signature")
        self.signed.append((typ, claims))
        key = self.key if alg is None else self._keys()[canonical(alg)]
        return key.sign_segment(key.header_segment(typ, alg), claims)

    def public_jwks(self) -> dict[str, object]:
        return {"keys": [{**key.public_jwk(), "use": "sig", "alg": key.alg} for key in self._keys().values()]}

    def _keys(self) -> dict[str, SigningKey]:
        others = (PeerKey.ps256(index=77), PeerKey.ed25519(seed=77))
        keys = [self.key, *(SigningKey.from_private_key(peer.private, kid=f"signer-{peer.alg}") for peer in others)]
        return {key.alg: key for key in keys}


class PlainPasswords:
    """Passwords without argon2id: the hash is the password behind a prefix; `asked` counts what would have cost time.

    `full = True` makes every question raise TooManyRequests, as a full queue does.
    """

    def __init__(self) -> None:
        self.full = False
        self.asked: list[str | None] = []

    @staticmethod
    def hash(password: str) -> str:
        """What to put into `password_hash`."""
        return f"plain:{password}"

    async def matches(self, password_hash: str | None, password: str) -> bool:
        self.asked.append(password_hash)
        if self.full:
            raise TooManyRequests("the pool's queue is full")
        return password_hash == self.hash(password)


class Turns:
    """It is everybody's turn once `meanwhile` has happened; `parties` took one. With `full` nobody may wait."""

    def __init__(self) -> None:
        self.full = False
        self.parties: list[str] = []
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def take(self, party: str) -> None:
        if self.full:
            raise TooManyAtOnce("too many wait for their turn")
        self.parties.append(party)
        happens, self.meanwhile = self.meanwhile, None
        await asyncio.sleep(0)
        if happens is not None:
            await happens()


def context(
    store: MemoryStore | None = None,
    *,
    policy: Policy | None = None,
    signer: FakeSigner | None = None,
    entropy: SeededEntropy | None = None,
    passwords: PlainPasswords | None = None,
    certificate_trust: CertificateTrust | None = None,
    features: tuple[Feature, ...] | None = None,
) -> Context:
    """A Context over fakes: every enabled feature, tenant `default`, issuer https://as.example."""
    if features is None:
        from fapi_as.features import ENABLED  # noqa: PLC0415 - a test of one part does not load them all

        features = ENABLED
    store = store if store is not None else MemoryStore()
    return Context(
        policy=policy or Policy(tenant="default", issuer=ISSUER),
        store=store,
        store_check=SharedCheck(store),
        signer=signer or FakeSigner(),
        entropy=entropy or SeededEntropy(),
        passwords=passwords or PlainPasswords(),
        client_keys=RegisteredKeys(),
        client_documents=NoDocuments(),
        certificate_trust=certificate_trust or NoTrust(),
        registration_turns=Turns(),
        fetch=FakeFetch(),
        proof_keys=ProofKeys(),
        nonce_key=NONCE_KEY,
        browser_key=BROWSER_KEY,
        pairwise_key=PAIRWISE_KEY,
        features=features,
        grants=capabilities.grants(features),
    )
