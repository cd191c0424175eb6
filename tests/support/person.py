"""A person whose machine's browser is this program: signs in, allows what is asked, and goes back where they are led.

BROWSER="python -m tests.support.person ca.pem seen.txt %s"
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path

import httpx2

from tests.support.authorization_server import PASSWORD, USERNAME
from tests.support.browser import Browser, Callback, Page


def _http(authorities: str) -> httpx2.AsyncClient:
    trust = ssl.create_default_context(cafile=authorities)
    return httpx2.AsyncClient(verify=trust, trust_env=False, timeout=20.0)


async def _led_back(http: httpx2.AsyncClient, url: str) -> Callback:
    browser = Browser(http)
    place = await browser.open(url)
    if isinstance(place, Page) and place.has("login-submit"):
        place = await browser.submit(place, "login-submit", {"username": USERNAME, "password": PASSWORD})
    if isinstance(place, Page) and place.has("consent-approve"):
        place = await browser.submit(place, "consent-approve", {})
    assert isinstance(place, Callback), place.text
    return place


async def answered(authorities: str, url: str) -> str:
    """Go to the address and allow; gives where the browser is led back to, and does not go there."""
    async with _http(authorities) as http:
        return (await _led_back(http, url)).location


async def allow(authorities: str, url: str) -> str:
    """Go to the address, allow, and follow to the page of the agent; gives its text."""
    async with _http(authorities) as http:
        place = await _led_back(http, url)
        navigation = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        page = await http.get(place.location, headers=navigation, follow_redirects=False)
        return f"{page.status_code} {page.text}"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(asyncio.run(allow(sys.argv[1], sys.argv[3])), encoding="utf-8")
