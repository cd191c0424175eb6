"""A person with a real browser over real TLS: signs in, consents, denies, signs out; what the pages look like there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from tests.support.authorization_server import PASSWORD, USERNAME, AuthorizationServer, arguments, authorization_server
from tests.support.browser import Callback
from tests.support.chromium import SCREENS, Chromium, key_digest, visit
from tests.support.fapi_client import FapiClient
from tests.support.fapi_messages import FapiMessages, Pushed, Tokens
from tests.support.peer_keys import PeerKey

PAGES = ["login", "login-again", "consent", "change-account", "sign-out", "signed-out", "error"]
LANDED = "You can close this window."


@dataclass(kw_only=True)
class Visit:
    """What the browser saw, what the application was told, and what it got for the code."""

    seen: dict[str, Any]
    issuer: str
    heard: list[dict[str, str]]
    approved: Pushed
    denied: Pushed
    tokens: Tokens


class _Application(BaseHTTPRequestHandler):
    """A program on the person's device that waits for its answer."""

    heard: list[dict[str, str]]

    def do_GET(self) -> None:
        if self.path.startswith("/callback?"):
            self.heard.append({**dict(parse_qsl(urlsplit(self.path).query)), "method": "GET"})
        body = LANDED.encode()
        self.send_response(200 if self.path.startswith("/callback?") else 404)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def application() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Where the application listens, and what it heard."""
    heard: list[dict[str, str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Application", (_Application,), {"heard": heard}))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/callback", heard
    server.shutdown()
    thread.join(10)
    server.server_close()


def native_client(server: AuthorizationServer) -> dict[str, Any]:
    """Register a program on the person's device; give what its other side is made of."""
    key = PeerKey.es256()
    what = {**arguments(server.issuer, "desk-agent", key), "redirect_uri": "http://127.0.0.1/callback"}
    registration = FapiMessages(**what).registration(client_name="Desk agent", application_type="native")
    server.commands.json("client", "add", "-", stdin=json.dumps(registration))
    return what


@pytest.fixture(scope="module")
def visited(
    chromium: Chromium, application: tuple[str, list[dict[str, str]]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visit]:
    callback, heard = application
    scratch: Path = tmp_path_factory.mktemp("browser")
    with authorization_server(tmp_path_factory.mktemp("server")) as server:
        what = {**native_client(server), "redirect_uri": callback}

        async def whole() -> Visit:
            async with server.http() as http:
                client = FapiClient(http, **what)
                denied, approved = await client.push(), await client.push()
                seen = await asyncio.to_thread(
                    visit,
                    chromium,
                    scratch,
                    issuer=server.issuer,
                    callback=callback,
                    username=USERNAME,
                    password=PASSWORD,
                    spki=key_digest(server.directory / "certs" / "authorization-server.pem"),
                    urls={"approve": client.authorization_url(approved), "deny": client.authorization_url(denied)},
                )
                landed = Callback(seen["callback"], 303, httpx2.Response(303))
                tokens = await client.redeem(landed, approved)
            return Visit(seen=seen, issuer=server.issuer, heard=heard, approved=approved, denied=denied, tokens=tokens)

        yield asyncio.run(whole())


def test_the_answer_to_the_consent_reaches_the_application(visited: Visit) -> None:
    heard = visited.heard[-1]
    assert heard.keys() == {"method", "code", "state", "iss"}
    assert (heard["state"], heard["iss"]) == (visited.approved.state, visited.issuer)
    assert visited.seen["landed"] == LANDED
    assert visited.tokens.token_type == "DPoP"


def test_a_person_without_scripts_signs_in_and_says_no(visited: Visit) -> None:
    heard = visited.heard[0]
    assert (heard["error"], heard["state"], heard["iss"]) == ("access_denied", visited.denied.state, visited.issuer)
    assert "code" not in heard
    assert len(visited.heard) == 2


def test_no_page_violates_its_policy_or_says_anything_else_in_the_log(visited: Visit) -> None:
    # an error page is an error for the log, too; so is an icon that browsers ask for by themselves
    expected = ("status of 401 (", "status of 400 (", "status of 404 (")
    assert [line for line in visited.seen["log"] if not any(status in line for status in expected)] == []


def test_the_log_would_tell_of_a_violation(visited: Visit) -> None:
    assert any("Content Security Policy" in line for line in visited.seen["planted"])


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_a_level_a_or_aa_violation(visited: Visit, name: str) -> None:
    look = visited.seen["looks"][name]
    assert look["violations"] == []
    assert look["rules"] > 5


@pytest.mark.parametrize("name", PAGES)
def test_no_page_scrolls_sideways_on_the_smallest_phone(visited: Visit, name: str) -> None:
    assert visited.seen["looks"][name]["overflow"] == 0


@pytest.mark.parametrize("name", PAGES)
def test_every_page_has_its_screenshots(visited: Visit, name: str) -> None:
    assert visited.seen["titles"][name]
    for size in ("phone", "phone-dark", "desktop", "desktop-dark"):
        assert (SCREENS / f"{name}-{size}.png").stat().st_size > 5_000


def test_the_keyboard_reaches_every_control_in_reading_order(visited: Visit) -> None:
    assert visited.seen["tab_order"] == {
        "login": ["username", "password", "login-submit"],
        "consent": ["change-account", "consent-approve", "consent-deny"],
    }


def test_an_error_page_says_its_code(visited: Visit) -> None:
    assert visited.seen["error"] == "invalid_request_uri"
