"""Registration over one file: raced and flooded, brought from one tenant to the other, ended at every worker."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.support.estate import ACME, ROOT, Estate, moved
from tests.support.fakes import NOW, FrozenClock
from tests.support.fapi_client import Refused, error_of
from tests.support.fapi_messages import Message
from tests.support.house import PASSWORD
from tests.support.peer_keys import PeerKey
from tests.support.registration_estate import approvals, invitation, octets, registrant, rows, sent, trusted
from tests.support.registration_scene import SOFTWARE, Registrant, SoftwareAuthority

BOTH_WAYS = pytest.mark.parametrize(("here", "there"), [(ROOT, ACME), (ACME, ROOT)])
NO_STATEMENT = (400, "invalid_software_statement")
UNAPPROVED = (400, "unapproved_software_statement")
NO_TOKEN = (401, "invalid_token")


def asking(agent: Registrant, *, token: str | None = None, **members: Any) -> Message:
    return agent.register_request(json.dumps(members).encode(), token=token)


# --- RAC-09, EXH-06: raced and flooded


QUOTAS: dict[str, dict[str, Any]] = {
    "one statement": {"uses_per_statement": 1},
    "one client of a software": {"clients_per_software": 1},
    "one client a day": {"clients_per_day": 1},
    "one initial access token": {},
}


@pytest.mark.attack("RAC-09")
@pytest.mark.parametrize("quota", QUOTAS)
async def test_of_fifty_at_once_one_is_let_in(estate: Estate, quota: str) -> None:
    workers = [estate.worker(), estate.worker()]
    authority = trusted(estate, **QUOTAS[quota])
    agent = registrant(workers[0], authority)
    if quota == "one initial access token":
        token = invitation(estate)
        messages = [asking(agent, token=token, **agent.described()) for _ in range(50)]
    elif quota == "one statement":
        messages = [asking(agent, software_statement=agent.statement())] * 50
    else:
        messages = [asking(agent, software_statement=agent.statement()) for _ in range(50)]
    answers = Counter((answer.status_code, error_of(answer)) for answer in await sent(workers, messages))
    refusal = {"one statement": NO_STATEMENT, "one initial access token": NO_TOKEN}.get(quota, (429, "invalid_request"))
    assert answers == {(201, None): 1, refusal: 49}
    kept = rows(estate)
    assert len([row for row in kept["client"] if "agent" not in row]) == 1


@pytest.mark.attack("EXH-06")
async def test_a_flood_of_statements_of_one_organisation_leaves_as_many_rows_as_its_quota(estate: Estate) -> None:
    workers = [estate.worker(), estate.worker()]
    authority = trusted(estate, clients_per_day=20, clients_per_software=3)
    agent = registrant(workers[0], authority)
    answers: Counter[int] = Counter()
    sizes: list[dict[str, int]] = []
    for part in range(6):
        messages = [
            asking(agent, software_statement=agent.statement(software_id=f"software-{part}-{number}"))
            for number in range(60)
        ]
        answers.update(answer.status_code for answer in await sent(workers, messages))
        sizes.append({name: len(found) for name, found in rows(estate).items()})
    assert answers == {201: 20, 429: 340}
    assert sizes[0]["client"] == 22  # with the agent of each tenant
    assert sizes[0] == sizes[-1]  # nothing grows with what is refused
    await estate.client(workers[0]).client_credentials()
    audit = rows(estate, of=("audit",))["audit"]
    assert len(audit) < 260  # refusals beyond the budget of a worker are counted, not told one by one


@pytest.mark.attack("EXH-06")
async def test_a_flood_at_one_software_is_no_loss_of_another(estate: Estate) -> None:
    worker = estate.worker()
    authority = trusted(estate, clients_per_software=2)
    agent = registrant(worker, authority)
    messages = [asking(agent, software_statement=agent.statement()) for _ in range(40)]
    answers = Counter(answer.status_code for answer in await sent([worker], messages))
    assert answers == {201: 2, 429: 38}
    await registrant(worker, authority, seed=2, software_id="software-2").registered()


# --- XPA-12: of one tenant, at the other


@pytest.mark.attack("XPA-12")
@BOTH_WAYS
async def test_what_approves_at_one_tenant_approves_nobody_at_the_other(estate: Estate, here: str, there: str) -> None:
    worker = estate.worker()
    authority = trusted(estate, here)
    agent, thief = registrant(worker, authority, here), registrant(worker, authority, there)
    token, before = invitation(estate, here), rows(estate)

    async def told(**what: Any) -> tuple[int, bytes]:
        response = await thief.register(**what)
        return response.status_code, response.content

    stranger = SoftwareAuthority("https://nobody.example", key=authority.key)
    assert await told(statement=agent.statement()) == await told(
        statement=stranger.signed(agent.claims(iss=stranger.issuer))
    )
    assert await told(statement=None, token=token, **thief.described()) == await told(
        statement=None, token="x" * 43, **thief.described()
    )
    assert rows(estate) == before
    await agent.registered()
    second = registrant(worker, authority, here, seed=2)
    await second.registered(statement=None, token=token, **second.described())


@pytest.mark.attack("XPA-12")
@BOTH_WAYS
async def test_a_statement_for_one_tenant_is_none_at_the_other_though_both_trust_its_authority(
    estate: Estate, here: str, there: str
) -> None:
    worker = estate.worker()
    authority = trusted(estate, here)
    trusted(estate, there, authority=authority)
    agent, thief = registrant(worker, authority, here), registrant(worker, authority, there)
    for_here = agent.statement(aud=agent.issuer)
    response = await thief.register(statement=for_here)
    assert (response.status_code, error_of(response)) == NO_STATEMENT
    await agent.registered(statement=for_here)
    for_all = agent.statement()
    await agent.registered(statement=for_all)
    await thief.registered(statement=for_all)  # what one tenant has counted is not the other's business
    signed = {"software_statement": agent.statement()}
    octets_ = agent.signed_request(signed).encode()
    crossed = thief.register_request(octets_, content_type="application/jwt")
    response = await thief.send(crossed)
    assert (response.status_code, error_of(response)) == (400, "invalid_client_metadata")


@pytest.mark.attack("XPA-12")
@BOTH_WAYS
async def test_a_registration_token_of_one_tenant_manages_nothing_at_the_other(
    estate: Estate, here: str, there: str
) -> None:
    worker = estate.worker()
    authority = trusted(estate, here)
    trusted(estate, there, authority=authority)
    agent, other = registrant(worker, authority, here), registrant(worker, authority, there, seed=2)
    await agent.registered()
    await other.registered()
    mine, theirs = agent.information, other.information
    before = rows(estate)
    for method in ("GET", "PUT", "DELETE"):
        body = agent.replacement() if method == "PUT" else None
        answers = set()
        for url in (theirs["registration_client_uri"], f"{other.issuer}/register/{agent.client_id}"):
            response = await agent.manage(method, body, url=url)
            answers.add((response.status_code, error_of(response), response.content))
        response = await agent.manage(method, body, token="x" * 43, url=f"{other.issuer}/register/nobody")
        answers.add((response.status_code, error_of(response), response.content))
        assert [(status, error) for status, error, _ in answers] == [NO_TOKEN]
    assert rows(estate) == before
    agent.issuer = other.issuer  # and its client_id with its key is nobody there
    agent.metadata |= {"token_endpoint": f"{other.issuer}/token"}
    with pytest.raises(Refused) as raised:
        await agent.client_credentials()
    assert (raised.value.status, raised.value.error) == (401, "invalid_client")
    assert (await agent.manage("GET", url=mine["registration_client_uri"])).status_code == 200


@pytest.mark.attack("XPA-12")
@BOTH_WAYS
async def test_a_proof_for_a_registration_of_one_tenant_is_none_at_the_other(
    estate: Estate, here: str, there: str
) -> None:
    worker = estate.worker()
    authority = trusted(estate, here)
    agent = registrant(worker, authority, here)
    agent.binds = True
    await agent.registered()
    assert (await agent.manage("GET")).status_code == 200
    elsewhere = registrant(worker, authority, there).issuer + f"/register/{agent.client_id}"
    with agent.lying(htu=elsewhere):
        response = await agent.manage("GET")
        assert (response.status_code, error_of(response)) == (401, "invalid_dpop_proof")
    response = await agent.manage("GET", url=elsewhere)
    assert response.status_code == 401
    assert (await agent.manage("PUT", agent.replacement())).status_code == 200


@pytest.mark.attack("XPA-12")
@BOTH_WAYS
async def test_what_one_tenant_withdraws_goes_on_at_the_other(estate: Estate, here: str, there: str) -> None:
    worker = estate.worker()
    authority = trusted(estate, here)
    trusted(estate, there, authority=authority)
    agent, other = registrant(worker, authority, here), registrant(worker, authority, there, seed=2)
    await agent.registered()
    await other.registered()
    approvals(estate, here).withdraw_software(authority.issuer, SOFTWARE, estate.stamp())
    assert (await agent.manage("GET")).status_code == 401
    assert (await other.manage("GET")).status_code == 200
    assert (await other.client_credentials()).access_token
    approvals(estate, here).remove_authority(authority.issuer, estate.stamp())
    await registrant(worker, authority, there, seed=3).registered()


# --- MUL-05: ended at one worker


async def nobody(attempt: Any) -> None:
    """It is refused as if nobody were known by this name."""
    with pytest.raises(Refused) as raised:
        await attempt
    assert (raised.value.status, raised.value.error) == (401, "invalid_client")


def end(estate: Estate, agent: Registrant, what: str) -> None:
    """What an operator does."""
    stamp, desk, issuer = estate.stamp(), approvals(estate), agent.authority.issuer
    match what:
        case "suspended":
            desk.set_authority_enabled(issuer, stamp, enabled=False)
        case "removed":
            desk.remove_authority(issuer, stamp)
        case "statement":
            desk.withdraw_statement(issuer, "the-one", stamp)
        case "software":
            desk.withdraw_software(issuer, SOFTWARE, stamp)
        case "disabled":
            estate.operators().set_client_enabled(agent.client_id, stamp, enabled=False)
        case _:
            trusted(estate, redirect_hosts=["elsewhere.example"])


@pytest.mark.attack("MUL-05")
@pytest.mark.parametrize("what", ["suspended", "removed", "statement", "software", "disabled", "another policy"])
async def test_what_ends_an_approval_ends_it_at_every_worker_with_the_next_request(estate: Estate, what: str) -> None:
    workers = [estate.worker(), estate.worker()]
    authority = trusted(estate)
    agent = registrant(workers[0], authority)
    await agent.registered(statement=agent.statement(jti="the-one"))
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    for worker in workers:  # it is known everywhere
        assert (await moved(agent, worker).manage("GET")).status_code == 200
        assert (await agent.refresh(str(tokens.refresh_token))).access_token
    end(estate, agent, what)
    for worker in workers:
        moved(agent, worker)
        for attempt in (agent.refresh(str(tokens.refresh_token)), agent.client_credentials(), agent.push()):
            await nobody(attempt)
        if what == "another policy":
            response = await agent.manage("PUT", agent.replacement())
            assert (response.status_code, error_of(response)) == (400, "invalid_redirect_uri")
        else:
            assert (await agent.manage("GET")).status_code == 401
        if what in {"suspended", "removed", "software"}:
            response = await registrant(worker, authority, seed=9).register()
            assert (response.status_code, error_of(response)) == UNAPPROVED


@pytest.mark.attack("MUL-05")
async def test_an_initial_access_token_that_was_revoked_is_none_at_every_worker(estate: Estate) -> None:
    workers = [estate.worker(), estate.worker()]
    authority, token = trusted(estate), invitation(estate, uses=10)
    agent = registrant(workers[0], authority)
    for number, worker in enumerate(workers):
        agent = registrant(worker, authority, seed=20 + number)
        await agent.registered(statement=None, token=token, **agent.described())
    approvals(estate).revoke_initial_token("invitation", estate.stamp())
    for worker in workers:
        moved(agent, worker)
        late = registrant(worker, authority, seed=30)
        response = await late.register(statement=None, token=token, **late.described())
        assert (response.status_code, error_of(response)) == NO_TOKEN
        assert (await agent.manage("GET")).status_code == 200
        assert (await agent.manage("PUT", agent.replacement())).status_code == 403


@pytest.mark.attack("MUL-01")
async def test_each_registration_and_each_token_counts_at_every_worker(estate: Estate) -> None:
    one, two = estate.worker(), estate.worker()
    agent = registrant(one, trusted(estate))
    agent.binds = True
    statement = agent.statement()
    await agent.registered(statement=statement)
    response = await registrant(two, agent.authority, seed=2).register(statement=statement)
    assert (response.status_code, error_of(response)) == NO_STATEMENT
    await moved(agent, two).manage("GET")
    proof = agent.manage_request("GET")
    assert (await agent.send(proof, method="GET")).status_code == 200
    copy = await moved(agent, one).send(proof, method="GET")
    assert error_of(copy) == "invalid_dpop_proof"
    old = agent.information["registration_access_token"]
    assert (await agent.manage("PUT", agent.replacement())).status_code == 200
    assert (await moved(agent, two).manage("GET")).status_code == 200
    assert (await moved(agent, one).manage("GET", token=old)).status_code == 401
    assert (await moved(agent, two).manage("DELETE")).status_code == 204
    assert (await moved(agent, one).manage("GET")).status_code == 401


@pytest.mark.attack("MUL-05")
async def test_what_a_client_changes_or_ends_of_itself_is_so_at_every_worker(estate: Estate) -> None:
    one, two = estate.worker(), estate.worker()
    agent = registrant(one, trusted(estate))
    await agent.registered()
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    assert (await moved(agent, two).client_credentials()).access_token  # it is known there
    narrow = agent.replacement(scope="accounts:read")
    assert (await moved(agent, one).manage("PUT", narrow)).status_code == 200
    with pytest.raises(Refused) as raised:
        await moved(agent, two).client_credentials()
    assert (raised.value.status, raised.value.error) == (400, "invalid_scope")
    agent.scope = "accounts:read"
    assert (await agent.client_credentials()).access_token
    assert (await moved(agent, one).manage("DELETE")).status_code == 204
    await nobody(moved(agent, two).refresh(str(tokens.refresh_token)))
    assert all(row[-1] is not None for row in rows(estate, of=("authorization",))["authorization"])  # revoked_at


# --- TIM: clocks


@pytest.mark.attack("TIM-04")
@pytest.mark.parametrize(("ahead", "behind"), [(5, 0), (0, 5)])
async def test_clocks_that_differ_use_a_statement_once(estate: Estate, ahead: int, behind: int) -> None:
    one, two = (estate.worker(clock=FrozenClock(NOW + seconds)) for seconds in (ahead, behind))
    agent = registrant(one, trusted(estate))
    statement = agent.statement(iat=NOW, exp=NOW + 60)
    await agent.registered(statement=statement)
    thief = registrant(two, agent.authority, seed=2)
    for step in (0, 30, 29, 15):
        two.clock.advance(step)
        response = await thief.register(statement=statement)
        assert (response.status_code, error_of(response)) == NO_STATEMENT
    assert (await moved(agent, two).manage("GET")).status_code == 200


@pytest.mark.attack("TIM-02")
async def test_a_sweep_at_a_time_that_was_wrong_gives_no_statement_back_and_takes_no_client_away(
    estate: Estate,
) -> None:
    worker = estate.worker()
    agent = registrant(worker, trusted(estate))
    statement = agent.statement()
    await agent.registered(statement=statement)
    await worker.database.janitor.sweep("worker", estate.clock.now())
    estate.clock.advance(400 * 86_400)
    await worker.database.janitor.sweep("worker", estate.clock.now())
    estate.clock.advance(-400 * 86_400)
    assert (await agent.manage("GET")).status_code == 200
    response = await registrant(worker, agent.authority, seed=2).register(statement=statement)
    assert (response.status_code, error_of(response)) == NO_STATEMENT
    await registrant(worker, agent.authority, seed=3).registered()


# --- LOG-02: what lies in the files


@pytest.mark.attack("LOG-02")
async def test_no_token_of_a_registration_lies_in_the_files_of_the_store(estate: Estate) -> None:
    worker = estate.worker()
    authority, token = trusted(estate), invitation(estate)
    agent, bound = registrant(worker, authority), registrant(worker, authority, seed=2)
    await agent.registered(statement=None, token=token, **agent.described())
    bound.binds = True
    await bound.registered()
    secrets = [token, "x" * 43]
    for who in (agent, bound):
        secrets.append(who.information["registration_access_token"])
        await who.manage("PUT", who.replacement())
        secrets.append(who.information["registration_access_token"])
        await who.manage("GET")
        await who.manage("GET", token="x" * 43)
        await who.register(statement=None, token="x" * 43, **who.described())
    lie = PeerKey.es256()
    await bound.register(statement=bound.authority.signed(bound.claims(), key=lie))
    stored = octets(estate)
    assert not [secret for secret in secrets if secret.encode() in stored]
    assert bound.information["software_statement"].encode() in stored  # which is none
