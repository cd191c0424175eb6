"""The address of a registration is one segment as it came over the wire: whatever else is sent leads to nobody."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import pytest

from tests.support.asgi_peer import AsgiAnswer, call_with, scope
from tests.support.estate import ACME, Estate, Worker
from tests.support.registration_estate import registrant, rows, trusted
from tests.support.registration_scene import Registrant

METHODS: Final = ("GET", "PUT", "DELETE", "POST", "PATCH", "HEAD", "OPTIONS", "TRACE", "get", "delete", "PROPFIND")
TRICKS: Final = [
    *("/register/", "/register//", "/register//{id}", "//register/{id}", "/register/{id}/", "/register/{id}//"),
    *("/register/./{id}", "/register/../register/{id}", "/register/%2e/{id}", "/register/%2e%2e/register/{id}"),
    *("/register%2f{id}", "/register/{id}%2f", "/register/%2f{id}", "/register/{id}%00", "/register/%00{id}"),
    *("/register/{id}/../{id}", "/register/{id}/x", "/register/x/{id}", "/register/{id};x=y", "/register;/{id}"),
    *("/register/{id}%20", "/register/%20{id}", "/register/{id}.json", "/register/{id}%0d%0a", "/register/{id}%3f"),
    *("/register/{id}%23", "/Register/{id}", "/REGISTER/{id}", "/register/{percent}", "/register/{case}"),
    *("/register/\\{id}", "/register\\{id}", "/register/..\\{id}", "/register/..", "/register/.", "/register/%2e%2e"),
    *(
        "/register/{client_id}",
        "/register/%7bclient_id%7d",
        "/register/*",
        "/register/%25",
        "/register/%",
        "/register/%zz",
    ),
    *(
        "/register/agent",
        "/register/client-",
        "/register/" + "x" * 255,
        "/register/" + "x" * 256,
        "/register/" + "x" * 9000,
    ),
    *("/register/" + "../" * 50, "/register/%ff%fe", "/register/%c0%af", "/register/%e2%80%ae", "/register/' OR 1=1--"),
    *("/t/acme/register/{id}", "/t/acme/../../register/{id}", "/t/default/register/{id}", "/t//register/{id}"),
    *("/register/.well-known", "/.well-known/register/{id}", "/token/{id}", "/par/{id}", "/userinfo/{id}", "/x/{id}"),
]


@pytest.fixture
def worker(estate: Estate) -> Worker:
    return estate.worker()


@pytest.fixture
async def agent(estate: Estate, worker: Worker) -> Registrant:
    authority = trusted(estate)
    trusted(estate, ACME, authority=authority)
    agent = registrant(worker, authority)
    await agent.registered()
    return agent


async def sent(worker: Worker, method: str, raw: str, headers: dict[str, str], body: bytes = b"") -> AsgiAnswer:
    """One request whose path is these octets."""
    asked = scope(method, "/", headers)
    octets, _, query = raw.encode("latin-1").partition(b"?")
    asked |= {"raw_path": octets, "path": unquote_to_bytes(octets).decode("utf-8", "replace"), "query_string": query}
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})
    return await call_with(worker.application, asked, inbox)


def spelt(trick: str, client_id: str) -> str:
    percent = "".join(f"%{ord(character):02x}" for character in client_id)
    if trick == "/register/{client_id}":
        return trick
    return trick.replace("{id}", client_id).replace("{percent}", percent).replace("{case}", client_id.swapcase())


@pytest.mark.attack("DCR-15")
async def test_no_other_spelling_of_an_address_leads_to_a_registration(
    estate: Estate, worker: Worker, agent: Registrant
) -> None:
    headers = {
        "authorization": f"Bearer {agent.information['registration_access_token']}",
        "content-type": "application/json",
    }
    body, before = json.dumps(agent.replacement(client_name="Taken over")).encode(), rows(estate)
    for trick in TRICKS:
        for method in METHODS:
            answer = await sent(worker, method, spelt(trick, agent.client_id), headers, body)
            assert answer.status in {400, 401, 404, 405, 415, 429}, (method, trick, answer.status, answer.body)
            assert agent.client_id.encode() not in answer.body
        estate.clock.advance(61)  # so that none of them hides behind the failures of another
    assert rows(estate) == before
    right = await sent(worker, "GET", f"/register/{agent.client_id}", headers)
    assert right.status == 200


@pytest.mark.attack("DCR-15")
@pytest.mark.parametrize("method", ["POST", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "PUT "])
async def test_a_registration_has_three_methods(worker: Worker, agent: Registrant, method: str) -> None:
    headers = {"authorization": f"Bearer {agent.information['registration_access_token']}"}
    answer = await sent(worker, method, f"/register/{agent.client_id}", headers)
    assert answer.status == 405
    assert answer.header("allow") == "DELETE, GET, HEAD, PUT"


@pytest.mark.attack("DCR-15")
async def test_no_header_turns_one_method_into_another(estate: Estate, worker: Worker, agent: Registrant) -> None:
    before = rows(estate)
    token = agent.information["registration_access_token"]
    for name in ("x-http-method-override", "x-http-method", "x-method-override", "_method"):
        for method in ("DELETE", "PUT"):
            headers = {"authorization": f"Bearer {token}", name: method}
            assert (await sent(worker, "GET", f"/register/{agent.client_id}", headers)).status == 200
            answer = await sent(worker, "GET", f"/register/{agent.client_id}?_method={method}", headers)
            assert answer.status == 400
            answer = await sent(worker, "POST", f"/register/{agent.client_id}", headers, f"_method={method}".encode())
            assert answer.status == 405
    for name, value in (("x-original-url", "/token"), ("x-rewrite-url", "/token"), ("x-forwarded-prefix", "/t/acme")):
        headers = {"authorization": f"Bearer {token}", name: value}
        assert (await sent(worker, "GET", f"/register/{agent.client_id}", headers)).status == 200
    assert rows(estate) == before


@pytest.mark.attack("DCR-13")
@pytest.mark.parametrize("size", [65_537, 1_048_576])
async def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    estate: Estate, worker: Worker, agent: Registrant, size: int
) -> None:
    before = rows(estate)
    headers = {
        "authorization": f"Bearer {agent.information['registration_access_token']}",
        "content-type": "application/json",
    }
    nested = json.dumps({"x": {"y": "z" * size}}).encode()
    for method, path in (("POST", "/register"), ("PUT", f"/register/{agent.client_id}")):
        for more in ({}, {"content-length": str(len(nested))}):
            answer = await sent(worker, method, path, headers | more, nested)
            assert answer.status == 413, answer.body
    assert rows(estate) == before


@pytest.mark.attack("DCR-15")
async def test_who_only_looks_whether_it_is_there_needs_the_token_too(worker: Worker, agent: Registrant) -> None:
    path, token = f"/register/{agent.client_id}", agent.information["registration_access_token"]
    assert (await sent(worker, "HEAD", path, {})).status == 401
    assert (await sent(worker, "HEAD", path, {"authorization": f"Bearer {'x' * 43}"})).status == 401
    answer = await sent(worker, "HEAD", path, {"authorization": f"Bearer {token}"})
    assert (answer.status, answer.header("cache-control")) == (200, "no-cache, no-store")


@pytest.mark.attack("DCR-16")
async def test_an_authorization_field_in_any_octets_is_refused_and_no_defect(worker: Worker, agent: Registrant) -> None:
    for value in (b"Bearer \xe9", b"\xff\xfe", b"Bearer \x00", b"Bearer " + b"\x80" * 100, b"DPoP \xf0\x9f\x92\xa9"):
        for method, path in (("POST", "/register"), ("GET", f"/register/{agent.client_id}")):
            asked = scope(method, path, [(b"authorization", value), (b"content-type", b"application/json")])
            inbox: asyncio.Queue[Any] = asyncio.Queue()
            inbox.put_nowait({"type": "http.request", "body": b"{}", "more_body": False})
            answer = await call_with(worker.application, asked, inbox)
            assert answer.status in {400, 401}
