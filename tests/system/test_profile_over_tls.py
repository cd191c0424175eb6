"""Rows of the FAPI 2.0 Security Profile that need the real listener: TLS only, its suites, checked certificates."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import trustme

from rs_kit.adapters.bounded_fetch import FetchFailed, HttpsGet
from tests.support.authorization_server import PASSWORD, USERNAME, AuthorizationServer, authorization_server
from tests.support.raw_http import connected, exchange, request

pytestmark = pytest.mark.xdist_group("profile-over-tls")
BROWSER = request("GET", "/authorize", "Connection: close")
KEPT = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    directory: Path = tmp_path_factory.mktemp("profile")
    with authorization_server(directory) as server:
        yield server


def facts(served: AuthorizationServer) -> int:
    return len(served.commands.json("audit", "tail", "--limit", "1000"))


@pytest.mark.requirement("FAPI2-NET-1", proves="holds")
async def test_the_whole_flow_runs_over_tls_and_names_https_everywhere(served: AuthorizationServer) -> None:
    async with served.http() as http:
        client = served.client(http)
        metadata = await client.discover()
        tokens = await client.obtain(username=USERNAME, password=PASSWORD)
    assert tokens.token_type == "DPoP"
    addresses = [value for name, value in metadata.items() if name.endswith("_endpoint") or name == "jwks_uri"]
    assert all(address.startswith("https://") for address in addresses)


@pytest.mark.requirement("FAPI2-NET-1", proves="refused")
@pytest.mark.parametrize("path", ["/authorize", "/par", "/token", "/jwks", "/.well-known/oauth-authorization-server"])
def test_plain_http_gets_no_answer_and_nothing_is_processed(served: AuthorizationServer, path: str) -> None:
    before = facts(served)
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
        connection.sendall(request("POST", path, "Content-Type: application/x-www-form-urlencoded", body=b"a=b"))
        received = connection.recv(100)
    assert b"HTTP/1.1" not in received
    assert facts(served) == before


def offering(served: AuthorizationServer, suites: str) -> ssl.SSLContext:
    context = served.trust
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{suites}:@SECLEVEL=0")
    return context


@pytest.mark.requirement("FAPI2-NET-9", proves="holds")
def test_a_browser_page_is_served_over_a_recommended_suite(served: AuthorizationServer) -> None:
    (page,) = exchange(served.port, BROWSER, context=offering(served, KEPT))
    assert page.status == 400  # the page that says what is missing


@pytest.mark.requirement("FAPI2-NET-9", proves="refused")
@pytest.mark.parametrize("suites", ["AES128-SHA:AES256-SHA", "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"])
def test_a_browser_with_other_suites_gets_no_page(served: AuthorizationServer, suites: str) -> None:
    with pytest.raises(ssl.SSLError), connected(served.port, context=offering(served, suites)):
        pass


@pytest.mark.requirement("FAPI2-NET-6", proves="holds")
def test_an_outbound_fetch_accepts_the_certificate_of_the_right_name(served: AuthorizationServer) -> None:
    assert b'"keys"' in HttpsGet(served.directory / "certs" / "ca.pem")(f"{served.issuer}/jwks")


@pytest.mark.requirement("FAPI2-NET-6", proves="refused")
async def test_an_outbound_fetch_ends_at_a_certificate_of_an_unknown_authority(served: AuthorizationServer) -> None:
    with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
        await asyncio.to_thread(HttpsGet(), f"{served.issuer}/jwks")


@pytest.mark.requirement("FAPI2-NET-6", proves="refused")
async def test_an_outbound_fetch_ends_at_a_certificate_of_another_name(tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(FetchFailed, match="Hostname mismatch"):
            await asyncio.to_thread(HttpsGet(tmp_path / "ca.pem"), f"https://localhost:{port}/jwks")
    assert asked == []


@pytest.mark.requirement("ATT-A2", proves="holds")
async def test_on_a_network_that_only_carries_bytes_the_work_succeeds(served: AuthorizationServer) -> None:
    async with served.http() as http:
        assert (await served.client(http).client_credentials()).token_type == "DPoP"


@pytest.mark.requirement("ATT-A2", proves="refused")
async def test_whoever_owns_the_network_but_no_certificate_is_not_believed(served: AuthorizationServer) -> None:
    before = facts(served)
    stranger = ssl.create_default_context()  # to this client our server is the man in the middle
    async with httpx2.AsyncClient(verify=stranger, trust_env=False) as http:
        with pytest.raises(httpx2.ConnectError):
            await served.client(http).push()
    assert facts(served) == before
