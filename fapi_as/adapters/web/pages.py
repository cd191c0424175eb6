"""Pages: Jinja with every value escaped and none missing, the templates of the features, one layout, one stylesheet."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import jinja2

from fapi_as.adapters.web.cookies import set_cookie
from fapi_as.kernel.messages import EndpointRequest, EndpointResponse, Page, SeeOther
from fapi_as.protocol.display_text import displayed

STYLESHEET_PATH: Final = "/assets/fapi-as.css"
_TEMPLATES: Final = Path(__file__).parent / "templates"
_FEATURES: Final = Path(__file__).parents[2] / "features"
_OWN_TEMPLATE: Final = re.compile(r"[a-z_]+\.(?:html|css)")
_FEATURE_TEMPLATE: Final = re.compile(r"(?P<feature>[a-z_]+)/(?P<file>[a-z_]+\.html)")
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*:(?://[A-Za-z0-9.\[\]:-]+)?")  # nothing that ends a CSP source
_STYLESHEET_SECONDS: Final = 3600
_NO_STORE: Final = (b"cache-control", b"no-store")
_PAGE_HEADERS: Final = (
    (b"content-type", b"text/html; charset=utf-8"),
    _NO_STORE,
    (b"vary", b"cookie"),  # for a cache that keeps what it must not
    (b"x-frame-options", b"DENY"),  # BCP-9, for browsers that know no frame-ancestors
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"publickey-credentials-get=(self)"),
)


def renderer() -> Callable[[Page | SeeOther, EndpointRequest], EndpointResponse]:
    """The function that turns what a page endpoint answers into a response; its templates are read once."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_displayed,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals = {"stylesheet": STYLESHEET_PATH}

    def render(answer: Page | SeeOther, request: EndpointRequest) -> EndpointResponse:  # noqa: ARG001 - the door's type
        cookies = tuple((b"set-cookie", set_cookie(cookie)) for cookie in answer.cookies)
        if isinstance(answer, SeeOther):
            return EndpointResponse(status=303, headers=(*_redirect_headers(answer.location), *cookies), body=b"")
        body = environment.get_template(answer.template).render(answer.values).encode()
        headers = (
            *_PAGE_HEADERS,
            (b"content-length", b"%d" % len(body)),
            (b"content-security-policy", _content_security_policy(answer.form_action)),
            *cookies,
        )
        return EndpointResponse(status=answer.status, headers=headers, body=body)

    return render


def _displayed(value: object) -> object:
    """Every value of every template goes through here: nothing on a page reorders or hides its neighbours."""
    return displayed(value) if isinstance(value, str) else value


def stylesheet() -> EndpointResponse:
    """The one stylesheet of all pages."""
    body = (_TEMPLATES / "fapi-as.css").read_bytes()
    headers = (
        (b"content-type", b"text/css; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"public, max-age=%d" % _STYLESHEET_SECONDS),
        (b"cross-origin-resource-policy", b"same-origin"),
    )
    return EndpointResponse(status=200, headers=headers, body=body)


def _redirect_headers(location: str) -> tuple[tuple[bytes, bytes], ...]:
    if not location.isascii() or not location.isprintable() or " " in location:
        raise ValueError("a location holds a character that it must not")
    return ((b"location", location.encode("ascii")), _NO_STORE, (b"content-length", b"0"))


def _content_security_policy(form_action: tuple[str, ...]) -> bytes:
    for origin in form_action:
        if _ORIGIN.fullmatch(origin) is None:
            raise ValueError("a form-action source is not an origin")
    # browsers apply form-action to the redirect that answers a form, so the consent page names the client's origin
    sources = " ".join(("'self'", *form_action))
    policy = f"default-src 'none'; style-src 'self'; form-action {sources}; frame-ancestors 'none'; base-uri 'none'"
    return policy.encode("ascii")


def _source(name: str) -> str | None:
    """`error.html` is ours, `consent/consent.html` lies in the pages of the feature; no other name is a template."""
    found = _FEATURE_TEMPLATE.fullmatch(name)
    if found is not None:
        path = _FEATURES / found["feature"] / "pages" / found["file"]
    elif _OWN_TEMPLATE.fullmatch(name) is not None:
        path = _TEMPLATES / name
    else:
        return None
    return path.read_text(encoding="utf-8") if path.is_file() else None
