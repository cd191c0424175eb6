"""Signing keys move from next to active to retiring by time alone."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fapi_as.adapters.keys import (
    AlreadyRotating,
    Keyring,
    KeyState,
    NoSigningKey,
    UnusableSealingKey,
)
from fapi_as.adapters.store import Operators
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import (
    ACCESS_TOKEN_CEILING,
    SIGNING_KEY_KEPT_AFTER_USE,
    SIGNING_KEY_PUBLISHED_BEFORE_USE,
)
from rs_kit.protocol import jwk
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS
from tests.support.fakes import FrozenClock
from tests.support.keyring_scene import TYPE, header, kid, opened, stamp, states, verifies


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
    assert [header(signer.sign({}, typ=TYPE, alg=alg))["alg"] for alg in ("EdDSA", "Ed25519")] == ["EdDSA", "Ed25519"]
    assert verifies(signer.sign({}, typ=TYPE, alg="EdDSA"), signer.public_jwks())
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
