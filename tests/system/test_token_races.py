"""Races over real TLS and two worker processes: one winner, and the losers change nothing that they should not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.authorization_server import PASSWORD, USERNAME, AuthorizationServer, authorization_server, ready
from tests.support.fapi_client import FapiClient, Pushed, Refused
from tests.support.load import Reply, at_once
from tests.support.processes import cpu_seconds

ROUNDS = 20
pytestmark = pytest.mark.xdist_group("races")


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    directory: Path = tmp_path_factory.mktemp("races")
    with authorization_server(directory, workers=2) as server:
        yield server


async def _code(client: FapiClient) -> tuple[str, Pushed]:
    pushed = await client.push()
    callback = await client.authorize(pushed, username=USERNAME, password=PASSWORD)
    assert callback.code is not None
    return callback.code, pushed


def _outcomes(replies: Sequence[Reply]) -> Counter[tuple[int, str | None]]:
    return Counter((reply.status, json.loads(reply.body).get("error")) for reply in replies)


def _winner(replies: Sequence[Reply]) -> dict[str, str]:
    (reply,) = [reply for reply in replies if reply.status == 200]
    tokens: dict[str, str] = json.loads(reply.body)
    return tokens


@pytest.mark.attack("RAC-01")
async def test_one_code_and_50_valid_redemptions_at_once_give_one_token_and_then_none(
    two_workers: AuthorizationServer,
) -> None:
    before = [cpu_seconds(pid) for pid in two_workers.server.workers()]
    lines = await two_workers.connections(50)
    async with two_workers.http() as http:
        client = two_workers.client(http)
        for _ in range(ROUNDS):
            code, pushed = await _code(client)
            requests = [ready(client.code_request(code, pushed)) for _ in lines]
            replies = await at_once(lines, requests)
            assert _outcomes(replies) == {(200, None): 1, (400, "invalid_grant"): 49}
            # the others were fully valid replays, so what the code brought has ended
            with pytest.raises(Refused) as refused:
                await client.refresh(_winner(replies)["refresh_token"])
            assert (refused.value.status, refused.value.error) == (400, "invalid_grant")
    for line in lines:
        await line.close()
    after = [cpu_seconds(pid) for pid in two_workers.server.workers()]
    assert all(late - early > 0.1 for early, late in zip(before, after, strict=True)), "one worker did all the work"


async def test_one_signed_request_sent_16_times_at_once_succeeds_once_and_revokes_nothing(
    two_workers: AuthorizationServer,
) -> None:
    lines = await two_workers.connections(16)
    async with two_workers.http() as http:
        client = two_workers.client(http)
        for _ in range(ROUNDS):
            code, pushed = await _code(client)
            copied = ready(client.code_request(code, pushed))
            replies = await at_once(lines, [copied for _ in lines])
            assert _outcomes(replies) == {(200, None): 1, (401, "invalid_client"): 15}
            tokens = await client.refresh(_winner(replies)["refresh_token"])
            assert tokens.access_token
    for line in lines:
        await line.close()
