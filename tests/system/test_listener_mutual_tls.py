"""An address where clients are asked for certificates: any is taken, each connection sees its own and no other."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from OpenSSL._util import lib

from tests.support import strange_certificates
from tests.support.bank_certificates import BankCertificates, Shown
from tests.support.processes import Server, running, supervised, wait_until
from tests.support.raw_http import answer, connected, exchange, request

AT_ONCE = 200
DAY = timedelta(days=1)
COST_SECONDS = 0.050  # MTL-17
TOLD_ALL_THE_SAME = {"a name of bits", "a name that is no text", "a name with NUL", "X.509 version 5"}  # and in HTTP
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
ASK = request("GET", "/tls")
ASK_ONCE = request("GET", "/tls", "Connection: close")


@dataclass(kw_only=True)
class Place:
    """A server with both kinds of addresses, and the certificates of its callers."""

    server: Server
    certificates: BankCertificates
    directory: Path

    @property
    def never_asks(self) -> int:
        return self._ports[0]

    @property
    def asks(self) -> int:
        return self._ports[1]

    @property
    def _ports(self) -> list[int]:
        return [int(address.rsplit(":", 1)[1]) for address in self.server.addresses]

    def told(self, port: int, context: ssl.SSLContext) -> Any:
        """What the application sees of one connection."""
        return json.loads(exchange(port, ASK_ONCE, context=context)[0].body)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("mutual")
    certificates = BankCertificates(directory)
    own = directory / "own.pem"
    own.write_bytes(Path(certificates.bank).read_bytes())
    command = supervised(
        "tests.support.tiny_application:build",
        str(directory),
        workers=2,
        certfile=str(own),
        keyfile=str(own),
        mutual_tls=True,
    )
    with running(command, directory) as server:
        yield Place(server=server, certificates=certificates, directory=directory)


def kinds(made: BankCertificates) -> dict[str, Shown]:
    """What the handshake takes, and the application judges."""
    return {
        "issued": made.agent,
        "signed by itself": made.signed_by_itself(),
        "of another authority": made.issued("agent.example", trustme.CA()),
        "expired": made.signed_by_itself(valid=(-2 * DAY, -DAY)),
        "not valid yet": made.signed_by_itself(valid=(DAY, 2 * DAY)),
        "for servers": made.signed_by_itself(usage=ExtendedKeyUsageOID.SERVER_AUTH),
        "for code": made.signed_by_itself(usage=ExtendedKeyUsageOID.CODE_SIGNING),
        "with an RSA key": made.issued("agent.example", key_type=trustme.KeyType.RSA),
    }


@pytest.mark.requirement("MTLS-11", proves="holds")
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_any_certificate_whose_key_the_client_has_reaches_the_application(
    place: Place, version: ssl.TLSVersion
) -> None:
    for kind, shown in kinds(place.certificates).items():
        told = place.told(place.asks, place.certificates.client(shown, version))
        assert told["certificate"] == shown.der.hex(), kind
        assert told["mutual_tls"] is True


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_client_without_a_certificate_is_served_too(place: Place, version: ssl.TLSVersion) -> None:
    told = place.told(place.asks, place.certificates.client(None, version))
    assert (told["certificate"], told["chain"], told["members"]) == (None, [], ["mutual_tls"])


def with_another_key(shown: Shown, other: Shown, file: Path) -> Path:
    """The certificate of one with the private key of another, which says that it belongs to it."""
    point = (
        x509.load_der_x509_certificate(shown.der)
        .public_key()
        .public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )
    private = load_pem_private_key(other.file.read_bytes(), None)
    its_point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    der = private.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert its_point in der
    lines = base64.encodebytes(der.replace(its_point, point)).decode()
    lie = f"-----BEGIN EC PRIVATE KEY-----\n{lines}-----END EC PRIVATE KEY-----\n"
    file.write_text(lie + ssl.DER_cert_to_PEM_cert(shown.der), encoding="ascii")
    return file


@pytest.mark.requirement("MTLS-2", proves="refused")
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_certificate_whose_key_the_client_does_not_have_brings_no_connection(
    place: Place, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    made = place.certificates
    context = made.client(None, version)
    context.load_cert_chain(with_another_key(made.agent, made.somebody, tmp_path / "lie.pem"))
    with pytest.raises((ssl.SSLError, IndexError)):
        place.told(place.asks, context)
    assert place.told(place.asks, made.client(made.agent, version))["certificate"] == made.agent.der.hex()


def asked(context: ssl.SSLContext, port: int) -> bool:
    """Whether the server's flight held a CertificateRequest."""
    seen: list[str] = []
    # what the standard library's own tests look at messages with
    context._msg_callback = lambda *message: seen.append(getattr(message[4], "name", ""))  # type: ignore[attr-defined]
    assert exchange(port, ASK_ONCE, context=context)[0].status == 200
    assert "CERTIFICATE" in seen
    return "CERTIFICATE_REQUEST" in seen


