"""The keys of clients: by value at once, behind a jwks_uri as fresh and as rarely asked for as the rows say."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from fapi_as.adapters import client_keys
from fapi_as.adapters.client_keys import PublishedKeys
from fapi_as.protocol.client import KeysUnavailable, RegisteredClient
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.fetched_document import FetchedDocument
from tests.support.fake_fetch import FakeFetch
from tests.support.fakes import FrozenClock
from tests.support.peer_keys import PeerKey

URL = "https://client.example/jwks.json"
FIRST, SECOND = PeerKey.es256(seed=51), PeerKey.es256(seed=52)
METADATA: dict[str, Any] = {
    "client_name": "Agent",
    "token_endpoint_auth_method": "private_key_jwt",
    "grant_types": ["client_credentials"],
    "scope": "accounts:read",
}


def client(client_id: str = "agent", version: int = 1, **more: Any) -> RegisteredClient:
    return parse_client({**METADATA, "jwks_uri": URL, **more}, client_id=client_id, version=version)


def published(*keys: dict[str, Any], max_age: int | None = None) -> FetchedDocument:
    return FetchedDocument(body=json.dumps({"keys": keys}).encode(), max_age=max_age)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def fetch() -> FakeFetch:
    return FakeFetch(documents={URL: published(FIRST.jwk(kid="first"))})


@pytest.fixture
def keys(fetch: FakeFetch, clock: FrozenClock) -> PublishedKeys:
    return PublishedKeys(fetch, monotonic=lambda: float(clock.now()))


async def kids(keys: PublishedKeys, kid: str | None = None, **which: Any) -> list[str | None]:
    return [key.kid for key in (await keys.keys(client(**which), kid)).keys]


async def test_keys_that_were_registered_by_value_are_at_hand(keys: PublishedKeys, fetch: FakeFetch) -> None:
    members = {**METADATA, "jwks": {"keys": [FIRST.jwk(kid="inline")]}}
    registered = parse_client(members, client_id="agent", version=1)
    found = await keys.keys(registered, "another")
    assert (found.keys, found.certificates) == (registered.keys, registered.certificates)
    assert fetch.asked == []


@pytest.mark.requirement("JOSE-33", proves="holds")
async def test_a_set_is_fetched_once_and_serves_all_who_ask_while_it_is_good(
    keys: PublishedKeys, fetch: FakeFetch, clock: FrozenClock
) -> None:
    assert await asyncio.gather(*[kids(keys, "first") for _ in range(50)]) == [["first"]] * 50
    clock.advance(299)
    assert await kids(keys, "first") == ["first"]
    assert fetch.asked == [URL]
    clock.advance(1)
    assert await kids(keys) == ["first"]
    assert fetch.asked == [URL, URL]


@pytest.mark.parametrize(
    ("max_age", "good_for"), [(None, 300), (0, 30), (10, 30), (30, 30), (120, 120), (300, 300), (31_536_000, 300)]
)
async def test_its_host_says_how_long_within_our_bounds(
    keys: PublishedKeys, fetch: FakeFetch, clock: FrozenClock, max_age: int | None, good_for: int
) -> None:
    fetch.documents[URL] = published(FIRST.jwk(kid="first"), max_age=max_age)
    await kids(keys)
    clock.advance(good_for - 1)
    await kids(keys)
    assert len(fetch.asked) == 1
    clock.advance(1)
    await kids(keys)
    assert len(fetch.asked) == 2


@pytest.mark.attack("SSR-11")
@pytest.mark.parametrize("max_age", [None, 60, 31_536_000])
async def test_a_key_that_was_removed_is_known_no_longer_than_its_host_said_and_never_beyond_five_minutes(
    keys: PublishedKeys, fetch: FakeFetch, clock: FrozenClock, max_age: int | None
) -> None:
    fetch.documents[URL] = published(FIRST.jwk(kid="first"), max_age=max_age)
    assert await kids(keys, "first") == ["first"]
    fetch.documents[URL] = published(SECOND.jwk(kid="second"))
    clock.advance(min(max_age or 300, 300))
    assert await kids(keys, "first") == ["second"]


@pytest.mark.attack("SSR-11")
async def test_a_change_of_the_registration_forgets_the_keys_at_once(keys: PublishedKeys, fetch: FakeFetch) -> None:
    """What an operator does who cannot wait: disable and enable, which makes another version."""
    await kids(keys, "first")
    fetch.documents[URL] = published()
    assert await kids(keys, "first") == ["first"]
    assert await kids(keys, "first", version=2) == []


async def test_an_empty_set_is_believed(keys: PublishedKeys, fetch: FakeFetch, clock: FrozenClock) -> None:
    await kids(keys)
    fetch.documents[URL] = published()
    clock.advance(300)
    assert await kids(keys) == []


# --- kids that nobody knows


@pytest.mark.requirement("FAPI2-JWKS-5", proves="holds")
async def test_a_key_that_was_published_since_is_found_at_once(
    keys: PublishedKeys, fetch: FakeFetch, clock: FrozenClock
) -> None:
    assert await kids(keys, "first") == ["first"]
    fetch.documents[URL] = published(FIRST.jwk(kid="first"), SECOND.jwk(kid="second"))
    clock.advance(1)
    assert await kids(keys, "second") == ["first", "second"]
    assert len(fetch.asked) == 2


@pytest.mark.requirement("FAPI2-JWKS-5", proves="refused")
async def test_a_flood_of_made_up_kids_costs_its_host_one_fetch_a_minute(
    keys: PublishedKeys, fetch: FakeFetch, clock: FrozenClock
) -> None:
    await kids(keys, "first")
    for second in range(180):
        assert await asyncio.gather(*[kids(keys, f"made-up-{second}-{n}") for n in range(5)]) == [["first"]] * 5
        clock.advance(1)
    assert len(fetch.asked) == 1 + 3


@pytest.mark.attack("SSR-10")
@pytest.mark.parametrize("warm", [False, True])
async def test_500_who_ask_for_unknown_kids_at_once_cost_one_fetch(
    keys: PublishedKeys, fetch: FakeFetch, warm: bool
) -> None:
    if warm:
        await kids(keys, "first")
        fetch.asked.clear()
    fetch.may_answer.clear()
    asking = [asyncio.create_task(kids(keys, f"made-up-{number}")) for number in range(500)]
    for _ in range(3):
        await asyncio.sleep(0)
    fetch.may_answer.set()
    assert await asyncio.gather(*asking) == [["first"]] * 500
    assert await kids(keys, "another") == ["first"]
    assert fetch.asked == [URL]


async def test_who_gives_up_waiting_takes_the_fetch_from_nobody(keys: PublishedKeys, fetch: FakeFetch) -> None:
    fetch.may_answer.clear()
    impatient, patient = asyncio.create_task(kids(keys)), asyncio.create_task(kids(keys))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    fetch.may_answer.set()
    assert await patient == ["first"]
    assert impatient.cancelled()
    assert fetch.asked == [URL]


# --- hosts that fail


@pytest.mark.requirement("JOSE-33", proves="refused")
async def test_a_set_outlives_its_host_up_to_five_minutes_and_not_a_second_more(
    keys: PublishedKeys, fetch: FakeFetch, clock: FrozenClock
) -> None:
    fetch.documents[URL] = published(FIRST.jwk(kid="first"), max_age=60)
    await kids(keys)
    fetch.documents.clear()
    for _ in range(299):
        clock.advance(1)
        assert await kids(keys, "first") == ["first"]
    assert len(fetch.asked) <= 1 + 240 / client_keys.FAILURE_PAUSE
    clock.advance(1)
    with pytest.raises(KeysUnavailable, match="404"):
        await kids(keys, "first")


async def test_a_failure_is_remembered_for_ten_seconds_and_then_tried_again(
    keys: PublishedKeys, fetch: FakeFetch, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    good = fetch.documents.pop(URL)
    with caplog.at_level(logging.WARNING, "fapi_as.client_keys"):
        for _ in range(20):
            with pytest.raises(KeysUnavailable, match="404"):
                await kids(keys, "first")
    assert len(fetch.asked) == len(caplog.records) == 1
    assert vars(caplog.records[0])["owner"] == "client agent"
    fetch.documents[URL] = good
    clock.advance(9)
    with pytest.raises(KeysUnavailable):
        await kids(keys, "first")
    clock.advance(1)
    assert await kids(keys, "first") == ["first"]
    assert len(fetch.asked) == 2


@pytest.mark.attack("SSR-06")
@pytest.mark.parametrize(
    "body",
    [
        *(b"<html></html>", b"[]", b'{"keys":{}}', b"", b'{"keys":[],"keys":[]}'),
        json.dumps({"keys": [FIRST.private_jwk(kid="first")]}).encode(),
        json.dumps({"keys": [SECOND.jwk(kid=str(number)) for number in range(33)]}).encode(),
    ],
)
async def test_a_document_that_is_no_public_key_set_gives_no_keys(
    keys: PublishedKeys, fetch: FakeFetch, body: bytes
) -> None:
    fetch.documents[URL] = FetchedDocument(body=body)
    with pytest.raises(KeysUnavailable):
        await kids(keys)


@pytest.mark.attack("SSR-06")
async def test_a_good_key_works_among_foreign_ones(keys: PublishedKeys, fetch: FakeFetch) -> None:
    foreign = [{"kty": "AKP", "pub": "AAAA"}, {"kty": "EC", "crv": "P-521"}, SECOND.jwk(kid="enc", use="enc")]
    fetch.documents[URL] = published(*foreign, FIRST.jwk(kid="first"))
    assert await kids(keys, "first") == ["first"]


async def test_a_set_above_64_kib_is_none(keys: PublishedKeys, fetch: FakeFetch) -> None:
    fetch.documents[URL] = published(FIRST.jwk(kid="first", pad="p" * 64 * 1024))
    with pytest.raises(KeysUnavailable, match="too large"):
        await kids(keys)


async def test_what_is_kept_is_bounded_and_each_client_has_its_own(
    keys: PublishedKeys, fetch: FakeFetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_keys, "OWNERS_KEPT", 2)
    other = "https://other.example/jwks"
    fetch.documents[other] = published(SECOND.jwk(kid="second"))
    assert await kids(keys, client_id="a") == ["first"]
    assert await kids(keys, client_id="b", jwks_uri=other) == ["second"]
    assert await kids(keys, client_id="a") == ["first"]
    assert fetch.asked == [URL, other]
    assert await kids(keys, client_id="c") == ["first"]
    assert await kids(keys, client_id="a") == ["first"]  # used last before, so it is kept
    assert fetch.asked == [URL, other, URL]
    assert await kids(keys, client_id="b", jwks_uri=other) == ["second"]
    assert fetch.asked == [URL, other, URL, other]


async def test_a_url_that_may_not_be_fetched_gives_no_keys(keys: PublishedKeys, fetch: FakeFetch) -> None:
    inside = replace(client(), jwks_uri="https://localhost:8443/jwks")
    with pytest.raises(KeysUnavailable, match="inside"):
        await keys.keys(inside, None)
    assert fetch.asked == []
