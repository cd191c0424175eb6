"""Documents of clients as time goes on: how long one counts, at which hosts, and what was agreed to of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fapi_as.adapters import client_documents
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.fetched_document import FetchedDocument
from tests.support.document_scene import (
    CLIENT_ID,
    DOCUMENTS,
    HOST,
    JWKS_URI,
    KEY,
    OTHER_KEY,
    REDIRECT_URI,
    DocumentPlace,
    described,
)
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused
from tests.support.published_client import published
from tests.support.standing_still import a_code, query_for, refused_page, refused_push, refused_tokens

NOBODY = (401, "invalid_client")
NOT_REGISTERED = (400, "invalid_request")


@pytest.fixture
def place() -> DocumentPlace:
    return DocumentPlace()


# --- for how long


@pytest.mark.requirement("CIMD-7", proves="holds")
@pytest.mark.attack("CIM-12")
@pytest.mark.parametrize(
    ("max_age", "good_for"), [(None, 300), (0, 300), (299, 300), (3600, 3600), (86_400, 86_400), (31_536_000, 86_400)]
)
async def test_a_document_is_kept_as_long_as_its_host_says_within_our_bounds(
    place: DocumentPlace, max_age: int | None, good_for: int
) -> None:
    place.publish(max_age=max_age)
    await place.agent.push()
    place.house.clock.advance(good_for - 1)
    await place.agent.push()
    assert place.asked() == 1
    place.house.clock.advance(1)
    await place.agent.push()
    assert place.asked() == 2


@pytest.mark.attack("CIM-12")
async def test_keys_that_stand_in_a_document_are_known_for_five_minutes_at_most(place: DocumentPlace) -> None:
    place.publish(jwks={"keys": [KEY.jwk(kid="first")]}, jwks_uri=..., max_age=31_536_000)
    await place.agent.push()
    place.publish(jwks={"keys": [OTHER_KEY.jwk(kid="first")]}, jwks_uri=..., max_age=31_536_000)
    place.house.clock.advance(300)
    assert await refused_push(place.house, client=place.agent) == NOBODY


async def test_a_document_that_did_not_change_is_known_by_its_entity_tag(place: DocumentPlace) -> None:
    place.fetch.documents[CLIENT_ID] = FetchedDocument(body=json.dumps(described()).encode(), entity_tag='"one"')
    for _ in range(3):
        assert (await place.agent.push()).request_uri
        place.house.clock.advance(300)
    assert place.asked() == 3
    place.fetch.documents[CLIENT_ID] = FetchedDocument(body=b"{}", entity_tag='"two"')
    assert await refused_push(place.house, client=place.agent) == NOBODY


@pytest.mark.requirement("CIMD-7", proves="refused")
@pytest.mark.attack("CIM-12")
async def test_neither_an_error_nor_an_invalid_document_is_kept(place: DocumentPlace) -> None:
    good = place.fetch.documents.pop(CLIENT_ID)
    assert await refused_push(place.house, client=place.agent) == NOBODY
    place.put(b"{}", max_age=31_536_000)
    assert await refused_push(place.house, client=place.agent) == NOBODY
    place.publish(token_endpoint_auth_method="none", max_age=31_536_000)
    assert await refused_push(place.house, client=place.agent) == NOBODY
    place.fetch.documents[CLIENT_ID] = good
    assert (await place.agent.push()).request_uri
    assert place.asked() == 4
    del place.fetch.documents[CLIENT_ID]
    place.house.clock.advance(300)
    assert await refused_push(place.house, client=place.agent) == NOBODY  # what has grown old is not good for anything
    place.fetch.documents[CLIENT_ID] = good
    assert (await place.agent.push()).request_uri


# --- whose


@pytest.mark.requirement("CIMD-12", proves="holds")
async def test_the_metadata_says_that_documents_are_clients_here(place: DocumentPlace) -> None:
    assert (await place.agent.discover())["client_id_metadata_document_supported"] is True


@pytest.mark.requirement("CIMD-12", proves="refused")
async def test_where_documents_are_switched_off_a_url_is_nobody_and_nothing_is_fetched() -> None:
    place = DocumentPlace(documents=None)
    assert "client_id_metadata_document_supported" not in await place.agent.discover()
    assert await refused_push(place.house, client=place.agent) == NOBODY
    assert place.fetch.asked == []


@pytest.mark.requirement("CIMD-13", proves="holds")
@pytest.mark.parametrize("scope", [..., "accounts:read transfers:write"])
async def test_a_host_that_is_allowed_gets_its_scope_and_no_more(scope: object) -> None:
    narrow = DocumentPlace(documents=replace(DOCUMENTS, scope=frozenset({"accounts:read"})))
    narrow.publish(scope=scope)
    assert (await narrow.agent.push()).request_uri
    form = {"scope": "transfers:write"}
    assert await refused_push(narrow.house, client=narrow.agent, form=form) == (400, "invalid_scope")


@pytest.mark.requirement("CIMD-13", proves="refused")
@pytest.mark.parametrize(
    "host", ["other.example", f"www.{HOST}", f"{HOST}.evil.example", "example", "evilagents.example"]
)
async def test_a_host_that_nobody_allowed_is_refused_and_not_asked(place: DocumentPlace, host: str) -> None:
    client_id = f"https://{host}/assistant.json"
    place.publish(client_id)
    assert await refused_push(place.house, client=place.peer(client_id)) == NOBODY
    assert place.fetch.asked == []


async def test_a_host_that_is_not_allowed_any_more_ends_what_it_has_begun(place: DocumentPlace) -> None:
    done, pushed = await a_code(place.house, client=place.agent)
    opened = await place.agent.push()
    documents = replace(DOCUMENTS, hosts=frozenset({"other.example"}))
    place.house.context = replace(place.house.context, policy=replace(place.house.context.policy, documents=documents))
    place.forget()
    request = place.agent.code_request(done.code or "", pushed)
    response = await place.agent.send(request)
    assert (response.status_code, response.json()["error"]) == NOBODY
    assert (await refused_page(place.house, query_for(opened, CLIENT_ID)))[0] == 400


@pytest.mark.requirement("CIMD-14", proves="holds")
async def test_a_code_and_its_refresh_token_outlive_a_change_of_keys(place: DocumentPlace) -> None:
    done, pushed = await a_code(place.house, client=place.agent)
    place.fetch.documents[JWKS_URI] = published(OTHER_KEY.jwk(kid="second"))
    place.publish(client_uri=f"https://{HOST}/about", contacts=["a@agents.example"])
    place.forget()
    place.agent.client_key, place.agent.kid = OTHER_KEY, "second"
    tokens = await place.agent.redeem(done, pushed)
    assert (await place.agent.refresh(tokens.refresh_token or "")).access_token


CHANGES: list[dict[str, Any]] = [
    {"client_name": "The other assistant"},
    {"redirect_uris": [REDIRECT_URI, f"https://{HOST}/other"]},
    {"redirect_uris": [f"https://{HOST}/other"]},
    {"jwks_uri": f"https://{HOST}/other.json"},
    {"jwks_uri": ..., "jwks": {"keys": [KEY.jwk(kid="first")]}},
]


@pytest.mark.requirement("CIMD-14", proves="refused")
@pytest.mark.attack("CIM-08")
@pytest.mark.parametrize("changes", CHANGES, ids=str)
async def test_a_document_that_is_swapped_after_the_consent_gets_nothing_for_the_code(
    place: DocumentPlace, changes: dict[str, Any]
) -> None:
    done, pushed = await a_code(place.house, client=place.agent)
    swap(place, changes)
    with pytest.raises(Refused) as raised:
        await place.agent.redeem(done, pushed)
    assert (raised.value.status, raised.value.error) == (400, "invalid_grant")


@pytest.mark.attack("CIM-08")
@pytest.mark.parametrize("changes", CHANGES, ids=str)
async def test_a_document_that_is_swapped_between_push_and_consent_is_not_asked_about(
    place: DocumentPlace, changes: dict[str, Any]
) -> None:
    pushed = await place.agent.push()
    swap(place, changes)
    assert (await refused_page(place.house, query_for(pushed, CLIENT_ID))) == (400, "invalid_request")


@pytest.mark.attack("CIM-08")
@pytest.mark.parametrize("changes", CHANGES, ids=str)
async def test_a_document_that_is_swapped_while_the_person_decides_gets_no_code(
    place: DocumentPlace, changes: dict[str, Any]
) -> None:
    consent = await place.house.asked(client=place.agent)
    swap(place, changes)
    answer = await place.agent.browser.submit(consent, "consent-approve")
    assert (answer.status, answer.error) == (400, "invalid_request")  # type: ignore[union-attr]


@pytest.mark.attack("CIM-08")
@pytest.mark.parametrize("changes", CHANGES, ids=str)
async def test_a_document_that_is_swapped_later_ends_the_refreshing(
    place: DocumentPlace, changes: dict[str, Any]
) -> None:
    done, pushed = await a_code(place.house, client=place.agent)
    tokens = await place.agent.redeem(done, pushed)
    swap(place, changes)
    with pytest.raises(Refused) as raised:
        await place.agent.refresh(tokens.refresh_token or "")
    assert (raised.value.status, raised.value.error) == (400, "invalid_grant")


def swap(place: DocumentPlace, changes: dict[str, Any]) -> None:
    """Another document, whose client can authenticate as before, at a worker that has none at hand."""
    place.fetch.documents[f"https://{HOST}/other.json"] = place.fetch.documents[JWKS_URI]
    place.publish(**changes)
    place.forget()


# --- what is blocked, and what is too much


async def test_a_client_that_is_blocked_is_nobody_at_once(place: DocumentPlace) -> None:
    done, pushed = await a_code(place.house, client=place.agent)
    opened = await place.agent.push()
    place.house.store.block(CLIENT_ID)
    assert await refused_push(place.house, client=place.agent) == NOBODY
    assert await refused_tokens(place.house, lambda: place.agent.code_request(done.code or "", pushed)) == NOBODY
    assert (await refused_page(place.house, query_for(opened, CLIENT_ID)))[0] == 400


async def test_whoever_fails_too_often_is_refused_before_anything_is_fetched(place: DocumentPlace) -> None:
    stranger = place.peer(key=OTHER_KEY)
    for _ in range(101):
        response = await stranger.send(stranger.push_request(code_verifier="v" * 43, state="s"))
    assert response.status_code == 429
    place.forget()
    before = place.asked()
    response = await place.agent.send(place.agent.push_request(code_verifier="v" * 43, state="s"))
    assert response.status_code == 429
    assert place.asked() == before


@pytest.mark.attack("CIM-10")
async def test_a_flood_of_client_ids_is_met_by_few_fetches_and_no_rows(place: DocumentPlace) -> None:
    assert (await place.agent.push()).request_uri
    rows = len(place.house.store.handles_of(HandleKind.REQUEST_URI))
    statuses: dict[int, int] = {}
    for number in range(300):
        peer = place.peer(f"https://{HOST}/{number}.json")
        response = await peer.send(peer.push_request(code_verifier="v" * 43, state="s"))
        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
    limit = client_documents.PER_HOST_IN_WINDOW
    assert statuses == {401: limit - 1, 429: 301 - limit}
    assert len(place.fetch.asked) == limit + 1  # and the keys of the good one
    assert len(place.house.store.handles_of(HandleKind.REQUEST_URI)) == rows
    place.house.clock.advance(300)
    assert (await place.agent.push()).request_uri  # who is known is renewed whatever strangers do


@pytest.mark.attack("CIM-11")
@pytest.mark.parametrize("port", ["", ":8443"])
@pytest.mark.parametrize("path", ["/jwks", "/par", "/.well-known/oauth-authorization-server", "/t/acme/jwks"])
async def test_we_ask_nothing_of_ourselves(path: str, port: str) -> None:
    hosts = DOCUMENTS.hosts | {"as.example", "mtls.as.example:8443", "mtls.as.example"}
    place = DocumentPlace(documents=replace(DOCUMENTS, hosts=hosts))
    policy = replace(place.house.context.policy, mutual_tls_url="https://mtls.as.example:8443")
    place.house.context = replace(place.house.context, policy=policy)
    place.forget()
    host = "https://mtls.as.example:8443" if port else ISSUER
    for client_id in (f"{host}{path}", f"https://mtls.as.example{path}"):
        assert await refused_push(place.house, client=place.peer(client_id)) == NOBODY
        assert place.house.last_detail == "document: the host is our own"
    assert place.fetch.asked == []
