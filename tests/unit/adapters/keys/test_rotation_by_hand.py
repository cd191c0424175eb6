"""Signing keys that an operator rotates: when peers know the next one, in an emergency, and after a theft."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from fapi_as.adapters.keys import AlreadyRotating, KeyInUse, Keyring, KeyState, RotationTimes, Sealing, TooManyKeys
from fapi_as.adapters.store import NotFound
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import (
    ACCESS_TOKEN_CEILING,
    JWKS_MAX_AGE,
    SIGNING_KEY_KEPT_AFTER_USE,
    SIGNING_KEY_PUBLISHED_BEFORE_USE,
)
from rs_kit.protocol import jwk
from tests.support.fakes import FrozenClock
from tests.support.keyring_scene import TYPE, kid, opened, stamp, states, verifies

MAX_AGE = seconds(JWKS_MAX_AGE)


def test_a_key_that_waits_signs_when_it_is_told_to_once_peers_had_time_to_fetch_it(
    keyring: Keyring, clock: FrozenClock
) -> None:
    keyring.ensure("default", stamp(clock))
    signer = keyring.signer("default")
    old = signer.sign({}, typ=TYPE)
    new = keyring.rotate("default", stamp(clock))
    clock.advance(MAX_AGE - 1)
    with pytest.raises(AlreadyRotating, match=new.kid):
        keyring.rotate("default", stamp(clock))
    assert kid(signer.sign({}, typ=TYPE)) == kid(old)
    clock.advance(1)
    begun = keyring.rotate("default", stamp(clock))
    assert (begun.kid, begun.state, begun.active_from) == (new.kid, KeyState.ACTIVE, clock.now())
    assert kid(signer.sign({}, typ=TYPE)) == new.kid
    assert states(keyring) == [KeyState.RETIRING, KeyState.ACTIVE]
    clock.advance(ACCESS_TOKEN_CEILING)
    assert verifies(old, signer.public_jwks())
    clock.advance(SIGNING_KEY_KEPT_AFTER_USE - ACCESS_TOKEN_CEILING)
    assert not verifies(old, signer.public_jwks())


@pytest.mark.parametrize("waiting", [False, True])
def test_in_an_emergency_another_key_signs_in_this_second(keyring: Keyring, clock: FrozenClock, waiting: bool) -> None:
    keyring.ensure("default", stamp(clock))
    signer = keyring.signer("default")
    old = signer.sign({}, typ=TYPE)
    published = keyring.rotate("default", stamp(clock)).kid if waiting else None
    new = keyring.rotate_at_once("default", stamp(clock))
    assert new.state is KeyState.ACTIVE
    assert published in {None, new.kid}
    assert kid(signer.sign({}, typ=TYPE)) == new.kid
    assert sorted(states(keyring)) == [KeyState.ACTIVE, KeyState.RETIRING]
    assert verifies(old, signer.public_jwks())


def test_a_removed_key_verifies_nothing_from_this_second_on(path: Path, keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock))
    signer = keyring.signer("default")
    stolen = signer.sign({}, typ=TYPE)
    with pytest.raises(KeyInUse, match="--emergency"):
        keyring.remove("default", kid(stolen), stamp(clock))
    assert verifies(stolen, signer.public_jwks())
    new = keyring.rotate_at_once("default", stamp(clock))
    keyring.remove("default", kid(stolen), stamp(clock))
    assert not verifies(stolen, signer.public_jwks())
    assert [key.kid for key in keyring.list("default")] == [new.kid]
    assert kid(signer.sign({}, typ=TYPE)) == new.kid
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT kid FROM signing_key").fetchall() == [(new.kid,)]
    with pytest.raises(NotFound):
        keyring.remove("default", kid(stolen), stamp(clock))


def test_a_next_key_that_is_removed_never_signs_and_the_present_one_goes_on(
    keyring: Keyring, clock: FrozenClock
) -> None:
    keyring.ensure("default", stamp(clock))
    signer = keyring.signer("default")
    present = kid(signer.sign({}, typ=TYPE))
    keyring.remove("default", keyring.rotate("default", stamp(clock)).kid, stamp(clock))
    clock.advance(SIGNING_KEY_PUBLISHED_BEFORE_USE + SIGNING_KEY_KEPT_AFTER_USE)
    assert kid(signer.sign({}, typ=TYPE)) == present
    assert states(keyring) == [KeyState.ACTIVE]
    assert keyring.rotate("default", stamp(clock)).state is KeyState.NEXT


def test_a_key_of_another_tenant_is_not_removed(keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock))
    keyring.ensure("other", stamp(clock))
    keyring.rotate_at_once("other", stamp(clock))
    old = next(key for key in keyring.list("other") if key.state is KeyState.RETIRING)
    with pytest.raises(NotFound):
        keyring.remove("default", old.kid, stamp(clock))
    assert old in keyring.list("other")


def test_a_set_grows_no_larger_than_peers_take(keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock))
    for _ in range(29):
        keyring.rotate_at_once("default", stamp(clock))
    for rotate in (keyring.rotate, keyring.rotate_at_once):
        with pytest.raises(TooManyKeys):
            rotate("default", stamp(clock))
    jwks = keyring.signer("default").public_jwks()
    assert len(jwk.usable_keys(jwks)) == 30
    clock.advance(SIGNING_KEY_KEPT_AFTER_USE)
    keyring.rotate("default", stamp(clock))


def test_shorter_times_are_those_of_the_configuration(path: Path, clock: FrozenClock) -> None:
    times = RotationTimes(jwks_max_age=3, published_before_use=4)
    with closing(Keyring.open(f"sqlite:///{path}", sealing=Sealing(b"s" * 32), clock=clock, times=times)) as keyring:
        keyring.ensure("default", stamp(clock))
        signer = keyring.signer("default")
        new = keyring.rotate("default", stamp(clock))
        clock.advance(3)
        assert kid(signer.sign({}, typ=TYPE)) != new.kid
        clock.advance(1)
        assert kid(signer.sign({}, typ=TYPE)) == new.kid


def test_racing_rotations_publish_one_key(path: Path, keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock))
    barrier = threading.Barrier(8)

    def rotate(_: int) -> str:
        with closing(opened(path, clock)) as mine:
            barrier.wait(10)
            try:
                return mine.rotate("default", stamp(clock)).state
            except AlreadyRotating:
                return "refused"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(rotate, range(8)))
    assert sorted(outcomes) == ["next"] + ["refused"] * 7
    assert states(keyring) == [KeyState.ACTIVE, KeyState.NEXT]
