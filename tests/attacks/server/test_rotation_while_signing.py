"""Keys that rotate in the very moment in which two workers sign."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Keyring, Sealing
from fapi_as.adapters.store import migrate
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import JWKS_MAX_AGE, SIGNING_KEY_PUBLISHED_BEFORE_USE
from rs_kit.protocol import jwk, jws
from tests.support.fakes import FrozenClock

SIGNATURES = 5_000  # of each worker
ALGORITHMS = ["ES256", "Ed25519"]


def opened(url: str, clock: FrozenClock) -> Keyring:
    return Keyring.open(url, sealing=Sealing(b"s" * 32), clock=clock)


def stamp(clock: FrozenClock) -> Stamp:
    return Stamp(at=clock.now(), correlation_id="c", endpoint="keys", source="test")


def sign_and_verify(url: str, clock: FrozenClock) -> set[str]:
    """Sign as one worker does; each token must verify with the set that is fetched after it."""
    with closing(opened(url, clock)) as keyring, closing(opened(url, clock)) as other:
        signer, publisher = keyring.signer("default"), other.signer("default")
        kids: set[str] = set()
        published: dict[str, object] = {}
        keys: tuple[jwk.PublicJwk, ...] = ()
        for number in range(SIGNATURES):
            token = signer.sign({"n": number}, typ="at+jwt", alg=ALGORITHMS[number % 2])
            fetched = publisher.public_jwks()
            if fetched != published:
                published, keys = fetched, jwk.usable_keys(fetched)
            found = jws.parse_compact(
                token, algorithms=frozenset(ALGORITHMS), types=frozenset({"at+jwt"}), max_length=2048
            )
            assert jws.verify(found, keys).claims == {"n": number}
            kids.add(str(found.kid))
        return kids


@pytest.mark.attack("RAC-12")
def test_of_10_000_signatures_of_two_workers_in_rotations_each_verifies_with_the_set_fetched_after_it(
    tmp_path: Path,
) -> None:
    url, clock, done = f"sqlite:///{tmp_path}/store.db", FrozenClock(), threading.Event()
    migrate(url)
    with closing(opened(url, clock)) as operator, ThreadPoolExecutor(2) as pool:
        operator.ensure("default", stamp(clock), algorithms=ALGORITHMS)
        workers = [pool.submit(sign_and_verify, url, clock) for _ in range(2)]
        for worker in workers:
            worker.add_done_callback(lambda _: done.set())
        rotations = 0
        while not done.wait(0.05):
            alg = ALGORITHMS[rotations % 2]
            if rotations % 3 == 2:
                operator.rotate_at_once("default", stamp(clock), alg=alg)
            else:
                operator.rotate("default", stamp(clock), alg=alg)
                clock.advance(seconds(JWKS_MAX_AGE if rotations % 3 == 0 else SIGNING_KEY_PUBLISHED_BEFORE_USE))
                if rotations % 3 == 0:
                    operator.rotate("default", stamp(clock), alg=alg)
            clock.advance(60)
            rotations += 1
        kids = set().union(*(worker.result() for worker in workers))
    assert rotations >= 5
    assert len(kids) > 5