@pytest.mark.requirement("MTLS-21", proves="holds")
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_only_one_address_asks_and_at_the_other_nobody_has_a_certificate(place: Place, version: ssl.TLSVersion) -> None:
    def client() -> ssl.SSLContext:
        return place.certificates.client(place.certificates.agent, version)

    assert asked(client(), place.asks)
    assert not asked(client(), place.never_asks)
    told = place.told(place.never_asks, client())
    assert (told["certificate"], told["members"]) == (None, [])
    assert tuple(told["extension"]["client_cert_chain"]) == ()


async def seen_by(place: Place, context: ssl.SSLContext) -> tuple[set[str], set[int]]:
    """Which certificates and processes one client meets on its connection, while others do the same."""
    reader, writer = await asyncio.open_connection("127.0.0.1", place.asks, ssl=context, server_hostname="localhost")
    certificates: set[str] = set()
    processes: set[int] = set()
    for _ in range(3):
        writer.write(ASK)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        told = json.loads(await reader.readexactly(length))
        certificates.add(told["certificate"])
        processes.add(told["pid"])
        await asyncio.sleep(0)
    writer.close()
    return certificates, processes


async def test_two_hundred_connections_at_once_each_see_their_own_certificate(place: Place) -> None:
    shown = [place.certificates.signed_by_itself(f"agent-{number}.example") for number in range(AT_ONCE)]
    contexts = [place.certificates.client(one) for one in shown]  # which takes longer than a handshake may
    async with asyncio.timeout(60):
        seen = await asyncio.gather(*(seen_by(place, context) for context in contexts))
    assert [certificates for certificates, _ in seen] == [{one.der.hex()} for one in shown]
    assert len(set().union(*(processes for _, processes in seen))) == 2


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_the_asgi_extension_tells_what_the_handshake_came_to(place: Place, version: ssl.TLSVersion) -> None:
    made = place.certificates
    authority = trustme.CA(parent_cert=made.authority)
    shown = made.issued("agent.example", authority)
    told = place.told(place.asks, made.client(shown, version))["extension"]
    chain = [ssl.PEM_cert_to_DER_cert(pem) for pem in told.pop("client_cert_chain")]
    assert chain[:2] == [shown.der, ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())]
    own = x509.load_pem_x509_certificate((place.directory / "own.pem").read_bytes())
    assert x509.load_pem_x509_certificate(told.pop("server_cert").encode()) == own
    assert told.pop("client_cert_error")  # nobody verified it, and no reader may think so
    suites = {0x1301, 0x1302, 0x1303} if version is ssl.TLSVersion.TLSv1_3 else {0xC02B, 0xC02F, 0xC02C, 0xC030}
    assert told.pop("cipher_suite") in suites
    name = x509.load_der_x509_certificate(shown.der).subject.rfc4514_string()
    assert told == {"client_cert_name": name, "tls_version": version.value}


def test_the_asgi_extension_without_a_certificate(place: Place) -> None:
    for port in (place.asks, place.never_asks):
        told = place.told(port, place.certificates.client(None))["extension"]
        assert set(told) == {
            "server_cert",
            "client_cert_chain",
            "client_cert_name",
            "client_cert_error",
            "tls_version",
            "cipher_suite",
        }
        assert (told["client_cert_chain"], told["client_cert_name"], told["client_cert_error"]) == ([], None, None)


