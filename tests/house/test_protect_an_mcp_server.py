"""The page for authors of MCP servers does what it says: its blocks are run, from its own text."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final
from unittest.mock import create_autospec

import httpx2
import pytest

from fapi_as.protocol.resource_registration import parse_resource
from rs_kit.adapters.hypercorn import run
from rs_kit.testing import TestIssuer
from tests.support.kit_over_http import RawHttp, listening

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs/protect-an-mcp-server.md").read_text(encoding="utf-8")
RESOURCE: Final = "https://mcp.bank.example/mcp"
CALL: Final = (
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%s","arguments":{"account":"checking"}}}'
)
ALWAYS: Final = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
_NONE: Final[Mapping[str, str]] = {}


def block(heading: str, number: int = 0, language: str = "python") -> str:
    """One block below a heading of the page."""
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return str(re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)[number])


BEFORE: Final = block("Before: anybody may call")
AFTER: Final = block("After: ten more lines")


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> TestIssuer:
    """The authorization server of the page, whose keys are not fetched but given."""
    issuer = TestIssuer(resource=RESOURCE, issuer="https://auth.bank.example")
    monkeypatch.setattr("rs_kit.adapters.assembly.HttpsIssuerKeys", lambda *_, **__: issuer.keys())
    return issuer


def run_blocks(*blocks: str, **names: Any) -> dict[str, Any]:
    """The names after these blocks ran one after the other."""
    known: dict[str, Any] = {"__name__": "bank", **names}
    for text in blocks:
        exec(compile(text, "protect-an-mcp-server.md", "exec"), known)
    return known


class Caller:
    """Calls a tool over HTTP, with these credentials and the headers that every call has."""

    def __init__(self, port: int) -> None:
        self.http = RawHttp(port)

    async def __call__(
        self, credentials: Mapping[str, str] = _NONE, tool: str = "get_balance", path: str = "/mcp"
    ) -> httpx2.Response:
        headers = [(name.encode(), value.encode()) for name, value in {**ALWAYS, **credentials}.items()]
        return await self.http.request("POST", path, headers=headers, content=CALL % tool.encode())

    async def nonce(self) -> str:
        """As an agent learns it: from the first challenge."""
        first = await self()
        assert first.status_code == 401
        return str(first.headers["dpop-nonce"])


@contextlib.asynccontextmanager
async def calling(app: Any) -> AsyncIterator[Caller]:
    """The application on the kit's listener, as the page serves it."""
    async with listening(app) as port:
        yield Caller(port)


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


async def test_before_anybody_may_call() -> None:
    async with calling(run_blocks(BEFORE)["app"]) as call:
        answer = await call()
    assert answer.status_code == 200
    assert "1250 EUR on checking" in answer.text


def test_it_is_fifteen_lines_and_ten_more() -> None:
    assert len(lines_of(BEFORE)) <= 15
    assert len(lines_of(AFTER)) <= 10


async def test_ten_more_lines_let_in_who_was_allowed_and_nobody_else(issuer: TestIssuer) -> None:
    agent = issuer.agent(scope="accounts:read")
    async with calling(run_blocks(BEFORE, AFTER)["app"]) as call:
        headers = agent.headers(nonce=await call.nonce())
        good, copy, nobody = await call(headers), await call(headers), await call()
    assert (good.status_code, copy.status_code, nobody.status_code) == (200, 401, 401)
    assert "1250 EUR on checking" in good.text
    assert 'resource_metadata="https://mcp.bank.example/.well-known/' in nobody.headers["www-authenticate"]


def test_the_listener_is_called_as_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    monkeypatch.setattr(
        "rs_kit.adapters.hypercorn.run", create_autospec(run, side_effect=lambda app, **_: called.append(app))
    )
    run_blocks(block("After: ten more lines", 1), app="the app")
    assert called == ["the app"]


def with_certificates(issuer: TestIssuer) -> dict[str, Any]:
    """The page's application where tokens of keys and of certificates are taken."""
    names = run_blocks(BEFORE, AFTER)
    return run_blocks(block("Certificates instead of keys"), **{**names, "server": own_server(names)})


