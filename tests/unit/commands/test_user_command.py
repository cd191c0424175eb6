"""`fapi-as user`: people with passwords that nobody else sees."""

from __future__ import annotations

import pytest

from fapi_as.adapters.passwords import Argon2Passwords
from fapi_as.adapters.store.reading import Reader, SqliteReading
from tests.support.command_line import PASSWORD, CommandLine


@pytest.fixture
def alice(place: CommandLine) -> CommandLine:
    place.json("user", "add", "alice", "--password-stdin", stdin=PASSWORD + "\n")
    return place


async def _hash_of(place: CommandLine, name: str) -> str:
    reader = Reader(place.directory / "fapi-as.db")
    try:
        user = await SqliteReading("default", reader, None).user_named(name)  # type: ignore[arg-type] # nothing is sealed
    finally:
        reader.close()
    assert user is not None
    return user.password_hash


async def _matches(place: CommandLine, name: str, password: str) -> bool:
    passwords = Argon2Passwords()
    try:
        return await passwords.matches(await _hash_of(place, name), password)
    finally:
        passwords.close()


async def test_the_password_from_stdin_is_the_one_that_signs_in(alice: CommandLine) -> None:
    assert await _matches(alice, "alice", PASSWORD)
    assert not await _matches(alice, "alice", PASSWORD + "\n")


async def test_the_password_is_kept_as_argon2id_and_never_in_clear(alice: CommandLine) -> None:
    assert (await _hash_of(alice, "alice")).startswith("$argon2id$")
    for path in alice.directory.glob("fapi-as.db*"):
        assert PASSWORD.encode() not in path.read_bytes()


def test_nothing_that_is_printed_shows_the_password_or_its_hash(alice: CommandLine) -> None:
    for arguments in (["user", "list"], ["user", "list", "--json"], ["audit", "tail", "--json"]):
        done = alice.run(*arguments)
        assert PASSWORD not in done.out
        assert "argon2" not in done.out


def test_every_user_has_a_random_subject(alice: CommandLine) -> None:
    other = alice.json("user", "add", "bob", "--password-stdin", stdin=PASSWORD)
    rows = {row["username"]: row["subject"] for row in alice.json("user", "list")}
    assert rows["bob"] == other["subject"]
    assert len(set(rows.values())) == 2
    assert all(len(subject) >= 22 for subject in rows.values())


async def test_another_password_replaces_the_first(alice: CommandLine) -> None:
    alice.json("user", "passwd", "alice", "--password-stdin", stdin="an entirely different one\n")
    assert await _matches(alice, "alice", "an entirely different one")
    assert not await _matches(alice, "alice", PASSWORD)


def test_a_user_is_disabled_enabled_and_removed(alice: CommandLine) -> None:
    assert alice.json("user", "disable", "alice") == {"username": "alice", "enabled": False}
    assert [row["enabled"] for row in alice.json("user", "list")] == [False]
    assert alice.run("user", "enable", "alice").out == "user alice is enabled\n"
    assert alice.json("user", "remove", "alice") == {"username": "alice", "removed": True}
    assert alice.json("user", "list") == []


def test_every_change_leaves_one_fact_about_the_subject(alice: CommandLine) -> None:
    subject = alice.json("user", "list")[0]["subject"]
    alice.json("user", "passwd", "alice", "--password-stdin", stdin="an entirely different one")
    for verb in ("disable", "enable", "remove"):
        alice.json("user", verb, "alice")
    facts = alice.json("audit", "tail")
    assert [fact["detail"] for fact in facts] == ["added", "password changed", "disabled", "enabled", "removed"]
    assert {fact["subject"] for fact in facts} == {subject}
    assert {fact["event"] for fact in facts} == {"user.changed"}


@pytest.mark.parametrize("password", ["", "\n", "short", "password1234", "x" * 257, "alicealicealice"])
def test_a_password_that_everybody_guesses_is_refused_and_nobody_is_added(place: CommandLine, password: str) -> None:
    assert place.refused("user", "add", "alice", "--password-stdin", stdin=password).startswith("the password ")
    assert place.json("user", "list") == []


def test_a_bad_new_password_leaves_the_old_one(alice: CommandLine) -> None:
    assert "too short" in alice.refused("user", "passwd", "alice", "--password-stdin", stdin="short")
    assert [fact["detail"] for fact in alice.json("audit", "tail")] == ["added"]


@pytest.mark.parametrize("name", ["Alice", "a b", "älice"])
def test_a_name_in_another_spelling_is_refused(place: CommandLine, name: str) -> None:
    assert "user name" in place.refused("user", "add", name, "--password-stdin", stdin=PASSWORD)


def test_a_second_user_of_the_same_name_is_refused(alice: CommandLine) -> None:
    assert alice.refused("user", "add", "alice", "--password-stdin", stdin=PASSWORD) == "user alice exists already"


@pytest.mark.parametrize("verb", ["disable", "enable", "remove"])
def test_a_user_who_is_not_there_is_one_sentence(place: CommandLine, verb: str) -> None:
    assert place.refused("user", verb, "nobody") == "there is no user nobody"


def test_without_a_terminal_the_password_must_come_from_stdin(place: CommandLine) -> None:
    done = place.run("user", "add", "alice", stdin=PASSWORD)
    assert done.code == 2
    assert "--password-stdin" in done.err


def test_a_password_that_is_no_utf_8_is_refused(place: CommandLine) -> None:
    sentence = place.refused("user", "add", "alice", "--password-stdin", stdin=b"\xff\xfe is no text at all")
    assert sentence == "the password on stdin is no UTF-8 text"


def test_a_name_and_an_address_are_kept_and_shown(place: CommandLine) -> None:
    what = ("--name", "Alice Liddell", "--email", "alice@example.com")
    added = place.json("user", "add", "alice", *what, "--password-stdin", stdin=PASSWORD)
    assert (added["name"], added["email"]) == ("Alice Liddell", "alice@example.com")
    plain = place.json("user", "add", "bob", "--password-stdin", stdin=PASSWORD)
    assert (plain["name"], plain["email"]) == (None, None)
    assert [row["name"] for row in place.json("user", "list")] == ["Alice Liddell", None]


@pytest.mark.parametrize("what", [("--name", "Al\nice"), ("--email", "alice")])
def test_a_name_or_an_address_that_is_none_is_refused(place: CommandLine, what: tuple[str, str]) -> None:
    assert place.refused("user", "add", "alice", *what, "--password-stdin", stdin=PASSWORD)
    assert place.json("user", "list") == []
