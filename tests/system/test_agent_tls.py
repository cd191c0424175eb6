"""The TLS that an agent speaks, at servers that speak another or are not who they say."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx2
import pytest
import trustme

from fapi_as.agent import Unreachable, trust
from tests.support.hostile_place import SERVER, Place, certificates, hostile_place

GCM = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"]
OTHERS = ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]


def server(suite: str) -> ssl.SSLContext:
    """TLS 1.2 with one suite."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(suite)
    certificates()[0].issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    certificates()[0].cert_pem.write_to_path(file)
    return file


async def call(place: Place) -> int:
    async with place.agent() as client:
        return (await client.post(place.resource)).status_code


@pytest.mark.requirement("FAPI2-NET-5", proves="holds")
@pytest.mark.parametrize("suite", GCM)
async def test_tls_1_2_with_a_recommended_suite_is_spoken(authority: Path, suite: str) -> None:
    async with hostile_place(server(suite)) as place:
        place.trust = trust(authority)
        assert await call(place) == 200


@pytest.mark.requirement("FAPI2-NET-5", proves="refused")
@pytest.mark.parametrize("suite", OTHERS)
async def test_tls_1_2_with_any_other_suite_is_not_spoken(authority: Path, suite: str) -> None:
    async with hostile_place(server(suite)) as place:
        assert await call(place) == 200  # Python's own settings would speak it
        place.seen.clear()
        place.trust = trust(authority)
        with pytest.raises(httpx2.TransportError):
            await call(place)
    assert place.seen == []


async def test_a_server_with_the_certificate_of_a_stranger_gets_nothing(authority: Path, tmp_path: Path) -> None:
    impostor = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(impostor)
    async with hostile_place(impostor) as place, hostile_place() as honest:
        honest.trust = trust(authority)
        honest.peer.resource_document["authorization_servers"] = [place.issuer]
        honest.addresses[SERVER] = place.issuer
        with pytest.raises(Unreachable, match="ConnectError"):
            await call(honest)
    assert place.seen == []
    assert honest.peer.visited == []
