"""`fapi-as resource`: the MCP servers that tokens are for."""

from __future__ import annotations

import json

import pytest

from tests.support.command_line import RESOURCE, CommandLine

URI = RESOURCE["resource"]


def test_a_resource_is_registered_listed_shown_and_removed(place: CommandLine) -> None:
    file = place.directory / "resource.json"
    file.write_text(json.dumps(RESOURCE), encoding="utf-8")
    shown = place.json("resource", "add", str(file))
    assert shown == {**RESOURCE, "refresh_tokens": False}
    assert place.json("resource", "list") == [shown]
    assert place.json("resource", "show", URI) == shown
    assert place.json("resource", "remove", URI) == {"resource": URI, "removed": True}
    assert place.json("resource", "list") == []


def test_another_spelling_of_the_same_resource_is_the_same_resource(place: CommandLine) -> None:
    spelt = json.dumps({**RESOURCE, "resource": "HTTPS://MCP.Example:443/mcp"})
    assert place.json("resource", "add", "-", stdin=spelt)["resource"] == URI
    assert "registered already" in place.refused("resource", "add", "-", stdin=json.dumps(RESOURCE))


@pytest.mark.parametrize("spelling", ["https://localhost:8443", "HTTPS://LOCALHOST:8443"])
def test_the_issuer_is_no_mcp_server(place: CommandLine, spelling: str) -> None:
    assert "issuer" in place.refused("resource", "add", "-", stdin=json.dumps({**RESOURCE, "resource": spelling}))
    assert place.json("resource", "list") == []


def test_for_people_a_resource_is_shown_in_lines_and_columns(place: CommandLine) -> None:
    place.json("resource", "add", "-", stdin=json.dumps(RESOURCE))
    assert "resource_name   Ledger tools" in place.run("resource", "show", URI).out
    assert place.run("resource", "list").out.splitlines()[1].startswith(URI)


def test_every_change_leaves_one_fact(place: CommandLine) -> None:
    place.json("resource", "add", "-", stdin=json.dumps(RESOURCE))
    place.json("resource", "remove", URI)
    facts = place.json("audit", "tail")
    assert [(fact["event"], fact["detail"], fact["resource"]) for fact in facts] == [
        ("resource.changed", "added", URI),
        ("resource.changed", "removed", URI),
    ]


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"resource": "http://mcp.example/mcp"}, "https"),
        ({"access_token_lifetime": 601}, "1 to 600"),
        ({"scopes": {}}, "scopes is required"),
        ({"resorce": "x"}, "unknown member"),
    ],
)
def test_a_resource_file_that_is_wrong_is_refused_by_name_and_nothing_is_stored(
    place: CommandLine, changes: dict[str, object], about: str
) -> None:
    sentence = place.refused("resource", "add", "-", stdin=json.dumps({**RESOURCE, **changes}))
    assert sentence.startswith("stdin: ")
    assert about in sentence
    assert place.json("resource", "list") == []


@pytest.mark.parametrize("verb", ["show", "remove"])
def test_a_resource_that_is_not_there_is_one_sentence(place: CommandLine, verb: str) -> None:
    assert place.refused("resource", verb, URI) == f"there is no resource {URI}"
