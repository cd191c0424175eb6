"""What is shown and what an answer changes, as data."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fapi_as.features.consent.rules import (
    ConsentFacts,
    DrawnHandles,
    access_duration,
    answered,
    approve,
    deny,
    in_words,
    shown_digest,
    shown_values,
)
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.authorization_request import AuthorizationGrant, ValidatedAuthorizationRequest
from fapi_as.protocol.browser_session import Session
from fapi_as.protocol.client import ClientLimits, RegisteredClient
from fapi_as.protocol.effects import HandleKind, Keep, Open, Record, Require, Required, Spend, Touch
from fapi_as.protocol.errors import InvalidRequest, InvalidRequestUri
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.policy import Policy
from fapi_as.protocol.resource import RegisteredResource
from fapi_as.protocol.standing import StandingRequest

NOW = 1_800_000_000
POLICY = Policy(tenant="default", issuer="https://as.example")
BANK = RegisteredResource(
    resource="https://bank.example/mcp",
    version=4,
    resource_name="Bank",
    scopes={"accounts:read": "See your balances", "transfers:write": "Send money", "never:asked": "Never asked"},
    refresh_tokens=True,
)
SHOP = RegisteredResource(
    resource="https://shop.example/mcp", version=5, resource_name="Shop", scopes={"orders:read": "See your orders"}
)
CLIENT = RegisteredClient(
    client_id="agent",
    version=2,
    client_name="Agent",
    token_endpoint_auth_method="private_key_jwt",
    token_endpoint_auth_signing_alg=None,
    redirect_uris=("https://client.example:8443/cb?x=1",),
    grant_types=frozenset({"authorization_code", "refresh_token"}),
    scope=frozenset({"accounts:read", "transfers:write", "orders:read"}),
    keys=(),
)
VALIDATED = ValidatedAuthorizationRequest(
    client_id="agent",
    client_version=1,
    redirect_uri="https://client.example:8443/cb?x=1",
    scope=("orders:read", "transfers:write", "accounts:read"),
    resources=(SHOP.resource, BANK.resource),
    code_challenge="c" * 43,
    state="s",
    nonce=None,
    dpop_jkt="j" * 43,
)
REQUEST = StandingRequest(validated=VALIDATED, client=CLIENT, resources=(SHOP, BANK))
SESSION = Session(
    subject="sub-alice", user_version=3, auth_time=NOW - 60, acr="urn:acr", browser="b", ends_at=NOW + 3600
)
TOUCH = Touch(kind=HandleKind.SESSION, digest=b"s", usable_until=NOW + 900, delete_after=NOW + 1500)
SPENDS = (
    Spend(kind=HandleKind.REQUEST_URI, digest=b"r"),
    Spend(kind=HandleKind.INTERACTION, digest=b"i"),
)
FACTS = ConsentFacts(request=REQUEST, session=SESSION, touch=TOUCH, spends=SPENDS, remembered_as=b"m" * 32)
DRAWN = DrawnHandles(code_digest=b"code", authorization_id="family")


def test_the_page_shows_who_asks_for_what_in_words_and_where_the_answer_goes() -> None:
    assert shown_values(REQUEST, "alice", POLICY) == {
        "client_name": "Agent",
        "client_language": None,
        "client_id": "agent",
        "client_host": None,
        "document": None,
        "approved_by": "the operator of this service",
        "publisher": None,
        "redirect_host": "client.example:8443",
        "redirects_to_this_device": False,
        "username": "alice",
        "duration": "30 days",
        "resources": [
            {
                "name": "Shop",
                "uri": SHOP.resource,
                "scopes": [{"value": "orders:read", "words": "See your orders"}],
            },
            {
                "name": "Bank",
                "uri": BANK.resource,
                "scopes": [
                    {"value": "transfers:write", "words": "Send money"},
                    {"value": "accounts:read", "words": "See your balances"},
                ],
            },
        ],
        "identity": [],
    }


def test_a_program_on_this_device_is_named_as_such() -> None:
    local = replace(REQUEST, validated=replace(VALIDATED, redirect_uri="http://127.0.0.1:50123/cb"))
    shown = shown_values(local, "alice", POLICY)
    assert (shown["redirect_host"], shown["redirects_to_this_device"]) == ("127.0.0.1:50123", True)


@pytest.mark.parametrize(
    "changed",
    [
        replace(REQUEST, client=replace(CLIENT, client_name="Agent.")),
        replace(REQUEST, resources=(SHOP, replace(BANK, scopes={**BANK.scopes, "transfers:write": "Send all money"}))),
        replace(REQUEST, resources=(replace(SHOP, resource_name="Shops"), BANK)),
        replace(REQUEST, validated=replace(VALIDATED, scope=("orders:read",))),
        replace(REQUEST, validated=replace(VALIDATED, redirect_uri="https://other.example/cb")),
    ],
)
def test_other_words_have_another_digest(changed: StandingRequest) -> None:
    shown = shown_digest(shown_values(REQUEST, "alice", POLICY))
    assert shown == shown_digest(shown_values(REQUEST, "alice", POLICY))
    assert shown != shown_digest(shown_values(changed, "alice", POLICY))
    assert shown != shown_digest(shown_values(REQUEST, "bob", POLICY))


@pytest.mark.parametrize(
    ("grants", "bank", "seconds"),
    [
        ({"authorization_code", "refresh_token"}, {}, 30 * 86_400),
        ({"authorization_code", "refresh_token"}, {"refresh_token_lifetime": timedelta(hours=2)}, 7200),
        ({"authorization_code", "refresh_token"}, {"refresh_tokens": False}, 300),
        ({"authorization_code"}, {}, 300),
        ({"authorization_code"}, {"access_token_lifetime": timedelta(minutes=10)}, 600),
    ],
)
def test_access_lasts_as_long_as_the_longest_of_its_tokens(
    grants: set[str], bank: dict[str, Any], seconds: int
) -> None:
    request = replace(
        REQUEST,
        client=replace(CLIENT, grant_types=frozenset(grants)),
        resources=(SHOP, replace(BANK, **bank)),
    )
    assert access_duration(request, POLICY) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        (ClientLimits(refresh_token_seconds=3600), 3600),
        (ClientLimits(refresh_token_seconds=60, access_token_seconds=30), 60),
        (ClientLimits(refresh_token_seconds=60), 300),
        (ClientLimits(refresh_token_seconds=40 * 86_400), 30 * 86_400),
    ],
)
def test_access_lasts_no_longer_than_the_approval_of_the_client_lets_it(limits: ClientLimits, seconds: int) -> None:
    client = replace(CLIENT, grant_types=frozenset({"authorization_code", "refresh_token"}), limits=limits)
    assert access_duration(replace(REQUEST, client=client), POLICY) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a moment"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (300, "5 minutes"),
        (3600, "1 hour"),
        (7260, "2 hours"),
        (86_400, "1 day"),
        (2_592_000, "30 days"),
    ],
)
def test_a_duration_in_words(seconds: int, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_an_answer_is_yes_or_no(decision: str) -> None:
    assert answered(Parameters(values={"decision": decision, "interaction": "i", "csrf_token": "t"})) == decision


@pytest.mark.parametrize(
    "parameters",
    [
        Parameters(values={}),
        Parameters(values={"decision": "maybe"}),
        Parameters(values={"decision": "approve", "scope": "transfers:write"}),
        Parameters(values={"decision": "approve", "redirect_uri": "https://evil.example"}),
        Parameters(values={"decision": "approve"}, resources=("https://evil.example",)),
    ],
)
def test_any_other_answer_is_refused(parameters: Parameters) -> None:
    with pytest.raises(InvalidRequest):
        answered(parameters)


def test_an_approval_is_one_decision_in_this_order() -> None:
    decision = approve(FACTS, DRAWN, NOW, POLICY)
    client, user, shop, bank, touch, pushed, interaction, opened, code, record = decision.effects
    assert client == Require(required=Required.CLIENT, identifier="agent", version=2)
    assert user == Require(required=Required.USER, identifier="sub-alice", version=3)
    assert shop == Require(required=Required.RESOURCE, identifier=SHOP.resource, version=5)
    assert bank == Require(required=Required.RESOURCE, identifier=BANK.resource, version=4)
    assert (touch, pushed, interaction) == (TOUCH, *SPENDS)
    assert opened == Open(
        authorization_id="family",
        client_id="agent",
        subject="sub-alice",
        resources=VALIDATED.resources,
        scope=VALIDATED.scope,
        expires_at=NOW + 60 + 30 * 86_400,
    )
    assert isinstance(code, Keep)
    assert (code.kind, code.digest, code.client_id, code.subject) == (HandleKind.CODE, b"code", "agent", "sub-alice")
    assert (code.authorization_id, code.usable_until, code.delete_after) == ("family", NOW + 60, opened.expires_at)
    assert isinstance(record, Record)
    fact = record.fact
    assert (fact.event, fact.authorization_id, fact.subject) == (AuditEvent.CONSENT_GIVEN, "family", "sub-alice")
    assert (fact.scope, fact.resource) == (" ".join(VALIDATED.scope), " ".join(VALIDATED.resources))


def test_a_code_says_what_was_allowed_by_whom_and_to_which_proofs_it_is_bound() -> None:
    code = next(effect for effect in approve(FACTS, DRAWN, NOW, POLICY).effects if isinstance(effect, Keep))
    assert AuthorizationGrant.from_bytes(code.payload) == AuthorizationGrant(
        authorization_id="family",
        client_id="agent",
        subject="sub-alice",
        user_version=3,
        scope=VALIDATED.scope,
        resources=VALIDATED.resources,
        resource_scopes=tuple(FACTS.request.scopes_of(resource) for resource in FACTS.request.resources),
        auth_time=NOW - 60,
        acr="urn:acr",
        redirect_uri=VALIDATED.redirect_uri,
        code_challenge="c" * 43,
        dpop_jkt="j" * 43,
    )


def test_every_loss_of_an_approval_has_a_meaning_and_none_is_a_code() -> None:
    decision = approve(FACTS, DRAWN, NOW, POLICY)
    losable = [effect for effect in decision.effects if isinstance(effect, Require | Touch | Spend)]
    assert list(decision.lost) == [losable[0], losable[1], losable[4], losable[2], losable[3], *losable[5:]]
    details = {decision.lost[effect].error.detail for effect in losable}
    assert details == {
        "the client changed",
        "the user changed",
        "a resource changed",
        "the session has ended",
        "the request was completed at the same time",
    }
    for effect in losable:
        assert [type(part) for part in decision.lost[effect].effects] == [Record]
        expected = InvalidRequestUri if isinstance(effect, Spend) else InvalidRequest
        assert type(decision.lost[effect].error) is expected


def test_a_denial_spends_the_request_and_opens_nothing() -> None:
    decision = deny(FACTS)
    pushed, interaction, record = decision.effects
    assert (pushed, interaction) == SPENDS
    assert isinstance(record, Record)
    assert (record.fact.event, record.fact.subject) == (AuditEvent.CONSENT_DENIED, "sub-alice")
    assert list(decision.lost) == list(SPENDS)
