"""2.2: versions and cipher suites, at every place that a variant reaches."""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import cache

import pytest

from tests.expectations.certification import Certification, port_of
from tests.expectations.variants import Variant

ALLOWED = {"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"} | {
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
}
REFUSED = (
    "AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA",
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA",
)
HANDSHAKE_FAILURE, PROTOCOL_VERSION = 40, 70


def places(suite: Certification, variant: Variant) -> list[int]:
    """The ports of the server's listener, of its mTLS listener where the variant calls it, and of the resource."""
    urls = [suite.issuer, suite.resource]
    if "mtls" in variant:
        urls.append(suite.metadata["mtls_endpoint_aliases"]["token_endpoint"])
    return [port_of(url) for url in urls]


@cache
def negotiated(port: int, trust: str, newest: ssl.TLSVersion, suites: str | None = None) -> tuple[str | None, str]:
    """What a handshake ends with; a place that several variants share is asked once."""
    context = ssl.create_default_context(cafile=trust)
    context.maximum_version = newest
    if suites is not None:
        context.set_ciphers(f"{suites}:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as line,
    ):
        cipher = line.cipher()
        assert cipher is not None
        return line.version(), cipher[0]


@cache
def refusal(port: int, trust: str, suites: str) -> str | None:
    """How a handshake over TLS 1.2 with these suites is refused; None where it is not."""
    try:
        negotiated(port, trust, ssl.TLSVersion.TLSv1_2, suites)
    except (ssl.SSLError, ConnectionResetError) as error:
        return "RESET" if isinstance(error, ConnectionResetError) else str(error).upper().replace(" ", "_")
    return None


@cache
def first_answer(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        try:
            return connection.recv(100)
        except ConnectionResetError:
            return b""


def old_hello(version: bytes) -> bytes:
    """A ClientHello by hand, since no library of today sends one."""
    suites = b"\xc0\x14\xc0\x13\xc0\x0a\xc0\x09\x00\x35\x00\x2f"
    groups = b"\x00\x0a\x00\x04\x00\x02\x00\x17\x00\x0b\x00\x02\x01\x00"
    inner = version + b"r" * 32 + b"\0" + len(suites).to_bytes(2, "big") + suites + b"\x01\0"
    inner += len(groups).to_bytes(2, "big") + groups
    handshake = b"\x01" + len(inner).to_bytes(3, "big") + inner
    return b"\x16\x03\x01" + len(handshake).to_bytes(2, "big") + handshake


@pytest.mark.expectation("tls-versions")
async def test_tls_1_2_and_1_3_are_spoken_and_1_3_is_preferred(suite: Certification, variant: Variant) -> None:
    for port in places(suite, variant):
        version, _ = await asyncio.to_thread(negotiated, port, suite.authority, ssl.TLSVersion.TLSv1_3)
        assert version == "TLSv1.3"
        version, cipher = await asyncio.to_thread(negotiated, port, suite.authority, ssl.TLSVersion.TLSv1_2)
        assert version == "TLSv1.2"
        assert cipher in ALLOWED


@pytest.mark.expectation("tls-1.0-and-1.1-are-refused")
async def test_older_versions_are_refused_by_an_alert(suite: Certification, variant: Variant) -> None:
    for port in places(suite, variant):
        for version in (b"\x03\x01", b"\x03\x02"):
            answer = await asyncio.to_thread(first_answer, port, old_hello(version))
            assert answer == b"" or (answer[0] == 21 and answer[6] in (HANDSHAKE_FAILURE, PROTOCOL_VERSION)), answer


@pytest.mark.expectation("tls-1.2-cipher-suites")
async def test_other_suites_are_refused_by_an_alert(suite: Certification, variant: Variant) -> None:
    for port in places(suite, variant):
        for suites in REFUSED:
            how = await asyncio.to_thread(refusal, port, suite.authority, suites)
            assert how is not None, f"{suites} were accepted"
            assert how == "RESET" or "HANDSHAKE_FAILURE" in how, how
