"""A good call that is hidden behind, or inside, a badly framed one runs no tool: the listener and the kit together."""

from __future__ import annotations

import pytest

from tests.support.guarded_bank import VERSION, Bank, as_body, tool_call
from tests.support.guarded_refusals import still_works
from tests.support.kit_over_http import HOST, SITES, RawHttp, Site, wire

CALL = as_body(tool_call())
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CALL), CALL)
EACH_SITE = pytest.mark.parametrize("site", SITES, ids=str)
ROUTED = {"mcp_protocol_version": VERSION, "mcp_method": "tools/call", "mcp_name": "get_balance"}


def credentials(bank: Bank) -> list[bytes]:
    """Fields with which the call is a good one, as lines."""
    pairs = bank.peer.headers(accept="application/json, text/event-stream", **ROUTED)
    return [f"{name}: {value}".encode() for name, value in pairs]


def good(bank: Bank) -> bytes:
    """A whole good call, with a proof of its own."""
    pairs = bank.peer.headers(accept="application/json, text/event-stream", **ROUTED)
    return wire("POST", "/mcp", [(name.encode(), value.encode()) for name, value in pairs], CALL)


def call(bank: Bank, *lines: bytes, body: bytes = CALL, first: bytes = b"POST /mcp HTTP/1.1") -> bytes:
    """A call with good credentials whose framing is what the lines say."""
    hosted = [] if any(line.lower().startswith(b"host:") for line in lines) else [b"Host: " + HOST.encode()]
    return b"\r\n".join([first, *hosted, *credentials(bank), *lines, b"", body])


LENGTH = b"Content-Length: %d" % len(CALL)
CODING = b"Transfer-Encoding: chunked"
FRAMINGS: dict[str, tuple[str, tuple[bytes, ...], bytes]] = {
    "length and coding": ("HTT-01", (LENGTH, CODING), CHUNKED),
    "coding and length": ("HTT-01", (CODING, b"Content-Length: 4"), CHUNKED),
    "two lengths": ("HTT-02", (LENGTH, b"Content-Length: 4"), CALL),
    "a sign": ("HTT-02", (b"Content-Length: +%d" % len(CALL),), CALL),
    "hexadecimal": ("HTT-02", (b"Content-Length: 0x10",), CALL),
    "a list of lengths": ("HTT-03", (LENGTH + b", %d" % len(CALL),), CALL),
    "two equal lengths": ("HTT-03", (LENGTH, LENGTH), CALL),
    "identity": ("HTT-04", (b"Transfer-Encoding: identity", LENGTH), CALL),
    "chunked, identity": ("HTT-04", (b"Transfer-Encoding: chunked, identity",), CHUNKED),
    "xchunked": ("HTT-04", (b"Transfer-Encoding: xchunked",), CHUNKED),
    "a control character": ("HTT-04", (b"Transfer-Encoding: chunked\x0b",), CHUNKED),
    "a long extension": ("HTT-05", (CODING,), CHUNKED.replace(b"\r\n", b";" + b"x" * 20_000 + b"\r\n", 1)),
    "a wrong terminator": ("HTT-05", (CODING,), CHUNKED.replace(b"}\r\n", b"}XX", 1)),
    "a negative size": ("HTT-05", (CODING,), b"-" + CHUNKED),
    "a huge size": ("HTT-05", (CODING,), b"f" * 17 + b"\r\n" + CALL),
    "a trailer that frames": ("HTT-05", (CODING,), CHUNKED[:-2] + b"Content-Length: 4\r\n\r\n"),
    "a blank before the colon": ("HTT-06", (LENGTH, b"X-A : b"), CALL),
    "obs-fold": ("HTT-06", (LENGTH, b"X-A: b", b" c"), CALL),
    "a bare CR": ("HTT-06", (LENGTH, b"X-A: b\rX-B: c"), CALL),
    "a bare LF": ("HTT-06", (LENGTH, b"X-A: b\nX-B: c"), CALL),
    "NUL": ("HTT-06", (LENGTH, b"X-A: b\0c"), CALL),
    "a name that is not ASCII": ("HTT-06", (LENGTH, b"X-\xe9: b"), CALL),
    "two hosts": ("HTT-07", (LENGTH, b"Host: a.example", b"Host: " + HOST.encode()), CALL),
    "user information": ("HTT-07", (LENGTH, b"Host: a@" + HOST.encode()), CALL),
    "a path in the host": ("HTT-07", (LENGTH, b"Host: " + HOST.encode() + b"/mcp"), CALL),
    "port 0": ("HTT-07", (LENGTH, b"Host: " + HOST.encode() + b":0"), CALL),
    "33 KiB of fields": ("HTT-09", (LENGTH, *(b"X-%d: %s" % (n, b"x" * 1000) for n in range(33))), CALL),
    "500 fields": ("HTT-09", (LENGTH, *(b"X-%d: x" % n for n in range(500))), CALL),
}
FIRST_LINES = {
    "absolute form": ("HTT-07", b"POST http://other.example/mcp HTTP/1.1"),
    "CONNECT": ("HTT-08", b"CONNECT mcp.bank.example:443 HTTP/1.1"),
    "TRACE": ("HTT-08", b"TRACE /mcp HTTP/1.1"),
    "PRI": ("HTT-08", b"PRI * HTTP/2.0"),
    "a long target": ("HTT-09", b"POST /mcp?" + b"x" * 65_536 + b" HTTP/1.1"),
    "HTTP/1.0": ("HTT-04", b"POST /mcp HTTP/1.0"),
}


