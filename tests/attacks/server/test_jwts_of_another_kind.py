"""Every kind of JWT at every place that takes one: only its own kind gets in (JOS-21, JOSE-24).

tests/support/jwt_kinds.py and tests/support/jwt_places.py are the two sides of the table, which is printed with -s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.house import House
from tests.support.jwt_kinds import KINDS, Minted, minted
from tests.support.jwt_places import ACCEPTED, PLACES, Outcome, belongs, put_what_belongs, rendered
from tests.support.standing_still import everything

CELLS = [(place, kind) for place in PLACES for kind in KINDS if not belongs(place, kind)]


@pytest.fixture(scope="module")
def told() -> Iterator[dict[tuple[str, str], Outcome]]:
    told: dict[tuple[str, str], Outcome] = {}
    yield told
    print(f"\n{rendered(told)}")


@pytest.fixture(scope="module")
def issued() -> tuple[House, Minted]:
    """Minted once: whatever is refused uses nothing up."""
    house = House()
    return house, asyncio.run(minted(house))


@pytest.mark.attack("JOS-21")
@pytest.mark.requirement("JOSE-24", proves="refused")
@pytest.mark.requirement("ATT-T-17", proves="refused")
@pytest.mark.parametrize(("place", "kind"), CELLS)
async def test_no_other_kind_gets_in(
    told: dict[tuple[str, str], Outcome], issued: tuple[House, Minted], place: str, kind: str
) -> None:
    house, all_kinds = issued
    before = everything(house)
    told[place, kind] = await PLACES[place].put(house, all_kinds, all_kinds.jwts[kind])
    assert told[place, kind] == PLACES[place].refusal
    assert everything(house) == before


@pytest.mark.attack("JOS-21")
@pytest.mark.requirement("ATT-T-17", proves="holds")
@pytest.mark.parametrize("place", PLACES)
async def test_each_place_takes_its_own_kind(told: dict[tuple[str, str], Outcome], place: str) -> None:
    house = House()
    outcomes = await put_what_belongs(place, house, await minted(house))
    told.update(((place, kind), outcome) for kind, outcome in zip(PLACES[place].own, outcomes, strict=False))
    assert set(outcomes) == {ACCEPTED}
