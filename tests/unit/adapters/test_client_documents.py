"""Documents of clients: one fetch for all who wait, few at once, a bounded number kept, and room for who is known."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from fapi_as.adapters import client_documents, patience
from fapi_as.adapters.client_documents import NoDocuments, PublishedDocuments
from fapi_as.adapters.client_keys import RegisteredKeys
from fapi_as.protocol.client import ClientUnavailable
from fapi_as.protocol.effects import Open
from fapi_as.protocol.errors import TooManyRequests
from fapi_as.protocol.fetched_document import FetchedDocument
from fapi_as.protocol.policy import DocumentPolicy, Policy
from tests.support.document_scene import CLIENT_ID, HOST, KEY, described
from tests.support.fake_fetch import FakeFetch
from tests.support.fakes import ISSUER, FrozenClock
from tests.support.memory_store import MemoryStore

HOSTS = tuple(f"host{number}.example" for number in range(20))


class Scene:
    """The port over a fake fetch, with time that is moved."""

    def __init__(self) -> None:
        self.clock, self.fetch, self.store = FrozenClock(), FakeFetch(), MemoryStore()
        documents = DocumentPolicy(hosts=frozenset({HOST, *HOSTS}), scope=frozenset({"accounts:read"}))
        self.documents = PublishedDocuments(
            self.fetch,
            RegisteredKeys(),
            self.store.reading,
            policy=Policy(tenant="default", issuer=ISSUER, documents=documents),
            clock=self.clock,
            monotonic=lambda: float(self.clock.now()),
        )

    def publish(self, *urls: str, **changes: Any) -> None:
        for url in urls:
            keys = {"jwks": {"keys": [KEY.jwk()]}, "jwks_uri": ...}
            body = json.dumps(described(url, **(keys | changes))).encode()
            self.fetch.documents[url] = FetchedDocument(body=body, max_age=86_400)

    async def outcome(self, url: str) -> str:
        """What whoever asks for this client gets."""
        try:
            return (await self.documents.client(url)).client_id
        except (ClientUnavailable, TooManyRequests) as error:
            return type(error).__name__


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.publish(CLIENT_ID)
    return scene


def urls(number: int, host: str = HOST) -> list[str]:
    return [f"https://{host}/{index}.json" for index in range(number)]


async def test_where_documents_are_switched_off_there_is_nobody(scene: Scene) -> None:
    off = Policy(tenant="default", issuer=ISSUER)
    nothing = PublishedDocuments(scene.fetch, RegisteredKeys(), scene.store.reading, policy=off, clock=scene.clock)
    for port in (NoDocuments(), nothing):
        with pytest.raises(ClientUnavailable, match="switched off"):
            await port.client(CLIENT_ID)
    assert scene.fetch.asked == []


async def test_one_fetch_serves_all_who_wait(scene: Scene) -> None:
    scene.fetch.may_answer.clear()
    waiting = [asyncio.create_task(scene.outcome(CLIENT_ID)) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # whoever began it and gave up takes nobody along
    scene.fetch.may_answer.set()
    assert set(await asyncio.gather(*waiting[1:])) == {CLIENT_ID}
    assert scene.fetch.asked == [CLIENT_ID]


async def test_one_failure_is_told_to_all_who_wait_and_to_nobody_later(scene: Scene) -> None:
    good = scene.fetch.documents.pop(CLIENT_ID)
    scene.fetch.may_answer.clear()
    waiting = [asyncio.create_task(scene.outcome(CLIENT_ID)) for _ in range(5)]
    await asyncio.sleep(0)
    scene.fetch.may_answer.set()
    assert set(await asyncio.gather(*waiting)) == {"ClientUnavailable"}
    scene.fetch.documents[CLIENT_ID] = good
    assert await scene.outcome(CLIENT_ID) == CLIENT_ID


async def test_whoever_has_no_patience_left_is_answered_and_the_fetch_goes_on_for_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.01)
    scene.fetch.may_answer.clear()
    assert await scene.outcome(CLIENT_ID) == "ClientUnavailable"
    scene.fetch.may_answer.set()
    await asyncio.sleep(0.01)
    assert await scene.outcome(CLIENT_ID) == CLIENT_ID
    assert scene.fetch.asked == [CLIENT_ID]


@pytest.mark.attack("CIM-10")
async def test_few_documents_are_fetched_at_once_of_one_host_and_of_all(scene: Scene) -> None:
    scene.fetch.may_answer.clear()
    many = [url for host in HOSTS for url in urls(5, host)]
    scene.publish(*many)
    waiting = [asyncio.create_task(scene.outcome(url)) for url in many]
    await asyncio.sleep(0.01)
    assert len(scene.fetch.asked) == client_documents.AT_ONCE
    assert sum(HOSTS[0] in url for url in scene.fetch.asked) == client_documents.PER_HOST_AT_ONCE
    scene.fetch.may_answer.set()
    outcomes = await asyncio.gather(*waiting)
    assert outcomes.count("TooManyRequests") == len(many) - client_documents.AT_ONCE
    assert await scene.outcome(many[-1]) == many[-1]  # the places are free again


@pytest.mark.attack("CIM-10")
async def test_few_documents_are_fetched_within_a_minute_of_one_host_and_of_all(scene: Scene) -> None:
    per_host, in_all = client_documents.PER_HOST_IN_WINDOW, client_documents.IN_WINDOW
    outcomes = [await scene.outcome(url) for url in urls(per_host + 5)]
    assert outcomes == ["ClientUnavailable"] * per_host + ["TooManyRequests"] * 5
    for host in HOSTS:
        for url in urls(per_host, host):
            await scene.outcome(url)
    assert len(scene.fetch.asked) == in_all
    scene.clock.advance(60)
    assert await scene.outcome(CLIENT_ID) == CLIENT_ID


@pytest.mark.attack("CIM-10")
async def test_who_is_known_is_renewed_whatever_strangers_do(scene: Scene) -> None:
    assert await scene.outcome(CLIENT_ID) == CLIENT_ID
    scene.clock.advance(300)
    for url in urls(client_documents.PER_HOST_IN_WINDOW + 1):
        await scene.outcome(url)
    scene.fetch.may_answer.clear()
    waiting = [asyncio.create_task(scene.outcome(url)) for url in urls(9)]
    known = asyncio.create_task(scene.outcome(CLIENT_ID))
    await asyncio.sleep(0)
    scene.fetch.may_answer.set()
    assert await known == CLIENT_ID
    assert set(await asyncio.gather(*waiting)) == {"TooManyRequests"}


@pytest.mark.attack("CIM-10")
async def test_known_documents_that_fail_take_no_place_from_those_that_are_renewed(scene: Scene) -> None:
    """Somebody else at the same host takes good documents away, or lets them hang, and asks for them without end."""
    theirs = urls(client_documents.PER_HOST_AT_ONCE)
    scene.publish(*theirs)
    for url in (CLIENT_ID, *theirs):
        for _ in range(2):
            assert await scene.outcome(url) == url
    scene.clock.advance(300)
    for url in theirs:
        del scene.fetch.documents[url]
        assert await scene.outcome(url) == "ClientUnavailable"
    for _ in range(client_documents.PER_HOST_IN_WINDOW):
        for url in theirs:
            await scene.outcome(url)
    assert await scene.outcome(CLIENT_ID) == CLIENT_ID
    scene.clock.advance(300)
    scene.fetch.may_answer.clear()
    waiting = [asyncio.create_task(scene.outcome(url)) for url in theirs]
    known = asyncio.create_task(scene.outcome(CLIENT_ID))
    await asyncio.sleep(0)
    scene.fetch.may_answer.set()
    assert await known == CLIENT_ID
    assert set(await asyncio.gather(*waiting)) == {"ClientUnavailable", "TooManyRequests"}


@pytest.mark.attack("CIM-10")
async def test_a_known_document_that_failed_and_is_there_again_is_renewed_with_the_others(scene: Scene) -> None:
    assert await scene.outcome(CLIENT_ID) == CLIENT_ID
    good = scene.fetch.documents.pop(CLIENT_ID)
    scene.clock.advance(300)
    assert await scene.outcome(CLIENT_ID) == "ClientUnavailable"
    for url in urls(client_documents.PER_HOST_IN_WINDOW + 1):
        await scene.outcome(url)
    scene.fetch.documents[CLIENT_ID] = good
    assert await scene.outcome(CLIENT_ID) == CLIENT_ID  # it is no stranger for having failed


@pytest.mark.attack("CIM-10")
async def test_what_was_allowed_something_and_is_gone_takes_no_place_either(scene: Scene) -> None:
    (gone,) = urls(1)
    opened = Open(
        authorization_id="family",
        client_id=gone,
        subject="subject",
        resources=(),
        scope=(),
        expires_at=scene.clock.now() + 3600,
    )
    scene.store.rows.authorizations["family"] = opened
    assert await scene.outcome(CLIENT_ID) == CLIENT_ID
    scene.clock.advance(300)
    for _ in range(client_documents.PER_HOST_IN_WINDOW + 1):
        await scene.outcome(gone)
    assert await scene.outcome(CLIENT_ID) == CLIENT_ID


@pytest.mark.attack("CIM-12")
async def test_what_a_document_says_all_of_a_sudden_is_believed_for_a_short_while(scene: Scene) -> None:
    """Whoever has the host for a minute leads the client to keys that are gone then, and says so for a day."""
    elsewhere = f"https://{HOST}/thief.json"
    scene.publish(CLIENT_ID, jwks=..., jwks_uri=f"https://{HOST}/keys.json")
    assert (await scene.documents.client(CLIENT_ID)).jwks_uri == f"https://{HOST}/keys.json"
    scene.clock.advance(86_400)
    scene.publish(CLIENT_ID, jwks=..., jwks_uri=elsewhere)
    assert (await scene.documents.client(CLIENT_ID)).jwks_uri == elsewhere
    scene.publish(CLIENT_ID, jwks=..., jwks_uri=f"https://{HOST}/keys.json")
    scene.clock.advance(300)
    for _ in range(2):
        assert (await scene.documents.client(CLIENT_ID)).jwks_uri == f"https://{HOST}/keys.json"
        scene.clock.advance(300)
    asked = len(scene.fetch.asked)
    scene.clock.advance(86_099)
    await scene.documents.client(CLIENT_ID)
    assert len(scene.fetch.asked) == asked  # what was said twice is believed for a day again


async def test_what_an_operator_blocks_is_read_anew_when_it_is_let_in_again(scene: Scene) -> None:
    scene.publish(CLIENT_ID, jwks=..., jwks_uri=f"https://{HOST}/thief.json")
    assert await scene.outcome(CLIENT_ID) == CLIENT_ID
    scene.publish(CLIENT_ID, jwks=..., jwks_uri=f"https://{HOST}/keys.json")
    scene.store.approvers.blocked.add(CLIENT_ID)
    assert await scene.outcome(CLIENT_ID) == "ClientUnavailable"
    scene.store.approvers.blocked.clear()
    assert (await scene.documents.client(CLIENT_ID)).jwks_uri == f"https://{HOST}/keys.json"


@pytest.mark.attack("CIM-10")
async def test_whoever_publishes_many_documents_pushes_out_his_own(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_documents, "DOCUMENTS_KEPT", 10)
    assert await scene.outcome(CLIENT_ID) == CLIENT_ID
    many = urls(20, HOSTS[0])
    scene.publish(*many)
    for url in many:
        assert await scene.outcome(url) == url
    assert await scene.outcome(CLIENT_ID) == CLIENT_ID
    assert scene.fetch.asked.count(CLIENT_ID) == 1


@pytest.mark.attack("CIM-10")
async def test_a_bounded_number_is_kept_and_the_least_used_goes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_documents, "DOCUMENTS_KEPT", 3)
    three = urls(3)
    scene.publish(*three)
    for url in (CLIENT_ID, *three[:2], CLIENT_ID, three[2]):
        assert await scene.outcome(url) == url
    asked = len(scene.fetch.asked)
    assert await scene.outcome(CLIENT_ID) == CLIENT_ID
    assert len(scene.fetch.asked) == asked
    assert await scene.outcome(three[0]) == three[0]
    assert len(scene.fetch.asked) == asked + 1


async def test_an_operator_is_told_why_and_the_line_holds_nothing_of_the_document(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.fetch.documents[CLIENT_ID] = FetchedDocument(body=b'{"client_id":"a secret"}')
    with caplog.at_level(logging.WARNING, "fapi_as.client_documents"):
        assert await scene.outcome(CLIENT_ID) == "ClientUnavailable"
    record = caplog.records[-1].__dict__
    assert (record["client_id"], record["detail"]) == (CLIENT_ID, "the document is of another client_id")
    assert "a secret" not in str(record)


async def test_not_modified_is_no_answer_to_who_has_nothing(scene: Scene) -> None:
    scene.fetch.documents[CLIENT_ID] = FetchedDocument(body=b"", is_known=True)
    with pytest.raises(ClientUnavailable, match="none at hand"):
        await scene.documents.client(CLIENT_ID)


async def test_a_document_that_says_no_tag_with_its_304_is_asked_for_with_the_old_one(scene: Scene) -> None:
    body = scene.fetch.documents[CLIENT_ID].body
    scene.fetch.documents[CLIENT_ID] = FetchedDocument(body=body, entity_tag='"one"')
    client = await scene.documents.client(CLIENT_ID)
    for _ in range(3):
        scene.clock.advance(300)
        scene.fetch.documents[CLIENT_ID] = FetchedDocument(body=b"", is_known=True, max_age=0)
        assert await scene.documents.client(CLIENT_ID) == client


async def test_a_tag_that_came_without_its_document_is_not_taken_for_the_one_at_hand(scene: Scene) -> None:
    """Whoever answers 304 with the tag of another document would have that one never read."""
    body = scene.fetch.documents[CLIENT_ID].body
    scene.fetch.documents[CLIENT_ID] = FetchedDocument(body=body, entity_tag='"one"')
    await scene.documents.client(CLIENT_ID)
    scene.clock.advance(300)
    scene.fetch.documents[CLIENT_ID] = FetchedDocument(body=b"", is_known=True, entity_tag='"two"')
    await scene.documents.client(CLIENT_ID)
    scene.publish(CLIENT_ID, client_name="Another")
    body = scene.fetch.documents[CLIENT_ID].body
    scene.fetch.documents[CLIENT_ID] = FetchedDocument(body=body, entity_tag='"two"')
    scene.clock.advance(300)
    assert (await scene.documents.client(CLIENT_ID)).client_name == "Another"


def test_a_fetch_of_a_loop_that_is_gone_is_not_waited_for(scene: Scene) -> None:
    async def given_up() -> None:
        scene.fetch.may_answer.clear()
        asyncio.get_running_loop().create_task(scene.outcome(CLIENT_ID))
        await asyncio.sleep(0)

    asyncio.run(given_up())
    scene.fetch.may_answer = asyncio.Event()
    scene.fetch.may_answer.set()
    assert asyncio.run(scene.outcome(CLIENT_ID)) == CLIENT_ID


async def test_the_version_changes_with_whatever_is_read(scene: Scene) -> None:
    versions = set()
    for changes in ({}, {"client_name": "Other"}, {"scope": "accounts:read"}, {"default_max_age": 7}):
        scene.publish(CLIENT_ID, **changes)
        scene.clock.advance(300)
        versions.add((await scene.documents.client(CLIENT_ID)).version)
    assert len(versions) == 3  # the scope was that one anyway
