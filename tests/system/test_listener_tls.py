"""TLS as the listener offers it: versions, suites, one protocol, alerts that arrive, at both kinds of addresses."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator

import pytest
import trustme
from OpenSSL import SSL

from tests.support.processes import Server, running, supervised
from tests.support.raw_http import connected, exchange, request

RECOMMENDED = ("AES128-GCM-SHA256", "AES256-GCM-SHA384")
ONE_REQUEST = request("GET", "/ok", "Connection: close")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module", params=[trustme.KeyType.RSA, trustme.KeyType.ECDSA], ids=["RSA", "ECDSA"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA
) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("localhost", "127.0.0.1", key_type=request.param)
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(directory / "certificate.pem", append=True)
    command = supervised(
        "tests.support.tiny_application:build",
        str(directory),
        certfile=str(directory / "certificate.pem"),
        keyfile=str(directory / "key.pem"),
        mutual_tls=True,
    )
    with running(command, directory) as server:
        yield server


@pytest.fixture(params=[0, 1], ids=["never asks", "asks"])
def port(request: pytest.FixtureRequest, server: Server) -> int:
    """The address that never asks for a client's certificate, and the one that does."""
    return int(server.addresses[request.param].rsplit(":", 1)[1])


@pytest.fixture
def client(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def only(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.requirement("FAPI2-NET-2", proves="holds")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(port: int, client: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    with connected(port, context=only(client, version)) as connection:
        assert connection.version() == version.name.replace("_", ".")
        assert connection.compression() is None
    (got,) = exchange(port, ONE_REQUEST, context=client)
    assert got.body == b"ok"


def hello(version: bytes) -> bytes:
    """A ClientHello of an old version, by hand: the OpenSSL of this machine refuses to send one."""
    suites = b"\xc0\x14\xc0\x13\xc0\x0a\xc0\x09\x00\x35\x00\x2f"
    groups = b"\x00\x0a\x00\x04\x00\x02\x00\x17" + b"\x00\x0b\x00\x02\x01\x00"
    inner = (
        version + b"r" * 32 + b"\0" + len(suites).to_bytes(2) + suites + b"\x01\0" + len(groups).to_bytes(2) + groups
    )
    handshake = b"\x01" + len(inner).to_bytes(3) + inner
    return b"\x16\x03\x01" + len(handshake).to_bytes(2) + handshake


@pytest.mark.attack("MTL-18")
@pytest.mark.requirement("FAPI2-NET-2", proves="refused")
@pytest.mark.parametrize("version", [b"\x03\x01", b"\x03\x02"], ids=["TLS 1.0", "TLS 1.1"])
def test_older_versions_get_the_alert_protocol_version(port: int, version: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(hello(version))
        alert = connection.recv(100)
    assert alert[:1] == b"\x15"
    assert alert[-2:] == b"\x02\x46"  # fatal, protocol_version


def offering(context: ssl.SSLContext, suites: str) -> ssl.SSLContext:
    only(context, ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"{suites}:@SECLEVEL=0")
    return context


@pytest.mark.requirement("FAPI2-NET-3", proves="holds")
@pytest.mark.requirement("FAPI2-NET-4", proves="holds")
@pytest.mark.parametrize("suite", RECOMMENDED)
def test_each_recommended_suite_is_negotiated(port: int, client: ssl.SSLContext, suite: str) -> None:
    with connected(port, context=offering(client, f"ECDHE-RSA-{suite}:ECDHE-ECDSA-{suite}")) as connection:
        cipher = connection.cipher()
    assert cipher is not None
    assert cipher[0] in {f"ECDHE-RSA-{suite}", f"ECDHE-ECDSA-{suite}"}


def refuses(port: int, client: ssl.SSLContext) -> None:
    with (
        pytest.raises(ssl.SSLError, match=r"HANDSHAKE_FAILURE|handshake failure"),
        connected(port, context=client),
    ):
        pass


@pytest.mark.attack("MTL-18")
@pytest.mark.requirement("FAPI2-NET-3", proves="refused")
@pytest.mark.parametrize("suites", ["AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"])
def test_static_rsa_and_finite_field_key_exchange_are_refused_with_an_alert(
    port: int, client: ssl.SSLContext, suites: str
) -> None:
    refuses(port, offering(client, suites))


@pytest.mark.attack("MTL-18")
@pytest.mark.requirement("FAPI2-NET-4", proves="refused")
@pytest.mark.parametrize(
    "suites",
    ["ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA256", "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-CHACHA20-POLY1305"],
)
def test_suites_that_are_not_recommended_are_refused_with_an_alert(
    port: int, client: ssl.SSLContext, suites: str
) -> None:
    refuses(port, offering(client, suites))


@pytest.mark.attack("HTT-08")
@pytest.mark.parametrize("offered", [["h2", "http/1.1"], ["h2"], ["http/1.1"]])
def test_alpn_gives_http_1_1_or_nothing_and_http_2_by_prior_knowledge_is_refused(
    port: int, client: ssl.SSLContext, offered: list[str]
) -> None:
    client.set_alpn_protocols(offered)
    with connected(port, context=client) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        assert connection.selected_alpn_protocol() == ("http/1.1" if "http/1.1" in offered else None)
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_plain_http_on_the_tls_port_gets_no_answer_and_does_no_harm(port: int, client: ssl.SSLContext) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(ONE_REQUEST)
        assert b"HTTP/1.1" not in connection.recv(100)
    assert exchange(port, ONE_REQUEST, context=client)[0].status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_can_be_resumed(port: int, client: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    session = None
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            only(client, version).wrap_socket(plain, server_hostname="localhost", session=session) as connection,
        ):
            connection.sendall(request("GET", "/ok"))
            assert connection.recv(65536)
            assert not connection.session_reused
            session = connection.session
    assert session is not None


def test_a_handshake_that_fails_leaves_no_line_in_the_log(server: Server, port: int) -> None:
    stranger = ssl.create_default_context()  # trusts no authority of ours
    with pytest.raises(ssl.SSLCertVerificationError), connected(port, context=stranger):
        pass
    assert server.errors == ""


@pytest.mark.attack("MTL-18")
def test_a_connection_is_not_negotiated_anew(port: int, authority: trustme.CA) -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        plain.setblocking(True)
        connection = SSL.Connection(context, plain)
        connection.set_connect_state()
        connection.do_handshake()
        connection.send(request("GET", "/ok"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.renegotiate()
        with pytest.raises(SSL.Error, match="no renegotiation"):
            connection.do_handshake()


def test_a_client_hello_that_comes_byte_by_byte_is_one(port: int, client: ssl.SSLContext) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    wrapped = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        shaken = False
        while not shaken:
            try:
                wrapped.do_handshake()
                shaken = True
                wrapped.write(ONE_REQUEST)  # in one flight with the end of the handshake
            except ssl.SSLWantReadError:
                pass
            for byte in outgoing.read():
                plain.sendall(bytes([byte]))
            if not shaken:
                incoming.write(plain.recv(65536))
        incoming.write(plain.recv(65536) + plain.recv(65536))
        assert wrapped.read(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("given_up", ["before a word", "in the hello", "after the hello", "in a request"])
def test_peers_that_vanish_do_no_harm(server: Server, port: int, client: ssl.SSLContext, given_up: str) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing is a reset
            if given_up == "in the hello":
                plain.sendall(hello(b"\x03\x03")[:20])
            elif given_up == "after the hello":
                plain.sendall(hello(b"\x03\x03"))
            elif given_up == "in a request":
                wrapped = client.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False)
                wrapped.sendall(ONE_REQUEST[:20])
                wrapped.close()
    assert exchange(port, ONE_REQUEST, context=client)[0].status == 200
    assert server.errors == ""