async def test_an_agent_with_a_certificate_needs_no_proofs(issuer: TestIssuer) -> None:
    agent, by_key = issuer.certificate_agent(scope="accounts:read"), issuer.agent(scope="accounts:read")
    async with calling(agent.connected(with_certificates(issuer)["app"])) as call:
        good, other = await call(agent.headers()), await call(by_key.headers(nonce=await call.nonce()))
    async with calling(with_certificates(issuer)["app"]) as call:
        without = await call(agent.headers())
    assert (good.status_code, other.status_code, without.status_code) == (200, 200, 401)
    assert "1250 EUR on checking" in good.text


def test_the_listener_is_asked_for_certificates_as_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    monkeypatch.setattr(
        "rs_kit.adapters.hypercorn.run",
        create_autospec(run, side_effect=lambda app, *, client_certificates, **_: called.append(client_certificates)),
    )
    run_blocks(block("Certificates instead of keys", 1), app="the app")
    assert called == [True]


async def test_a_proxy_tells_the_certificate_and_nobody_else_does(issuer: TestIssuer) -> None:
    agent, secret = issuer.certificate_agent(scope="accounts:read"), "what-the-proxy-knows-and-nobody-else-does"
    here = block("Certificates instead of keys", 2).replace("10.0.0.0/28", "127.0.0.1/32")
    app = run_blocks(here, **with_certificates(issuer), proxy_secret=secret.encode())["app"]
    shown = f":{base64.b64encode(agent.certificate.der).decode()}:"
    async with calling(app) as call:
        told = await call({**agent.headers(), "client-cert": shown, "x-proxy-secret": secret})
        forged = await call({**agent.headers(), "client-cert": shown})
    assert (told.status_code, forged.status_code) == (200, 401)


def test_the_resource_can_be_registered_as_it_is_shown_with_every_scope_of_the_tools() -> None:
    resource = parse_resource(json.loads(block("After: ten more lines", language="json")), version=1)
    assert resource.resource == RESOURCE
    assert set(re.findall(r'\["([a-z:]+)"\]', AFTER)) == set(resource.scopes)


async def test_a_tool_learns_who_calls(issuer: TestIssuer) -> None:
    policy = AFTER.replace('"transfer":', '"whoami": [], "transfer":')
    agent = issuer.agent(scope="accounts:read", sub="alice", client_id="her-agent")
    async with calling(run_blocks(BEFORE, block("Who calls, inside a tool"), policy)["app"]) as call:
        answer = await call(agent.headers(nonce=await call.nonce()), "whoami")
    assert "alice by her-agent, allowed accounts:read" in answer.text


@pytest.mark.parametrize(
    ("scope", "tool", "status"),
    [
        ("mcp:use accounts:read", "get_balance", 200),
        ("mcp:use payments:write", "get_balance", 200),
        ("mcp:use payments:write", "transfer", 200),
        ("", "whoami", 200),
        ("mcp:use accounts:read", "transfer", 403),
        ("mcp:use", "get_balance", 403),
        ("mcp:use accounts:read payments:write", "delete_all", 403),
    ],
)
async def test_the_policy_means_what_its_comments_say(scope: str, tool: str, status: int) -> None:
    issuer = TestIssuer(resource=RESOURCE)
    guard = issuer.guard(tools=run_blocks(block("Tools and scopes"))["tools"])
    async with calling(run_blocks(block("Other applications"), guard=guard)["app"]) as call:
        answer = await call(issuer.agent(scope=scope).headers(), tool)
    assert answer.status_code == status


def test_the_example_test_passes_and_notices_a_policy_that_allows_too_much(tmp_path: Path) -> None:
    (tmp_path / "test_bank.py").write_text(block("Test it"), encoding="utf-8")
    (tmp_path / "bank.py").write_text(BEFORE + AFTER, encoding="utf-8")
    assert "4 passed" in _pytest(tmp_path)
    generous = AFTER.replace('"transfer": ["payments:write"]', '"transfer": []')
    (tmp_path / "bank.py").write_text(BEFORE + generous, encoding="utf-8")
    assert "1 failed, 3 passed" in _pytest(tmp_path)


