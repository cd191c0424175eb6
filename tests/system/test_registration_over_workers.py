"""Registering and managing over real TLS and two workers: a quota that is exact, updates that race, an end at once.

`LOAD=full` sends 1,000 registrations and plays 20 rounds of each race, `make test` a few.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import httpx2
import pytest

from tests.support.authorization_server import (
    PASSWORD,
    RESOURCE,
    SCOPE,
    USERNAME,
    AuthorizationServer,
    authorization_server,
    ready,
    token_over,
)
from tests.support.fapi_client import FapiClient, Pushed, Tokens
from tests.support.load import Connection, Prepared, Reply, at_once, drive, prepare
from tests.support.peer_keys import PeerKey
from tests.support.registration_scene import REDIRECT_URI, WIDE, Registrant, SoftwareAuthority

FULL: Final = os.environ.get("LOAD") == "full"
REGISTRATIONS, QUOTA = (1_000, 100) if FULL else (200, 20)
LINES: Final = 50
ROUNDS: Final = 20 if FULL else 4
COPIES: Final = 50
WATCHERS: Final = 16
RATE: Final = 100.0  # token requests a second, while their time is taken: a hundredth of them must be more than one
SECONDS: Final = 5.0 if FULL else 2.0
# a hundredth of a few seconds' requests is one request: a short run judges by the slowest tenth, and with more patience
PERCENT, NOISE_SECONDS = (99, 0.010) if FULL else (90, 0.100)
TIMES: Final = 5
pytestmark = pytest.mark.xdist_group("slow")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    directory: Path = tmp_path_factory.mktemp("registering")
    with authorization_server(directory, workers=2, clients=2) as server:
        yield server


def trusted(server: AuthorizationServer, issuer: str, **policy: Any) -> SoftwareAuthority:
    """An authority of this name that the server trusts from now on."""
    authority = SoftwareAuthority(issuer, key=PeerKey.es256())
    server.commands.json("trust", "add", "-", stdin=json.dumps(authority.members(policy=WIDE | policy)))
    return authority


def registrant(
    server: AuthorizationServer, http: httpx2.AsyncClient, authority: SoftwareAuthority, **what: Any
) -> Registrant:
    members = {"issuer": server.issuer, "resource": RESOURCE, "scope": SCOPE} | what
    return Registrant(http, authority=authority, **members)


def asking(agent: Registrant, **changes: Any) -> Prepared:
    """A registration by a fresh statement, to be sent by anybody."""
    body = json.dumps({"software_statement": agent.statement(**changes)}).encode()
    return ready(agent.register_request(body))


def counted(replies: Sequence[Reply]) -> Counter[tuple[int, str | None]]:
    return Counter((reply.status, json.loads(reply.body).get("error") if reply.body else None) for reply in replies)


def clients_of(server: AuthorizationServer, authority: SoftwareAuthority) -> int:
    return int(server.commands.json("trust", "show", authority.issuer)["clients"])


# --- how many


async def test_of_many_registrations_exactly_the_quota_gets_in_and_tokens_are_had_meanwhile(
    server: AuthorizationServer,
) -> None:
    authority = trusted(server, "https://quota.example", clients_per_day=QUOTA)
    good = await server.connections(2)
    async with server.http() as http:
        agent, client = registrant(server, http, authority), server.client(http)
        requests = [asking(agent, software_id=f"software-{number}") for number in range(REGISTRATIONS)]
        await _timed(good, client)
        before = await _timed(good, client)
        lines = await server.connections(LINES)  # not earlier: one that is idle for long is closed
        flood = asyncio.create_task(drive(lines, requests))
        during = await _timed(good, client, until=flood)
        replies = await flood
        after = await _timed(good, client)
    assert counted(replies) == {(201, None): QUOTA, (429, "invalid_request"): REGISTRATIONS - QUOTA}
    assert all(int(reply.headers["retry-after"]) > 0 for reply in replies if reply.status == 429)
    assert len({json.loads(reply.body)["client_id"] for reply in replies if reply.status == 201}) == QUOTA
    assert clients_of(server, authority) == QUOTA
    figures = ", ".join(f"{seconds * 1000:.1f} ms" for seconds in (before, during, after))
    print(f"p{PERCENT} of the token endpoint before, among {REGISTRATIONS} registrations, and after: {figures}")
    alone = max(before, after)  # what else the machine does changes in a minute
    assert during < max(TIMES * alone, alone + NOISE_SECONDS)
    await _close([*lines, *good])


async def _timed(lines: Sequence[Connection], client: FapiClient, *, until: asyncio.Task[Any] | None = None) -> float:
    """How long the slowest few of a steady stream of token requests take."""
    taken: list[float] = []
    begun = time.monotonic()
    for number in itertools.count():
        over = time.monotonic() - begun > SECONDS if until is None else until.done()
        if over and len(taken) > 1:
            return quantiles(taken, n=100, method="inclusive")[PERCENT - 1]
        await asyncio.sleep(max(0.0, begun + number / RATE - time.monotonic()))
        reply = await token_over(lines[number % len(lines)], client)
        assert reply.status == 200, reply.body
        taken.append(reply.seconds)
    raise AssertionError("counting has an end")


@pytest.mark.attack("RAC-09")
@pytest.mark.parametrize("bound", ["one use of a statement", "one client of a software"])
async def test_one_of_50_registrations_at_once_gets_in(server: AuthorizationServer, bound: str) -> None:
    by_use = bound == "one use of a statement"
    limits = {"clients_per_software": 1000} if by_use else {"uses_per_statement": 1000, "clients_per_software": 1}
    authority = trusted(server, f"https://{'use' if by_use else 'software'}.example", **limits)
    lines = await server.connections(COPIES)
    async with server.http() as http:
        for number in range(ROUNDS):
            request = asking(registrant(server, http, authority, software_id=f"software-{number}"))
            replies = await at_once(lines, [request] * COPIES)
            lost = (400, "invalid_software_statement") if by_use else (429, "invalid_request")
            found = counted(replies)
            assert found.pop((201, None)) == 1
            # whoever fails a hundred times in a minute is not listened to any more
            assert set(found) <= {lost, (429, "invalid_request")}
            if by_use and number == 0:
                assert found == {lost: COPIES - 1}
            assert clients_of(server, authority) == number + 1
            if by_use:
                break  # the failures of one round are what one source may have
    await _close(lines)


async def test_a_token_for_three_lets_in_three_of_50_at_once(server: AuthorizationServer) -> None:
    issued = server.commands.json("registration-token", "issue", "-", "--uses", "3", stdin=json.dumps(WIDE))
    token = str(issued["initial_access_token"])
    lines = await server.connections(COPIES)
    async with server.http() as http:
        agent = registrant(server, http, SoftwareAuthority())
        request = ready(agent.register_request(json.dumps(agent.described()).encode(), token=token))
        replies = await at_once(lines, [request] * COPIES)
    found = counted(replies)
    assert found.pop((201, None)) == 3
    assert set(found) <= {(401, "invalid_token"), (429, "invalid_request")}
    await _close(lines)


# --- updates that race


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A registration as RFC 7592 and our rotation say; tokens are names."""

    current: str
    previous: str | None
    client_name: str | None  # None: it is gone

    def after(self, operation: str, token: str) -> tuple[int, Model]:
        """The status that one operation gets, and what is there then."""
        if self.client_name is None or token not in {self.current, self.previous}:
            return 401, self
        if operation == "remove":
            return 204, replace(self, client_name=None)
        return 200, Model(current=f"token of {operation}", previous=token, client_name=operation)

    @property
    def living(self) -> frozenset[str]:
        """The tokens that still open it."""
        if self.client_name is None:
            return frozenset()
        return frozenset({self.current, self.previous} - {None})  # type: ignore[arg-type] # None was taken out


