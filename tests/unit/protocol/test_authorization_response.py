"""What leaves for the client: success and error, with state exactly as it came and the issuer always."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.authorization_response import AuthorizationFailed, success
from fapi_as.protocol.decisions import recorded_refusal
from fapi_as.protocol.effects import Record
from fapi_as.protocol.errors import AccessDenied, InvalidScope, ProtocolError
from fapi_as.protocol.redirect_uri import form_action_source

ISSUER = "https://as.example/t/acme"
VALIDATED = ValidatedAuthorizationRequest(
    client_id="agent",
    client_version=1,
    redirect_uri="https://client.example/cb",
    scope=("a",),
    resources=("https://bank.example/mcp",),
    code_challenge="c" * 43,
    state="the state",
    nonce=None,
    dpop_jkt=None,
)
STATES = [
    "s",
    "a b+c&d=e%20?#",
    "-._~" * 32,
    "ünïcödé ☃",
    "x" * 4096,
    "<script>",
    "a\r\nLocation: https://evil.example",
]


def query(location: str) -> list[tuple[str, str]]:
    assert location.isascii()
    assert location.isprintable()
    assert " " not in location
    return parse_qsl(urlsplit(location).query, keep_blank_values=True, strict_parsing=True)


@pytest.mark.requirement("ISS-1", proves="holds")
def test_a_success_names_the_issuer() -> None:
    location = success(VALIDATED, "the-code").plain_location(ISSUER)
    assert location.startswith("https://client.example/cb?")
    assert query(location) == [("code", "the-code"), ("state", "the state"), ("iss", ISSUER)]


@pytest.mark.requirement("ISS-1", proves="refused")
@pytest.mark.parametrize("error", [AccessDenied("no"), InvalidScope("gone")])
def test_an_error_names_the_issuer_and_no_code(error: ProtocolError) -> None:
    location = AuthorizationFailed(VALIDATED, error).response.plain_location(ISSUER)
    assert query(location) == [
        ("error", error.error),
        ("error_description", error.description),
        ("state", "the state"),
        ("iss", ISSUER),
    ]


@pytest.mark.parametrize("state", STATES)
def test_a_state_survives_every_character(state: str) -> None:
    asked = replace(VALIDATED, state=state)
    for location in (
        success(asked, "c").plain_location(ISSUER),
        AuthorizationFailed(asked, AccessDenied("no")).response.plain_location(ISSUER),
    ):
        assert dict(query(location))["state"] == state


def test_no_state_is_no_parameter() -> None:
    assert "state" not in dict(query(success(replace(VALIDATED, state=None), "c").plain_location(ISSUER)))


@pytest.mark.parametrize(
    ("redirect_uri", "start"),
    [
        ("https://client.example/cb?x=1&y=2", "https://client.example/cb?x=1&y=2&code=c&"),
        ("https://client.example", "https://client.example?code=c&"),
        ("http://[::1]:50123/cb", "http://[::1]:50123/cb?code=c&"),
    ],
)
def test_the_redirect_uri_is_only_added_to(redirect_uri: str, start: str) -> None:
    assert success(replace(VALIDATED, redirect_uri=redirect_uri), "c").plain_location(ISSUER).startswith(start)


def test_a_failure_is_evidenced_as_what_it_carries() -> None:
    (record,) = recorded_refusal(AuthorizationFailed(VALIDATED, InvalidScope("a scope is gone"))).effects
    assert isinstance(record, Record)
    assert (record.fact.error, record.fact.detail) == ("invalid_scope", "a scope is gone")
    assert AuthorizationFailed.error == ProtocolError.error  # one failure does not rename the others


@pytest.mark.parametrize(
    ("redirect_uri", "source"),
    [
        ("https://client.example/cb?x=1", "https://client.example"),
        ("https://client.example:8443/cb", "https://client.example:8443"),
        ("http://127.0.0.1:50123/cb", "http://127.0.0.1:50123"),
        ("http://[::1]:50123/cb", "http:"),
        ("https://[2001:db8::1]/cb", "https:"),
    ],
)
def test_a_form_may_be_answered_at_the_origin_where_the_policy_has_a_word_for_it(
    redirect_uri: str, source: str
) -> None:
    assert form_action_source(redirect_uri) == source


def test_the_claims_of_a_signed_response_are_its_parameters_and_whom_and_when_it_is_for() -> None:
    about = {"iss": ISSUER, "aud": "agent", "exp": 1_120}
    assert success(VALIDATED, "c").claims(ISSUER, 1_000) == {**about, "code": "c", "state": "the state"}
    assert success(replace(VALIDATED, state=None), "c").claims(ISSUER, 1_000) == {**about, "code": "c"}
    error = AccessDenied("no")
    assert AuthorizationFailed(VALIDATED, error).response.claims(ISSUER, 1_000) == {
        **about,
        "error": "access_denied",
        "error_description": error.description,
        "state": "the state",
    }


def test_a_signed_response_is_one_parameter() -> None:
    assert query(success(VALIDATED, "c").signed_location("a.b.c")) == [("response", "a.b.c")]


def test_a_failure_keeps_what_it_carries_when_it_has_its_address() -> None:
    failed = AuthorizationFailed(VALIDATED, InvalidScope("a scope is gone"))
    sent = failed.sent_to("https://client.example/cb?response=a.b.c")
    assert failed.location is None
    assert (sent.error, sent.detail, sent.description) == (failed.error, failed.detail, failed.description)
    assert sent.location == "https://client.example/cb?response=a.b.c"
