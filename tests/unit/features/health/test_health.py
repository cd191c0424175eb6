"""Alive is the process, ready is the store; neither says more."""

from __future__ import annotations

import pytest

from tests.support.fakes import ISSUER
from tests.support.house import House


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