Outcome = tuple[tuple[int, ...], str | None, frozenset[str]]


def serial(start: Model, operations: Sequence[tuple[str, str]]) -> set[Outcome]:
    """What every order of these operations gives: the statuses, the name in the end, the tokens that live."""
    outcomes: set[Outcome] = set()
    for order in itertools.permutations(range(len(operations))):
        model, statuses = start, [0] * len(operations)
        for index in order:
            statuses[index], model = model.after(*operations[index])
        outcomes.add((tuple(statuses), model.client_name, model.living))
    return outcomes


RACES: Final[dict[str, list[tuple[str, str]]]] = {
    "two updates and a removal with one token": [("one", "new"), ("two", "new"), ("remove", "new")],
    "two updates and a removal with both tokens": [("one", "old"), ("two", "new"), ("remove", "new")],
    "two updates": [("one", "old"), ("two", "new")],
}


@pytest.mark.parametrize("race", RACES)
async def test_updates_and_a_removal_at_once_have_a_serial_order(server: AuthorizationServer, race: str) -> None:
    operations = RACES[race]
    authority = trusted(server, f"https://{race.replace(' ', '-')}.example")
    issued = server.commands.json("registration-token", "issue", "-", "--uses", str(ROUNDS), stdin=json.dumps(WIDE))
    lines = await server.connections(len(operations))
    seen: Counter[tuple[int, ...]] = Counter()
    async with server.http() as http:
        for number in range(ROUNDS):
            agent = registrant(server, http, authority, client_key=PeerKey.es256(seed=1000 + number))
            described = agent.described(software_id=f"{race} {number}")
            await agent.registered(statement=None, token=str(issued["initial_access_token"]), **described)
            tokens = {"old": str(agent.information["registration_access_token"])}
            assert (await agent.manage("PUT", agent.replacement())).status_code == 200
            tokens["new"] = str(agent.information["registration_access_token"])
            turned = operations[number % len(operations) :] + operations[: number % len(operations)]
            replies = await at_once(lines, [_managing(agent, what, tokens[token]) for what, token in turned])
            statuses = tuple(reply.status for reply in replies)
            for (what, _), reply in zip(turned, replies, strict=True):
                if reply.status == 200:
                    tokens[f"token of {what}"] = json.loads(reply.body)["registration_access_token"]
            outcome = await _outcome(agent, statuses, tokens)
            start = Model(current="new", previous="old", client_name="Honest agent")
            assert outcome in serial(start, turned), (turned, outcome)
            seen[statuses] += 1
    print(f"{race}: {dict(seen)}")
    await _close(lines)


