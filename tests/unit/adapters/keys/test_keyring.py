"""Signing keys move from next to active to retiring by time alone."""

from __future__ import annotations

import base64
import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fapi_as.adapters.keys import (
    AlreadyRotating,
    KeyInUse,
    Keyring,
    KeyState,
    NoSigningKey,
    RotationTimes,
    Sealing,
    TooManyKeys,
    UnusableSealingKey,
)
from fapi_as.adapters.store import NotFound, Operators, migrate
from fapi_as.protocol.audit_events import AuditEvent, Stamp
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import (
    ACCESS_TOKEN_CEILING,
    JWKS_MAX_AGE,
    SIGNING_KEY_KEPT_AFTER_USE,
    SIGNING_KEY_PUBLISHED_BEFORE_USE,
)
from rs_kit.protocol import jwk, jws
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS
from rs_kit.protocol.errors import InvalidJws
from tests.support.fakes import FrozenClock

TYPE = "at+jwt"


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    migrate(f"sqlite:///{path}")
    return path


def opened(path: Path, clock: FrozenClock, key: bytes = b"s" * 32) -> Keyring:
    return Keyring.open(f"sqlite:///{path}", sealing=Sealing(key), clock=clock)


@pytest.fixture
def keyring(path: Path, clock: FrozenClock) -> Iterator[Keyring]:
    keyring = opened(path, clock)
    yield keyring
    keyring.close()


def stamp(clock: FrozenClock) -> Stamp:
    return Stamp(at=clock.now(), correlation_id="c", endpoint="keys rotate", source="command line")


def states(keyring: Keyring, tenant: str = "default") -> list[KeyState]:
    return [key.state for key in keyring.list(tenant)]


def verifies(token: str, jwks: object) -> bool:
    unverified = jws.parse_compact(
        token, algorithms=frozenset({"ES256", "PS256", "Ed25519"}), types=frozenset({TYPE}), max_length=4096
    )
    try:
        jws.verify(unverified, jwk.usable_keys(jwks))
    except InvalidJws:
        return False
    return True


def kid(token: str) -> str:
    segment = token.split(".", maxsplit=1)[0]
    header: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return str(header["kid"])


def test_the_first_key_is_made_once_and_signs_at_once(keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock))
    keyring.ensure("default", stamp(clock))
    (key,) = keyring.list("default")
    assert (key.alg, key.state) == ("ES256", KeyState.ACTIVE)
    signer = keyring.signer("default")
    token = signer.sign({"sub": "alice"}, typ=TYPE)
    assert kid(token) == key.kid
    assert verifies(token, signer.public_jwks())


@pytest.mark.requirement("JOSE-30", proves="holds")
def test_the_published_set_is_public_with_unique_kids_use_and_alg(keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock))
    keyring.rotate("default", stamp(clock))
    keys: Any = keyring.signer("default").public_jwks()["keys"]
    assert len({key["kid"] for key in keys}) == len(keys) == 2
    for key in keys:
        assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        assert (key["use"], key["alg"]) == ("sig", "ES256")
        assert key["kid"] == jwk.parse_public(key).thumbprint


def test_nobody_rotates_under_another_sealing_key_than_the_workers_have(
    path: Path, keyring: Keyring, clock: FrozenClock
) -> None:
    keyring.ensure("default", stamp(clock))
    signer = keyring.signer("default")
    with closing(opened(path, clock, key=b"o" * 32)) as swapped, pytest.raises(UnusableSealingKey):
        swapped.rotate("default", stamp(clock))
    clock.advance(SIGNING_KEY_PUBLISHED_BEFORE_USE)
    assert verifies(signer.sign({}, typ=TYPE), signer.public_jwks())  # the worker goes on
    assert states(keyring) == [KeyState.ACTIVE]


def test_racing_starts_make_one_key(path: Path, clock: FrozenClock) -> None:
    barrier = threading.Barrier(8)

    def start(_: int) -> None:
        with closing(opened(path, clock)) as keyring:
            barrier.wait(10)
            keyring.ensure("default", stamp(clock))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, range(8)))
    with closing(opened(path, clock)) as keyring:
        assert len(keyring.list("default")) == 1
    facts = Operators.open(f"sqlite:///{path}", "default").audit()
    assert [row.fact.event for row in facts] == [AuditEvent.KEY_CHANGED]


