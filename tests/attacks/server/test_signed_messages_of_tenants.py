"""Signed messages of two tenants that share a file, a client and its key: nothing of one counts at the other.

Over the real store and the real keys.
"""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature

from tests.support.estate import ACME, ROOT, Estate, Worker
from tests.support.fapi_client import FapiClient, Refused
from tests.support.house import PASSWORD, callback
from tests.support.signed_responses import opened, response_of

BOTH_WAYS = pytest.mark.parametrize(("here", "there"), [(ROOT, ACME), (ACME, ROOT)])


@pytest.fixture
def worker(estate: Estate) -> Worker:
    return estate.worker()


def signed(client: FapiClient, *, issuer: str, jti: str = "same") -> str:
    """A request object of this client for an issuer."""
    now = client.now()
    about = {"iss": client.client_id, "client_id": client.client_id, "aud": issuer, "nbf": now, "exp": now + 300}
    asked = {"response_type": "code", "redirect_uri": client.redirect_uri, "scope": client.scope}
    more = {"code_challenge": "c" * 43, "code_challenge_method": "S256", "resource": client.resource, "jti": jti}
    return client.client_key.sign({"typ": "oauth-authz-req+jwt", "kid": client.kid}, about | asked | more)


async def jwks_of(client: FapiClient) -> dict[str, Any]:
    document: dict[str, Any] = (await client.http.get(str(client.metadata["jwks_uri"]))).json()
    return document


@BOTH_WAYS
@pytest.mark.attack("XPA-12")
async def test_a_request_object_for_one_is_none_at_the_other(
    estate: Estate, worker: Worker, here: str, there: str
) -> None:
    client, other = estate.client(worker, here), estate.client(worker, there)
    assert (await client.push(request=signed(client, issuer=client.issuer))).response.status_code == 201
    with pytest.raises(Refused) as refused:
        await other.push(request=signed(client, issuer=client.issuer, jti="another"))
    assert (refused.value.status, refused.value.error) == (400, "invalid_request_object")


@BOTH_WAYS
@pytest.mark.attack("XPA-12")
async def test_a_name_that_was_used_at_one_is_new_at_the_other(
    estate: Estate, worker: Worker, here: str, there: str
) -> None:
    for tenant in (here, there):
        client = estate.client(worker, tenant)
        assert (await client.push(request=signed(client, issuer=client.issuer))).response.status_code == 201
        with pytest.raises(Refused) as refused:
            await client.push(request=signed(client, issuer=client.issuer))
        assert (refused.value.status, refused.value.error) == (400, "invalid_request_object")


@BOTH_WAYS
@pytest.mark.attack("XPA-12")
async def test_a_response_of_one_is_signed_by_no_key_of_the_other(
    estate: Estate, worker: Worker, here: str, there: str
) -> None:
    client, other = estate.client(worker, here), estate.client(worker, there)
    pushed = await client.push(response_mode="jwt")
    place = callback(await client.visit(pushed, username="alice", password=PASSWORD))
    expected = {"client_id": client.client_id, "now": estate.clock.now()}
    done = opened(place, jwks=await jwks_of(client), issuer=client.issuer, **expected)
    assert done.parameters["state"] == pushed.state
    with pytest.raises((ValueError, InvalidSignature)):  # no key of this name
        opened(place, jwks=await jwks_of(other), issuer=client.issuer, **expected)
    with pytest.raises(AssertionError):
        opened(place, jwks=await jwks_of(client), issuer=other.issuer, **expected)
    assert response_of(place).count(".") == 2
