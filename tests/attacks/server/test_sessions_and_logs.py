"""What a thief tries around the pages: addresses that lie, secrets in logs, words that come back."""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from fapi_as.adapters.web.application import build_application
from tests.support.asgi_peer import Application, call
from tests.support.fakes import ISSUER, FrozenClock, context
from tests.support.house import PASSWORD, House, hidden
from tests.support.sign_in_scene import COOKIE, cookie_of

ROOT = Path(__file__).parents[3]
FORM = "application/x-www-form-urlencoded"
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")
HOSTILE = "zq\"\\<b>\r\n\u202e\u00e9' OR 1=1"
SECRET_WORDS = {
    "access_token", "assertion", "client_assertion", "code", "code_challenge", "code_verifier", "csrf_token",
    "fresh", "handle", "mac", "nonce", "password", "password_hash", "proof", "refresh_token", "seal", "secret",
    "signature", "token",
}  # fmt: skip
LIES = {
    "x-forwarded-for": "203.0.113.99",
    "x-real-ip": "203.0.113.99",
    "forwarded": 'for=203.0.113.99;host="evil.example";proto=http',
    "x-forwarded-host": "evil.example",
    "x-forwarded-proto": "http",
    "x-forwarded-prefix": "/evil",
    "remote-addr": "203.0.113.99",
}


@pytest.fixture
def house() -> House:
    return House()


def over_asgi(house: House) -> Application:
    """The same server behind the web adapter, where addresses come from."""
    return build_application({"": house.context}, clock=house.clock)


@pytest.mark.attack("SES-18")
async def test_what_a_peer_says_about_its_address_is_not_believed(house: House) -> None:
    application = over_asgi(house)
    login = await house.opened()
    form = {
        "interaction": hidden(login, "interaction"),
        "csrf_token": hidden(login, "csrf_token"),
        "username": "alice",
        "password": PASSWORD,
    }
    headers = {"content-type": FORM, "cookie": f"{COOKIE}={cookie_of(house.agent.browser)}", **LIES}
    answer = await call(application, "POST", "/login", headers, urlencode(form).encode(), source="192.0.2.55")
    assert answer.status == 303
    assert (answer.header("location") or "").startswith(f"{ISSUER}/consent?")
    assert {written.stamp.source for written in house.store.rows.facts[-2:]} == {"192.0.2.55"}


@pytest.mark.attack("SES-18")
async def test_attempts_are_counted_by_the_socket_whatever_a_peer_says(house: House) -> None:
    application = over_asgi(house)
    login = await house.opened()
    statuses = []
    for number in range(21):
        form = {
            "interaction": hidden(login, "interaction"),
            "csrf_token": hidden(login, "csrf_token"),
            "username": f"user-{number}",
            "password": "wrong",
        }
        headers = {
            "content-type": FORM,
            "cookie": f"{COOKIE}={cookie_of(house.agent.browser)}",
            "x-forwarded-for": f"203.0.113.{number}",
        }
        answer = await call(application, "POST", "/login", headers, urlencode(form).encode(), source="192.0.2.55")
        statuses.append(answer.status)
    assert statuses == [401] * 20 + [429]


@pytest.mark.attack("LOG-03")
async def test_no_line_of_the_log_holds_what_an_address_held(house: House, caplog: pytest.LogCaptureFixture) -> None:
    application = over_asgi(house)
    consent = await house.asked()
    pushed = await house.agent.push()
    secrets = {
        "/authorize": urlsplit(house.agent.authorization_url(pushed)).query,
        "/login": urlsplit(consent.url).query + "&password=typed-into-the-address",
        "/consent": urlsplit(consent.url).query,
        "/logout": urlsplit(consent.url).query,
        "/token": "code=secret-code-in-a-query&refresh_token=secret-refresh-token",
    }
    with caplog.at_level(logging.DEBUG):
        for path, query in secrets.items():
            for method in ("GET", "POST"):
                await call(application, method, f"{path}?{query}", {"cookie": f"{COOKIE}={'c' * 43}"})
    told = [line for record in caplog.records for line in (record.getMessage(), *map(str, vars(record).values()))]
    assert any(record.name == "fapi_as.access" for record in caplog.records)
    for query in secrets.values():
        for pair in query.split("&"):
            value = pair.partition("=")[2]
            assert value == "agent" or not [line for line in told if value in line]


