"""Several workers over one file: what one has spent, given out or been told holds at every other (MUL)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.browser import Callback, Page
from tests.support.estate import Estate, moved
from tests.support.fakes import NOW, FrozenClock
from tests.support.fapi_client import FapiClient, Refused, error_of
from tests.support.house import PASSWORD


async def refused(answer: Any, status: int, error: str) -> None:
    with pytest.raises(Refused) as raised:
        await answer
    assert (raised.value.status, raised.value.error) == (status, error)


@pytest.mark.attack("MUL-01")
async def test_a_request_is_good_once_whoever_gets_its_copy(estate: Estate) -> None:
    one, two = estate.worker(), estate.worker()
    client = estate.client(one)
    await client.client_credentials()
    message = client.credentials_request()
    assert (await client.send(message)).status_code == 200
    copy = await moved(client, two).send(message)
    assert (copy.status_code, error_of(copy)) == (401, "invalid_client")


@pytest.mark.attack("MUL-01")
@pytest.mark.parametrize(
    ("lie", "status", "error"),
    [({"assertion_jti": "same"}, 401, "invalid_client"), ({"jti": "same"}, 400, "invalid_dpop_proof")],
)
async def test_each_jti_is_good_once_at_all_workers(
    estate: Estate, lie: dict[str, Any], status: int, error: str
) -> None:
    one, two = estate.worker(), estate.worker()
    client = estate.client(one)
    await client.client_credentials()
    with client.lying(**lie):
        await client.client_credentials()
        await refused(moved(client, two).client_credentials(), status, error)
    assert (await client.client_credentials()).access_token


@pytest.mark.attack("MUL-01")
async def test_a_code_and_a_request_uri_are_used_up_at_all_workers(estate: Estate) -> None:
    one, two = estate.worker(), estate.worker()
    client = estate.client(one)
    pushed = await client.push()
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    tokens = await client.redeem(done, pushed)
    moved(client, two)
    again = await client.browser.open(client.authorization_url(pushed))
    assert isinstance(again, Page)
    assert (again.status, again.error) == (400, "invalid_request_uri")
    await refused(client.redeem(done, pushed), 400, "invalid_grant")
    await refused(client.refresh(str(tokens.refresh_token)), 400, "invalid_grant")  # the family has ended


@pytest.mark.attack("MUL-02")
async def test_each_step_may_be_at_another_worker(estate: Estate) -> None:
    workers = [estate.worker() for _ in range(5)]
    client = estate.client(workers[0])
    pushed = await client.push()
    login = await moved(client, workers[1]).browser.open(client.authorization_url(pushed))
    assert isinstance(login, Page)
    values = {"username": "alice", "password": PASSWORD}
    consent = await moved(client, workers[2]).browser.submit(login, "login-submit", values)
    assert isinstance(consent, Page)
    done = await moved(client, workers[3]).browser.submit(consent, "consent-approve", stop_at=client.redirect_uri)
    assert isinstance(done, Callback)
    tokens = await moved(client, workers[4]).redeem(done, pushed)
    assert (await moved(client, workers[0]).refresh(str(tokens.refresh_token))).access_token


@pytest.mark.attack("MUL-03")
async def test_a_nonce_of_one_worker_is_good_at_the_other_and_after_a_restart_for_its_time(estate: Estate) -> None:
    client = estate.client(estate.worker())
    await client.client_credentials()
    (given,) = client.nonces.values()
    with client.lying(nonce=given):
        assert (await moved(client, estate.worker()).client_credentials()).access_token
        estate.clock.advance(120)
        assert (await moved(client, estate.worker()).client_credentials()).access_token
        estate.clock.advance(120)
        await refused(client.client_credentials(), 400, "use_dpop_nonce")


@pytest.mark.attack("MUL-05")
@pytest.mark.parametrize("what", ["client", "user", "password", "resource"])
async def test_what_an_operator_ends_has_ended_at_every_worker_with_the_next_request(estate: Estate, what: str) -> None:
    workers = [estate.worker(), estate.worker()]
    client = estate.client(workers[0])
    tokens = await client.obtain(username="alice", password=PASSWORD)
    for worker in workers:
        assert (await moved(client, worker).refresh(str(tokens.refresh_token))).access_token
    operators, stamp = estate.operators(), estate.stamp()
    answer = {
        "client": (401, "invalid_client"),
        "user": (400, "invalid_grant"),
        "password": (400, "invalid_grant"),
        "resource": (400, "invalid_target"),
    }[what]
    match what:
        case "client":
            operators.set_client_enabled("agent", stamp, enabled=False)
        case "user":
            operators.set_user_enabled("alice", stamp, enabled=False)
        case "password":
            operators.set_password("alice", "plain:another", stamp)
        case _:
            operators.remove_resource(str(client.resource), stamp)
    for worker in workers:
        await refused(moved(client, worker).refresh(str(tokens.refresh_token)), *answer)


async def test_a_use_at_one_worker_keeps_a_refresh_token_alive_at_the_other(estate: Estate) -> None:
    one, two = estate.worker(), estate.worker()
    client = estate.client(one)
    value = str((await client.obtain(username="alice", password=PASSWORD)).refresh_token)
    for worker in (two, one, two):
        estate.clock.advance(10 * 86_400 - 1)
        assert (await moved(client, worker).refresh(value)).access_token
    estate.clock.advance(3)
    await refused(client.refresh(value), 400, "invalid_grant")


@pytest.mark.attack("TIM-04")
@pytest.mark.parametrize(("ahead", "behind"), [(5, 0), (0, 5)])
async def test_clocks_that_differ_by_five_seconds_redeem_once_and_no_later_than_that(
    estate: Estate, ahead: int, behind: int
) -> None:
    clocks = FrozenClock(NOW + ahead), FrozenClock(NOW + behind)
    one, two = (estate.worker(clock=clock) for clock in clocks)

    async def a_code() -> tuple[FapiClient, Callback, Any]:
        client = estate.client(one)
        pushed = await client.push()
        return client, await client.authorize(pushed, username="alice", password=PASSWORD), pushed

    client, done, pushed = await a_code()
    assert (await moved(client, two).redeem(done, pushed)).access_token
    await refused(moved(client, one).redeem(done, pushed), 400, "invalid_grant")
    client, done, pushed = await a_code()
    for clock in clocks:
        clock.advance(60 + 5)
    await refused(moved(client, two).redeem(done, pushed), 400, "invalid_grant")
