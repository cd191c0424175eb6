"""The agent at servers that never have enough: nonces, scopes, tokens, sign-ins; judged as in the other module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest

from fapi_as.agent.errors import NonceLoop, TooManyPrompts
from fapi_as.agent.steps import Answer
from tests.support.agent_peer import as_json
from tests.support.agent_scene import insufficient
from tests.support.hostile_calls import refused, signed_in, stopped
from tests.support.hostile_place import BANK, SERVER, Place, Received, hostile_place


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with hostile_place() as found:
        yield found


@pytest.mark.parametrize("path", ["/par", "/token"])
async def test_27_an_authorization_server_that_never_has_enough_nonces(place: Place, path: str) -> None:
    numbers = count()
    place.replies[path] = lambda _: as_json(
        400, {"error": "use_dpop_nonce"}, (("dpop-nonce", f"nonce-{next(numbers)}"),)
    )
    await stopped(place, NonceLoop)
    assert len(place.at(SERVER, path)) == 2


async def test_28_a_resource_that_never_has_enough_nonces(place: Place) -> None:
    async with place.agent() as client:
        await signed_in(place, client)
        before, numbers = len(place.at(BANK)), count()

        def another(_: Received) -> Answer:
            demand = refused("use_dpop_nonce")
            return Answer(status=401, headers=(*demand.headers, ("dpop-nonce", f"nonce-{next(numbers)}")))

        place.replies[place.resource] = another
        with pytest.raises(NonceLoop):
            await client.post(place.resource)
    assert len(place.at(BANK)) == before + 2


async def test_29_a_resource_that_never_has_enough_of_one_scope(place: Place) -> None:
    async with place.agent() as client:
        await signed_in(place, client)
        place.replies[place.resource] = lambda _: insufficient("payments:write")
        place.peer.token_document = {"scope": "accounts:read"}
        for _ in range(5):
            assert (await client.post(place.resource)).status_code == 403
    assert len(place.peer.visited) == 2


async def test_30_a_resource_that_always_wants_one_scope_more(place: Place) -> None:
    place.seconds = 60.0  # for many calls
    async with place.agent() as client:
        await signed_in(place, client)
        numbers = count()
        place.replies[place.resource] = lambda _: insufficient(f"more:{next(numbers)}")
        for _ in range(3):
            assert (await client.post(place.resource)).status_code == 403
        for _ in range(20):
            with pytest.raises(TooManyPrompts, match="asks its person no more"):
                await client.post(place.resource)
    assert len(place.peer.visited) == 1 + 3


@pytest.mark.parametrize("scope", ["*", "accounts:*", " ".join(f"s{n}" for n in range(33)), "x" * 257, "caf\u00e9"])
async def test_31_a_scope_that_no_agent_should_ask_for(place: Place, scope: str) -> None:
    async with place.agent() as client:
        await signed_in(place, client)
        place.replies[place.resource] = lambda _: insufficient(scope)
        assert (await client.post(place.resource)).status_code == 403
    assert len(place.peer.visited) == 1


async def test_32_a_resource_that_refuses_every_token(place: Place) -> None:
    place.seconds = 60.0  # for many calls
    place.peer.token_document = {"refresh_token": None}
    async with place.agent() as client:
        await signed_in(place, client)
        place.replies[place.resource] = lambda _: refused("invalid_token")
        for _ in range(11):
            assert (await client.post(place.resource)).status_code == 401
        for _ in range(10):
            with pytest.raises(TooManyPrompts):
                await client.post(place.resource)
    assert len(place.peer.visited) == 12


async def test_33_a_resource_that_no_sign_in_contents(place: Place) -> None:
    async with place.agent() as client:
        await signed_in(place, client)
        place.replies[place.resource] = lambda _: refused("insufficient_user_authentication", max_age="0")
        for _ in range(3):
            assert (await client.post(place.resource)).status_code == 401
        with pytest.raises(TooManyPrompts):
            await client.post(place.resource)
    assert len(place.peer.visited) == 1 + 3
