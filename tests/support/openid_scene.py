"""What tests of OpenID Connect do over and over."""

from __future__ import annotations

import json
from typing import Any, Final

import httpx2
import pytest

from fapi_as.protocol.effects import HandleKind
from tests.support.browser import Callback, Page
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient, Refused, Tokens
from tests.support.fapi_messages import Pushed
from tests.support.house import PASSWORD, SCOPES, House, callback, page
from tests.support.token_scene import claims_of

IDENTITY: Final = "openid profile email offline_access"
USERINFO: Final = f"{ISSUER}/userinfo"
LOGOUT: Final = f"{ISSUER}/logout"


def relying(
    house: House,
    client_id: str = "rp",
    *,
    scope: str = "openid profile email",
    registered: str | None = None,
    **registration: Any,
) -> FapiClient:
    """A client that is registered for everything and asks for the identity only."""
    client = house.client(client_id, scope=registered or f"{' '.join(SCOPES)} {IDENTITY}", **registration)
    client.scope, client.resource = scope, None
    return client


def known(house: House, **changes: Any) -> None:
    """Alice has a name and an address."""
    house.change_user("alice", **{"name": "Alice Liddell", "email": "alice@example.com"} | changes)


async def obtained(client: FapiClient, **push: Any) -> Tokens:
    """The whole code flow as alice."""
    return await client.obtain(username="alice", password=PASSWORD, **push)


def id_token_of(tokens: Tokens) -> str:
    token = tokens.response.json()["id_token"]
    assert isinstance(token, str)
    return token


async def id_token(client: FapiClient, **push: Any) -> dict[str, Any]:
    """The claims of a fresh ID token."""
    return claims_of(id_token_of(await obtained(client, **push)))


async def userinfo(client: FapiClient, tokens: Tokens, *, method: str = "GET") -> httpx2.Response:
    return await client.call(tokens, USERINFO, method=method)


async def opened(client: FapiClient, **push: Any) -> Page | Callback:
    """Where the browser is led by a freshly pushed request; nothing is typed."""
    pushed = await client.push(**push)
    return await client.browser.open(client.authorization_url(pushed), stop_at=pushed.redirect_uri)


async def signed_in(client: FapiClient, **push: Any) -> Pushed:
    """A browser in which alice is signed in, and has allowed what the client asks."""
    pushed = await client.push(**push)
    await client.authorize(pushed, username="alice", password=PASSWORD)
    return pushed


def claims(**places: Any) -> str:
    """A claims parameter."""
    return json.dumps(places)


async def refused(house: House, client: FapiClient, **push: Any) -> tuple[int, str | None]:
    """Status and wire code of a push that keeps nothing."""
    before = len(house.store.handles_of(HandleKind.REQUEST_URI))
    with pytest.raises(Refused) as raised:
        await client.push(**push)
    assert len(house.store.handles_of(HandleKind.REQUEST_URI)) == before
    return raised.value.status, raised.value.error


async def told(house: House, client: FapiClient, **push: Any) -> str | None:
    """The error with which a request ends at once; no code is kept, and the request is used up."""
    codes = len(house.store.handles_of(HandleKind.CODE))
    pushed = await client.push(**push)
    done = callback(await client.browser.open(client.authorization_url(pushed), stop_at=pushed.redirect_uri))
    assert (done.code, done.parameters["state"]) == (None, pushed.state)
    assert len(house.store.handles_of(HandleKind.CODE)) == codes
    again = page(await client.browser.open(client.authorization_url(pushed)))
    assert again.error == "invalid_request_uri"
    return done.error


async def as_alice(client: FapiClient, login: Page) -> Page:
    values = {"username": "alice", "password": PASSWORD}
    return page(await client.browser.submit(login, "login-submit", values))
