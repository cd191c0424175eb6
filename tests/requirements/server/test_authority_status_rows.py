"""What an authority withdraws ends here, and software has as many credentials as it has instances."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from fapi_as.adapters.authority_status import PERIOD, AuthorityStatusChecks
from fapi_as.adapters.store import Approvals
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.fetched_document import FetchedDocument
from tests.support.estate import ROOT, Estate, Worker
from tests.support.fake_fetch import FakeFetch
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused
from tests.support.fapi_messages import Tokens
from tests.support.house import PASSWORD, RESOURCE
from tests.support.peer_keys import PeerKey
from tests.support.registration_house import RegistrationHouse
from tests.support.registration_scene import AUTHORITY, Registrant, SoftwareAuthority

STATUS: Final = f"{AUTHORITY}/status"


class Directory:
    """An authority that tells what it has withdrawn, and a server that asks it."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self.authority = SoftwareAuthority()
        self.fetch = FakeFetch()
        self.approvals = Approvals.open(estate.url, ROOT)
        self.approvals.add_authority(self.authority.members(status_uri=STATUS), estate.stamp())
        self._checks = AuthorityStatusChecks(lambda: self.approvals, self.fetch)
        self.tell()

    def tell(self, **members: Any) -> None:
        said = {"withdrawn_software": [], "withdrawn_statements": []} | members
        self.fetch.documents[STATUS] = FetchedDocument(body=json.dumps(said).encode())

    async def is_asked(self) -> None:
        self.estate.clock.advance(PERIOD)
        await self._checks.run(self.estate.stamp())

    async def registered(self, worker: Worker, software_id: str, *, seed: int) -> Registrant:
        agent = Registrant(
            worker.http,
            authority=self.authority,
            software_id=software_id,
            issuer=ISSUER,
            resource=RESOURCE,
            scope="accounts:read",
            client_key=PeerKey.es256(seed=seed),
            now=worker.clock.now,
        )
        await agent.registered()
        return agent


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[Directory]:
    estate = Estate(tmp_path)
    yield Directory(estate)
    await estate.close()


@pytest.mark.requirement("SSA-9", proves="holds")
async def test_software_that_its_directory_still_knows_goes_on(directory: Directory) -> None:
    worker = directory.estate.worker()
    agent = await directory.registered(worker, "ledger", seed=41)
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    directory.tell(withdrawn_software=["another"])
    await directory.is_asked()
    del directory.fetch.documents[STATUS]  # it is down: nobody is thrown out for that
    await directory.is_asked()
    assert directory.fetch.asked == [STATUS, STATUS]
    assert (await agent.refresh(tokens.refresh_token or "")).access_token


def _withdrawal(agent: Registrant, kind: str) -> dict[str, Any]:
    if kind == "software":
        return {"withdrawn_software": [agent.software_id]}
    segment = agent.information["software_statement"].split(".")[1]
    return {"withdrawn_statements": [json.loads(base64.urlsafe_b64decode(segment + "=="))["jti"]]}


async def _refused(agent: Registrant, tokens: Tokens) -> tuple[int, str | None]:
    with pytest.raises(Refused) as raised:
        await agent.refresh(tokens.refresh_token or "")
    return raised.value.status, raised.value.error


@pytest.mark.requirement("SSA-9", proves="refused")
@pytest.mark.parametrize("kind", ["software", "statement"])
async def test_what_its_directory_withdraws_is_out_in_every_worker(directory: Directory, kind: str) -> None:
    worker, other = directory.estate.worker(), directory.estate.worker()
    agent = await directory.registered(worker, "ledger", seed=41)
    neighbour = await directory.registered(worker, "vault", seed=42)
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    kept = await neighbour.obtain(username="alice", password=PASSWORD)
    directory.tell(**_withdrawal(agent, kind))
    await directory.is_asked()
    for place in (worker, other):
        agent.http = place.http
        assert await _refused(agent, tokens) == (401, "invalid_client")
    assert (await agent.manage("GET")).status_code == 401
    again = await agent.register(statement=agent.information["software_statement"])
    assert (again.status_code, again.json()["error"]) == (400, "unapproved_software_statement")
    assert (await neighbour.refresh(kept.refresh_token or "")).access_token
    facts = [stored.fact for stored in directory.estate.operators().audit_tail()]
    assert [fact.event for fact in facts].count(AuditEvent.STATEMENT_CHANGED) == 1


async def test_what_a_directory_withdrew_comes_back_by_an_operator_alone_and_nothing_old_is_good(
    directory: Directory,
) -> None:
    agent = await directory.registered(directory.estate.worker(), "ledger", seed=41)
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    directory.tell(**_withdrawal(agent, "software"))
    await directory.is_asked()
    directory.tell()
    await directory.is_asked()
    assert await _refused(agent, tokens) == (401, "invalid_client")
    directory.approvals.reinstate_software(AUTHORITY, "ledger", directory.estate.stamp())
    assert await _refused(agent, tokens) == (400, "invalid_grant")
    assert (await agent.obtain(username="alice", password=PASSWORD)).access_token


@pytest.mark.requirement("NAT-4", proves="holds")
async def test_every_instance_of_a_software_has_a_registration_and_a_key_of_its_own() -> None:
    house = RegistrationHouse()
    instances = [house.registrant(seed=seed, redirect_uri="http://127.0.0.1/callback") for seed in (51, 52)]
    for instance in instances:
        await instance.registered(application_type="native")
    assert len({instance.client_id for instance in instances}) == 2
    assert {kept.client.description.software_id for kept in house.kept.values()} == {"software-1"}
    for instance in instances:
        assert (await instance.obtain(username="alice", password=PASSWORD)).refresh_token


@pytest.mark.requirement("NAT-4", proves="refused")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt", "none"])
async def test_what_every_copy_of_an_app_would_share_authenticates_nobody(method: str) -> None:
    house = RegistrationHouse()
    one, other = house.registrant(seed=51), house.registrant(seed=52)
    response = await one.register(
        statement=one.statement(token_endpoint_auth_method=method, jwks=...), token_endpoint_auth_method=method
    )
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
    assert house.kept == {}
    assert "client_secret" not in await one.registered()
    await other.registered()
    other.client_id = one.client_id  # the key of another instance of the very same software
    with pytest.raises(Refused) as raised:
        await other.client_credentials()
    assert (raised.value.status, raised.value.error) == (401, "invalid_client")
