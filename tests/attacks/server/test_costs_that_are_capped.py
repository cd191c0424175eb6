"""What a peer can make the server compute, keep or say is bounded (EXH, LOG)."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database, migrate
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.effects import HandleKind, TakeOnce
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import FAILED_AUTHENTICATIONS_LIMIT, OPENINGS_LIMIT
from tests.support.back_channel import BACK_CHANNEL, asked
from tests.support.fakes import ISSUER
from tests.support.house import House, callback
from tests.support.peer_keys import PeerKey, b64, unb64
from tests.support.standing_still import ready
from tests.support.store_harness import METADATA, NOW, STAMP, issue

LIFETIME = 70  # seconds: an assertion of a minute and its leeway
PER_MINUTE = 200
OPENINGS = 1_000_000 if os.environ.get("LOAD") == "full" else 1_000


@pytest.fixture
async def house() -> House:
    return await ready(House())


# --- EXH-03: what is remembered against replays


@pytest.mark.attack("EXH-03")
async def test_what_is_remembered_against_replays_is_one_window_however_long_it_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    migrate(f"sqlite:///{file}")
    database = Database.open(f"sqlite:///{file}", sealing=Sealing(b"s" * 32))
    store, kept = database.store("default"), []
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as reader:
        for minute in range(30):
            now = NOW + 60 * minute
            used = [
                TakeOnce(namespace="client_assertion", digest=f"{minute}:{n}".encode().ljust(32), until=now + LIFETIME)
                for n in range(PER_MINUTE)
            ]
            await asyncio.gather(*(store.commit(issue(once), replace(STAMP, at=now)) for once in used))
            await database.janitor.sweep("this worker", now)
            kept.append(reader.execute("SELECT count(*) FROM once").fetchone()[0])
        pages = reader.execute("PRAGMA page_count").fetchone()[0] * 4096
        for minute in range(30, 40):
            await database.janitor.sweep("this worker", NOW + 60 * minute)
        assert reader.execute("SELECT count(*) FROM once").fetchone()[0] == 0
    await database.close()
    assert max(kept) <= 6 * PER_MINUTE  # the lifetime, the janitor's grace, and the minute between two sweeps
    assert kept[10:] == [kept[10]] * 20
    assert pages < 1024 * 1024


# --- EXH-05: interactions that nobody signs in to


@pytest.mark.attack("EXH-05")
async def test_a_request_is_opened_so_often_and_who_is_under_way_goes_on(house: House) -> None:
    pushed = await house.agent.push()
    under_way = await house.asked(await house.agent.push())  # signed in, before the consent
    kinds = (HandleKind.INTERACTION, HandleKind.BROWSER)
    before = {kind: len(house.store.handles_of(kind)) for kind in kinds}
    url = house.agent.authorization_url(pushed)
    statuses = Counter([await _as_a_stranger(house, url) for _ in range(OPENINGS)])
    assert statuses == {303: OPENINGS_LIMIT, 429: OPENINGS - OPENINGS_LIMIT}
    assert [len(house.store.handles_of(kind)) - before[kind] for kind in kinds] == [OPENINGS_LIMIT] * 2
    soon = house.clock.now() + seconds(house.context.policy.interaction_lifetime)
    assert max(handle.delete_after for handle in house.store.handles_of(HandleKind.INTERACTION)) <= soon
    approved = callback(await house.agent.browser.submit(under_way, "consent-approve"))
    assert approved.code is not None  # nothing of others was put out
    assert await _as_a_stranger(house, house.agent.authorization_url(await house.agent.push())) == 303


async def _as_a_stranger(house: House, url: str) -> int:
    house.http.cookies.clear()
    return (await house.http.get(url)).status_code


# --- EXH-09: signatures that are expensive to verify


@pytest.mark.attack("EXH-09")
@pytest.mark.parametrize(
    "changes",
    [{"e": b64((2**32 + 1).to_bytes(5))}, {"e": b64((2**2047 + 1).to_bytes(256))}, {"n": b64(b"\xff" * 1024)}],
    ids=["e of 33 bits", "e as long as n", "8192 bits"],
)
def test_a_key_that_would_be_work_is_not_registered(changes: dict[str, str]) -> None:
    key = PeerKey.ps256(2048).jwk(**changes)
    assert unb64(key["n"])
    with pytest.raises(InvalidClientMetadata):
        parse_client(METADATA | {"jwks": {"keys": [key]}}, client_id="agent", version=1)


@pytest.mark.attack("EXH-09")
async def test_wrong_signatures_of_the_largest_key_are_verified_up_to_a_limit(house: House) -> None:
    verified: list[int] = []
    client = house.client("large")
    client.client_key = PeerKey.ps256(4096)
    (registered,) = parse_client(client.registration(), client_id="large", version=2).keys

    def counting(signature: bytes, message: bytes) -> bool:
        verified.append(len(signature))
        return registered.verify(signature, message)

    house.change_client("large", keys=(replace(registered, verify=counting),))
    message = BACK_CHANNEL["/token"](client)
    broken = message._replace(
        body=re.sub(rb"(client_assertion=[^&]*)[A-Za-z0-9_-]{9}(&|$)", rb"\1AAAAAAAAA\2", message.body)
    )
    house.source = "198.51.100.66"
    for _ in range(3 * FAILED_AUTHENTICATIONS_LIMIT):
        assert (await client.send(broken)).status_code in {401, 429}
    assert len(verified) == FAILED_AUTHENTICATIONS_LIMIT + 1
    house.source = "192.0.2.1"
    assert (await asked(house, "/token", client=client)).status_code in {200, 400}  # 400: the first nonce
    assert len(verified) == FAILED_AUTHENTICATIONS_LIMIT + 2


# --- LOG-11: what an error says

HOSTILE = 'REFLECTED"\\\r\n<script>alert(1)</script>\x7f\u2028é\u202e'
ALLOWED = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")


@pytest.mark.attack("LOG-11")
@pytest.mark.parametrize("path", BACK_CHANNEL)
@pytest.mark.parametrize(
    "name",
    ["grant_type", "client_id", "client_assertion", "client_assertion_type", "scope", "resource", "redirect_uri",
     "response_type", "code_challenge", "code_challenge_method", "request", "request_uri", "authorization_details",
     "client_secret", HOSTILE],
    ids=lambda name: name[:24] if name.isidentifier() else "a name",
)  # fmt: skip
async def test_an_error_of_the_back_channel_reflects_nothing(house: House, path: str, name: str) -> None:
    answer = await asked(house, path, form={name: [HOSTILE, HOSTILE] if name == HOSTILE else HOSTILE})
    _says_nothing_of_it(answer.content, answer.headers.multi_items())
    if answer.status_code >= 400:
        assert ALLOWED.fullmatch(answer.json()["error_description"])


@pytest.mark.attack("LOG-11")
@pytest.mark.parametrize("name", ["client_id", "request_uri", "redirect_uri", "state", "scope", "interaction"])
@pytest.mark.parametrize("path", ["/authorize", "/login", "/consent"])
async def test_an_error_page_reflects_nothing(house: House, path: str, name: str) -> None:
    answer = await house.http.get(f"{ISSUER}{path}?{name}={quote(HOSTILE)}")
    assert answer.status_code == 400
    _says_nothing_of_it(answer.content, answer.headers.multi_items())


def _says_nothing_of_it(body: bytes, headers: Any) -> None:
    assert b"REFLECTED" not in body
    assert b"alert(1)" not in body
    assert not [value for _, value in headers if "REFLECTED" in value]
