"""The keys of an issuer: fetched once for many, renewed in time, and gone when they may not be trusted any more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from typing import Any

import pytest

from rs_kit.adapters.bounded_fetch import FetchFailed
from rs_kit.adapters.issuer_keys import MAX_AGE_SECONDS, HttpsIssuerKeys, StaticIssuerKeys, jwks_uri_of, metadata_url
from rs_kit.protocol.errors import Unavailable
from tests.support.guarded_bank import ISSUER, ISSUER_KEY, Bank
from tests.support.guarded_refusals import refused
from tests.support.peer_keys import PeerKey

METADATA = f"{ISSUER}/.well-known/oauth-authorization-server"
JWKS = f"{ISSUER}/jwks"
NEXT_KEY = PeerKey.es256(seed=14)


class Issuer:
    """The documents of an issuer, how often each was asked for, and what goes wrong."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {
            METADATA: {"issuer": ISSUER, "jwks_uri": JWKS},
            JWKS: {"keys": [ISSUER_KEY.jwk(kid="as-1")]},
        }
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.time = 1000.0
        self.gate: threading.Event | None = None

    def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if self.gate is not None:
            assert self.gate.wait(5)
        if self.failure is not None:
            raise self.failure
        document = self.documents[url]
        return document if isinstance(document, bytes) else json.dumps(document).encode()

    def keys(self) -> HttpsIssuerKeys:
        return HttpsIssuerKeys(ISSUER, fetch=self.fetch, monotonic=lambda: self.time)

    def count(self, url: str = JWKS) -> int:
        return self.asked.count(url)


async def renewed(keys: HttpsIssuerKeys) -> None:
    """Wait for what runs in the background."""
    if keys._running is not None:
        await keys._running


@pytest.mark.requirement("RSV-3", proves="holds")
async def test_the_keys_are_found_through_the_metadata_and_kept() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    assert keys.current() is None
    first = await keys.keys("as-1")
    assert [key.kid for key in first] == ["as-1"]
    issuer.time += 59
    assert await keys.keys("as-1") is first
    assert keys.current() is first
    assert issuer.asked == [METADATA, JWKS]


async def test_many_callers_at_once_cost_one_fetch() -> None:
    issuer = Issuer()
    issuer.gate = threading.Event()
    keys = issuer.keys()
    waiting = [asyncio.ensure_future(keys.keys("as-1")) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # the one who started it goes away; the others still get their answer
    issuer.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all([key.kid for key in answer] == ["as-1"] for answer in answers[1:])
    assert issuer.count() == 1


async def test_an_older_set_is_used_while_it_is_renewed_in_the_background() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    first = await keys.keys("as-1")
    issuer.documents[JWKS] = {"keys": [ISSUER_KEY.jwk(kid="as-1"), NEXT_KEY.jwk(kid="as-2")]}
    issuer.time += 60
    assert keys.current() is first
    await renewed(keys)
    assert [key.kid for key in keys.current() or ()] == ["as-1", "as-2"]
    assert issuer.count() == 2


async def test_a_set_that_did_not_change_stays_the_same_object() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    first = await keys.keys("as-1")
    issuer.time += 60
    keys.current()
    await renewed(keys)
    issuer.time += 299
    assert keys.current() is first
    await renewed(keys)


@pytest.mark.requirement("RSV-3", proves="refused")
@pytest.mark.attack("DPR-26")
async def test_a_storm_of_unknown_kids_costs_one_fetch_per_cool_down() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    await keys.keys("as-1")
    issuer.time += 30
    for number in range(10_000):
        assert [key.kid for key in await keys.keys(f"random-{number}")] == ["as-1"]
    assert issuer.count() == 2
    assert await keys.keys("as-1") is keys.current()


async def test_a_kid_that_is_new_is_found_by_asking_again_after_the_cool_down() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    await keys.keys("as-1")
    issuer.documents[JWKS] = {"keys": [ISSUER_KEY.jwk(kid="as-1"), NEXT_KEY.jwk(kid="as-2")]}
    issuer.time += 29
    assert [key.kid for key in await keys.keys("as-2")] == ["as-1"]
    issuer.time += 1
    assert [key.kid for key in await keys.keys("as-2")] == ["as-1", "as-2"]


@pytest.mark.attack("DPR-27")
@pytest.mark.parametrize(
    "document",
    [
        FetchFailed("status 500"),
        FetchFailed("TimeoutError"),
        b"<html>",
        b"[]",
        b'{"keys": "none"}',
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "as-1"}]}',
        b'{"keys": [], "keys": []}',
    ],
    ids=str,
)
async def test_bad_answers_leave_the_last_good_keys_until_their_maximum_age(document: Any) -> None:
    issuer = Issuer()
    keys = issuer.keys()
    first = await keys.keys("as-1")
    if isinstance(document, Exception):
        issuer.failure = document
    else:
        issuer.documents[JWKS] = document
    for _ in range(29):
        issuer.time += 10
        assert keys.current() is first
        await renewed(keys)
    issuer.time += 10  # 300 seconds after the last good answer
    assert keys.current() is None
    with pytest.raises(Unavailable):
        await keys.keys("as-1")


async def test_after_a_failure_the_issuer_is_asked_again_only_after_a_pause() -> None:
    issuer = Issuer()
    issuer.failure = FetchFailed("ConnectionRefusedError")
    keys = issuer.keys()
    for _ in range(100):
        with pytest.raises(Unavailable):
            await keys.keys("as-1")
    assert issuer.count(METADATA) == 1
    issuer.failure = None
    issuer.time += 5
    assert [key.kid for key in await keys.keys("as-1")] == ["as-1"]


