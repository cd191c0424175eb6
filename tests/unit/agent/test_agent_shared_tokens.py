"""Many agents that share their tokens: one renews, the others take its result."""

# ruff: noqa: ASYNC240 - the loop of a test has nothing else to do while a file is looked at

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from fapi_as.agent import AgentAuth, BrowserNeeded, Misconfigured, TooManyPrompts
from fapi_as.agent.challenge import Challenge
from fapi_as.agent.file_store import FileTokenStore, StoreUnusable
from fapi_as.agent.shared_tokens import still_needed
from fapi_as.agent.steps import Need, Reason, Request
from fapi_as.agent.token_store import MemoryTokenStore
from rs_kit.protocol.secret import Secret
from tests.support.agent_peer import NOW, RESOURCE, Peer, settings
from tests.support.agent_tokens import token_set


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def the_file(directory: Path) -> Path:
    (found,) = directory.glob("*.json")
    return found


@pytest.mark.parametrize(
    ("reason", "stored", "enough"),
    [
        (Reason.STALE, {}, True),
        (Reason.STALE, {"expires_at": NOW}, False),
        (Reason.UNAUTHORIZED, {}, True),
        (Reason.UNAUTHORIZED, {"expires_at": NOW}, False),
        (Reason.SCOPE, {"scope": ("accounts:read", "payments:write")}, True),
        (Reason.SCOPE, {"scope": ("accounts:read",)}, False),
        (Reason.SIGN_IN, {"refresh_token": Secret("refresh-2")}, True),
        (Reason.SIGN_IN, {}, False),
    ],
)
def test_what_another_process_got_ends_the_need_only_if_it_is_what_was_needed(
    reason: Reason, stored: dict[str, object], enough: bool
) -> None:
    challenge = Challenge(scheme="dpop", parameters={"scope": "payments:write"})
    used, newer = token_set(), token_set(access_token=Secret("access-2"), **stored)

    rest = still_needed(Need(reason=reason, used=used, challenge=challenge), newer, stale=newer.is_stale(NOW))

    assert rest == (None if enough else Need(reason=reason, used=newer, challenge=challenge))


class Process:
    """What one agent process has: its own AgentAuth over the shared store."""

    def __init__(self, peer: Peer, store: FileTokenStore | MemoryTokenStore, *, person: bool = False) -> None:
        self.peer = peer

        self.at_the_page, self.decided = asyncio.Event(), asyncio.Event()
        self.decided.set()

        async def authorize(url: str) -> str:
            self.at_the_page.set()
            await self.decided.wait()
            return peer.callback(url).url

        self.back_channel = httpx2.AsyncClient(transport=httpx2.MockTransport(self._at_server))
        self.auth = AgentAuth(
            settings(), back_channel=self.back_channel, authorize=authorize if person else None, store=store
        )
        self.http = httpx2.AsyncClient(transport=httpx2.MockTransport(self._at_resource), auth=self.auth)

    def _at_server(self, request: httpx2.Request) -> httpx2.Response:
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        seen = Request(method=request.method, url=str(request.url), headers=headers, body=request.content)
        answer = self.peer.answer(seen)
        return httpx2.Response(answer.status, headers=list(answer.headers), content=answer.body)

    def _at_resource(self, request: httpx2.Request) -> httpx2.Response:
        good = request.headers.get("authorization", "").removeprefix("DPoP ") in self.peer.issued
        return httpx2.Response(200 if good else 401, headers={} if good else {"www-authenticate": self.peer.challenge})


@pytest.mark.parametrize("where", ["file", "memory"])
async def test_of_ten_that_meet_a_dead_token_one_renews_and_all_go_on(directory: Path, where: str) -> None:
    peer, memory = Peer(), MemoryTokenStore()

    def shared() -> FileTokenStore | MemoryTokenStore:
        return memory if where == "memory" else FileTokenStore(directory, agent="agent")

    await Process(peer, shared(), person=True).auth.sign_in()
    processes = [Process(peer, shared()) for _ in range(10)]
    for _ in range(5):
        answers = await asyncio.gather(*(process.http.post(RESOURCE) for process in processes))
        assert {answer.status_code for answer in answers} == {200}
        before = len(peer.requests_to("/token"))
        peer.expire()
        answers = await asyncio.gather(*(process.http.post(RESOURCE) for process in processes))
        assert {answer.status_code for answer in answers} == {200}
        assert len(peer.requests_to("/token")) == before + 1
    assert len(peer.visited) == 1


