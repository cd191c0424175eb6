"""What may be registered as a protected resource, and the sentence that a refused file gets."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.resource_registration import (
    InvalidResourceMetadata,
    canonical_resource,
    parse_resource,
    to_members,
)


def _members(**changes: object) -> dict[str, object]:
    members: dict[str, object] = {
        "resource": "https://mcp.example/mcp",
        "resource_name": "Ledger tools",
        "scopes": {"accounts:read": "See your balances", "transfers:write": "Send money"},
    }
    members.update(changes)
    return {name: value for name, value in members.items() if value is not ...}


def _refused(**changes: object) -> str:
    with pytest.raises(InvalidResourceMetadata) as caught:
        parse_resource(_members(**changes), version=1)
    description = caught.value.description
    assert description.isascii()
    assert not set(description) & {'"', "\\"}
    return description


def test_a_resource_file_becomes_a_registered_resource() -> None:
    registered = parse_resource(
        _members(access_token_lifetime=120, refresh_tokens=True, refresh_token_lifetime=86_400), version=4
    )
    assert registered.version == 4
    assert dict(registered.scopes) == {"accounts:read": "See your balances", "transfers:write": "Send money"}
    assert registered.access_token_lifetime == timedelta(minutes=2)
    assert registered.refresh_token_lifetime == timedelta(days=1)


def test_a_resource_that_says_nothing_gets_no_refresh_tokens_and_the_lifetimes_of_the_policy() -> None:
    registered = parse_resource(_members(), version=1)
    assert not registered.refresh_tokens
    assert registered.access_token_lifetime is None
    assert registered.refresh_token_lifetime is None


@pytest.mark.parametrize(
    "more", [{}, {"access_token_lifetime": 60, "refresh_tokens": True, "refresh_token_lifetime": 60}]
)
def test_the_members_read_back_to_the_same_resource(more: dict[str, object]) -> None:
    registered = parse_resource(_members(**more), version=1)
    assert parse_resource(json.loads(json.dumps(to_members(registered))), version=1) == registered


@pytest.mark.parametrize("member", ["resorce", "scope", "refresh_token_livetime"])
def test_a_misspelt_member_is_refused(member: str) -> None:
    assert "unknown member" in _refused(**{member: 1})


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("https://mcp.example/mcp", "https://mcp.example/mcp"),
        ("HTTPS://MCP.Example/Mcp", "https://mcp.example/Mcp"),
        ("https://mcp.example:443/mcp", "https://mcp.example/mcp"),
        ("https://mcp.example:08445/mcp", "https://mcp.example:8445/mcp"),
        ("https://mcp.example", "https://mcp.example"),
        ("https://mcp.example/", "https://mcp.example/"),
        ("https://mcp.example/mcp/", "https://mcp.example/mcp/"),
        ("https://[::1]:8445/mcp", "https://[::1]:8445/mcp"),
        ("https://127.0.0.1:8445/mcp", "https://127.0.0.1:8445/mcp"),
    ],
)
def test_equivalent_spellings_become_one_and_the_path_stays_as_it_is(written: str, canonical: str) -> None:
    assert canonical_resource(written) == canonical
    assert canonical_resource(canonical) == canonical


def test_an_absolute_https_uri_names_a_resource() -> None:
    assert parse_resource(_members(), version=1).resource == "https://mcp.example/mcp"


@pytest.mark.parametrize(
    "resource",
    [
        ...,
        None,
        7,
        "",
        "mcp",
        "/mcp",
        "http://mcp.example/mcp",
        "https://mcp.example/mcp#x",
        "https://mcp.example/mcp?x=1",
        "https://user@mcp.example/mcp",
        "https://mcp.example:0/mcp",
        "https://mcp.example:99999/mcp",
        "https://mcp.example:/mcp",
        "https://mcp..example/mcp",
        "https://-mcp.example/mcp",
        "https://mcp.example/a/../mcp",
        "https://mcp.example/%2e%2e/mcp",
        "https://mcp.example//mcp",
        "https://mcp.example/%2f",
        "https://mcp.example/%zz",
        "https://mcp.example/m cp",
        "https://mcp.example/é",
        "https://mcp.example\\@evil.example/",
        "https://[::1/mcp",
        "https://[1.2.3.4]/mcp",
        "https://[::g]/mcp",
        "https:///mcp",
        "https://mcp.example/" + "a" * 2048,
    ],
)
def test_what_is_no_canonical_https_uri_is_refused(resource: object) -> None:
    assert "resource" in _refused(resource=resource)


@pytest.mark.parametrize(
    "scopes",
    [
        ...,
        {},
        [],
        "accounts:read",
        {"accounts read": "x"},
        {"": "x"},
        {"openid": "Who you are"},
        {"offline_access": "Always"},
        {"accounts:read": ""},
        {"accounts:read": 1},
        {"accounts:read": "a\u202eb"},
        {"accounts:read": "a\nb"},
        {"accounts:read": "x" * 201},
        {f"s{number}": "x" for number in range(65)},
        {1: "x"},
    ],
)
def test_scopes_without_clear_words_are_refused(scopes: object) -> None:
    assert "scope" in _refused(scopes=scopes)


@pytest.mark.parametrize("name", [..., "", " ", "a\tb", 1, "x" * 101, "\u200b"])
def test_a_name_that_people_cannot_read_is_refused(name: object) -> None:
    assert "resource_name" in _refused(resource_name=name)


@pytest.mark.parametrize("lifetime", [0, -1, 601, 1.5, "300", True, []])
def test_an_access_token_lifetime_outside_the_profile_is_refused(lifetime: object) -> None:
    assert "1 to 600" in _refused(access_token_lifetime=lifetime)


@pytest.mark.parametrize("lifetime", [0, 365 * 86_400 + 1, "1"])
def test_a_refresh_token_lifetime_outside_the_profile_is_refused(lifetime: object) -> None:
    assert "refresh_token_lifetime" in _refused(refresh_tokens=True, refresh_token_lifetime=lifetime)


def test_a_refresh_token_lifetime_without_refresh_tokens_is_refused() -> None:
    assert "needs refresh_tokens" in _refused(refresh_token_lifetime=60)


@pytest.mark.parametrize("value", [1, "true", None])
def test_refresh_tokens_must_be_true_or_false(value: object) -> None:
    assert "refresh_tokens" in _refused(refresh_tokens=value)


@given(st.text(max_size=40) | st.text("htps:/.%[]@?#a1", max_size=30).map("https://".__add__))
def test_any_text_is_a_resource_or_the_one_error_and_canonical_form_is_stable(text: str) -> None:
    try:
        canonical = canonical_resource(text)
    except InvalidResourceMetadata:
        return
    assert canonical_resource(canonical) == canonical
