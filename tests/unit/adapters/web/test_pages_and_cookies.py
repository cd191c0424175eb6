"""Pages: their headers, what a template may be, and that a person can read them without a script."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import jinja2
import pytest

from fapi_as.adapters.web.cookies import set_cookie
from fapi_as.adapters.web.pages import STYLESHEET_PATH, renderer, stylesheet
from fapi_as.kernel.messages import Cookie, EndpointRequest, EndpointResponse, Page, SeeOther
from tests.support.fakes import NOW

ROOT: Final = Path(__file__).parents[4]
TEMPLATES: Final = sorted(
    [*ROOT.glob("fapi_as/adapters/web/templates/*.html"), *ROOT.glob("fapi_as/features/*/pages/*.html")]
)
ERROR: Final = {"error": "access_denied", "error_description": "the request was denied", "correlation_id": "abc-_123"}
REQUEST: Final = EndpointRequest(method="GET", path="/x", now=NOW, correlation_id="abc", source="192.0.2.7")
render = renderer()


def headers_of(response: EndpointResponse) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in response.headers}


def error_page(**values: str) -> EndpointResponse:
    return render(Page(template="error.html", values={**ERROR, **values}, status=400), REQUEST)


@pytest.mark.requirement("BCP-11", proves="holds")
def test_a_page_forbids_scripts_and_foreign_content() -> None:
    headers = headers_of(error_page())
    assert headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )


@pytest.mark.requirement("LOG-17", proves="holds")
def test_a_page_forbids_frames() -> None:
    headers = headers_of(error_page())
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"


def test_a_page_stays_with_its_reader() -> None:
    headers = headers_of(error_page())
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["permissions-policy"] == "publickey-credentials-get=(self)"


def test_a_page_may_name_the_origins_that_its_form_leads_to() -> None:
    page = Page(template="error.html", values=ERROR, form_action=("https://client.example", "http://127.0.0.1:4711"))
    policy = headers_of(render(page, REQUEST))["content-security-policy"]
    assert "form-action 'self' https://client.example http://127.0.0.1:4711;" in policy


@pytest.mark.requirement("LOG-18", proves="refused")
@pytest.mark.parametrize(
    "origin", ["*", "https://a.example; script-src *", "https://a.example/x", "'unsafe-inline'", ""]
)
def test_what_is_no_origin_never_reaches_the_policy(origin: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        render(Page(template="error.html", values=ERROR, form_action=(origin,)), REQUEST)


@pytest.mark.parametrize(
    "location", ["https://a.example/\r\nSet-Cookie: a=b", "https://a.example/\u00e9", "https://a b"]
)
def test_a_location_that_could_end_its_header_never_leaves(location: str) -> None:
    with pytest.raises(ValueError, match="location"):
        render(SeeOther(location=location), REQUEST)


def test_every_value_is_escaped() -> None:
    body = error_page(error_description='<script>alert("1")</script>').body
    assert b"<script" not in body
    assert b"&lt;script&gt;" in body


def test_a_value_that_is_missing_is_a_defect_and_not_an_empty_string() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render(Page(template="error.html", values={"error": "x"}), REQUEST)


@pytest.mark.parametrize(
    "name", ["../secrets.html", "consent/../x.html", "/etc/passwd", "consent/none.html", "none.html", ""]
)
def test_only_our_own_files_are_templates(name: str) -> None:
    with pytest.raises(jinja2.TemplateNotFound):
        render(Page(template=name), REQUEST)


class Reader(HTMLParser):
    """What a template is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.requirement("BCP-11", proves="refused")
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_a_script_an_inline_style_or_anything_from_elsewhere(path: Path) -> None:
    reader = Reader()
    source = path.read_text(encoding="utf-8")
    reader.feed(source)
    assert not {"script", "style", "iframe", "object", "embed", "base", "img"} & {tag for tag, _ in reader.tags}
    for tag, attributes in reader.tags:
        assert not any(name == "style" or name.startswith("on") for name in attributes), tag
        link = attributes.get("href") or attributes.get("src") or attributes.get("action") or ""
        assert "//" not in link, link
    assert "|safe" not in source.replace(" ", "")
    assert "autoescape" not in source


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_field_of_a_template_has_a_label(path: Path) -> None:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    labelled = {attributes.get("for") for tag, attributes in reader.tags if tag == "label"}
    for tag, attributes in reader.tags:
        if tag in {"input", "select", "textarea"} and attributes.get("type") not in {"hidden", "submit"}:
            assert attributes.get("id") in labelled


def test_the_error_page_says_what_happened_in_words_and_with_stable_ids() -> None:
    body = error_page().body.decode()
    assert '<html lang="en">' in body
    assert "<h1>" in body
    assert 'role="alert"' in body
    assert "The request was denied." in body
    assert "<p>request_uri is not valid.</p>" in error_page(error_description="request_uri is not valid").body.decode()
    assert re.search(r'<code id="oauth-error">access_denied</code>', body)
    assert re.search(r'<code id="correlation-id">abc-_123</code>', body)
    assert f'<link rel="stylesheet" href="{STYLESHEET_PATH}">' in body


def test_the_stylesheet_is_one_file_that_loads_nothing() -> None:
    response = stylesheet()
    assert headers_of(response)["content-type"] == "text/css; charset=utf-8"
    assert b"url(" not in response.body
    assert b"@import" not in response.body


@pytest.mark.parametrize(
    "cookie",
    [Cookie(name="a b", value="x"), Cookie(name="a", value="x; Domain=example"), Cookie(name="a", value="\r\n")],
)
def test_a_cookie_that_could_say_more_than_its_value_is_a_defect(cookie: Cookie) -> None:
    with pytest.raises(ValueError, match="cookie"):
        set_cookie(cookie)