@pytest.mark.requirement("JOSE-34", proves="holds")
def test_a_new_key_is_published_before_its_use_and_the_old_one_after(keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock))
    signer = keyring.signer("default")
    clock.advance(86_400)
    new = keyring.rotate("default", stamp(clock))
    assert states(keyring) == [KeyState.ACTIVE, KeyState.NEXT]
    fetched = signer.public_jwks()  # what a peer may keep until the very last moment
    clock.advance(SIGNING_KEY_PUBLISHED_BEFORE_USE)
    clock.advance(-1)
    last_of_old = signer.sign({}, typ=TYPE)
    assert kid(last_of_old) != new.kid
    clock.advance(1)
    first_of_new = signer.sign({}, typ=TYPE)
    assert kid(first_of_new) == new.kid
    assert verifies(first_of_new, fetched)
    assert states(keyring) == [KeyState.RETIRING, KeyState.ACTIVE]
    clock.advance(ACCESS_TOKEN_CEILING)  # the longest life of what the old key signed last
    assert verifies(last_of_old, signer.public_jwks())


@pytest.mark.requirement("JOSE-34", proves="refused")
def test_a_token_of_a_key_that_is_gone_verifies_with_nothing_we_publish(keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock))
    signer = keyring.signer("default")
    token = signer.sign({}, typ=TYPE)
    keyring.rotate("default", stamp(clock))
    clock.advance(SIGNING_KEY_PUBLISHED_BEFORE_USE + SIGNING_KEY_KEPT_AFTER_USE)
    assert not verifies(token, signer.public_jwks())
    assert states(keyring) == [KeyState.ACTIVE]
    assert verifies(signer.sign({}, typ=TYPE), signer.public_jwks())


def test_the_next_rotation_deletes_the_private_key_that_is_gone(
    path: Path, keyring: Keyring, clock: FrozenClock
) -> None:
    keyring.ensure("default", stamp(clock))
    for _ in range(4):
        keyring.rotate("default", stamp(clock))
        clock.advance(SIGNING_KEY_PUBLISHED_BEFORE_USE + SIGNING_KEY_KEPT_AFTER_USE)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM signing_key").fetchone() == (2,)


def test_a_key_that_waits_is_not_followed_by_another(keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock))
    new = keyring.rotate("default", stamp(clock))
    with pytest.raises(AlreadyRotating, match=new.kid):
        keyring.rotate("default", stamp(clock))
    clock.advance(SIGNING_KEY_PUBLISHED_BEFORE_USE)
    keyring.rotate("default", stamp(clock))
    assert states(keyring) == [KeyState.RETIRING, KeyState.ACTIVE, KeyState.NEXT]


@pytest.mark.parametrize("alg", ["PS256", "Ed25519"])
def test_each_algorithm_rotates_by_itself(keyring: Keyring, clock: FrozenClock, alg: str) -> None:
    keyring.ensure("default", stamp(clock), algorithms=["ES256", alg])
    signer = keyring.signer("default")
    before, default = signer.sign({}, typ=TYPE, alg=alg), kid(signer.sign({}, typ=TYPE))
    assert keyring.rotate("default", stamp(clock), alg=alg).alg == alg
    clock.advance(SIGNING_KEY_PUBLISHED_BEFORE_USE)
    after = signer.sign({"sub": "alice"}, typ=TYPE, alg=alg)
    assert kid(after) != kid(before)
    assert kid(signer.sign({}, typ=TYPE)) == default
    for token in (before, after):
        assert verifies(token, signer.public_jwks())


def test_a_key_is_chosen_by_either_name_of_its_algorithm(keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock), algorithms=["ES256", "Ed25519"])
    signer = keyring.signer("default")
    assert kid(signer.sign({}, typ=TYPE, alg="EdDSA")) == kid(signer.sign({}, typ=TYPE, alg="Ed25519"))
    assert kid(signer.sign({}, typ=TYPE, alg="ES256")) == kid(signer.sign({}, typ=TYPE))
    with pytest.raises(NoSigningKey, match="PS256"):
        signer.sign({}, typ=TYPE, alg="PS256")
    with pytest.raises(NoSigningKey, match="PS256"):
        keyring.rotate("default", stamp(clock), alg="PS256")