def _managing(agent: Registrant, what: str, token: str) -> Prepared:
    if what == "remove":
        url, headers, body = agent.manage_request("DELETE", token=token)
        return prepare(url, headers, body, method="DELETE")
    asked = json.dumps(agent.replacement(client_name=what)).encode()
    url, headers, body = agent.manage_request("PUT", asked, token=token)
    return prepare(url, headers, body, method="PUT")


async def _outcome(agent: Registrant, statuses: tuple[int, ...], tokens: dict[str, str]) -> Outcome:
    """Which tokens still open it, and its name; the newest are asked last, because that ends the older ones."""
    living, name = set(), None
    for token in sorted(tokens, key=lambda token: token.startswith("token of")):
        response = await agent.manage("GET", token=tokens[token])
        assert response.status_code in {200, 401}
        if response.status_code == 200:
            living.add(token)
            name = response.json()["client_name"]
    return statuses, name, frozenset(living)


# --- an authority that is suspended


@dataclass(kw_only=True)
class _Allowed:
    """A client of an authority with everything that it may have."""

    agent: Registrant
    code: str
    waiting: Pushed
    tokens: Tokens
    identity: Tokens

    def asks(self) -> dict[str, Prepared]:
        """Everything that it can try, each signed now."""
        agent = self.agent
        url, headers, body = agent.resource_request(self.identity, f"{agent.issuer}/userinfo", method="GET")
        read_url, read_headers, read_body = agent.manage_request("GET")
        put_url, put_headers, put_body = agent.manage_request("PUT", json.dumps(agent.replacement()).encode())
        return {
            "code": ready(agent.code_request(self.code, self.waiting)),
            "refresh": ready(agent.refresh_request(self.tokens.refresh_token or "")),
            "push": ready(agent.push_request(code_verifier="v" * 43, state="s")),
            "itself": ready(agent.credentials_request()),
            "userinfo": prepare(url, headers, body, method="GET"),
            "read": prepare(read_url, read_headers, read_body, method="GET"),
            "update": prepare(put_url, put_headers, put_body, method="PUT"),
            "register": asking(agent),
        }