async def test_an_unknown_kid_while_the_issuer_is_down_is_no_verdict_on_the_token() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    await keys.keys("as-1")
    issuer.failure = FetchFailed("down")
    issuer.time += 30
    for _ in range(2):
        with pytest.raises(Unavailable):
            await keys.keys("as-2")
    assert [key.kid for key in await keys.keys("as-1")] == ["as-1"]


async def test_keys_that_moved_are_found_though_their_old_address_still_serves_the_old_ones() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    await keys.keys("as-1")
    moved = f"{ISSUER}/new/jwks"
    issuer.documents |= {METADATA: {"issuer": ISSUER, "jwks_uri": moved}, moved: {"keys": [NEXT_KEY.jwk(kid="as-2")]}}
    issuer.time += 60
    keys.current()
    await renewed(keys)
    assert issuer.asked[-2:] == [METADATA, moved]
    assert [key.kid for key in keys.current() or ()] == ["as-2"]


async def test_an_unknown_kid_asks_once_per_cool_down_also_while_the_issuer_is_down() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    await keys.keys("as-1")
    issuer.failure = FetchFailed("down")
    for _ in range(59):
        issuer.time += 1
        for number in range(10):
            with contextlib.suppress(Unavailable):
                assert [key.kid for key in await keys.keys(f"random-{number}")] == ["as-1"]
    assert issuer.count(METADATA) == 1 + 1


async def test_a_set_that_nobody_asked_for_is_not_used_beyond_its_maximum_age() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    await keys.keys("as-1")
    issuer.documents[JWKS] = {"keys": [NEXT_KEY.jwk(kid="as-2")]}
    issuer.time += MAX_AGE_SECONDS
    assert keys.current() is None
    assert [key.kid for key in await keys.keys("as-1")] == ["as-2"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": ISSUER + "/", "jwks_uri": JWKS},
        {"issuer": "https://evil.example", "jwks_uri": JWKS},
        {"jwks_uri": JWKS},
        {"issuer": ISSUER},
        {"issuer": ISSUER, "jwks_uri": "http://as.bank.example/jwks"},
        {"issuer": ISSUER, "jwks_uri": ["https://as.bank.example/jwks"]},
    ],
    ids=str,
)
def test_metadata_of_another_issuer_or_without_an_https_key_set_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(FetchFailed):
        jwks_uri_of(json.dumps(metadata).encode(), issuer=ISSUER)


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://as.example", "https://as.example/.well-known/oauth-authorization-server"),
        ("https://as.example/", "https://as.example/.well-known/oauth-authorization-server"),
        ("https://as.example:8443/t/one", "https://as.example:8443/.well-known/oauth-authorization-server/t/one"),
    ],
)
def test_the_well_known_path_goes_before_the_issuers_own(issuer: str, url: str) -> None:
    assert metadata_url(issuer) == url


@pytest.mark.parametrize(
    "issuer", ["http://as.example", "as.example", "https://", "https://a.b?x", "https://a.b#x", "https://u@a.b"]
)
def test_an_issuer_that_is_no_plain_https_url_stops_the_start(issuer: str) -> None:
    with pytest.raises(ValueError, match="https"):
        HttpsIssuerKeys(issuer, fetch=lambda _: b"")


async def test_a_guard_without_keys_answers_503_and_recovers() -> None:
    issuer = Issuer()
    issuer.failure = FetchFailed("down")
    bank = Bank(keys=issuer.keys())
    async with bank.serving() as line:
        await refused(bank, line, None, None, status=503)
        issuer.failure = None
        issuer.time += 5
        assert (await line.send()).status_code == 200


@pytest.mark.requirement("RSE-10", proves="holds")
async def test_a_guard_whose_issuer_goes_down_serves_on_and_stops_at_the_maximum_age() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    bank = Bank(keys=keys)
    token = bank.peer.token(exp=bank.clock.now() + 600)
    async with bank.serving() as line:
        assert (await line.send(bank.peer.headers(token))).status_code == 200
        issuer.failure = FetchFailed("down")
        issuer.time += 299
        bank.clock.advance(299)
        assert (await line.send(bank.peer.headers(token))).status_code == 200
        await renewed(keys)
        bank.done.clear()
        issuer.time += 6
        bank.clock.advance(6)
        await refused(bank, line, bank.peer.headers(token), None, status=503)


async def test_a_key_that_was_removed_ends_the_tokens_that_it_signed_though_they_were_seen_before() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    bank = Bank(keys=keys)
    token = bank.peer.token()
    async with bank.serving() as line:
        assert (await line.send(bank.peer.headers(token))).status_code == 200
        bank.done.clear()
        issuer.documents[JWKS] = {"keys": [NEXT_KEY.jwk(kid="as-2")]}
        issuer.time += 60
        keys.current()
        await renewed(keys)
        await refused(bank, line, bank.peer.headers(token), "invalid_token", works=False)


async def test_static_keys_know_what_they_were_given() -> None:
    keys = StaticIssuerKeys(ISSUER, {"keys": [ISSUER_KEY.jwk(kid="as-1")]})
    assert keys.issuer == ISSUER
    assert await keys.keys("unknown") is keys.current()


@pytest.mark.parametrize("fresh_seconds", [0.0, -1.0, 60.1, float("nan")])
def test_a_set_is_used_for_a_minute_at_most_before_it_is_renewed(fresh_seconds: float) -> None:
    with pytest.raises(ValueError, match="fresh_seconds"):
        HttpsIssuerKeys("https://as.example", fresh_seconds=fresh_seconds)
