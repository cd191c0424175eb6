"""HTTP/2 is not offered and not understood: its floods end with the first bytes of its preface."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.authorization_server import AuthorizationServer, authorization_server
from tests.support.raw_http import answers, connected, until_closed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
RESETS = 10_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    directory: Path = tmp_path_factory.mktemp("http2")
    with authorization_server(directory) as server:
        yield server


def _resets() -> bytes:
    """HEADERS and RST_STREAM, thousands of times."""
    pairs = []
    for number in range(RESETS):
        stream = (2 * number + 1).to_bytes(4)
        pairs.append(b"\x00\x00\x03\x01\x05" + stream + b"\x82\x84\x87")
        pairs.append(b"\x00\x00\x04\x03\x00" + stream + b"\x00\x00\x00\x08")
    return b"".join(pairs)


@pytest.mark.attack("HTT-17")
@pytest.mark.parametrize("offered", [["h2"], ["h2", "http/1.1"], []], ids=["h2 alone", "both", "neither"])
def test_streams_that_are_reset_by_the_thousand_are_never_opened(
    server: AuthorizationServer, offered: list[str]
) -> None:
    context: ssl.SSLContext = server.trust
    if offered:
        context.set_alpn_protocols(offered)
    before = server.server.cpu_seconds()
    try:
        with connected(server.port, context=context) as connection:
            assert isinstance(connection, ssl.SSLSocket)
            assert connection.selected_alpn_protocol() in {None, "http/1.1"}
            received = b""
            try:
                connection.sendall(PREFACE + SETTINGS + _resets())
                received = until_closed(connection)
            except OSError:  # closed while the flood was being sent
                pass
            assert {answer.status for answer in answers(received)} <= {400, 505}
    except ssl.SSLError:
        assert offered == ["h2"]  # no protocol in common: refused in the handshake
    assert server.server.cpu_seconds() - before < 0.25