async def runs_nothing(site: Site, bank: Bank, sent: bytes, *statuses: int) -> None:
    """One refusal, the end of the connection, and neither this call nor the one behind it was run or even admitted."""
    async with site.serving(bank) as line:
        assert isinstance(line.http, RawHttp)
        (answer,) = await line.http.raw(sent + good(bank))
        assert answer.status in statuses, answer
        assert answer.headers["connection"] == "close"
        assert "server" not in answer.headers
        assert (bank.done, bank.observer.admissions) == ([], [])
        bank.observer.refusals.clear()
        await still_works(bank, line)


@EACH_SITE
@pytest.mark.parametrize(
    ("lines", "body"),
    [
        pytest.param(lines, body, id=name, marks=pytest.mark.attack(case))
        for name, (case, lines, body) in FRAMINGS.items()
    ],
)
async def test_nothing_runs_behind_an_ambiguous_frame(site: Site, lines: tuple[bytes, ...], body: bytes) -> None:
    bank = Bank()
    await runs_nothing(site, bank, call(bank, *lines, body=body), 400, 431, 501)


@EACH_SITE
@pytest.mark.parametrize(
    "first",
    [pytest.param(first, id=name, marks=pytest.mark.attack(case)) for name, (case, first) in FIRST_LINES.items()],
)
async def test_nothing_runs_behind_a_first_line_of_another_kind(site: Site, first: bytes) -> None:
    bank = Bank()
    await runs_nothing(site, bank, call(bank, LENGTH, first=first), 400, 405, 414, 421, 501, 505)


@EACH_SITE
@pytest.mark.attack("HTT-08")
@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
async def test_good_credentials_do_not_upgrade_a_connection(site: Site, protocol: bytes) -> None:
    bank = Bank()
    upgrade = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + protocol, b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIA")
    key = (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    await runs_nothing(site, bank, call(bank, LENGTH, *upgrade, *key), 400)


@EACH_SITE
@pytest.mark.attack("HTT-10")
@pytest.mark.parametrize("how", ["declared", "in chunks"])
async def test_a_call_that_is_too_large_runs_nothing(site: Site, how: str) -> None:
    bank = Bank()
    if how == "declared":
        sent = call(bank, b"Content-Length: 5000000", body=b"")
    else:
        sent = call(bank, CODING, body=(b"100000\r\n" + b" " * 2**20 + b"\r\n") * 5)
    await runs_nothing(site, bank, sent, 413)


@EACH_SITE
@pytest.mark.attack("HTT-05")
async def test_credentials_in_a_trailer_are_none(site: Site) -> None:
    bank = Bank()
    bare = b"\r\n".join(
        [b"POST /mcp HTTP/1.1", b"Host: " + HOST.encode(), b"Content-Type: application/json", CODING, b"", b""]
    )
    async with site.serving(bank) as line:
        assert isinstance(line.http, RawHttp)
        trailers = b"\r\n".join([*credentials(bank)[:2], b"", b""])
        sent = bare.replace(CODING, CODING + b"\r\nConnection: close") + CHUNKED[:-2] + trailers
        (answer,) = await line.http.raw(sent)
        assert answer.status in (400, 401)
        assert (bank.done, bank.observer.admissions) == ([], [])
        bank.observer.refusals.clear()
        await still_works(bank, line)


@EACH_SITE
@pytest.mark.attack("HTT-05")
@pytest.mark.attack("HTT-23")
@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ((LENGTH,), CALL),
        ((CODING,), CHUNKED),
        ((CODING,), b"".join(b"1\r\n%c\r\n" % octet for octet in CALL) + b"0\r\n\r\n"),
        ((LENGTH, b"Expect: 100-continue"), CALL),
        ((LENGTH, b"Range: bytes=0-1", b"If-Match: *", b"Accept-Encoding: gzip;q=0"), CALL),
    ],
    ids=["a length", "a chunk", "a chunk per octet", "100-continue", "odd fields"],
)
async def test_one_call_after_the_other_runs_when_both_are_framed_well(
    site: Site, lines: tuple[bytes, ...], body: bytes
) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        assert isinstance(line.http, RawHttp)
        answers = await line.http.raw(call(bank, *lines, body=body) + good(bank))
    assert [answer.status for answer in answers] == [200, 200]
    assert bank.done == ["get_balance"] * 2