@pytest.mark.attack("LOG-11")
@pytest.mark.parametrize("path", ["/authorize", "/login", "/consent", "/logout", "/par", "/token"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_no_error_gives_back_what_it_was_given(house: House, path: str, method: str) -> None:
    names = ("client_id", "request_uri", "interaction", "csrf_token", "username", "scope", "state", "grant_type")
    sent = urlencode(dict.fromkeys(names, HOSTILE))
    headers = {"content-type": FORM, "dpop": "zq<b>", "authorization": "zq<b>"}
    answer = await call(over_asgi(house), method, f"{path}?{sent}", headers, sent.encode())
    assert 400 <= answer.status < 500
    body = answer.body.decode()
    assert "zq" not in body
    found = re.search(r'"error_description":"(.*?)"|class="problem" role="alert">\s*<p>(.*?)</p>', body)
    assert found is not None
    assert DESCRIPTION.fullmatch(found[1] or found[2])
    assert not [value for _, value in answer.pairs if b"zq" in value]


@pytest.mark.attack("LOG-12")
@pytest.mark.parametrize("path", ["/metrics", "/debug", "/debug/vars", "/status", "/admin", "/server-status", "/stats"])
async def test_nothing_is_measured_in_public(path: str) -> None:
    application = build_application({"": context()}, clock=FrozenClock())
    assert (await call(application, "GET", path)).status == 404


@pytest.mark.attack("LOG-12")
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_probe_hears_one_word(path: str) -> None:
    answer = await call(build_application({"": context()}, clock=FrozenClock()), "GET", path)
    assert answer.status == 200
    assert len(answer.body) < 40


# rs_kit.protocol.secret.Secret on both sides, whose own == takes as long whatever it finds
BETWEEN_SECRETS = {
    "stored.access_token == held.access_token",
    "stored.refresh_token != need.used.refresh_token",
}


def comparisons(tree: ast.AST) -> list[ast.Compare]:
    """Where something that is named like a secret is compared by `==`."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and any(_last_name(side) in SECRET_WORDS for side in (node.left, *node.comparators))
        and not any(isinstance(side, ast.Constant) for side in (node.left, *node.comparators))
    ]


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


@pytest.mark.attack("LOG-09")
def test_no_secret_is_compared_character_by_character() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for package in ("fapi_as", "rs_kit")
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in comparisons(ast.parse(path.read_text(encoding="utf-8")))
        if ast.unparse(node) not in BETWEEN_SECRETS
    ]
    assert found == []


def test_a_comparison_of_a_secret_would_be_found() -> None:
    planted = ast.parse("if request.token == kept.token or seal != expected: ...")
    assert len(comparisons(planted)) == 2


class SharedCache:
    """A proxy in front of the server that keeps whatever it may keep (RFC 9111), by the address alone."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.kept: dict[str, bytes] = {}

    async def get(self, target: str, cookie: str) -> bytes:
        if target in self.kept:
            return self.kept[target]
        answer = await call(self.application, "GET", target, {"cookie": f"{COOKIE}={cookie}"})
        if "no-store" not in (answer.header("cache-control") or ""):
            self.kept[target] = answer.body
        return answer.body


@pytest.mark.attack("LOG-15")
async def test_a_cache_that_two_people_share_keeps_the_keys_and_no_page(house: House) -> None:
    cache = SharedCache(over_asgi(house))
    consent = await house.asked()
    target = consent.url.removeprefix(ISSUER)
    shown = await cache.get(target, cookie_of(house.agent.browser))
    assert b"consent-approve" in shown
    assert b"consent-approve" not in await cache.get(target, "c" * 43)
    await cache.get("/logout", cookie_of(house.agent.browser))
    await cache.get("/jwks", "c" * 43)
    assert set(cache.kept) == {"/jwks"}
    assert consent.response.headers["vary"] == "cookie"
    tokens = await house.agent.obtain(username="alice", password=PASSWORD)
    assert "no-store" in tokens.response.headers["cache-control"]