def _pytest(directory: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(directory), "."]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, check=False, cwd=directory, env=environment, capture_output=True, text=True, timeout=120
    )
    return done.stdout + done.stderr


async def test_behind_a_proxy_that_takes_a_prefix_away(issuer: TestIssuer) -> None:
    issuer.resource = "https://api.bank.example/tools/mcp"
    names = run_blocks(BEFORE, AFTER)
    app = run_blocks(block("Behind a proxy"), **{**names, "server": own_server(names)})["behind_the_proxy"]
    async with calling(app) as call:
        answer = await call(issuer.agent(scope="accounts:read").headers(nonce=await call.nonce()))
        where = "/.well-known/oauth-protected-resource/tools/mcp"
        document = await call.http.request("GET", where, headers=[], content=None)
    assert answer.status_code == 200
    assert "1250 EUR on checking" in answer.text
    assert document.json()["resource"] == issuer.resource


def own_server(names: dict[str, Any]) -> Any:
    """The page's application once more, without the guard in front."""
    return names["bank"].streamable_http_app(stateless_http=True, json_response=True, host="mcp.bank.example")


async def test_two_workers_share_what_was_used_and_the_nonces(
    issuer: TestIssuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await asyncio.to_thread(_shell, block("Several workers", language="sh"), tmp_path)
    agent = issuer.agent(scope="accounts:read")
    async with worker() as here, worker() as there:
        nonce = await here.nonce()
        headers = agent.headers(nonce=nonce)
        answers = [await here(headers), await there(headers), await there(agent.headers(nonce=nonce))]
    assert [answer.status_code for answer in answers] == [200, 401, 200]


def _shell(commands: str, directory: Path) -> None:
    subprocess.run(["sh", "-e", "-c", commands], cwd=directory, check=True, timeout=20)


@contextlib.asynccontextmanager
async def worker() -> AsyncIterator[Caller]:
    """One of several workers, as the page makes it."""
    names = run_blocks(BEFORE, AFTER)
    guard = run_blocks(block("Several workers"), tools=names["tools"])["guard"]
    app = run_blocks("app = protect(server, guard)", **{**names, "server": own_server(names), "guard": guard})["app"]
    async with contextlib.aclosing(guard._used_once), calling(app) as call:
        yield call


async def test_the_observers_of_the_page_count_and_log(issuer: TestIssuer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "rs_kit.guard")
    names = run_blocks(BEFORE, AFTER, block("Metrics and logs"))
    agent = issuer.agent(scope="accounts:read", sub="alice")
    async with calling(run_blocks(block("Other applications"), **names)["app"]) as call:
        used = agent.headers(nonce=await call.nonce())
        answers = [await call(used), await call(used)]
    assert [answer.status_code for answer in answers] == [200, 401]
    assert answers[0].json()["result"]["caller"] == "alice"
    counted = names["metrics"].exposition().splitlines()
    assert "rs_kit_calls_admitted_total 1" in counted
    assert 'rs_kit_calls_refused_total{error="invalid_dpop_proof",reason="replayed"} 1' in counted
    assert "rs_kit_dpop_iat_offset_seconds_count 1" in counted
    assert len([record for record in caplog.records if record.name == "rs_kit.guard"]) == 3


async def test_a_fastmcp_application_is_wrapped_as_the_sdks_is(issuer: TestIssuer) -> None:
    names = run_blocks(BEFORE, AFTER, block("Other applications", 1))
    async with calling(names["fast_app"]) as call:
        nonce = await call.nonce()
        good = await call(issuer.agent(scope="accounts:read").headers(nonce=nonce))
        other = await call(issuer.agent(scope="payments:write").headers(nonce=nonce))
    assert (good.status_code, other.status_code) == (200, 403), good.text
    assert "1250 EUR on checking" in good.text
