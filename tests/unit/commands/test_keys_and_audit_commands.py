"""`fapi-as keys`, `fapi-as audit tail` and `fapi-as explain`."""

from __future__ import annotations

import contextlib
import json

import pytest

from fapi_as.adapters.clock import SystemClock
from fapi_as.adapters.keys import Keyring, Sealing, read_sealing_key
from fapi_as.protocol.audit_events import Stamp
from fapi_as.settings import load
from tests.support.command_line import CLIENT, CommandLine


@pytest.fixture
def with_key(place: CommandLine) -> CommandLine:
    """As after the first start."""
    place.json("keys", "list")  # creates the database
    settings = load(place.config, {})
    sealing = Sealing(read_sealing_key(settings.keys.sealing_key_file))
    stamp = Stamp(at=SystemClock().now(), correlation_id="first-start", endpoint="fapi-as serve", source="uid:0")
    with contextlib.closing(Keyring.open(settings.database.url, sealing=sealing, clock=SystemClock())) as keyring:
        keyring.ensure("default", stamp)
    return place


def test_rotating_publishes_a_next_key_and_leaves_the_active_one(with_key: CommandLine) -> None:
    (first,) = with_key.json("keys", "list")
    assert (first["state"], first["alg"]) == ("active", "ES256")
    following = with_key.json("keys", "rotate")
    assert following["state"] == "next"
    states = {row["kid"]: row["state"] for row in with_key.json("keys", "list")}
    assert states == {first["kid"]: "active", following["kid"]: "next"}
    assert with_key.json("audit", "tail")[-1]["event"] == "key.changed"


def test_a_second_rotation_waits_for_the_first(with_key: CommandLine) -> None:
    with_key.json("keys", "rotate")
    assert "and becomes active at" in with_key.refused("keys", "rotate")


def test_an_emergency_lets_another_key_sign_at_once_and_says_what_that_means(with_key: CommandLine) -> None:
    (first,) = with_key.json("keys", "list")
    waiting = with_key.json("keys", "rotate")
    done = with_key.run("keys", "rotate", "--emergency", "--json")
    assert (done.code, done.document["kid"], done.document["state"]) == (0, waiting["kid"], "active")
    assert "refuses its tokens" in done.err
    assert "keys remove" in done.err
    states = {row["kid"]: row["state"] for row in with_key.json("keys", "list")}
    assert states == {first["kid"]: "retiring", waiting["kid"]: "active"}


def test_the_key_that_signs_is_removed_only_once_another_does(with_key: CommandLine) -> None:
    (first,) = with_key.json("keys", "list")
    assert "--emergency" in with_key.refused("keys", "remove", first["kid"])
    assert with_key.run("keys", "rotate", "--emergency").code == 0
    assert with_key.json("keys", "remove", first["kid"]) == {"kid": first["kid"], "removed": True}
    (left,) = with_key.json("keys", "list")
    assert left["state"] == "active"
    assert "no signing key" in with_key.refused("keys", "remove", first["kid"])
    assert first["kid"] in with_key.json("audit", "tail")[-1]["detail"]


def test_each_algorithm_is_rotated_by_its_name(with_key: CommandLine) -> None:
    assert "has no signing key for PS256" in with_key.refused("keys", "rotate", "--alg", "PS256")
    assert with_key.run("keys", "rotate", "--alg", "RS256").code == 2


def test_no_command_prints_a_private_key(with_key: CommandLine) -> None:
    for arguments in (["keys", "list"], ["keys", "list", "--json"], ["keys", "rotate", "--json"]):
        printed = with_key.run(*arguments).out
        assert "sealed" not in printed
        assert '"d"' not in printed


def test_there_is_nothing_to_rotate_before_the_first_start(place: CommandLine) -> None:
    assert place.json("keys", "list") == []
    assert "has no signing key" in place.refused("keys", "rotate")


def test_the_tail_shows_the_last_facts_or_those_after_an_id(place: CommandLine) -> None:
    for number in range(4):
        place.json("client", "add", "-", stdin=json.dumps({**CLIENT, "client_id": f"client-{number}"}))
    last = place.json("audit", "tail", "--limit", "2")
    assert [fact["client_id"] for fact in last] == ["client-2", "client-3"]
    after = place.json("audit", "tail", "--after", str(last[0]["id"]))
    assert [fact["client_id"] for fact in after] == ["client-3"]
    table = place.run("audit", "tail").out.splitlines()
    assert len(table) == 5
    assert table[0].split()[:3] == ["id", "at", "event"]


@pytest.mark.parametrize("after", ["-1", str(2**63), "9" * 5000])
def test_an_id_that_no_fact_can_have_is_a_mistake_of_usage(place: CommandLine, after: str) -> None:
    assert place.run("audit", "tail", "--after", after).code == 2
    assert place.run("audit", "tail", "--after", str(2**63 - 1)).code == 0


def test_explain_tells_everything_under_one_correlation_id(place: CommandLine) -> None:
    place.json("client", "add", "-", stdin=json.dumps(CLIENT))
    (fact,) = place.json("audit", "tail")
    assert place.json("explain", fact["correlation_id"]) == [fact]
    lines = place.run("explain", fact["correlation_id"]).out
    assert "detail" in lines
    assert "added" in lines


def test_a_correlation_id_that_is_no_text_is_one_sentence(place: CommandLine) -> None:
    assert place.refused("explain", "\udcff") == "an argument is not UTF-8"


@pytest.mark.parametrize("correlation_id", ["unknown", "", "' OR 1=1 --"])
def test_an_unknown_correlation_id_is_one_sentence(place: CommandLine, correlation_id: str) -> None:
    assert place.refused("explain", correlation_id) == "nothing is recorded under this correlation id"