async def test_a_new_sign_in_elsewhere_saves_an_agent_whose_refresh_token_died(directory: Path) -> None:
    peer = Peer()
    await Process(peer, FileTokenStore(directory, agent="agent"), person=True).auth.sign_in()
    old = Process(peer, FileTokenStore(directory, agent="agent"))
    assert (await old.http.post(RESOURCE)).status_code == 200
    peer.expire()
    await Process(peer, FileTokenStore(directory, agent="agent"), person=True).auth.sign_in()
    peer.refresh_alive = False  # both refresh tokens are dead now, and neither is tried

    assert (await old.http.post(RESOURCE)).status_code == 200
    assert not [form for form in peer.requests_to("/token") if b"grant_type=refresh_token" in form.body]


async def test_a_dead_refresh_token_is_forgotten_by_all_and_the_person_is_needed(directory: Path) -> None:
    peer = Peer()
    await Process(peer, FileTokenStore(directory, agent="agent"), person=True).auth.sign_in()
    peer.expire()
    peer.refresh_alive = False

    with pytest.raises(BrowserNeeded):
        await Process(peer, FileTokenStore(directory, agent="agent")).http.post(RESOURCE)

    assert not list(directory.glob("*.json"))


async def test_a_sign_in_that_is_denied_leaves_the_tokens_that_were_there(directory: Path) -> None:
    peer = Peer()
    store = FileTokenStore(directory, agent="agent")
    await Process(peer, store, person=True).auth.sign_in()
    kept = the_file(directory).read_bytes()
    peer.response = {"error": "access_denied", "code": None}

    with pytest.raises(Exception, match="access_denied"):
        await Process(peer, store, person=True).auth.sign_in()

    assert the_file(directory).read_bytes() == kept


async def test_a_sign_in_again_asks_the_person_again_and_replaces_the_tokens(directory: Path) -> None:
    peer, store = Peer(), FileTokenStore(directory, agent="agent")
    process = Process(peer, store, person=True)
    first, second = await process.auth.sign_in(), await process.auth.sign_in()
    assert len(peer.visited) == 2
    assert first.access_token != second.access_token
    assert json.loads(the_file(directory).read_bytes())["access_token"] == second.access_token.reveal()


async def test_a_sign_in_that_nobody_but_the_person_wants_is_no_demand_of_the_resource(directory: Path) -> None:
    peer = Peer()
    process = Process(peer, FileTokenStore(directory, agent="agent"), person=True)
    for _ in range(12):
        await process.auth.sign_in()
    with pytest.raises(TooManyPrompts, match="12 times within an hour"):
        await process.auth.sign_in()
    assert len(peer.visited) == 12


async def test_a_store_that_must_not_be_used_stops_the_call_before_anything_is_sent(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o755)
    peer = Peer()
    with pytest.raises(StoreUnusable):
        await Process(peer, FileTokenStore(directory, agent="agent"), person=True).http.post(RESOURCE)
    assert peer.seen == []
    assert peer.visited == []
    assert issubclass(StoreUnusable, Exception)
    assert not issubclass(StoreUnusable, Misconfigured)


async def test_while_a_person_signs_in_by_hand_the_others_go_on_and_then_take_the_new_tokens(directory: Path) -> None:
    peer, store = Peer(), FileTokenStore(directory, agent="agent", patience=timedelta(0))
    await Process(peer, store, person=True).auth.sign_in()
    other, slow = Process(peer, store), Process(peer, store, person=True)
    slow.decided.clear()
    signing_in = asyncio.create_task(slow.auth.sign_in())
    await slow.at_the_page.wait()

    peer.expire()
    assert (await other.http.post(RESOURCE)).status_code == 200
    slow.decided.set()
    new = await signing_in

    kept = await store.load(RESOURCE)
    assert kept is not None
    assert kept.refresh_token == new.refresh_token
    peer.issued = {new.access_token.reveal()}
    assert (await other.http.post(RESOURCE)).status_code == 200
    assert len(peer.visited) == 2


async def test_of_ten_windows_without_tokens_one_asks_the_person(directory: Path) -> None:
    peer = Peer()
    windows = [Process(peer, FileTokenStore(directory, agent="agent"), person=True) for _ in range(10)]
    answers = await asyncio.gather(*(window.http.post(RESOURCE) for window in windows))
    assert {answer.status_code for answer in answers} == {200}
    assert len(peer.visited) == 1
