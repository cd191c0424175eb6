"""The one cookie, form tokens, and what a browser tells about where a form comes from."""

from __future__ import annotations

import pytest

from fapi_as.kernel.browser import (
    Visitor,
    cookie,
    cookie_name,
    form_once,
    form_token,
    keep_browser,
    require_form_token,
    require_same_site,
    stranger,
    visitor,
)
from fapi_as.kernel.messages import EndpointRequest
from fapi_as.protocol.decisions import Issue
from fapi_as.protocol.effects import HandleKind, Spend, TakeOnce
from fapi_as.protocol.errors import Forbidden
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.policy import Policy
from tests.support.fakes import context

SERVER = context(features=())
BROWSER = stranger(SERVER)
NOW = 1_800_000_000


def a_request(*headers: tuple[bytes, bytes]) -> EndpointRequest:
    return EndpointRequest(
        method="POST", path="/login", headers=headers, now=NOW, correlation_id="c", source="192.0.2.1"
    )


@pytest.mark.parametrize(
    ("tenant", "name"), [("default", "__Host-fapi-as"), ("acme", "__Host-fapi-as-acme"), ("a-b", "__Host-fapi-as-a-b")]
)
def test_the_name_of_the_cookie_carries_the_tenant(tenant: str, name: str) -> None:
    policy = Policy(tenant=tenant, issuer="https://as.example")
    assert cookie_name(policy) == cookie(policy, "h").name == name


async def test_a_kept_handle_is_a_browser_that_nobody_signed_in_with() -> None:
    assert BROWSER.handle is not None
    assert BROWSER.browser is not None
    kept = keep_browser(SERVER.policy, BROWSER.handle, BROWSER.browser, NOW)
    await SERVER.store.commit(Issue(effects=(kept,)), a_request().stamp)
    header = (b"cookie", f"a=1; __Host-fapi-as={BROWSER.handle} ; b=2".encode())
    found = await visitor(SERVER, a_request(header))
    retires = Spend(kind=HandleKind.BROWSER, digest=digest_of(BROWSER.handle))
    assert found == Visitor(handle=BROWSER.handle, browser=digest_of(BROWSER.handle).hex(), retires=retires)
    split = [(b"cookie", b"a=1"), (b"cookie", f"__Host-fapi-as={BROWSER.handle}".encode())]
    assert await visitor(SERVER, a_request(*split)) == found


async def test_the_cookie_of_another_tenant_is_not_read() -> None:
    header = (b"cookie", f"__Host-fapi-as-acme={BROWSER.handle}".encode())
    assert await visitor(SERVER, a_request(header)) == Visitor()


def test_strangers_are_told_apart_and_their_handles_are_not_shown() -> None:
    other = stranger(SERVER)
    assert other.browser != BROWSER.browser
    assert str(other.handle) not in repr(other)


def test_a_token_is_fresh_every_time_and_good_for_what_it_was_made_for() -> None:
    one, two = form_token(SERVER, BROWSER, "login", "i"), form_token(SERVER, BROWSER, "login", "i")
    assert one != two
    for token in (one, two):
        require_form_token(SERVER, BROWSER, token, "login", "i")


@pytest.mark.parametrize(
    "bound_to", [("login", "j"), ("consent", "i"), ("login",), ("login", "i", ""), ("logini", ""), ("logi", "ni")]
)
def test_a_token_is_good_for_nothing_else(bound_to: tuple[str, ...]) -> None:
    token = form_token(SERVER, BROWSER, "login", "i")
    with pytest.raises(Forbidden):
        require_form_token(SERVER, BROWSER, token, *bound_to)


def test_a_token_is_good_in_its_own_session_and_under_its_own_key_only() -> None:
    token = form_token(SERVER, BROWSER, "login", "i")
    with pytest.raises(Forbidden):
        require_form_token(SERVER, stranger(SERVER), token, "login", "i")
    with pytest.raises(Forbidden):
        require_form_token(SERVER, Visitor(), token, "login", "i")


def test_a_seal_is_good_with_its_own_fresh_part_only() -> None:
    fresh, _, seal = form_token(SERVER, BROWSER, "login", "i").partition(".")
    with pytest.raises(Forbidden):
        require_form_token(SERVER, BROWSER, f"{fresh[::-1]}.{seal}", "login", "i")


@pytest.mark.parametrize("token", [None, "", ".", "a", "a.", ".b", "a.b.c", "\u00fc.\u00fc", "x" * 60_000])
def test_what_is_no_token_is_forbidden(token: str | None) -> None:
    with pytest.raises(Forbidden):
        require_form_token(SERVER, BROWSER, token, "login", "i")


def test_a_form_that_is_used_up_is_a_digest_of_its_token() -> None:
    assert form_once("token", 7) == TakeOnce(namespace="form", digest=digest_of("token"), until=7)


@pytest.mark.parametrize(
    ("issuer", "origin", "ours"),
    [
        ("https://as.example", b"https://as.example", True),
        ("https://as.example/t/acme", b"https://as.example", True),
        ("https://as.example:443", b"https://as.example", True),
        ("https://AS.example", b"https://as.example", True),
        ("https://localhost:8443", b"https://localhost:8443", True),
        ("https://[::1]:8443", b"https://[::1]:8443", True),
        ("https://localhost:8443", b"https://localhost", False),
        ("https://as.example", b"http://as.example", False),
        ("https://as.example", b"https://as.example/", False),
        ("https://as.example", b"", False),
    ],
)
def test_the_own_origin_comes_from_configuration(issuer: str, origin: bytes, ours: bool) -> None:
    server = context(features=(), policy=Policy(tenant="default", issuer=issuer))
    request = a_request((b"origin", origin), (b"host", b"evil.example"))
    if ours:
        require_same_site(server, request)
    else:
        with pytest.raises(Forbidden):
            require_same_site(server, request)
