"""Where the name in a client_id leads, and what stands there: nothing is sent to an address that is not for us."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from fapi_as.adapters.fetch import HttpsFetch
from tests.support.document_host import OK, Answer, DocumentHost, document, document_host, endless
from tests.support.document_scene import DOCUMENTS, HOST, DocumentPlace, PlaceOverTls, lead_here
from tests.support.standing_still import refused_push

NOBODY = (401, "invalid_client")
FORBIDDEN = [
    *("127.0.0.1", "127.8.9.10", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "192.0.0.1"),
    *("192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"),
    *("::1", "::", "fc00::1", "fd00:ec2::254", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"),
    *("2002:7f00:1::", "ff02::1"),
]


class Lookups:
    """What the resolver says of every name, and every address that somebody then connects to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[list[str]] = []
        self.asked: list[str] = []
        self.connected: list[Any] = []
        lookups = self

        class Recorded(socket.socket):
            def connect(self, address: Any) -> None:
                lookups.connected.append(address)
                super().connect(address)

        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)
        monkeypatch.setattr(socket, "socket", Recorded)

    def _getaddrinfo(self, name: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(name)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses
        ]


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> Lookups:
    return Lookups(monkeypatch)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[DocumentHost]:
    with document_host(tmp_path, HOST) as host:
        yield host


def place_without_exemption(host: DocumentHost) -> PlaceOverTls:
    """The same place, where no host may be private."""
    place = PlaceOverTls(host)
    place.https.close()
    place.https = HttpsFetch(ca_file=host.ca_file)
    place.serve(place.https)
    return place


@pytest.mark.requirement("CIMD-8", proves="holds")
@pytest.mark.requirement("ATT-T-22", proves="holds")
async def test_a_host_that_an_operator_allowed_inside_is_reached_at_the_address_that_was_judged(
    host: DocumentHost, lookups: Lookups
) -> None:
    lookups.answers = [["127.0.0.1"]]
    place = PlaceOverTls(host)
    assert (await place.agent.push()).request_uri
    assert lookups.connected == [("127.0.0.1", host.port)] * 2  # the document and the keys
    assert lookups.asked == [HOST] * 2  # each looked up once


@pytest.mark.requirement("CIMD-8", proves="refused")
@pytest.mark.attack("CIM-03")
@pytest.mark.parametrize("address", FORBIDDEN)
async def test_a_host_that_leads_inside_is_refused_before_anything_is_sent(
    host: DocumentHost, lookups: Lookups, address: str
) -> None:
    lookups.answers = [[address]]
    place = place_without_exemption(host)
    assert await refused_push(place.house, client=place.agent) == NOBODY
    assert place.house.last_detail == "document: the host has an address that is not public"
    assert (lookups.asked, lookups.connected, host.connections) == ([HOST], [], 0)


@pytest.mark.requirement("ATT-T-22", proves="refused")
@pytest.mark.attack("CIM-04")
@pytest.mark.parametrize(
    "answers",
    [
        [["93.184.216.34", "127.0.0.1"]],
        [["127.0.0.1", "93.184.216.34"]],
        [["2606:2800:220:1:248:1893:25c8:1946", "::1"]],
    ],
    ids=str,
)
async def test_one_private_address_among_public_ones_is_enough_to_refuse(
    host: DocumentHost, lookups: Lookups, answers: list[list[str]]
) -> None:
    lookups.answers = answers
    place = place_without_exemption(host)
    assert await refused_push(place.house, client=place.agent) == NOBODY
    assert (lookups.connected, host.connections) == ([], 0)


@pytest.mark.attack("CIM-04")
async def test_a_name_that_changes_its_mind_is_asked_once(host: DocumentHost, lookups: Lookups) -> None:
    """The first answer is judged and connected to; the second one, which would lead elsewhere, nobody asks for."""
    lookups.answers = [["127.0.0.1"], ["127.6.6.6"]]
    place = PlaceOverTls(host)
    place.publish()
    host.answers["/assistant.json"] = document(place.body(jwks={"keys": [place.agent.client_key.jwk()]}, jwks_uri=...))
    place.agent.kid = None
    assert (await place.agent.push()).request_uri
    assert (lookups.asked, lookups.connected) == ([HOST], [("127.0.0.1", host.port)])


