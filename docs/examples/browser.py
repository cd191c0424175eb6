"""A person at a browser, as far as the demo needs one: opens pages, fills in forms by the ids of their fields.

Everything comes from the pages themselves: addresses, hidden fields, cookies. Nothing here knows the server.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx2
from typing_extensions import override

_MOVED: Final = 303
_STEPS: Final = 12  # pages and redirects between the first click and the way back


class UnexpectedPage(Exception):
    """The page is not the one that should have come; its text is in the message."""


@dataclass
class Form:
    """A form as a browser would submit it: fields in order, and the buttons that submit it by their ids."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)

    def filled(self, values: dict[str, str], button: str) -> list[tuple[str, str]]:
        """The pairs to send, after typing `values` into the fields with these ids and pressing a button."""
        typed = {self.names[identifier]: value for identifier, value in values.items()}
        pairs = [(name, typed.get(name, value)) for name, value in self.fields]
        name, value = self.buttons[button]
        return [*pairs, (name, value)] if name else pairs


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.text: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            method = attributes.get("method", "get").upper()
            self.forms.append(Form(action=attributes.get("action", ""), method=method))
        elif self.forms and (tag == "button" or (tag == "input" and attributes.get("type") == "submit")):
            self.forms[-1].buttons[attributes.get("id", "")] = (attributes.get("name", ""), attributes.get("value", ""))
        elif self.forms and tag == "input" and attributes.get("name"):
            self._add_field(attributes)

    def _add_field(self, attributes: dict[str, str]) -> None:
        if attributes.get("type") in {"checkbox", "radio"} and "checked" not in attributes:
            return
        self.forms[-1].fields.append((attributes["name"], attributes.get("value", "")))
        self.forms[-1].names[attributes.get("id", "")] = attributes["name"]

    @override
    def handle_data(self, data: str) -> None:
        self.text.append(data)


class Browser:
    """One browser with its cookies; `sign_in_and_allow` is what the person does in it."""

    def __init__(self, trust: ssl.SSLContext, *, username: str, password: str) -> None:
        self._client = httpx2.AsyncClient(verify=trust, timeout=10.0, headers={"accept": "text/html"})
        self._username = username
        self._password = password
        self.pages: list[str] = []

    async def sign_in_and_allow(self, url: str, *, until: str) -> str:
        """Open an address, sign in where asked, allow what is asked, and give the address that is led back to.

        Raises:
            UnexpectedPage: something else came than a sign-in or a consent page.
        """
        response = await self._client.get(url, headers=_fetched("cross-site"))
        for _ in range(_STEPS):
            location = response.headers.get("location")
            if response.status_code == _MOVED and location is not None:
                target = urljoin(str(response.url), location)
                if target.startswith(until):
                    return target
                response = await self._client.get(target, headers=_fetched("same-origin"))
                continue
            response = await self._submit(response)
        raise UnexpectedPage("the pages lead nowhere")

    async def _submit(self, response: httpx2.Response) -> httpx2.Response:
        page = _Forms()
        page.feed(response.text)
        for form in page.forms:
            if "login-submit" in form.buttons:
                self.pages.append("sign-in")
                values = {"username": self._username, "password": self._password}
                return await self._press(response, form, form.filled(values, "login-submit"))
            if "consent-approve" in form.buttons:
                self.pages.append("consent")
                return await self._press(response, form, form.filled({}, "consent-approve"))
        shown = " ".join(" ".join(page.text).split())
        raise UnexpectedPage(f"{response.status_code} at {response.url}: {shown[:500]}")

    async def _press(self, page: httpx2.Response, form: Form, pairs: list[tuple[str, str]]) -> httpx2.Response:
        address = urljoin(str(page.url), form.action)
        parts = urlsplit(address)
        headers = {**_fetched("same-origin"), "origin": f"{parts.scheme}://{parts.netloc}"}
        return await self._client.request(form.method, address, data=dict(pairs), headers=headers)

    async def close(self) -> None:
        """Close the window."""
        await self._client.aclose()


def _fetched(site: str) -> dict[str, str]:
    """What every browser says about where a request came from (Fetch Metadata)."""
    return {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
