"""An issuer that is away while its tokens are used: what was known works on, what is unknown costs next to nothing.

The keys are fetched over real TLS, under an authority of the test's own. Time is moved; one test plays an outage in
real time, of three seconds in `make test` with every age a twentieth, and of 60 seconds in `make load`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rs_kit import Guard, HttpRequest, HttpsIssuerKeys, MemoryUsedOnce, SystemClock
from rs_kit.adapters import issuer_keys
from rs_kit.adapters.bounded_fetch import HttpsGet
from rs_kit.ports import Clock
from rs_kit.protocol.errors import ProtocolError
from rs_kit.protocol.jws import SigningKey
from rs_kit.testing import NONCE_KEY, RecordingObserver, TestAgent, TestIssuer, new_key
from tests.support.fakes import FrozenClock
from tests.support.key_publisher import KeyPublisher, publishing
from tests.support.processes import wait_until
from tests.support.resource_worker import BODY, RESOURCE, SCOPE, TOOLS

FULL = os.environ.get("LOAD") == "full"
RATE = 100  # calls per second
OUTAGE = 60  # seconds
AGENTS = 5


class Resource:
    """A guard in front of nothing, the agents that call it, and what they were told."""

    def __init__(self, publisher: KeyPublisher, clock: Clock, *, moved: bool, fresh_seconds: float = 60.0) -> None:
        self.publisher = publisher
        self.clock = clock
        self.attempts = 0
        self.issuer = TestIssuer(resource=RESOURCE, issuer=publisher.issuer, clock=clock)
        publisher.keys = [self.issuer.key.public_jwk()]
        get = HttpsGet(publisher.ca_file)

        def fetch(url: str) -> bytes:
            self.attempts += not url.endswith("/jwks")  # each attempt begins with the metadata
            return get(url)

        options = {"monotonic": lambda: float(clock.now())} if moved else {}
        self.keys = HttpsIssuerKeys(publisher.issuer, fetch=fetch, fresh_seconds=fresh_seconds, **options)
        self.guard = Guard(
            resource=RESOURCE,
            issuer=publisher.issuer,
            keys=self.keys,
            used_once=MemoryUsedOnce(),
            tools=TOOLS,
            nonce_key=NONCE_KEY,
            clock=clock,
            observer=RecordingObserver(),
        )
        self.agents = [self.agent() for _ in range(AGENTS)]

    def agent(self, key: SigningKey | None = None) -> TestAgent:
        """An agent with a token that lives long, signed by the issuer or by whoever uses its name."""
        agent = self.issuer.agent(scope=SCOPE, exp=self.clock.now() + 3600)
        if key is not None:
            self.issuer.key, ours = key, self.issuer.key
            agent.token = self.issuer.token({"cnf": {"jkt": agent.key.thumbprint}, "scope": SCOPE})
            self.issuer.key = ours
        return agent

    async def call(self, agent: TestAgent) -> str:
        """What a call with a fresh proof is answered: `admitted`, or the error code."""
        headers = {"content-type": "application/json", **agent.headers()}
        pairs = tuple((name.encode(), value.encode()) for name, value in headers.items())
        try:
            await self.guard.admit(HttpRequest("POST", "/mcp", pairs, BODY))
        except ProtocolError as error:
            return error.error
        return "admitted"

    async def known(self, count: int) -> Counter[str]:
        """Calls with tokens that were seen before, and one in ten with a new token of a key that is known."""
        told: Counter[str] = Counter()
        for number in range(count):
            agent = self.agents[number % AGENTS]
            told[await self.call(self.agent() if number % 10 == 9 else agent)] += 1
        return told

    async def settled(self) -> None:
        """Wait for the fetch that runs in the background, as the next second of real time would."""
        if self.keys._running is not None:
            await self.keys._running


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[KeyPublisher]:
    with publishing(tmp_path) as publisher:
        yield publisher


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def resource(publisher: KeyPublisher, clock: FrozenClock) -> Resource:
    return Resource(publisher, clock, moved=True)


@pytest.mark.attack("DPR-27")
async def test_an_outage_of_a_minute_at_100_calls_per_second_is_not_noticed(
    resource: Resource, clock: FrozenClock
) -> None:
    assert await resource.known(10) == {"admitted": 10}
    resource.publisher.stop()
    strangers = [resource.agent(new_key(f"unknown-{number}")) for number in range(20)]
    before, told = resource.attempts, Counter[str]()
    for second in range(OUTAGE):
        clock.advance(1)
        assert await resource.known(RATE * 8 // 10) == {"admitted": RATE * 8 // 10}
        for number in range(RATE * 2 // 10):
            told[await resource.call(strangers[(second + number) % len(strangers)])] += 1
        await resource.settled()
    assert set(told) <= {"invalid_token", "temporarily_unavailable"}
    assert resource.attempts - before <= OUTAGE // 30 + 1  # one in each cool-down, whatever is unknown


async def test_known_keys_work_to_their_maximum_age_and_the_issuer_is_found_again_by_itself(
    resource: Resource, clock: FrozenClock
) -> None:
    await resource.known(1)
    resource.publisher.stop()
    for _ in range(299):
        clock.advance(1)
        assert await resource.known(1) == {"admitted": 1}
        await resource.settled()
    assert resource.attempts <= 1 + 240 / 5 + 1  # while the set grows old, the issuer is tried every five seconds
    clock.advance(1)
    assert await resource.known(20) == {"temporarily_unavailable": 20}
    resource.publisher.start()
    clock.advance(5)
    assert await resource.known(20) == {"admitted": 20}


@pytest.mark.parametrize("every", [1, 20, 59, 299])
async def test_a_key_that_was_removed_is_refused_within_the_bound(
    resource: Resource, clock: FrozenClock, every: int
) -> None:
    """Five minutes whatever happens; about one when there are calls: the last good set never outlives its age."""
    await resource.known(1)
    successor = new_key("successor")
    resource.publisher.keys = [successor.public_jwk()]
    admitted_for, passed = 0, 0
    while passed + every <= 600:
        clock.advance(every)
        passed += every
        answer = await resource.call(resource.agents[0])
        await resource.settled()
        if answer == "admitted":
            admitted_for = passed
    assert admitted_for < issuer_keys.MAX_AGE_SECONDS
    assert admitted_for <= 60 + every
    assert await resource.call(resource.agent(successor)) == "admitted"


async def test_a_key_that_was_removed_in_an_outage_is_refused_when_it_ends_or_at_the_maximum_age(
    resource: Resource, clock: FrozenClock
) -> None:
    await resource.known(1)
    resource.publisher.stop()
    resource.publisher.keys = [new_key("successor").public_jwk()]
    for _ in range(100):
        clock.advance(1)
        assert await resource.call(resource.agents[0]) == "admitted"
        await resource.settled()
    resource.publisher.start()
    clock.advance(5)
    await resource.call(resource.agents[0])
    await resource.settled()
    assert await resource.call(resource.agents[0]) == "invalid_token"


@pytest.mark.attack("DPR-26")
async def test_calls_with_known_keys_do_not_wait_for_an_issuer_that_does_not_answer(
    resource: Resource, clock: FrozenClock
) -> None:
    await resource.known(10)
    resource.publisher.may_answer.clear()
    clock.advance(60)
    stranger = asyncio.create_task(resource.call(resource.agent(new_key("unknown"))))
    await asyncio.to_thread(wait_until, lambda: resource.attempts == 2, what="the fetch")
    assert await resource.known(100) == {"admitted": 100}  # it hangs all the while
    await asyncio.sleep(0)
    assert not stranger.done()
    resource.publisher.may_answer.set()
    assert await stranger == "invalid_token"
    assert resource.attempts == 2


async def test_an_issuer_under_another_authority_is_none(resource: Resource, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    keys = HttpsIssuerKeys(resource.publisher.issuer, ca_file=KeyPublisher(other).ca_file)
    with pytest.raises(ProtocolError, match="cannot be fetched"):
        await keys.keys("test-1")
    trusted = HttpsIssuerKeys(resource.publisher.issuer, ca_file=resource.publisher.ca_file)
    assert [key.kid for key in await trusted.keys("test-1")] == ["test-1"]


async def in_real_time(resource: Resource, seconds: float) -> tuple[Counter[str], Counter[str]]:
    """RATE calls per second, one in five with a kid that nobody knows: what each kind is told."""
    strangers = [resource.agent(new_key(f"unknown-{number}")) for number in range(20)]
    known, unknown = Counter[str](), Counter[str]()
    started = time.monotonic()
    for number in range(round(RATE * seconds)):
        await asyncio.sleep(max(0.0, started + number / RATE - time.monotonic()))
        if number % 5 == 4:
            unknown[await resource.call(strangers[number % len(strangers)])] += 1
        else:
            known[await resource.call(resource.agents[number % AGENTS])] += 1
    print(f"outage of {time.monotonic() - started:.0f} s: known {dict(known)}, unknown {dict(unknown)}")
    return known, unknown


async def test_an_outage_in_real_time(publisher: KeyPublisher) -> None:
    scale = 1.0 if FULL else 1 / 20
    resource = Resource(publisher, SystemClock(), moved=False, fresh_seconds=issuer_keys.FRESH_SECONDS * scale)
    assert await resource.known(10) == {"admitted": 10}
    publisher.stop()
    before = resource.attempts
    known, unknown = await in_real_time(resource, OUTAGE * scale)
    print(f"{resource.attempts - before} attempts at the issuer")
    assert set(known) == {"admitted"}
    assert set(unknown) <= {"invalid_token", "temporarily_unavailable"}
    assert resource.attempts - before <= OUTAGE // 30 + 1
    successor = new_key("successor")
    publisher.keys.append(successor.public_jwk())
    publisher.start()
    newcomer = resource.agent(successor)
    ended = time.monotonic()
    while await resource.call(newcomer) != "admitted":
        assert time.monotonic() < ended + 30 * scale + 5  # a cool-down
        await asyncio.sleep(0.05)
    assert await resource.known(10) == {"admitted": 10}
