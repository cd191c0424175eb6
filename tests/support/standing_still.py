"""What every refusal has to show: its status, its code, nothing changed in the store, and one audit fact."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from fapi_as.protocol.audit_events import AuditEvent
from tests.support.browser import Callback, Page, parse_page
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient, Message, Pushed, Refused, error_of
from tests.support.house import PASSWORD, House
from tests.support.peer_keys import PeerKey

Reason = tuple[int, str]


def everything(house: House) -> Any:
    """Every row but the audit facts; two of them are compared."""
    return replace(house.store.rows.snapshot(), facts=[])


@contextmanager
def unchanged(house: House, error: str) -> Iterator[None]:
    """Whatever happens inside is refused with this code: no row differs, nothing is signed, one fact tells it."""
    before, told, signed = everything(house), len(house.store.facts), len(house.signer.signed)
    yield
    assert everything(house) == before
    assert len(house.signer.signed) == signed
    facts = [(fact.event, fact.error) for fact in house.store.facts[told:]]
    assert facts == [(AuditEvent.REFUSED, error)]


async def ready(house: House, client: FapiClient | None = None) -> House:
    """The house with a client that has had its nonce, so that an attempt is one request."""
    await (client or house.agent).push()
    return house


async def refused_push(
    house: House, *, client: FapiClient | None = None, key: PeerKey | None = None, form: Any = None, **lies: Any
) -> Reason:
    """A push that is refused and leaves everything as it was."""
    client = client or house.agent
    before, told = everything(house), len(house.store.facts)
    with client.lying(form=form or {}, **lies), pytest.raises(Refused) as raised:
        await client.push(key=key)
    return _judged(house, before, told, raised.value)


async def refused_tokens(house: House, build: Any, *, key: PeerKey | None = None) -> Reason:
    """A token request that is refused, spends nothing and gives nothing; `build` makes it."""
    told, before = len(house.store.facts), everything(house)
    with pytest.raises(Refused) as raised:
        await house.agent.tokens(build, key=key)
    return _judged(house, before, told, raised.value)


async def refused_redemption(
    house: House,
    done: Callback,
    pushed: Pushed,
    *,
    client: FapiClient | None = None,
    key: PeerKey | None = None,
    **form: Any,
) -> Reason:
    """A redemption that is refused and leaves the code to its owner."""
    client = client or house.agent
    with client.lying(form=form):
        return await refused_tokens(house, lambda: client.code_request(done.code or "", pushed, key=key), key=key)


async def refused_message(house: House, message: Message, *, method: str = "POST") -> httpx2.Response:
    """A request as it is, refused in JSON without any change."""
    before, told = everything(house), len(house.store.facts)
    response = await house.agent.send(message, method=method)
    _judged(house, before, told, Refused(response))
    return response


async def refused_page(house: House, query: dict[str, Any] | str, *, path: str = "/authorize") -> tuple[int, str]:
    """A local error page: no way out, no cookie, no change."""
    text = query if isinstance(query, str) else urlencode(query, doseq=True)
    before, told = everything(house), len(house.store.facts)
    response = await house.http.get(f"{ISSUER}{path}?{text}")
    house.http.cookies.clear()
    assert "location" not in response.headers
    assert "set-cookie" not in response.headers
    page = parse_page(response)
    assert everything(house) == before
    assert [(fact.event, fact.error) for fact in house.store.facts[told:]] == [(AuditEvent.REFUSED, page.error)]
    return response.status_code, page.error or ""


def query_for(pushed: Pushed, client_id: str = "agent") -> dict[str, str]:
    """What an honest client puts on the URL of the authorization endpoint."""
    return {"client_id": client_id, "request_uri": pushed.request_uri}


async def a_code(
    house: House, *, client: FapiClient | None = None, bound: bool = False, **form: Any
) -> tuple[Callback, Pushed]:
    """A fresh code of alice; its push carries no proof unless it is `bound`."""
    client = client or house.agent
    with client.lying(proof=client.lies.proof if bound else ..., form=form):
        pushed = await client.push()
    return await client.authorize(pushed, username="alice", password=PASSWORD), pushed


async def visited(house: House, pushed: Pushed, *, approve: bool = True) -> Page | Callback:
    """Where alice ends with this request."""
    return await house.agent.visit(pushed, username="alice", password=PASSWORD, approve=approve)


def _judged(house: House, before: Any, told: int, refused: Refused) -> Reason:
    assert everything(house) == before
    facts = [(fact.event, fact.error) for fact in house.store.facts[told:]]
    assert facts == [(AuditEvent.REFUSED, refused.error)]
    assert refused.response.headers["content-type"] == "application/json"
    assert refused.response.headers["cache-control"] == "no-cache, no-store"
    assert set(refused.response.json()) == {"error", "error_description"}
    assert error_of(refused.response) == refused.error
    return refused.status, refused.error or ""
