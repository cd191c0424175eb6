"""Which URLs begin anything, and which pushed requests may still be opened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fapi_as.features.authorization_code.rules import AskedRequest, asked_request, may_begin
from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.errors import (
    InvalidRequest,
    InvalidRequestUri,
    ProtocolError,
    RequestNotSupported,
    RequestUriNotSupported,
)
from fapi_as.protocol.handles import REQUEST_URI_PREFIX, KeptHandle, digest_of
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.policy import Policy

NOW = 1_800_000_000
POLICY = Policy(tenant="default", issuer="https://as.example")
REQUEST_URI = REQUEST_URI_PREFIX + "x" * 43
VALIDATED = ValidatedAuthorizationRequest(
    client_id="agent",
    client_version=1,
    redirect_uri="https://client.example/cb",
    scope=("b", "a"),
    resources=("https://bank.example/mcp",),
    code_challenge="c" * 43,
    state="s",
    nonce=None,
    dpop_jkt=None,
)
KEPT = KeptHandle(
    kind=HandleKind.REQUEST_URI,
    digest=digest_of(REQUEST_URI),
    payload=VALIDATED.to_bytes(),
    client_id="agent",
    subject=None,
    authorization_id=None,
    usable_until=NOW + 90,
    spent=False,
    revoked=False,
)
ASKED = AskedRequest(client_id="agent", request_uri=REQUEST_URI)


def query(**values: str) -> Parameters:
    return Parameters(values={"client_id": "agent", "request_uri": REQUEST_URI, **values})


def test_two_parameters_are_enough_and_no_other_is_read() -> None:
    assert asked_request(query()) == ASKED
    assert asked_request(query(scope="admin", redirect_uri="https://evil.example", state="x", prompt="none")) == ASKED


@pytest.mark.parametrize(
    ("values", "error", "detail"),
    [
        ({"request": "e30.e30."}, InvalidRequest, "not a pushed request"),
        ({"request": "e30.e30.", "request_uri": None}, RequestNotSupported, "request object in the query"),
        ({"request_uri": None}, InvalidRequest, "not a pushed request"),
        ({"request_uri": "https://evil.example/object"}, RequestUriNotSupported, "request_uri of another kind"),
        ({"request_uri": "http://169.254.169.254/"}, RequestUriNotSupported, "request_uri of another kind"),
        ({"request_uri": "file:///etc/passwd"}, RequestUriNotSupported, "request_uri of another kind"),
        ({"request_uri": "data:,x"}, RequestUriNotSupported, "request_uri of another kind"),
        ({"client_id": None}, InvalidRequest, "client_id is missing"),
        ({"request_uri": "urn:example:other"}, InvalidRequestUri, "request_uri of another name space"),
        ({"request_uri": REQUEST_URI.upper()}, InvalidRequestUri, "request_uri of another name space"),
        ({"request_uri": REQUEST_URI_PREFIX + "x" * 480}, InvalidRequestUri, "request_uri is too long"),
    ],
)
def test_anything_else_begins_nothing(values: dict[str, str | None], error: type[ProtocolError], detail: str) -> None:
    given = {name: value for name, value in {**query().values, **values}.items() if value is not None}
    with pytest.raises(error) as refused:
        asked_request(Parameters(values=given))
    assert refused.value.detail == detail


@pytest.mark.requirement("JAR-5", proves="holds")
def test_a_request_uri_of_512_characters_is_looked_up() -> None:
    longest = REQUEST_URI_PREFIX.ljust(512, "x")
    assert asked_request(query(request_uri=longest)).request_uri == longest


@pytest.mark.requirement("JAR-5", proves="refused")
def test_a_request_uri_of_513_characters_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequestUri) as refused:
        asked_request(query(request_uri=REQUEST_URI_PREFIX.ljust(513, "x")))
    assert refused.value.error == "invalid_request_uri"


def test_an_open_request_may_begin_until_its_last_second_and_keeps_every_value() -> None:
    assert may_begin(ASKED, KEPT, NOW, POLICY) == VALIDATED
    assert may_begin(ASKED, KEPT, NOW + 89, POLICY) == VALIDATED
    assert may_begin(ASKED, KEPT, NOW - 10, POLICY) == VALIDATED  # a clock that stepped back a little


@pytest.mark.parametrize(
    ("changes", "now", "detail"),
    [
        (None, NOW, "unknown request_uri"),
        ({"client_id": "other"}, NOW, "request_uri of another client"),
        ({"client_id": None}, NOW, "request_uri of another client"),
        ({"spent": True}, NOW, "request_uri is used up"),
        ({}, NOW + 90, "request_uri expired"),
        ({}, NOW - 11, "the clock was set back since the request was pushed"),
        ({"usable_until": NOW + 3690}, NOW, "the clock was set back since the request was pushed"),
        ({"client_id": "other", "spent": True}, NOW + 90, "request_uri of another client"),
    ],
)
def test_a_request_that_is_not_open_for_this_client_does_not(
    changes: dict[str, Any] | None, now: int, detail: str
) -> None:
    handle = None if changes is None else replace(KEPT, **changes)
    with pytest.raises(InvalidRequestUri) as refused:
        may_begin(ASKED, handle, now, POLICY)
    assert refused.value.detail == detail
    assert refused.value.description == InvalidRequestUri.public  # strangers learn no difference
