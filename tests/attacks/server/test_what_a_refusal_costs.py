"""Refusals before authentication stop at the cheapest check that fails: size, syntax, the client, its signature."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fapi_as.adapters.web.application import build_application
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.profile import REQUEST_BODY_LIMIT
from tests.support.asgi_peer import call
from tests.support.back_channel import BACK_CHANNEL, SUCCESS, asked
from tests.support.fakes import FrozenClock
from tests.support.house import House
from tests.support.peer_keys import PeerKey
from tests.support.standing_still import ready

STRANGER = PeerKey.es256(seed=666)
SYNTAX: list[dict[str, Any]] = [
    {"assertion": "no token", "form": {"client_id": ...}},
    {"form": {"client_assertion": ["a", "b"]}},
    {"form": {"client_assertion_type": "another"}},
    {"form": {f"p{number}": "x" for number in range(65)}},
]


class Watched:
    """A house that writes down what was looked up, what was verified, and what was committed."""

    def __init__(self, house: House) -> None:
        self.house, self.steps = house, []
        (key,) = parse_client(house.agent.registration(), client_id="agent", version=2).keys
        verify, client, commit = key.verify, house.store.reading.client, house.store.commit

        def verifying(signature: bytes, message: bytes) -> bool:
            self.steps.append("signature")
            return verify(signature, message)

        async def looking(client_id: str) -> Any:
            self.steps.append("client")
            return await client(client_id)

        async def committing(*decided: Any) -> Any:
            self.steps.append("commit")
            return await commit(*decided)

        house.change_client(keys=(replace(key, verify=verifying),))
        house.store.reading.client = looking
        house.store.commit = committing

    async def of(self, path: str, **lies: Any) -> tuple[int, list[str]]:
        self.steps.clear()
        answer = await asked(self.house, path, **lies)
        return answer.status_code, [step for step in self.steps if step != "commit"]


@pytest.fixture
async def watched() -> Watched:
    return Watched(await ready(House()))


@pytest.mark.attack("EXH-02")
@pytest.mark.parametrize("path", BACK_CHANNEL)
async def test_a_refusal_stops_at_the_cheapest_check_that_fails(watched: Watched, path: str) -> None:
    for lies in SYNTAX:
        status, steps = await watched.of(path, **lies)
        assert (status in {400, 401}, steps) == (True, []), lies
    unknown = {"sub": "nobody", "iss": "nobody", "form": {"client_id": "nobody"}}
    assert await watched.of(path, **unknown, assertion_key=STRANGER) == (401, ["client"])
    assert await watched.of(path, assertion_key=STRANGER) == (401, ["client", "signature"])
    assert await watched.of(path) == (SUCCESS[path], ["client", "signature"])


@pytest.mark.attack("EXH-02")
@pytest.mark.parametrize("path", BACK_CHANNEL)
async def test_what_is_too_large_is_not_even_read(watched: Watched, path: str) -> None:
    house = watched.house
    application = build_application({"": house.context}, clock=FrozenClock(house.clock.now()))
    _, headers, body = BACK_CHANNEL[path](house.agent)
    raw = [(name.encode(), value.encode()) for name, value in headers]
    watched.steps.clear()
    answer = await call(application, "POST", path, raw, body + b"&x=" + b"x" * REQUEST_BODY_LIMIT)
    assert answer.status == 413
    assert not {"client", "signature"} & set(watched.steps)
