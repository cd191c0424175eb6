"""Alive is the process, ready is the store; neither says more."""

from __future__ import annotations

import asyncio

import pytest

from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.decisions import Decision
from fapi_as.protocol.errors import StorageUnavailable
from tests.support.fakes import ISSUER
from tests.support.house import House
from tests.support.memory_store import MemoryStore


async def test_alive_and_ready(house: House) -> None:
    for path, word in (("/healthz", "alive"), ("/readyz", "ready")):
        response = await house.http.get(ISSUER + path)
        assert (response.status_code, response.json()) == (200, {"status": word})
        assert response.headers["cache-control"] == "no-cache, no-store"


async def test_alive_does_not_ask_the_store(house: House) -> None:
    house.store.unavailable = True
    assert (await house.http.get(f"{ISSUER}/healthz")).status_code == 200


async def test_not_ready_without_a_store_and_nothing_about_why(house: House) -> None:
    house.store.unavailable = True
    response = await house.http.get(f"{ISSUER}/readyz")
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.json() == {
        "error": "temporarily_unavailable",
        "error_description": "the service is temporarily unavailable, try again",
    }


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_probe_leaves_no_fact_and_takes_no_post(house: House, path: str) -> None:
    await house.http.get(ISSUER + path)
    assert house.store.facts == ()
    assert (await house.http.head(ISSUER + path)).status_code == 200
    assert (await house.http.post(ISSUER + path)).status_code == 405


def test_probes_are_not_in_the_metadata(house: House) -> None:
    assert not [
        endpoint for path, endpoint in house.endpoints.items() if path.endswith("z") and endpoint.metadata_member
    ]


class WriteProtected(MemoryStore):
    """Reads and does not write; `commits` counts who tried, and `held` keeps them waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        self.writable = False
        self.held = asyncio.Event()
        self.held.set()

    async def commit(self, decision: Decision, stamp: Stamp) -> Decision:
        self.commits += 1
        await self.held.wait()
        if not self.writable:
            raise StorageUnavailable("the disk is full")
        return await super().commit(decision, stamp)


async def ready(house: House) -> int:
    return (await house.http.get(f"{ISSUER}/readyz")).status_code


async def test_a_store_that_is_read_and_not_written_is_not_ready() -> None:
    store = WriteProtected()
    house = House(store=store)
    response = await house.http.get(f"{ISSUER}/readyz")
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert b"disk" not in response.content
    store.writable = True
    house.clock.advance(1)
    assert await ready(house) == 200


@pytest.mark.parametrize("writable", [True, False])
async def test_a_flood_of_probes_is_one_write_a_second(writable: bool) -> None:
    store = WriteProtected()
    store.writable = writable
    house = House(store=store)
    for second in range(1, 4):
        answers = await asyncio.gather(*(ready(house) for _ in range(200)))
        answers += [await ready(house) for _ in range(50)]
        assert set(answers) == {200 if writable else 503}
        assert store.commits == second
        house.clock.advance(1)


async def test_probes_that_wait_for_a_slow_store_share_its_one_answer_and_may_leave() -> None:
    store = WriteProtected()
    store.writable = True
    store.held.clear()
    house = House(store=store)
    first = asyncio.create_task(ready(house))
    await asyncio.sleep(0)
    others = []
    for _ in range(20):
        house.clock.advance(1)  # no second check begins while one runs
        others.append(asyncio.create_task(ready(house)))
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    store.held.set()
    assert await asyncio.gather(*others) == [200] * 20
    assert store.commits == 1
