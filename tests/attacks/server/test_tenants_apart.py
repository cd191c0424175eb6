"""Two tenants under one sealing key, one file and one name of everything: nothing of one counts at the other."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from rs_kit.protocol import nonce
from rs_kit.protocol.access_token import verify_access_token
from rs_kit.protocol.errors import InvalidToken
from rs_kit.protocol.jwk import usable_keys
from tests.support.browser import Page
from tests.support.estate import ACME, ROOT, Estate, Worker
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient, Refused, error_of
from tests.support.fapi_messages import origin_of
from tests.support.house import PASSWORD, RESOURCE

BOTH_WAYS = pytest.mark.parametrize(("here", "there"), [(ROOT, ACME), (ACME, ROOT)])


@pytest.fixture
def worker(estate: Estate) -> Worker:
    return estate.worker()


async def facts(estate: Estate, tenant: str) -> int:
    return len(estate.operators(tenant).audit(limit=1000))


async def refused(answer: Any, status: int, error: str) -> None:
    with pytest.raises(Refused) as raised:
        await answer
    assert (raised.value.status, raised.value.error) == (status, error)


@BOTH_WAYS
async def test_each_tenant_works_by_itself(estate: Estate, worker: Worker, here: str, there: str) -> None:
    client = estate.client(worker, here)
    before = await facts(estate, there)
    tokens = await client.obtain(username="alice", password=PASSWORD)
    assert (await client.refresh(str(tokens.refresh_token))).access_token
    assert await facts(estate, there) == before


@BOTH_WAYS
@pytest.mark.parametrize("what", ["code", "refresh token"])
async def test_a_handle_of_one_is_unknown_to_the_other(
    estate: Estate, worker: Worker, here: str, there: str, what: str
) -> None:
    client, other = estate.client(worker, here), estate.client(worker, there)
    pushed = await client.push()
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    if what == "code":
        await refused(other.redeem(done, pushed), 400, "invalid_grant")
        assert (await client.redeem(done, pushed)).access_token
        return
    value = str((await client.redeem(done, pushed)).refresh_token)
    await refused(other.refresh(value), 400, "invalid_grant")
    assert (await client.refresh(value)).access_token


@BOTH_WAYS
async def test_a_request_uri_of_one_opens_nothing_at_the_other(
    estate: Estate, worker: Worker, here: str, there: str
) -> None:
    client, other = estate.client(worker, here), estate.client(worker, there)
    pushed = await client.push()
    place = await other.visit(pushed, username="alice", password=PASSWORD)
    assert isinstance(place, Page)
    assert (place.status, place.error) == (400, "invalid_request_uri")
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    assert done.code


@BOTH_WAYS
async def test_a_nonce_of_one_is_none_at_the_other(estate: Estate, worker: Worker, here: str, there: str) -> None:
    client, other = estate.client(worker, here), estate.client(worker, there)
    await client.client_credentials()
    (given,) = client.nonces.values()
    other.dpop_key = client.dpop_key
    with other.lying(nonce=given):
        await refused(other.client_credentials(), 400, "use_dpop_nonce")
    assert given != other.nonces[origin_of(ISSUER), other.dpop_key.thumbprint]
    assert (await other.client_credentials()).access_token


def test_the_keys_of_nonces_and_forms_differ_by_tenant_and_purpose(estate: Estate) -> None:
    derived = {
        estate.sealing.derive(purpose, tenant) for purpose in ("dpop-nonce", "browser") for tenant in (ROOT, ACME)
    }
    assert len(derived) == 4
    issued = {nonce.issue(key, now=1, jkt=None, window_seconds=120) for key in derived}
    assert len(issued) == 4


@BOTH_WAYS
async def test_a_session_of_one_signs_nobody_in_at_the_other(
    estate: Estate, worker: Worker, here: str, there: str
) -> None:
    client, other = estate.client(worker, here), estate.client(worker, there)
    await client.obtain(username="alice", password=PASSWORD)
    place = await client.browser.open(client.authorization_url(await client.push()))
    assert isinstance(place, Page)
    assert place.has("consent-approve"), "the session lives where it was made"
    place = await client.browser.open(other.authorization_url(await other.push()))
    assert isinstance(place, Page)
    assert place.has("login-submit")
    assert not place.has("consent-approve")


@BOTH_WAYS
async def test_a_token_of_one_is_none_where_the_other_is_trusted(
    estate: Estate, worker: Worker, here: str, there: str
) -> None:
    client, other = estate.client(worker, here), estate.client(worker, there)
    token = (await client.client_credentials()).access_token
    for trusted, good in ((client, True), (other, False)):
        keys = usable_keys((await worker.http.get(trusted.metadata["jwks_uri"])).json())
        for issuer in (client.issuer, other.issuer):
            ask = {"keys": keys, "issuer": issuer, "audience": RESOURCE, "now": estate.clock.now()}
            if good and issuer == client.issuer:
                assert verify_access_token(token, **ask, leeway_seconds=10).issuer == issuer
            else:
                with pytest.raises(InvalidToken):
                    verify_access_token(token, **ask, leeway_seconds=10)


@BOTH_WAYS
async def test_an_assertion_for_one_is_none_at_the_other_though_the_key_is_the_same(
    estate: Estate, worker: Worker, here: str, there: str
) -> None:
    client, other = estate.client(worker, here), estate.client(worker, there)
    await other.client_credentials()
    with other.lying(assertion=client.assertion()):
        await refused(other.client_credentials(), 401, "invalid_client")


@BOTH_WAYS
async def test_a_proof_for_one_is_none_at_the_other(estate: Estate, worker: Worker, here: str, there: str) -> None:
    client, other = estate.client(worker, here), estate.client(worker, there)
    await other.client_credentials()
    with other.lying(htu=client.metadata["token_endpoint"]):
        await refused(other.client_credentials(), 400, "invalid_dpop_proof")


@BOTH_WAYS
async def test_what_one_spends_the_other_may_still_use(estate: Estate, worker: Worker, here: str, there: str) -> None:
    for tenant in (here, there):
        client = estate.client(worker, tenant)
        await client.client_credentials()
        with client.lying(assertion_jti="same", jti="same"):
            assert (await client.client_credentials()).access_token


@BOTH_WAYS
async def test_what_ends_at_one_goes_on_at_the_other(estate: Estate, worker: Worker, here: str, there: str) -> None:
    tokens = {}
    for tenant in (here, there):
        tokens[tenant] = await estate.client(worker, tenant).obtain(username="alice", password=PASSWORD)
    estate.operators(here).set_user_enabled("alice", estate.stamp(), enabled=False)
    await asyncio.sleep(0)
    ended, live = (str(tokens[tenant].refresh_token) for tenant in (here, there))
    await refused(estate.client(worker, here).refresh(ended), 400, "invalid_grant")
    assert (await estate.client(worker, there).refresh(live)).access_token


@BOTH_WAYS
async def test_unknown_and_elsewhere_sound_the_same(estate: Estate, worker: Worker, here: str, there: str) -> None:
    client, other = estate.client(worker, here), estate.client(worker, there)
    value = str((await client.obtain(username="alice", password=PASSWORD)).refresh_token)

    async def told(peer: FapiClient, refresh_token: str) -> tuple[int, str | None, bytes]:
        answer: httpx2.Response = await peer.attempt(lambda: peer.refresh_request(refresh_token))
        return answer.status_code, error_of(answer), answer.content

    assert await told(other, value) == await told(other, "A" * len(value))
