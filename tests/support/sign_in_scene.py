"""What tests of the sign-in page do over and over."""

from __future__ import annotations

from urllib.parse import urlencode

import httpx2

from fapi_as.protocol.effects import HandleKind
from tests.support.browser import Browser, Page
from tests.support.fakes import ISSUER
from tests.support.house import PASSWORD, House, hidden

COOKIE = "__Host-fapi-as"


def cookie_of(browser: Browser, name: str = COOKIE) -> str:
    return browser.cookies[ISSUER][name]


def plant(browser: Browser, value: str) -> None:
    browser.cookies.setdefault(ISSUER, {})[COOKIE] = value


def fields(login: Page, **changes: str | None) -> dict[str, str]:
    form = {
        "interaction": hidden(login, "interaction"),
        "csrf_token": hidden(login, "csrf_token"),
        "username": "alice",
        "password": PASSWORD,
    }
    return {name: value for name, value in {**form, **changes}.items() if value is not None}


async def post(
    house: House, form: dict[str, str], browser: Browser, *, path: str = "/login", **headers: str
) -> httpx2.Response:
    """A form as something other than our page would send it."""
    cookies = browser.cookies.get(ISSUER, {})
    sent = {"content-type": "application/x-www-form-urlencoded", **headers}
    if cookies:
        sent["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    response = await house.http.post(f"{ISSUER}{path}", content=urlencode(form).encode(), headers=sent)
    house.http.cookies.clear()
    return response


def signed_in_sessions(house: House) -> list[bytes]:
    return [handle.digest for handle in house.store.handles_of(HandleKind.SESSION)]
