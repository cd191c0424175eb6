"""argon2id: right, wrong and nobody cost the same, and the pool is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from fapi_as.adapters.passwords import Argon2Passwords, PasswordCost
from fapi_as.protocol.errors import TooManyRequests

CHEAP = PasswordCost(memory_kibibytes=64, passes=1)


@pytest.fixture
def passwords() -> Iterator[Argon2Passwords]:
    passwords = Argon2Passwords(CHEAP)
    yield passwords
    passwords.close()


async def test_the_right_password_matches_and_no_other(passwords: Argon2Passwords) -> None:
    stored = passwords.hash("correct horse")
    assert stored.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert passwords.hash("correct horse") != stored
    assert await passwords.matches(stored, "correct horse")
    for wrong in ("correct hors", "correct horse ", "", "\ud800"):
        assert not await passwords.matches(stored, wrong)


async def test_a_password_may_be_any_text(passwords: Argon2Passwords) -> None:
    for password in ("", "\0", "\ud800", "päßwörd 🔑", "x" * 70_000):
        assert await passwords.matches(passwords.hash(password), password)


async def test_nobody_is_verified_at_the_cost_of_a_real_hash(passwords: Argon2Passwords) -> None:
    nobody, somebody = passwords._nobody, passwords.hash("x")
    assert nobody.rsplit("$", 2)[0] == somebody.rsplit("$", 2)[0]  # variant, version and cost
    assert [len(part) for part in nobody.split("$")] == [len(part) for part in somebody.split("$")]
    # a real verification, not a parse error: argon2 compares a digest and finds another
    assert passwords._hasher.verify(somebody, "x")
    with pytest.raises(Exception, match="does not match"):
        passwords._hasher.verify(nobody, "x")
    for password in ("", "x"):
        assert not await passwords.matches(None, password)


@pytest.mark.parametrize("broken", ["", "plain", "$argon2id$v=19$m=64,t=1,p=1$AAAA", "$2b$12$abcdefghijklmnopqrstuv"])
async def test_a_stored_value_that_is_no_hash_matches_nothing(passwords: Argon2Passwords, broken: str) -> None:
    assert not await passwords.matches(broken, broken)


async def test_more_guesses_than_the_pool_holds_are_refused_at_once() -> None:
    release = threading.Event()

    class Slow(Argon2Passwords):
        def _verify(self, password_hash: str, password: str) -> bool:
            return release.wait(10)

    passwords = Slow(CHEAP, threads=1, waiting_limit=2)
    waiting = [asyncio.ensure_future(passwords.matches("hash", "x")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests):
        await passwords.matches("hash", "x")
    waiting[2].cancel()  # it goes away while it waits: there is room for another
    await asyncio.gather(waiting[2], return_exceptions=True)
    another = asyncio.ensure_future(passwords.matches("hash", "x"))
    waiting[0].cancel()  # it goes away while it runs: a hash that runs cannot be stopped, so there is none
    await asyncio.gather(waiting[0], return_exceptions=True)
    with pytest.raises(TooManyRequests):
        await passwords.matches("hash", "x")
    release.set()
    assert await asyncio.gather(waiting[1], another) == [True, True]
    passwords.close()


def test_new_hashes_cost_what_rfc_9106_recommends() -> None:
    passwords = Argon2Passwords()
    assert passwords._nobody.startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    passwords.close()