REFUSALS: Final = {
    **dict.fromkeys(("code", "refresh", "push", "itself"), (401, "invalid_client")),
    **dict.fromkeys(("userinfo", "read", "update"), (401, "invalid_token")),
    "register": (400, "unapproved_software_statement"),
}


async def _allowed(server: AuthorizationServer, http: httpx2.AsyncClient, authority: SoftwareAuthority) -> _Allowed:
    agent = registrant(server, http, authority, scope=f"{SCOPE} openid", redirect_uri=REDIRECT_URI)
    await agent.registered()
    agent.scope = SCOPE
    tokens = await agent.obtain(username=USERNAME, password=PASSWORD)
    identity = await agent.obtain(username=USERNAME, password=PASSWORD, scope="openid", resource=...)
    assert (await agent.call(identity, f"{agent.issuer}/userinfo", method="GET")).status_code == 200
    waiting = await agent.push()
    callback = await agent.authorize(waiting, username=USERNAME, password=PASSWORD)
    return _Allowed(agent=agent, code=callback.code or "", waiting=waiting, tokens=tokens, identity=identity)


async def test_suspending_an_authority_ends_all_that_its_clients_may_within_a_second_over_both_workers(
    server: AuthorizationServer,
) -> None:
    authority = trusted(server, "https://suspended.example")
    other = trusted(server, "https://standing.example")
    lines = await server.connections(WATCHERS)
    async with server.http() as http:
        allowed, stands = await _allowed(server, http, authority), await _allowed(server, http, other)
        warm = await at_once(lines, [allowed.asks()["read"]] * WATCHERS)  # both workers know the client
        assert counted(warm) == {(200, None): WATCHERS}
        asks = {name: [allowed.asks()[name] for _ in range(WATCHERS)] for name in REFUSALS}
        begun = time.monotonic()
        assert server.commands.run("trust", "suspend", authority.issuer).code == 0
        answers = {name: await at_once(lines, requests) for name, requests in asks.items()}
        taken = time.monotonic() - begun
        for name, expected in REFUSALS.items():
            assert counted(answers[name]) == {expected: WATCHERS}, name
        assert taken < 1.0 + 0.5 * (not FULL)  # a busy machine signs nothing here, and still it sends 128 requests
        await _resumed(server, authority, allowed)
        assert (await stands.agent.refresh(stands.tokens.refresh_token or "")).access_token
        assert (await stands.agent.call(stands.identity, f"{server.issuer}/userinfo", method="GET")).status_code == 200
    await _close(lines)


async def _resumed(server: AuthorizationServer, authority: SoftwareAuthority, allowed: _Allowed) -> None:
    """The client is one again, and what people allowed it before stays ended."""
    assert server.commands.run("trust", "resume", authority.issuer).code == 0
    agent = allowed.agent
    assert (await agent.manage("GET")).status_code == 200
    assert (await agent.client_credentials()).access_token
    refreshing = await agent.attempt(lambda: agent.refresh_request(allowed.tokens.refresh_token or ""))
    assert (refreshing.status_code, refreshing.json()["error"]) == (400, "invalid_grant")
    redeeming = await agent.attempt(lambda: agent.code_request(allowed.code, allowed.waiting))
    assert (redeeming.status_code, redeeming.json()["error"]) == (400, "invalid_grant")


async def _close(lines: Sequence[Connection]) -> None:
    for line in lines:
        await line.close()
