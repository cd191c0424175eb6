"""What every page has and has not, read from its HTML: labels, ids, no script, no style, everything escaped."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest

from tests.support.browser import Page
from tests.support.fakes import ISSUER
from tests.support.house import House, page

EVIL = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


class Elements(HTMLParser):
    """Every element with its attributes; every text."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def by_id(self, identifier: str) -> dict[str, str | None]:
        (found,) = [attributes for _, attributes in self.elements if attributes.get("id") == identifier]
        return found


@pytest.fixture(params=["login", "login again", "consent", "change account", "sign out", "signed out", "error"])
async def shown(request: pytest.FixtureRequest, house: House) -> Page:
    browser = house.agent.browser
    if request.param == "signed out":
        return page(await browser.open(f"{ISSUER}/logout"))
    if request.param in {"consent", "change account", "sign out"}:
        consent = await house.asked()
        onward = {"change account": "/logout?" + urlsplit(consent.url).query, "sign out": "/logout"}
        path = onward.get(request.param)
        return consent if path is None else page(await browser.open(f"{ISSUER}{path}"))
    login = await house.opened()
    if request.param == "login":
        return login
    if request.param == "login again":
        again = await house.sign_in(house.agent.browser, login, password="wrong")
    else:
        again = await house.browser().open(login.url)
    assert isinstance(again, Page)
    return again


async def test_no_page_has_a_script_a_style_or_anything_from_elsewhere(shown: Page) -> None:
    found = Elements(shown)
    assert {name for name, _ in found.elements}.isdisjoint({"script", "style", "img", "iframe", "object", "base"})
    for _, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    links = [attributes["href"] or "" for attributes in found.attributes("link") + found.attributes("a")]
    assert all(urljoin(shown.url, link).startswith(f"{ISSUER}/") for link in links)


@pytest.mark.requirement("LOG-17", proves="holds")
@pytest.mark.attack("SES-03")
async def test_no_page_may_be_framed(shown: Page) -> None:
    assert "frame-ancestors 'none'" in shown.response.headers["content-security-policy"]
    assert shown.response.headers["x-frame-options"] == "DENY"


async def test_every_id_is_there_once_and_the_language_is_told(shown: Page) -> None:
    found = Elements(shown)
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert found.attributes("html") == [{"lang": "en"}]
    assert len(found.attributes("h1")) == 1


async def test_every_field_of_the_login_has_a_label_and_tells_a_password_manager_what_it_is(house: House) -> None:
    found = Elements(await house.opened())
    assert {label["for"] for label in found.attributes("label")} == {"username", "password"}
    username, password = found.by_id("username"), found.by_id("password")
    assert (username["name"], username["type"], username["autocomplete"]) == ("username", "text", "username")
    assert (password["name"], password["type"], password["autocomplete"]) == (
        "password",
        "password",
        "current-password",
    )
    assert all("required" in field for field in (username, password))
    assert found.by_id("login-submit")["type"] == "submit"


async def test_a_failed_login_is_announced_and_shows_nothing_that_was_typed(house: House) -> None:
    typed = "typed-into-the-name-field"
    again = await house.sign_in(house.agent.browser, await house.opened(), username=typed, password="wrong")
    assert isinstance(again, Page)
    found = Elements(again)
    assert found.by_id("login-problem")["role"] == "alert"
    for field in ("username", "password"):
        assert found.by_id(field)["aria-describedby"] == "login-problem"
        assert "value" not in found.by_id(field)
    assert typed not in again.text


async def test_deny_is_as_near_as_approve_and_both_are_buttons_of_one_form(house: House) -> None:
    consent = await house.asked()
    found = Elements(consent)
    assert consent.form_of("consent-approve") is consent.form_of("consent-deny")
    assert [button["id"] for button in found.attributes("button")] == ["consent-approve", "consent-deny"]
    assert {found.by_id(name)["type"] for name in ("consent-approve", "consent-deny")} == {"submit"}
    assert not [field for field in found.attributes("input") if field["type"] != "hidden"]


async def test_a_form_posts_to_our_own_address(house: House) -> None:
    login = await house.opened()
    consent = await house.asked()
    assert [(form.method, form.action) for page in (login, consent) for form in page.forms] == [
        ("POST", "https://as.example/login"),
        ("POST", "https://as.example/consent"),
    ]


@pytest.mark.requirement("LOG-25", proves="holds")
@pytest.mark.attack("SES-15")
async def test_names_and_words_are_text_and_never_markup(house: House) -> None:
    # what registration refuses today may stand in a row from yesterday
    house.change_client(client_name=EVIL)
    house.resource(version=2, resource_name="Bank & <b>Co</b>", scopes={"accounts:read": EVIL})
    login = Elements(await house.opened())
    consent = Elements(await house.asked())
    for found in (login, consent):
        assert EVIL in found.texts
        assert {name for name, _ in found.elements}.isdisjoint({"script", "img", "b"})
    assert consent.texts.count(EVIL) == 3


@pytest.mark.attack("CON-04")
async def test_a_name_is_shown_apart_from_its_neighbours_and_with_its_client_id(house: House) -> None:
    house.change_client(client_name="Bank \u202egnp.exe")
    consent = await house.asked()
    assert "<bdi>Bank gnp.exe</bdi>" in consent.text
    assert consent.texts["consent-client"].endswith("(agent)")
    assert "verified" not in consent.text.lower()
