"""kill -9 at every step of a registration, an update and a removal: what there is, is told of, and nothing is half."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from fapi_as.protocol.audit_events import AuditEvent
from tests.support.estate import Estate
from tests.support.fapi_messages import Message
from tests.support.killing import Step, killed_at, stepping
from tests.support.registration_estate import invitation, registrant, rows, trusted
from tests.support.registration_scene import Registrant
from tests.support.stored_state import facts, half_states

STATEMENTS: Final = 4  # of a transaction, at least
FACTS: Final = {
    "statement": AuditEvent.CLIENT_REGISTERED,
    "token": AuditEvent.CLIENT_REGISTERED,
    "PUT": AuditEvent.CLIENT_UPDATED,
    "DELETE": AuditEvent.CLIENT_UNREGISTERED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A file in which everything is ready, and the one request that is sent to it."""

    estate: Estate
    message: Message
    method: str
    succeeds: int

    async def answered(self, step: Step) -> bool:
        """Whether a process that starts on this file does what is asked."""
        worker = self.estate.worker()
        url, headers, body = self.message
        sending = worker.http.request(self.method, url, headers=list(headers), content=body)
        response: httpx2.Response = await stepping(sending, step)  # type: ignore[misc] # it is awaited by hand
        return response.status_code == self.succeeds


async def _ready(estate: Estate, what: str) -> tuple[Message, str, int]:
    worker = estate.worker()
    agent = registrant(worker, trusted(estate))
    if what == "statement":
        body = json.dumps({"software_statement": agent.statement()}).encode()
        found = agent.register_request(body), "POST", 201
    elif what == "token":
        body = json.dumps(agent.described()).encode()
        found = agent.register_request(body, token=invitation(estate)), "POST", 201
    else:
        found = await _managing(agent, what)
    await estate.close()
    estate.workers.clear()
    return found


async def _managing(agent: Registrant, what: str) -> tuple[Message, str, int]:
    await agent.registered()
    if what == "DELETE":
        return agent.manage_request("DELETE"), "DELETE", 204
    body = json.dumps(agent.replacement(scope="accounts:read")).encode()
    return agent.manage_request("PUT", body), "PUT", 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """What was left by a process that died at one step, and whether another one could do the same."""

    answered: bool | None
    told: int
    told_in_the_end: int
    again: bool
    clients: int
    halves: list[Any]


def _killed(what: str, number: int, whole: Estate, directory: Path, asked: tuple[Message, str, int]) -> Killed:
    message, method, succeeds = asked
    place = Place(estate=Estate(directory, like=whole), message=message, method=method, succeeds=succeeds)
    answered = killed_at(number, place.answered)
    path, event = place.estate.path, FACTS[what]
    told, halves = _told(path, event), half_states(path)
    again = asyncio.run(_once_more(place))
    return Killed(
        answered=answered,
        told=told,
        told_in_the_end=_told(path, event),
        again=again,
        clients=len(rows(place.estate, of=("client",))["client"]),
        halves=halves + half_states(path),
    )


async def _once_more(place: Place) -> bool:
    done = await place.answered(lambda: None)
    await place.estate.close()
    return done


def _told(path: Path, event: AuditEvent) -> int:
    return Counter(fact.event for fact in facts(path))[event]


@pytest.fixture(scope="module", params=list(FACTS))
def killed(request: pytest.FixtureRequest, set_up: Estate, tmp_path_factory: pytest.TempPathFactory) -> Any:
    what: str = request.param
    directory = tmp_path_factory.mktemp(f"killed-{what}")
    whole = Estate(directory / "whole", like=set_up)
    asked = asyncio.run(_ready(whole, what))
    found: list[Killed] = []
    while not found or found[-1].answered is None:
        found.append(_killed(what, len(found) + 1, whole, directory / str(len(found) + 1), asked))
        shutil.rmtree(directory / str(len(found)))
    return what, found


@pytest.mark.attack("STO-05")
@pytest.mark.attack("LOG-07")
def test_a_client_is_there_if_and_only_if_it_is_told_of(killed: tuple[str, list[Killed]]) -> None:
    what, found = killed
    clients = {"statement": 3, "token": 3, "PUT": 3, "DELETE": 2}[what]  # with the agents of both tenants
    for one in found:
        assert one.halves == []
        assert one.told <= 1
        assert one.clients == clients
        if what == "PUT":  # the one before counts until the new token is used: whoever had no answer asks again
            assert one.again
            assert one.told_in_the_end == one.told + 1
        else:
            assert one.again is (one.told == 0)  # what approved it, or its token, is spent with it and not before
            assert one.told_in_the_end == 1


@pytest.mark.attack("STO-05")
def test_the_steps_lie_on_both_sides_of_the_commit_and_the_last_process_lives(
    killed: tuple[str, list[Killed]],
) -> None:
    *died, last = killed[1]
    assert (last.answered, last.told) == (True, 1)
    assert [one.answered for one in died] == [None] * len(died)
    assert sum(one.told == 0 for one in died) > STATEMENTS
    assert sum(one.told == 1 for one in died) > 0
