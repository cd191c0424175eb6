"""What tests of the consent page do over and over."""

from __future__ import annotations

from urllib.parse import urlencode

import httpx2

from fapi_as.protocol.effects import HandleKind
from tests.support.browser import Browser, Callback, Page
from tests.support.fakes import ISSUER
from tests.support.house import House, hidden

COOKIE = "__Host-fapi-as"


def fields(consent: Page, *, decision: str = "approve", **changes: str | None) -> dict[str, str]:
    form = {name: hidden(consent, name) for name in ("interaction", "csrf_token", "shown")}
    return {name: value for name, value in {**form, "decision": decision, **changes}.items() if value is not None}


async def post(house: House, form: dict[str, str] | list[tuple[str, str]], browser: Browser) -> httpx2.Response:
    cookies = browser.cookies.get(ISSUER, {})
    headers = {"content-type": "application/x-www-form-urlencoded"}
    if cookies:
        headers["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    response = await house.http.post(f"{ISSUER}/consent", content=urlencode(form).encode(), headers=headers)
    house.http.cookies.clear()
    return response


def codes(house: House) -> int:
    return len(house.store.handles_of(HandleKind.CODE))


async def approve(house: House, consent: Page) -> Page | Callback:
    return await house.agent.browser.submit(consent, "consent-approve")