def test_a_database_of_one_key_gets_those_that_are_missing_and_keeps_its_own(
    keyring: Keyring, clock: FrozenClock
) -> None:
    keyring.ensure("default", stamp(clock))
    (first,) = keyring.list("default")
    for _ in range(2):
        keyring.ensure("default", stamp(clock), algorithms=SIGNING_ALGORITHMS)
    listed = keyring.list("default")
    assert sorted(key.alg for key in listed) == ["ES256", "Ed25519", "PS256"]
    assert {key.state for key in listed} == {KeyState.ACTIVE}
    assert first in listed


def test_an_unknown_algorithm_makes_no_key(keyring: Keyring, clock: FrozenClock) -> None:
    with pytest.raises(ValueError, match="RS256"):
        keyring.ensure("default", stamp(clock), algorithms=["RS256"])
    assert keyring.list("default") == ()


def test_workers_notice_a_rotation_by_another_process(path: Path, keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock))
    with closing(opened(path, clock)) as worker:
        signer = worker.signer("default")
        signer.sign({}, typ=TYPE)
        new = keyring.rotate("default", stamp(clock))
        keys: Any = signer.public_jwks()["keys"]
        assert new.kid in {key["kid"] for key in keys}
        clock.advance(SIGNING_KEY_PUBLISHED_BEFORE_USE)
        assert kid(signer.sign({}, typ=TYPE)) == new.kid


@pytest.mark.attack("TIM-02")
def test_a_clock_that_is_set_back_still_finds_a_key(keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock))
    signer = keyring.signer("default")
    clock.advance(-3600)
    token = signer.sign({}, typ=TYPE)
    assert verifies(token, signer.public_jwks())
    assert states(keyring) == [KeyState.ACTIVE]


def test_tenants_have_their_own_keys(keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock))
    keyring.ensure("other", stamp(clock))
    token = keyring.signer("default").sign({}, typ=TYPE)
    assert not verifies(token, keyring.signer("other").public_jwks())
    keyring.rotate("other", stamp(clock))
    assert (len(keyring.list("default")), len(keyring.list("other"))) == (1, 2)


def test_a_tenant_without_a_key_neither_signs_nor_rotates(keyring: Keyring, clock: FrozenClock) -> None:
    signer = keyring.signer("default")
    assert signer.public_jwks() == {"keys": []}
    with pytest.raises(NoSigningKey):
        signer.sign({}, typ=TYPE)
    with pytest.raises(NoSigningKey):
        keyring.rotate("default", stamp(clock))
    keyring.ensure("default", stamp(clock))
    assert verifies(signer.sign({}, typ=TYPE), signer.public_jwks())


def test_another_sealing_key_is_noticed_at_start(path: Path, keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", stamp(clock))
    with closing(opened(path, clock, b"another".ljust(32))) as other:
        with pytest.raises(UnusableSealingKey, match="another sealing key"):
            other.ensure("default", stamp(clock))
        with pytest.raises(UnusableSealingKey):
            other.signer("default").sign({}, typ=TYPE)


def test_a_private_key_does_not_lie_open_and_fits_its_own_row_only(
    path: Path, keyring: Keyring, clock: FrozenClock
) -> None:
    keyring.ensure("default", stamp(clock))
    keyring.ensure("other", stamp(clock))
    with closing(sqlite3.connect(path)) as connection, connection:
        for (sealed,) in connection.execute("SELECT sealed_private_key FROM signing_key"):
            assert b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01" not in sealed  # the object identifier of an EC key
        connection.execute(
            "UPDATE signing_key SET sealed_private_key ="
            " (SELECT sealed_private_key FROM signing_key WHERE tenant = 'other')"
        )
    with pytest.raises(UnusableSealingKey):
        keyring.signer("default").sign({}, typ=TYPE)


def test_every_change_of_keys_is_evidenced(path: Path, keyring: Keyring, clock: FrozenClock) -> None:
    keyring.ensure("default", replace(stamp(clock), correlation_id="start"))
    keyring.rotate("default", replace(stamp(clock), correlation_id="rotation"))
    facts = Operators.open(f"sqlite:///{path}", "default").audit()
    assert [(row.fact.event, row.stamp.correlation_id) for row in facts] == [
        (AuditEvent.KEY_CHANGED, "start"),
        (AuditEvent.KEY_CHANGED, "rotation"),
    ]


def test_a_key_is_kept_longer_than_the_longest_token_lives() -> None:
    assert seconds(SIGNING_KEY_KEPT_AFTER_USE) > seconds(ACCESS_TOKEN_CEILING)


# --- rotated by hand, in a hurry, and after a theft

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