def test_the_rest_of_the_chain_is_told_apart_from_the_leaf(place: Place) -> None:
    made = place.certificates
    authority = trustme.CA(parent_cert=made.authority)
    shown = made.issued("agent.example", authority)
    told = place.told(place.asks, made.client(shown))
    assert told["certificate"] == shown.der.hex()
    assert told["chain"][0] == ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode()).hex()
    assert shown.der.hex() not in told["chain"]


@pytest.mark.attack("MTL-19")
@pytest.mark.requirement("MTLS-22", proves="holds")
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_session_of_one_certificate_is_worth_nothing_to_another(place: Place, version: ssl.TLSVersion) -> None:
    """Whoever comes with a session shakes hands anew, and shows what he has."""
    made = place.certificates
    context, session = made.client(made.agent, version), None
    for shown in (made.agent, made.agent, made.somebody):
        context.load_cert_chain(shown.file)
        with (
            socket.create_connection(("127.0.0.1", place.asks), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as connection,
        ):
            connection.sendall(ASK)
            assert json.loads(answer(connection).body)["certificate"] == shown.der.hex()
            assert not connection.session_reused
            session = connection.session


@pytest.mark.requirement("MTLS-22", proves="refused")
def test_no_session_allows_a_request_before_the_handshake(place: Place) -> None:
    """RFC 8446 §4.2.10: early data is only for a ticket that says how much; ours never does."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.use_certificate_chain_file(str(place.certificates.agent.file))
    context.use_privatekey_file(str(place.certificates.agent.file))
    for port in (place.asks, place.never_asks):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            plain.setblocking(True)
            connection = SSL.Connection(context, plain)
            connection.set_connect_state()
            connection.do_handshake()
            connection.send(ASK)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")  # with the tickets before it
            session = connection.get_session()
        assert session is not None
        assert lib.SSL_SESSION_get_max_early_data(session._session) == 0


@pytest.mark.attack("MTL-17")
@pytest.mark.parametrize("kind", strange_certificates.KINDS)
def test_a_strange_certificate_ends_its_own_connection_at_most_and_costs_little(
    place: Place, tmp_path: Path, kind: str
) -> None:
    context = place.certificates.client(None)
    strange = strange_certificates.KINDS[kind]()
    strange.shown_by(context, tmp_path)
    before = place.server.cpu_seconds()
    try:
        told = place.told(place.asks, context)
    except (OSError, IndexError):
        told = None  # the handshake failed, or the connection ended after it
    assert place.server.cpu_seconds() - before < COST_SECONDS
    if told is not None:
        assert told["certificate"] == strange.der.hex()
        assert told["extension"]["client_cert_error"]
    if len(strange.der) > 32 * 1024:
        assert told is None
    elif kind in TOLD_ALL_THE_SAME:
        assert told is not None
    assert place.told(place.asks, place.certificates.client(place.certificates.agent))["certificate"]
    assert place.server.errors == ""


@pytest.mark.attack("MTL-20")
def test_a_connection_with_a_certificate_speaks_http_1_1_only(place: Place) -> None:
    context = place.certificates.client(place.certificates.agent)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with connected(place.asks, context=context) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        assert connection.selected_alpn_protocol() == "http/1.1"
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def shown_by(port: int, context: ssl.SSLContext) -> bytes:
    with connected(port, context=context) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        certificate = connection.getpeercert(binary_form=True)
        assert certificate is not None
        return certificate


def test_certificates_are_renewed_at_both_addresses_without_a_restart(place: Place) -> None:
    made, own = place.certificates, place.directory / "own.pem"
    context, workers = made.client(None), place.server.workers()
    renewed = made.issued("localhost")
    with connected(place.asks, context=context) as connection:
        fresh = place.directory / "fresh.pem"
        fresh.write_bytes(renewed.file.read_bytes())
        fresh.replace(own)
        for port in (place.asks, place.never_asks):
            # each worker of both is asked often enough to be met
            wait_until(
                lambda port=port: {shown_by(port, context) for _ in range(8)} == {renewed.der},
                what="the new certificate",
            )
        connection.sendall(ASK_ONCE)
        assert answer(connection).status == 200  # what was open goes on
    assert place.server.workers() == workers
