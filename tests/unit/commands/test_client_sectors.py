"""`fapi-as client add` with a sector_identifier_uri: its document is read once, and has to list every redirect URI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.command_line import CLIENT, CommandLine
from tests.support.document_host import OK, DocumentHost, document, document_host, saying

URIS = ["https://one.example/callback", "https://two.example/callback"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentHost]:
    with document_host(tmp_path_factory.mktemp("sector")) as host:
        yield host


def members(host: DocumentHost, path: str = "/sector.json", **changes: Any) -> str:
    sector = {"subject_type": "pairwise", "redirect_uris": URIS, "sector_identifier_uri": host.url(path)}
    return json.dumps({**CLIENT, **sector, **changes})


@pytest.fixture
def reaching(place: CommandLine, host: DocumentHost) -> CommandLine:
    place.change("#allowed_private_hosts = []", f'ca_file = "{host.ca_file}"\nallowed_private_hosts = ["localhost"]')
    return place


@pytest.mark.requirement("ODCR-3", proves="holds")
def test_a_sector_whose_document_lists_every_redirect_uri_is_registered(
    reaching: CommandLine, host: DocumentHost
) -> None:
    host.answers["/sector.json"] = document(json.dumps([*URIS, "https://three.example/"]).encode())
    shown = reaching.json("client", "add", "-", stdin=members(host))
    assert (shown["subject_type"], shown["sector_identifier_uri"]) == ("pairwise", host.url("/sector.json"))
    asked = host.asked("/sector.json")
    reaching.json("client", "show", "ledger-agent")
    assert host.asked("/sector.json") == asked


@pytest.mark.requirement("ODCR-3", proves="refused")
@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        json.dumps(URIS[:1]).encode(),
        json.dumps([*URIS[:1], URIS[1] + "/"]).encode(),
        json.dumps({"redirect_uris": URIS}).encode(),
        json.dumps([*URIS, 1]).encode(),
        json.dumps([URIS]).encode(),
        b"https://one.example/callback",
        b"[" * 60_000,
        b" " * 70_000,
    ],
)
def test_a_document_that_does_not_list_them_is_refused(reaching: CommandLine, host: DocumentHost, body: bytes) -> None:
    host.answers["/other.json"] = document(body)
    assert "sector_identifier_uri" in reaching.refused("client", "add", "-", stdin=members(host, "/other.json"))
    assert reaching.json("client", "list", "--inactive") == []


def test_a_document_that_is_not_there_or_leads_elsewhere_is_refused(reaching: CommandLine, host: DocumentHost) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /sector.json\r\nContent-Length: 0\r\n\r\n"
    host.answers |= {"/moved": saying(moved), "/cut": saying(OK, b"Content-Length: 900\r\n\r\n[")}
    for path in ("/nowhere", "/moved", "/cut"):
        assert "sector_identifier_uri" in reaching.refused("client", "add", "-", stdin=members(host, path))


def test_no_document_is_asked_for_inside(place: CommandLine, host: DocumentHost) -> None:
    connections = host.connections
    for uri in (host.url("/sector.json"), "https://127.0.0.1/sector.json", "https://169.254.169.254/latest"):
        said = place.refused("client", "add", "-", stdin=members(host, sector_identifier_uri=uri))
        assert said.startswith("sector_identifier_uri") or "sector_identifier_uri" in said
    assert host.connections == connections
