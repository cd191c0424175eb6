"""A document that brings a software statement: whose word counts, for whom, and until when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fapi_as.adapters import client_documents
from fapi_as.protocol.authority_registration import parse_authority
from tests.support.document_scene import (
    CLIENT_ID,
    DOCUMENTS,
    HOST,
    JWKS_URI,
    KEY,
    OTHER_KEY,
    REDIRECT_URI,
    DocumentPlace,
)
from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD
from tests.support.published_client import published
from tests.support.registration_scene import AUTHORITY, SOFTWARE, SoftwareAuthority, said
from tests.support.standing_still import a_code, refused_page, refused_push, refused_tokens

NOBODY = (401, "invalid_client")
POLICY: dict[str, Any] = {"grant_types": ["authorization_code", "refresh_token"]}


class ApprovedPlace(DocumentPlace):
    """The same place, where `authority` is trusted and the document brings its statement."""

    def __init__(self) -> None:
        super().__init__(documents=replace(DOCUMENTS, statement_required=True))
        self.authority = SoftwareAuthority()
        self.trust()
        self.publish(software_statement=self.statement())

    def trust(self, *, version: int = 1, **policy: Any) -> None:
        members = self.authority.members(policy=POLICY | policy)
        self.house.store.approvers.put_authority(parse_authority(members, version=version))

    def statement(self, **changes: Any) -> str:
        now = self.house.clock.now()
        claims = {
            "iss": AUTHORITY,
            "iat": now,
            "exp": now + 3600,
            "jti": "statement-1",
            "software_id": SOFTWARE,
            "client_name": "The assistant",
            "redirect_uris": [REDIRECT_URI],
            "jwks_uri": JWKS_URI,
        }
        return self.authority.signed(said(claims | changes))

    def restate(self, **changes: Any) -> None:
        """The document as another worker meets it, with another statement."""
        self.publish(software_statement=self.statement(**changes))
        self.forget()


@pytest.fixture
def place() -> ApprovedPlace:
    return ApprovedPlace()


async def test_a_document_that_an_authority_vouches_for_is_a_client_approved_by_it(place: ApprovedPlace) -> None:
    consent = await place.house.asked(client=place.agent)
    assert consent.texts["consent-approved"] == "authority.example"
    assert consent.texts["consent-host"] == HOST
    done, pushed = await a_code(place.house, client=place.agent)
    assert (await place.agent.redeem(done, pushed)).access_token


async def test_silence_of_the_document_is_what_the_statement_says(place: ApprovedPlace) -> None:
    place.publish(software_statement=place.statement(), client_name=..., redirect_uris=..., jwks_uri=...)
    place.forget()
    assert await refused_push(place.house, client=place.agent) == NOBODY  # a document says these itself (MCP)


@pytest.mark.parametrize("value", [..., None])
async def test_where_a_statement_is_required_a_document_without_one_is_nobody(
    place: ApprovedPlace, value: object
) -> None:
    place.publish(software_statement=value)
    assert await refused_push(place.house, client=place.agent) == NOBODY


@pytest.mark.parametrize(
    "changes",
    [
        *({"iss": issuer} for issuer in ("https://other.example", "", 1, ...)),
        {"exp": 1_800_000_000 - 60},
        {"exp": ...},
        {"iat": 1_800_000_000 + 600},
        {"jti": ...},
        {"software_id": ...},
        {"aud": "https://other.example"},
        {"cnf": {"jkt": KEY.thumbprint}},
        {"client_name": "Another assistant"},
        {"redirect_uris": [f"https://{HOST}/other"]},
        {"redirect_uris": ...},
        {"jwks_uri": ...},
        {"jwks_uri": f"https://{HOST}/other.json"},
        {"jwks_uri": ..., "jwks": {"keys": [OTHER_KEY.jwk(kid="first")]}},
        {"token_endpoint_auth_method": "tls_client_auth"},
        {"scope": 1},
    ],
    ids=str,
)
async def test_a_statement_that_does_not_count_or_says_something_else_makes_the_document_nobody(
    place: ApprovedPlace, changes: dict[str, Any]
) -> None:
    place.restate(**changes)
    assert await refused_push(place.house, client=place.agent) == NOBODY
    place.publish(software_statement=place.statement())
    assert (await place.agent.push()).request_uri  # and nothing of it was kept


@pytest.mark.parametrize("bend", [lambda s: s[:-4] + "AAAA", lambda _: "a.b.c", lambda _: 1, lambda s: [s]])
async def test_a_statement_that_nobody_signed_is_none(place: ApprovedPlace, bend: Any) -> None:
    place.publish(software_statement=bend(place.statement()))
    assert await refused_push(place.house, client=place.agent) == NOBODY


async def test_a_statement_copied_into_a_document_of_another_is_worth_nothing(place: ApprovedPlace) -> None:
    """Whoever copies it has another origin, and not the keys."""
    thief = f"https://{HOST}:8443/thief.json"
    documents = replace(DOCUMENTS, hosts=frozenset({HOST, f"{HOST}:8443"}), statement_required=True)
    place.house.context = replace(place.house.context, policy=replace(place.house.context.policy, documents=documents))
    place.forget()
    stolen = place.statement()
    callback = "http://127.0.0.1/callback"
    place.fetch.documents[f"https://{HOST}:8443/keys.json"] = published(OTHER_KEY.jwk(kid="first"))
    for changes in (
        {},
        {"jwks_uri": JWKS_URI},
        {"jwks_uri": ..., "jwks": {"keys": [OTHER_KEY.jwk(kid="first")]}},
        {"redirect_uris": [callback], "application_type": "native"},
    ):
        place.publish(thief, **{"software_statement": stolen, "redirect_uris": [REDIRECT_URI]} | changes)
        assert await refused_push(place.house, client=place.peer(thief, key=OTHER_KEY)) == NOBODY


async def test_its_policy_limits_what_the_document_may_have_and_counts_at_once(place: ApprovedPlace) -> None:
    assert (await place.agent.push(scope="transfers:write")).request_uri
    place.trust(version=2, scope=["accounts:read"], refresh_tokens=False)
    with pytest.raises(Refused) as raised:
        await place.agent.push(scope="transfers:write")
    assert raised.value.error == "invalid_scope"
    done, pushed = await a_code(place.house, client=place.agent)
    assert (await place.agent.redeem(done, pushed)).refresh_token is None
    place.trust(version=3, algorithms=["PS256"])
    assert await refused_push(place.house, client=place.agent) == NOBODY


@pytest.mark.parametrize("demanded", ["signed_request", "mutual_tls"])
async def test_an_authority_whose_clients_must_prove_more_than_a_document_can_vouches_for_none(
    place: ApprovedPlace, demanded: str
) -> None:
    place.trust(version=2, **{demanded: True})
    assert await refused_push(place.house, client=place.agent) == NOBODY


@pytest.mark.parametrize("how", ["suspended", "statement", "software", "expired"])
async def test_what_no_authority_vouches_for_any_more_is_nobody_at_once(place: ApprovedPlace, how: str) -> None:
    done, pushed = await a_code(place.house, client=place.agent)
    opened = await place.agent.push()
    if how == "suspended":
        place.house.store.suspend(AUTHORITY)
    elif how == "expired":
        place.house.clock.advance(3590)
        place.fetch.documents[CLIENT_ID] = replace(place.fetch.documents[CLIENT_ID], max_age=86_400)
        opened = await place.agent.push()
        place.house.clock.advance(21)
    else:
        name = {"statement": "statement-1", "software": SOFTWARE}[how]
        place.house.store.withdraw(how, AUTHORITY, name, version=2)
    assert await refused_push(place.house, client=place.agent) == NOBODY
    assert await refused_tokens(place.house, lambda: place.agent.code_request(done.code or "", pushed)) == NOBODY
    query = {"client_id": CLIENT_ID, "request_uri": opened.request_uri}
    assert (await refused_page(place.house, query))[0] == 400


async def test_a_document_that_drops_its_statement_drops_what_it_got_by_it(place: ApprovedPlace) -> None:
    """Where documents need no statement, either: the person was told of an approval, and an authority took it back."""
    documents = replace(DOCUMENTS, statement_required=False)
    place.house.context = replace(place.house.context, policy=replace(place.house.context.policy, documents=documents))
    place.forget()
    done, pushed = await a_code(place.house, client=place.agent)
    tokens = await place.agent.obtain(username="alice", password=PASSWORD)
    opened = await place.agent.push()
    place.house.store.suspend(AUTHORITY)
    assert await refused_push(place.house, client=place.agent) == NOBODY
    place.publish()
    assert (await place.agent.push()).request_uri  # as anybody else
    for attempt in (place.agent.redeem(done, pushed), place.agent.refresh(tokens.refresh_token or "")):
        with pytest.raises(Refused) as raised:
            await attempt
        assert (raised.value.status, raised.value.error) == (400, "invalid_grant")
    query = {"client_id": CLIENT_ID, "request_uri": opened.request_uri}
    assert await refused_page(place.house, query) == (400, "invalid_request")


@pytest.mark.attack("CIM-10")
async def test_who_is_vouched_for_no_more_takes_no_place_from_others(
    place: ApprovedPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_documents, "PER_HOST_IN_WINDOW", 3)
    documents = replace(DOCUMENTS, statement_required=False)
    place.house.context = replace(place.house.context, policy=replace(place.house.context.policy, documents=documents))
    place.forget()
    other = f"https://{HOST}/other.json"
    place.publish(other)
    await place.agent.obtain(username="alice", password=PASSWORD)
    assert (await place.peer(other).push()).request_uri
    place.house.store.suspend(AUTHORITY)
    place.house.clock.advance(300)
    for _ in range(client_documents.PER_HOST_IN_WINDOW + 1):
        with pytest.raises(Refused):
            await place.agent.push()
    assert (await place.peer(other).push()).request_uri


async def test_an_authority_whose_keys_cannot_be_had_vouches_for_nobody(place: ApprovedPlace) -> None:
    members = place.authority.members(policy=POLICY, jwks=..., jwks_uri="https://authority.example/keys.json")
    place.house.store.approvers.put_authority(parse_authority(members, version=2))
    assert await refused_push(place.house, client=place.agent) == NOBODY
    url, kid = "https://authority.example/keys.json", place.authority.kid
    place.fetch.documents[url] = published(place.authority.key.jwk(kid=kid))
    place.house.clock.advance(10)
    assert (await place.agent.push()).request_uri


async def test_a_remembered_yes_to_an_approved_document_counts(place: ApprovedPlace) -> None:
    place.agent.scope = "openid accounts:read"
    consent = await place.house.asked(client=place.agent)
    await place.agent.browser.submit(consent, "consent-approve")
    pushed = await place.agent.push(prompt="none")
    found = await place.agent.browser.open(place.agent.authorization_url(pushed), stop_at=REDIRECT_URI)
    assert found.parameters.get("code")  # type: ignore[union-attr]


@pytest.mark.requirement("CIMD-14", proves="refused")
async def test_a_remembered_yes_to_another_document_does_not_count(place: ApprovedPlace) -> None:
    other = f"https://{HOST}/elsewhere"
    statement = place.statement(redirect_uris=[REDIRECT_URI, other])
    place.publish(software_statement=statement, redirect_uris=[REDIRECT_URI])
    place.agent.scope = "openid accounts:read"
    consent = await place.house.asked(client=place.agent)
    await place.agent.browser.submit(consent, "consent-approve")
    place.publish(software_statement=statement, redirect_uris=[REDIRECT_URI, other])
    place.forget()
    pushed = await place.agent.push(prompt="none")
    found = await place.agent.browser.open(place.agent.authorization_url(pushed), stop_at=REDIRECT_URI)
    assert found.parameters["error"] == "consent_required"  # type: ignore[union-attr]
