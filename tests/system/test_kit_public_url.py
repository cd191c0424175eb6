"""Whatever stands in front: a proof is for the URL that is configured, and no header or other target changes it.

Plain HTTP from a proxy to the listener of one worker, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from rs_kit.testing import TestAgent
from tests.support.load import Connection, Prepared
from tests.support.resource_worker import BODY, RESOURCE, Workers

EVIL = "https://evil.example/mcp"
ORIGIN = "https://mcp.bank.example"
HEADERS: dict[str, list[tuple[str, str]]] = {
    "another Host": [("Host", "evil.example")],
    "an address as Host": [("Host", "10.0.0.7:8080")],
    "X-Forwarded-Host": [("X-Forwarded-Host", "evil.example")],
    "X-Forwarded-*": [
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Port", "80"),
        ("X-Forwarded-Prefix", "/inside"),
        ("X-Forwarded-For", "127.0.0.1"),
    ],
    "Forwarded": [("Forwarded", 'for=127.0.0.1;host="evil.example";proto=http')],
    "X-Original-URL": [("X-Original-URL", "/other"), ("X-Rewrite-URL", "/other")],
    "X-Original-Host": [("X-Original-Host", "evil.example"), ("X-Host", "evil.example")],
    "all that disagree": [
        ("Host", "one.example"),
        ("X-Forwarded-Host", "two.example, evil.example"),
        ("Forwarded", "host=three.example"),
    ],
}
SAME = ("/mcp", "/mcp?a=b", "/mcp?htu=https://evil.example/", "/%6dcp", "/m%63%70")
OTHERS = (
    "https://mcp.bank.example/mcp",
    "http://mcp.bank.example/mcp",
    "https://evil.example/mcp",
    "//mcp",
    "//mcp.bank.example/mcp",
    "//evil.example/mcp",
    "/mcp/",
    "/mcp//",
    "/./mcp",
    "/other/../mcp",
    "/other/%2e%2e/mcp",
    "/other%2F..%2Fmcp",
    "/MCP",
    "/mcp;v=1",
    "/mcp%2F",
    "/%2Fmcp",
    "/mcp%00",
    "/mcp%20",
    "/%256dcp",
    "/mcp#here",
    "mcp",
    "*",
)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    workers = Workers(tmp_path_factory.mktemp("proxied"), "memory")
    server = workers.start()
    try:
        workers.ready()
        yield workers
    finally:
        server.stop()


@pytest.fixture
async def line(workers: Workers) -> AsyncIterator[Connection]:
    line = await Connection.open("127.0.0.1", workers.servers[0].port, None)  # type: ignore[arg-type] # plain HTTP
    yield line
    await line.close()


def sent(agent: TestAgent, htu: str, target: str = "/mcp", more: Sequence[tuple[str, str]] = ()) -> Prepared:
    """A call whose proof names `htu`, for `target`, with what a proxy or a thief adds."""
    pairs = [("Content-Type", "application/json"), *agent.headers(url=htu).items(), *more]
    if all(name != "Host" for name, _ in more):
        pairs.insert(0, ("Host", "mcp.bank.example"))
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs)]
    head = "\r\n".join([*lines, f"Content-Length: {len(BODY)}", "", ""])
    return Prepared(target=target, wire=head.encode("ascii") + BODY)


@pytest.mark.parametrize("more", HEADERS.values(), ids=HEADERS)
async def test_behind_any_proxy_a_proof_for_the_public_url_is_good(
    workers: Workers, line: Connection, more: list[tuple[str, str]]
) -> None:
    before = workers.runs().total()
    assert (await line.send(sent(workers.agent(), RESOURCE, more=more))).status == 200
    assert workers.runs().total() == before + 1


@pytest.mark.attack("DPR-05")
@pytest.mark.parametrize(
    "htu",
    [EVIL, "http://mcp.bank.example/mcp", "https://10.0.0.7:8080/mcp", f"{ORIGIN}/inside/mcp", f"{ORIGIN}/other"],
)
@pytest.mark.parametrize("more", HEADERS.values(), ids=HEADERS)
async def test_no_header_makes_a_proof_for_another_url_good(
    workers: Workers, line: Connection, more: list[tuple[str, str]], htu: str
) -> None:
    before = workers.runs()
    reply = await line.send(sent(workers.agent(), htu, more=more))
    assert (reply.status, json.loads(reply.body)["error"]) == (401, "invalid_dpop_proof")
    assert workers.runs() == before


@pytest.mark.parametrize("target", SAME)
async def test_the_same_target_in_another_spelling_is_the_same(workers: Workers, line: Connection, target: str) -> None:
    assert (await line.send(sent(workers.agent(), RESOURCE, target))).status == 200


@pytest.mark.parametrize("target", OTHERS)
async def test_a_target_that_only_looks_like_the_resource_runs_nothing(workers: Workers, target: str) -> None:
    before = workers.runs()
    agent = workers.agent()
    literal = [f"{ORIGIN}{target}"] if target.startswith("/") and "%256d" not in target else []
    for htu in (RESOURCE, *literal):
        line = await Connection.open("127.0.0.1", workers.servers[0].port, None)  # type: ignore[arg-type] # plain HTTP
        reply = await line.send(sent(agent, htu, target))
        assert reply.status in {400, 401, 404}, (htu, reply)
        await line.close()
    assert workers.runs() == before
