"""LOG-30 without a browser: every page can be read, filled in and left by whoever sees, hears or types only.

The suite with a Chromium asks axe-core about the same pages; this judge needs nothing and always runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from fapi_as.protocol.effects import HandleKind
from tests.support.fakes import ISSUER
from tests.support.house import House, page

_FIELDS = {"input", "select", "textarea"}
_SCRIPTED = {"script", "iframe", "object", "embed", "applet", "marquee", "blink"}


@dataclass(kw_only=True)
class _Element:
    tag: str
    attributes: dict[str, str | None]
    text: str = ""


@dataclass
class _Reader(HTMLParser):
    """Every element with its attributes and the text within it."""

    found: list[_Element] = field(default_factory=list)
    _open: list[_Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = _Element(tag=tag, attributes=dict(attrs))
        self.found.append(element)
        if tag not in {"input", "meta", "link", "br", "img", "hr"}:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data


def barriers(html: str) -> Iterator[str]:
    """What keeps somebody out of a page (WCAG 2.2 A and AA, as far as the text of a page says)."""
    reader = _Reader()
    reader.feed(html)
    named = [element.tag for element in reader.found]
    if not any(element.tag == "html" and element.attributes.get("lang") for element in reader.found):
        yield "3.1.1 no language"
    if not any(element.tag == "title" and element.text.strip() for element in reader.found):
        yield "2.4.2 no title"
    if named.count("h1") != 1 or named.count("main") != 1:
        yield "1.3.1 not one heading in one main part"
    ids = Counter(element.attributes["id"] for element in reader.found if "id" in element.attributes)
    yield from (f"4.1.1 the id {name} is there twice" for name, times in ids.items() if times > 1)
    labels = {element.attributes.get("for") for element in reader.found if element.tag == "label" and element.text}
    for element in reader.found:
        yield from _barriers_of(element, labels, set(ids))


def _barriers_of(element: _Element, labels: set[str | None], ids: set[str | None]) -> Iterator[str]:
    attributes, tag = element.attributes, element.tag
    visible = tag in _FIELDS and attributes.get("type") != "hidden"
    if visible and attributes.get("id") not in labels:
        yield f"3.3.2 a field without a label: {attributes.get('name')}"
    if visible and not attributes.get("autocomplete"):
        yield f"1.3.5 a field whose purpose is not told: {attributes.get('name')}"
    if tag in {"button", "a"} and not element.text.strip():
        yield f"4.1.2 a {tag} without a name"
    if tag == "img" and attributes.get("alt") is None:
        yield "1.1.1 a picture without words"
    if tag in _SCRIPTED or any(name.startswith("on") for name in attributes):
        yield f"the page needs a script: {tag}"
    if tag == "meta" and (attributes.get("http-equiv") or "").lower() == "refresh":
        yield "2.2.1 the page goes away by itself"
    if tag == "meta" and "user-scalable" in (attributes.get("content") or ""):
        yield "1.4.4 the page cannot be made larger"
    if (attributes.get("tabindex") or "0").lstrip("-") not in {"0", "1"} or attributes.get("tabindex") == "1":
        yield "2.4.3 an order of its own"
    described = (attributes.get("aria-describedby") or "").split()
    yield from (f"1.3.1 described by {name}, which is not there" for name in described if name not in ids)


async def _pages(house: House) -> dict[str, str]:
    login = await house.opened()
    again = page(await house.sign_in(house.agent.browser, login, password="wrong"))
    consent = page(await house.sign_in(house.agent.browser, again))
    leaving = page(await house.agent.browser.open(f"{ISSUER}/logout"))
    signed_out = page(await house.agent.browser.submit(leaving, "logout-submit"))
    error = page(await house.agent.browser.open(consent.url))
    shown = {"login": login, "again": again, "consent": consent, "leaving": leaving, "out": signed_out, "error": error}
    assert (error.error, signed_out.has("signed-out")) == ("invalid_request_uri", True)
    return {name: place.text for name, place in shown.items()}


@pytest.fixture
def house() -> House:
    return House()


async def test_no_page_keeps_anybody_out(house: House) -> None:
    pages = await _pages(house)
    assert [(name, barrier) for name, text in pages.items() for barrier in barriers(text)] == []


BROKEN = {
    "no language": ('<html lang="en">', "<html>"),
    "no title": ("<title>Sign in</title>", "<title> </title>"),
    "two headings": ("<h1>Sign in</h1>", "<h1>Sign in</h1><h1>Really</h1>"),
    "a label of nothing": ('<label for="password">', "<label>"),
    "a label that is gone": ('<label for="username">User name</label>', ""),
    "a button without a name": (">Sign in</button>", "></button>"),
    "the same id twice": ('id="password"', 'id="username"'),
    "no purpose": ('autocomplete="current-password"', ""),
    "a script": ("</main>", "<script>go()</script></main>"),
    "a handler": ('<form method="post"', '<form onsubmit="go()" method="post"'),
    "a page that leaves": ('<meta name="robots"', '<meta http-equiv="refresh" content="60"><meta name="robots"'),
    "no zoom": ("initial-scale=1", "initial-scale=1, user-scalable=no"),
    "an order of its own": ('id="login-submit"', 'id="login-submit" tabindex="3"'),
    "a picture": ("</main>", '<img src="/logo"></main>'),
    "a description that is not there": ('id="login-problem"', ""),
}


@pytest.mark.requirement("LOG-30", proves="refused")
@pytest.mark.parametrize(("whole", "broken"), BROKEN.values(), ids=BROKEN)
async def test_a_page_with_a_barrier_does_not_pass(house: House, whole: str, broken: str) -> None:
    again = (await _pages(house))["again"]
    assert whole in again
    assert list(barriers(again)) == []
    assert list(barriers(again.replace(whole, broken, 1))) != []


@pytest.mark.requirement("LOG-30", proves="refused")
async def test_who_came_too_late_is_told_in_words_what_to_do_and_nothing_was_granted(house: House) -> None:
    consent = await house.asked()
    house.clock.advance(timedelta(minutes=11))
    late = page(await house.agent.browser.submit(consent, "consent-approve"))
    assert (late.status, late.error) == (400, "invalid_request_uri")
    assert 'role="alert"' in late.text
    assert "start again from the application" in late.text
    assert house.store.handles_of(HandleKind.CODE) == ()
    assert (await house.opened()).has("consent-approve")  # the person is still signed in and loses no more than this
