"""`fapi-as registration-token`: shown once, kept as a digest, counted, over at its time, revoked."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.support.command_line import CommandLine

POLICY = {"scope": ["accounts:read"], "redirect_hosts": ["agent.example"]}
THUMBPRINT = "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"


def _issued(place: CommandLine, *options: str) -> Any:
    return place.json("registration-token", "issue", "-", *options, stdin=json.dumps(POLICY))


def test_a_token_is_printed_once_and_kept_nowhere(place: CommandLine) -> None:
    issued = _issued(place)
    token = issued["initial_access_token"]
    assert len(token) == 43
    assert (issued["uses_left"], issued["clients"], issued["enabled"]) == (1, 0, True)
    assert issued["expires_at"] - issued["registered_at"] == 86_400
    assert issued["policy"]["redirect_hosts"] == ["agent.example"]
    listed = place.json("registration-token", "list")
    assert listed == [{name: value for name, value in issued.items() if name != "initial_access_token"}]
    kept = b"".join(path.read_bytes() for path in place.directory.glob("fapi-as.db*"))
    assert token.encode() not in kept
    assert hashlib.sha256(token.encode()).digest() in kept
    assert token not in json.dumps(place.json("audit", "tail"))


def test_tokens_are_all_different(place: CommandLine) -> None:
    issued = [_issued(place) for _ in range(3)]
    assert len({one["initial_access_token"] for one in issued}) == len({one["id"] for one in issued}) == 3


def test_what_a_token_is_for_is_said_when_it_is_issued(place: CommandLine) -> None:
    issued = _issued(place, "--uses", "5", "--expires-in", "600", "--jkt", THUMBPRINT, "--owner", "payments")
    assert (issued["uses_left"], issued["jkt"], issued["owner"]) == (5, THUMBPRINT, "payments")
    assert issued["expires_at"] - issued["registered_at"] == 600
    row = place.run("registration-token", "list").out.splitlines()[1].split()
    assert row[:5] == [issued["id"], "payments", "yes", "5", "0"]


def test_a_token_is_revoked_with_one_fact_each(place: CommandLine) -> None:
    name = _issued(place)["id"]
    assert place.json("registration-token", "revoke", name) == {"id": name, "enabled": False}
    assert place.json("registration-token", "list")[0]["enabled"] is False
    assert place.refused("registration-token", "revoke", "other") == "there is no initial access token other"
    facts = place.json("audit", "tail")
    assert [(fact["event"], fact["detail"]) for fact in facts] == [
        ("registration_token.changed", f"{name} added"),
        ("registration_token.changed", f"{name} revoked"),
    ]


def test_an_authority_is_no_token_that_could_be_revoked(place: CommandLine) -> None:
    assert place.refused("registration-token", "revoke", "https://directory.example").startswith("there is no initial")


@pytest.mark.parametrize(
    "options",
    [
        ("--uses", "0"),
        ("--uses", "10001"),
        ("--expires-in", "59"),
        ("--expires-in", str(367 * 86_400)),
        ("--jkt", "short"),
        ("--jkt", THUMBPRINT + "="),
    ],
)
def test_a_token_without_limits_or_for_no_key_is_wrong_usage(place: CommandLine, options: tuple[str, ...]) -> None:
    done = place.run("registration-token", "issue", "-", *options, stdin="{}")
    assert (done.code, done.out) == (2, "")
    assert place.json("registration-token", "list") == []


@pytest.mark.parametrize(
    ("policy", "about"),
    [
        ('{"scopes": ["accounts:read"]}', "stdin: policy has no member"),
        ('{"grant_types": []}', "stdin: policy: grant_types must have 1 to"),
        ('{"grant_types": ["password"]}', "stdin: policy: grant_types may hold"),
        ("[]", "no JSON object"),
        ('{"scope": ["a"], "scope": ["b"]}', "no JSON object that every parser reads alike"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_and_no_token_is_printed(
    place: CommandLine, policy: str, about: str
) -> None:
    assert about in place.refused("registration-token", "issue", "-", stdin=policy)
    assert place.json("registration-token", "list") == []