@pytest.mark.parametrize(
    "url",
    [
        *("https://localhost/a.json", "https://metadata.google.internal/a.json", "https://intranet/a.json"),
        *("https://2130706433/a.json", "https://0x7f.1/a.json", "https://127.1/a.json", "https://[::1]/a.json"),
        *("https://a.localhost/a.json", "https://[fe80::1%25eth0]/a.json", "https://printer.local/a.json"),
    ],
)
async def test_a_name_for_the_inside_is_not_even_looked_up(host: DocumentHost, lookups: Lookups, url: str) -> None:
    lookups.answers = [["127.0.0.1"]]
    place = place_without_exemption(host)
    hosts = frozenset({url.split("/")[2]})
    policy = replace(place.house.context.policy, documents=replace(DOCUMENTS, hosts=hosts))
    place.house.context = replace(place.house.context, policy=policy)
    place.serve(place.https)
    assert await refused_push(place.house, client=place.peer(url)) == NOBODY
    assert (lookups.asked, lookups.connected) == ([], [])


@pytest.mark.requirement("CIMD-8", proves="refused")
@pytest.mark.parametrize("member", ["jwks_uri", "client_uri", "logo_uri", "policy_uri", "tos_uri"])
@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/a", "https://169.254.169.254/latest/meta-data", "http://10.0.0.1/a", "https://[::1]/a"]
)
async def test_a_document_that_names_an_address_inside_is_none(member: str, url: str) -> None:
    place = DocumentPlace()
    place.publish(**{member: url})
    assert await refused_push(place.house, client=place.agent) == NOBODY
    assert url not in place.fetch.asked


@pytest.mark.attack("CIM-06")
async def test_hosts_that_drip_are_cut_after_five_seconds(host: DocumentHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, in real time: a head and a body that drip, and one that is silent."""
    lead_here(monkeypatch)
    place = PlaceOverTls(host)
    gone = threading.Event()
    answers: dict[str, Answer] = {
        "/body.json": endless(OK + b"Content-Length: 1000\r\n\r\n", b" ", pause=0.5, times=30),
        "/head.json": endless(OK, b"X", pause=0.5, times=30),
        "/silent.json": lambda _: (gone.wait(8), None)[1],
    }
    host.answers.update(answers)
    peers = [place.peer(host.url(path, HOST)) for path in answers]
    started = time.monotonic()
    messages = [peer.push_request(code_verifier="v" * 43, state="s") for peer in peers]
    responses = await asyncio.gather(*[peer.send(message) for peer, message in zip(peers, messages, strict=True)])
    assert [response.status_code for response in responses] == [401] * len(answers)
    assert time.monotonic() - started < 6
    gone.set()
    place.https.close()


# --- TLS at the document's host


def _expired(authority: trustme.CA) -> trustme.LeafCert:
    ended = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    return authority.issue_cert(HOST, not_before=ended - dt.timedelta(days=30), not_after=ended)


CERTIFICATES = {
    "good": lambda authority: authority.issue_cert(HOST),
    "expired": _expired,
    "another name": lambda authority: authority.issue_cert("other.example"),
    "the address": lambda authority: authority.issue_cert("127.0.0.1"),
    "self-signed": lambda _: trustme.CA().issue_cert(HOST),
    "common name only": lambda authority: authority.issue_cert("other.example", common_name=HOST),
}


def _serve(directory: Path, kind: str, *, oldest_only: bool = False) -> tuple[DocumentHost, Path]:
    """A host whose TLS is of this kind."""
    host = DocumentHost(directory, HOST)
    authority = trustme.CA()
    ca_file = directory / "ca-of-this-test.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CERTIFICATES[kind](authority).configure_cert(context)
    if oldest_only:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    host._context = context
    return host, ca_file


@pytest.mark.attack("CIM-14")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("kind", [*CERTIFICATES, "TLS 1.1"])
async def test_a_host_that_is_not_the_one_that_was_named_has_no_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    lead_here(monkeypatch)
    old = kind == "TLS 1.1"
    host, ca_file = _serve(tmp_path, "good" if old else kind, oldest_only=old)
    place = PlaceOverTls(host)
    place.https.close()
    place.https = HttpsFetch(ca_file=ca_file, allowed_private_hosts=[HOST])
    place.serve(place.https)
    if kind == "good":
        assert (await place.agent.push()).request_uri
    else:
        assert await refused_push(place.house, client=place.agent) == NOBODY
        assert host.heads == []
    place.https.close()
    host.stop()
