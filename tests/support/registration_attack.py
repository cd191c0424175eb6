"""What every refusal at a registration endpoint has to show: its code, no row that differs, no fetch, one fact."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import httpx2

from fapi_as.adapters.client_keys import PublishedKeys
from fapi_as.protocol.audit_events import AuditEvent
from tests.support.fake_fetch import FakeFetch
from tests.support.fapi_client import error_of
from tests.support.fapi_messages import Message
from tests.support.registration_house import POLICY, RegistrationHouse
from tests.support.registration_scene import Registrant

NO_STATEMENT: Final = (400, "invalid_software_statement")
UNAPPROVED: Final = (400, "unapproved_software_statement")
METADATA: Final = (400, "invalid_client_metadata")
REDIRECT_URI: Final = (400, "invalid_redirect_uri")
NO_TOKEN: Final = (401, "invalid_token")
TOO_MANY: Final = (429, "invalid_request")


class AttackedHouse(RegistrationHouse):
    """A registration house whose network is watched: `network.asked` is every fetch that went out."""

    def __init__(self, **what: Any) -> None:
        super().__init__(**{"policy": POLICY, **what})
        self.network = FakeFetch()
        self.context = replace(self.context, client_keys=PublishedKeys(self.network, monotonic=self._seconds))

    def _seconds(self) -> float:
        return float(self.clock.now())


@contextmanager
def unmoved(house: RegistrationHouse) -> Iterator[None]:
    """What happens inside is refused: no row differs, nothing is fetched, each refusal is told once with a reason."""
    before, told = replace(house.store.rows.snapshot(), facts=[]), len(house.store.facts)
    asked = list(house.network.asked) if isinstance(house, AttackedHouse) else []
    yield
    assert replace(house.store.rows.snapshot(), facts=[]) == before
    assert not isinstance(house, AttackedHouse) or house.network.asked == asked
    facts = house.store.facts[told:]
    assert all(fact.event is AuditEvent.REFUSED and fact.detail for fact in facts), facts


async def refused(
    house: RegistrationHouse,
    asked: Awaitable[httpx2.Response],
    expected: tuple[int, str],
    reason: str | None = None,
) -> httpx2.Response:
    """This attempt has this answer, for this private reason, and leaves nothing."""
    with unmoved(house):
        response = await asked
        assert (response.status_code, error_of(response)) == expected, (response.text, house.last_detail)
    assert "no-store" in response.headers["cache-control"]
    assert reason is None or reason in (house.last_detail or ""), house.last_detail
    return response


async def posted(
    agent: Registrant, body: bytes | Mapping[str, Any], *, url: str | None = None, **what: Any
) -> httpx2.Response:
    """One POST to the registration endpoint, or to another address, with exactly these octets."""
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()

    def build() -> Message:
        built = agent.register_request(octets, **what)
        return built if url is None else built._replace(url=url)

    return await agent.attempt(build)
