"""Races between people, clients and operators over real TLS and two workers: one order explains what they did.

`make load` plays 20 rounds of each, `make test` a few.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlencode

import pytest

from fapi_as.protocol.profile import SIGN_IN_ATTEMPTS_PER_ACCOUNT
from tests.support.authorization_server import PASSWORD, USERNAME, AuthorizationServer, authorization_server, ready
from tests.support.browser import Browser, Callback, Page
from tests.support.fapi_client import FapiClient, Pushed, Refused, Tokens
from tests.support.load import Connection, Prepared, Reply, at_once, prepare

ROUNDS = 20 if os.environ.get("LOAD") == "full" else 6
BROWSERS = 16
COPIES = 50
ROUNDS_OF_A_SOURCE = 10  # each connection comes from an address of its own, which may try 20 times in a minute
ENDED = {(401, "invalid_client"), (429, "invalid_request")}  # so often that the client's failures are counted
pytestmark = pytest.mark.xdist_group("races")


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    directory: Path = tmp_path_factory.mktemp("people")
    with authorization_server(directory, workers=2, clients=ROUNDS + 1) as server:  # the last is left alone
        yield server


def _errors(replies: Sequence[Reply]) -> Counter[tuple[int, str | None]]:
    return Counter((reply.status, json.loads(reply.body).get("error")) for reply in replies)


async def _consent_page(client: FapiClient, pushed: Pushed, browser: Browser) -> Page:
    place = await browser.open(client.authorization_url(pushed))
    if isinstance(place, Page) and place.has("login-submit"):
        place = await browser.submit(place, "login-submit", {"username": USERNAME, "password": PASSWORD})
    assert isinstance(place, Page), place.location
    assert place.has("consent-approve"), place.text
    return place


@pytest.mark.attack("RAC-02")
async def test_one_request_uri_completed_by_16_browsers_at_once_gives_one_code(
    two_workers: AuthorizationServer,
) -> None:
    async with two_workers.http() as http:
        client = two_workers.client(http)
        browsers = [Browser(http) for _ in range(BROWSERS)]
        for _ in range(ROUNDS):
            pushed = await client.push()
            pages = [await _consent_page(client, pushed, browser) for browser in browsers]
            ends = await asyncio.gather(
                *(browser.submit(page, "consent-approve") for browser, page in zip(browsers, pages, strict=True))
            )
            codes = [end.code for end in ends if isinstance(end, Callback) and end.code]
            assert len(codes) == 1
            losers = [end for end in ends if isinstance(end, Page)]
            assert len(losers) == BROWSERS - 1
            assert {(page.status, page.error) for page in losers} == {(400, "invalid_request_uri")}
            callback = next(end for end in ends if isinstance(end, Callback))
            assert (await client.redeem(callback, pushed)).access_token


@pytest.mark.attack("RAC-08")
@pytest.mark.attack("RAC-11")
async def test_one_consent_form_sent_50_times_at_once_gives_one_code(two_workers: AuthorizationServer) -> None:
    lines = await two_workers.connections(COPIES)
    async with two_workers.http() as http:
        client = two_workers.client(http)
        for _ in range(ROUNDS):
            page = await _consent_page(client, await client.push(), client.browser)
            form = page.form_of("consent-approve")
            copies = [_submission(client.browser, page, form.action, Browser.fields(form, "consent-approve", {}))]
            replies = await at_once(lines, copies * COPIES)
            locations = [reply.headers.get("location", "") for reply in replies]
            assert sum("code=" in location for location in locations) == 1
            assert Counter(reply.status for reply in replies) == {303: 1, 400: COPIES - 1}
    await _close(lines)


@pytest.mark.attack("RAC-13")
async def test_of_50_sign_ins_at_once_exactly_the_last_allowed_attempt_is_hashed(
    two_workers: AuthorizationServer,
) -> None:
    async with two_workers.http() as http:
        client = two_workers.client(http)
        lines: list[Connection] = []
        for number in range(ROUNDS):
            if number % ROUNDS_OF_A_SOURCE == 0:
                await _close(lines)
                lines = [await _from(two_workers, f"127.{number + 1}.7.{host + 1}") for host in range(COPIES)]
            place = await client.browser.open(client.authorization_url(await client.push()))
            if not isinstance(place, Page) or not place.has("login-submit"):
                client.browser = Browser(http)
                place = await client.browser.open(client.authorization_url(await client.push()))
            assert isinstance(place, Page)
            form = place.form_of("login-submit")
            values = {"username": f"nobody-{number}", "password": "a guess of a password"}
            guess = _submission(
                client.browser, place, form.action, Browser.fields(form, "login-submit", _named(place, values))
            )
            early = SIGN_IN_ATTEMPTS_PER_ACCOUNT - 1
            before = await at_once(lines[:early], [guess] * early)
            assert Counter(reply.status for reply in before) == {401: early}
            replies = await at_once(lines, [guess] * COPIES)
            assert Counter(reply.status for reply in replies) == {401: 1, 429: COPIES - 1}
        await _close(lines)


@pytest.mark.parametrize("what", ["the assertion", "the jti of the assertion", "the proof's jti"])
@pytest.mark.attack("RAC-03")
@pytest.mark.attack("RAC-04")
async def test_what_may_be_used_once_is_used_once_at_par_and_token_together(
    two_workers: AuthorizationServer, what: str
) -> None:
    lines = await two_workers.connections(COPIES)
    async with two_workers.http() as http:
        for number in range(ROUNDS):
            client = two_workers.client(http, f"agent-{number}")
            assert (await client.client_credentials()).access_token  # learns the nonce
            lies = {
                "the assertion": {"assertion": client.assertion()},
                "the jti of the assertion": {"assertion_jti": f"{what} {number}"},
                "the proof's jti": {"jti": f"{what} {number}"},
            }[what]
            with client.lying(**lies):
                requests = [ready(_either(client, index)) for index in range(COPIES)]
            replies = await at_once(lines, requests)
            lost = (400, "invalid_dpop_proof") if what == "the proof's jti" else (401, "invalid_client")
            counted = _errors(replies)
            assert counted.pop(lost) == COPIES - 1
            assert [status for status, error in counted.elements() if error is None] in ([200], [201])
    await _close(lines)


async def test_refreshes_and_a_replayed_code_at_once_have_a_serial_order(two_workers: AuthorizationServer) -> None:
    lines = await two_workers.connections(BROWSERS)
    async with two_workers.http() as http:
        client = two_workers.client(http)
        for _ in range(ROUNDS):
            pushed = await client.push()
            callback = await client.authorize(pushed, username=USERNAME, password=PASSWORD)
            tokens = await client.redeem(callback, pushed)
            requests = [_refresh(client, tokens) for _ in lines[1:]]
            requests.insert(BROWSERS // 2, ready(client.code_request(callback.code or "", pushed)))
            before = _last_fact(two_workers)
            replies = await at_once(lines, requests)
            assert set(_errors(replies)) <= {(200, None), (400, "invalid_grant")}
            facts = _facts(two_workers, before)
            (ended,) = [fact["id"] for fact in facts if fact["event"] == "authorization.revoked"]
            issued = [fact["id"] for fact in facts if fact["event"] == "token.issued"]
            assert len(issued) == sum(reply.status == 200 for reply in replies)
            assert all(earlier < ended for earlier in issued), "a token was issued after the end"
            with pytest.raises(Refused) as refused:
                await client.refresh(tokens.refresh_token or "")
            assert (refused.value.status, refused.value.error) == (400, "invalid_grant")
    await _close(lines)


@pytest.mark.attack("MUL-05")
async def test_refreshes_and_the_end_of_their_client_at_once_have_a_serial_order(
    two_workers: AuthorizationServer,
) -> None:
    lines = await two_workers.connections(BROWSERS)
    async with two_workers.http() as http:
        browser = Browser(http)  # one person, who signs in once
        for number in range(ROUNDS):
            name = f"agent-{number}"
            client = two_workers.client(http, name)
            client.browser = browser
            tokens = await client.obtain(username=USERNAME, password=PASSWORD)
            before = _last_fact(two_workers)
            disabling = asyncio.create_task(asyncio.to_thread(two_workers.commands.run, "client", "disable", name))
            during: list[Reply] = []
            while not disabling.done():
                during += await at_once(lines, [_refresh(client, tokens) for _ in lines])
            assert (await disabling).code == 0
            # the command has come back: no worker knows the client any more, without a second to wait
            after = await at_once(lines, [_refresh(client, tokens) for _ in lines])
            assert set(_errors(during)) <= {(200, None), *ENDED}
            assert set(_errors(after)) <= ENDED
            facts = _facts(two_workers, before)
            (ended,) = [fact["id"] for fact in facts if fact["event"] == "client.changed"]
            issued = [fact["id"] for fact in facts if fact["event"] == "token.issued"]
            assert len(issued) == sum(reply.status == 200 for reply in during)
            assert all(earlier < ended for earlier in issued), "a token was issued after the end"
            assert two_workers.commands.run("client", "enable", name).code == 0
    await _close(lines)


def _either(client: FapiClient, index: int) -> tuple[str, tuple[tuple[str, str], ...], bytes]:
    if index % 2:
        return client.credentials_request()
    return client.push_request(code_verifier="v" * 43, state=f"state-{index}")


def _refresh(client: FapiClient, tokens: Tokens) -> Prepared:
    return ready(client.refresh_request(tokens.refresh_token or ""))


def _named(page: Page, values: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if page.has(name)}


def _submission(browser: Browser, page: Page, action: str, fields: list[tuple[str, str]]) -> Prepared:
    origin = page.url.partition("/authorize")[0].partition("/login")[0].partition("/consent")[0]
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies[origin].items())
    headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "text/html"),
        ("origin", origin),
        ("sec-fetch-site", "same-origin"),
        ("cookie", cookies),
    ]
    url = action if action.startswith("https://") else origin + action
    return prepare(url, headers, urlencode(fields).encode())


async def _from(server: AuthorizationServer, address: str) -> Connection:
    """A connection from an address of its own."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=server.trust, server_hostname="localhost", local_addr=(address, 0)
    )
    return Connection(reader, writer)


async def _close(lines: Sequence[Connection]) -> None:
    for line in lines:
        await line.close()


def _last_fact(server: AuthorizationServer) -> int:
    facts = server.commands.json("audit", "tail", "--limit", "1")
    return int(facts[0]["id"]) if facts else 0


def _facts(server: AuthorizationServer, after: int) -> list[dict[str, object]]:
    facts: list[dict[str, object]] = server.commands.json("audit", "tail", "--limit", "10000", "--after", str(after))
    return facts
