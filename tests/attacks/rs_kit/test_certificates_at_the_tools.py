"""Tokens bound to certificates, over real TLS: whoever has not the certificate has nothing, whatever else it sends."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import ssl
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
import trustme
from cryptography.x509.oid import ExtendedKeyUsageOID

from rs_kit.protocol.confirmation import SenderConstraint
from tests.support.bank_certificates import DAY, BankCertificates, Shown
from tests.support.guarded_bank import AGENT_KEY, Bank, Line, as_body, tool_call
from tests.support.guarded_refusals import refused
from tests.support.kit_over_http import SITES, RawHttp, Site, connected, listening, wire
from tests.support.peer_keys import PeerKey, b64
from tests.support.raw_http import answers

VERSIONS: Final = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
TAKEN: Final = (SenderConstraint.CERTIFICATE, SenderConstraint.EITHER)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> BankCertificates:
    return BankCertificates(tmp_path_factory.mktemp("certificates"))


def bound_to(bank: Bank, shown: Shown, **more: str) -> str:
    return bank.peer.token(cnf={"x5t#S256": shown.thumbprint, **more})


@pytest.mark.attack("CNF-02")
@pytest.mark.requirement("MTLS-13", proves="holds")
@pytest.mark.requirement("RSV-10", proves="holds")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("constraint", TAKEN)
async def test_the_holder_of_the_certificate_calls_with_its_token(
    site: Site, certificates: BankCertificates, constraint: SenderConstraint, version: ssl.TLSVersion
) -> None:
    bank = Bank(sender_constraint=constraint)
    async with site.serving(bank, tls=certificates.tls(certificates.agent, version)) as line:
        for scheme in ("Bearer", "bearer"):
            headers = bank.peer.bearer(bound_to(bank, certificates.agent), scheme=scheme)
            assert (await line.send(headers)).status_code == 200
    assert bank.done == ["get_balance", "get_balance"]


@pytest.mark.attack("CNF-02")
@pytest.mark.requirement("MTLS-13", proves="refused")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("constraint", TAKEN)
@pytest.mark.parametrize("shown", [None, "somebody"])
async def test_without_the_certificate_or_with_another_the_token_is_nothing(
    site: Site,
    certificates: BankCertificates,
    constraint: SenderConstraint,
    version: ssl.TLSVersion,
    shown: str | None,
) -> None:
    bank = Bank(sender_constraint=constraint)
    headers = bank.peer.bearer(bound_to(bank, certificates.agent))
    tls = certificates.tls(None if shown is None else getattr(certificates, shown), version)
    async with site.serving(bank, tls=tls) as line:
        await refused(bank, line, headers, "invalid_token", works=False)
        with_a_proof = [*headers, ("dpop", bank.peer.proof(headers[0][1].partition(" ")[2]))]
        await refused(bank, line, with_a_proof, "invalid_token", works=False)


UNJUDGED: Final[dict[str, Callable[[BankCertificates], Shown]]] = {
    "signed by itself": lambda made: made.signed_by_itself(),
    "expired": lambda made: made.signed_by_itself(valid=(-2 * DAY, -DAY)),
    "not yet valid": lambda made: made.signed_by_itself(valid=(DAY, 2 * DAY)),
    "for servers": lambda made: made.signed_by_itself(usage=ExtendedKeyUsageOID.SERVER_AUTH),
    "of an authority that nobody knows": lambda made: made.issued("agent.example", trustme.CA()),
}


@pytest.mark.requirement("MTLS-14", proves="holds")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", UNJUDGED.values(), ids=UNJUDGED)
async def test_nothing_but_the_possession_of_the_bound_certificate_is_asked_for(
    site: Site, certificates: BankCertificates, kind: Callable[[BankCertificates], Shown], version: ssl.TLSVersion
) -> None:
    bank, shown = Bank(sender_constraint=SenderConstraint.CERTIFICATE), kind(certificates)
    async with site.serving(bank, tls=certificates.tls(shown, version)) as line:
        assert (await line.send(bank.peer.bearer(bound_to(bank, shown)))).status_code == 200
        bank.done.clear()
        twin = certificates.signed_by_itself(usage=None)
        await refused(bank, line, bank.peer.bearer(bound_to(bank, twin)), "invalid_token", works=False)


@pytest.mark.attack("MTL-15")
@pytest.mark.requirement("MTLS-14", proves="refused")
@pytest.mark.parametrize("shown", [None, "somebody"])
async def test_a_certificate_that_is_only_claimed_in_a_header_is_none(
    site: Site, certificates: BankCertificates, shown: str | None
) -> None:
    bank = Bank(sender_constraint=SenderConstraint.CERTIFICATE)
    token = bound_to(bank, certificates.agent)
    der = certificates.agent.der
    pem = ssl.DER_cert_to_PEM_cert(der).replace("\n", " ").strip()
    claims = {
        "client-cert": f":{_base64(der)}:",
        "x-ssl-cert": pem,
        "x-ssl-client-cert": pem,
        "ssl_client_cert": pem,
        "x-forwarded-client-cert": f'Hash={hashlib.sha256(der).hexdigest()};Cert="{pem}"',
        "x-client-cert": _base64(der),
        "x-forwarded-tls-client-cert": _base64(der),
    }
    tls = certificates.tls(None if shown is None else getattr(certificates, shown))
    async with site.serving(bank, tls=tls) as line:
        for name, value in claims.items():
            await refused(bank, line, [*bank.peer.bearer(token), (name, value)], "invalid_token", works=False)
        everything = [*bank.peer.bearer(token), *claims.items()]
        await refused(bank, line, everything, "invalid_token", works=False)


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


FORMS: Final[dict[str, Callable[[bytes], Any]]] = {
    "padded": lambda der: b64(hashlib.sha256(der).digest()) + "=",
    "hexadecimal": lambda der: hashlib.sha256(der).hexdigest(),
    "with colons": lambda der: hashlib.sha256(der).digest().hex(":").upper(),
    "SHA-1": lambda der: b64(hashlib.sha1(der).digest()),
    "base64": lambda der: _base64(hashlib.sha256(der).digest()),
    "of the PEM": lambda der: b64(hashlib.sha256(ssl.DER_cert_to_PEM_cert(der).encode()).digest()),
    "a list": lambda der: [b64(hashlib.sha256(der).digest())],
    "null": lambda der: None,
    "the certificate": b64,
}


@pytest.mark.attack("CNF-07")
@pytest.mark.requirement("MTLS-12", proves="refused")
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
async def test_another_form_of_the_thumbprint_is_no_binding(
    site: Site, certificates: BankCertificates, form: Callable[[bytes], Any]
) -> None:
    bank = Bank(sender_constraint=SenderConstraint.CERTIFICATE)
    token = bank.peer.token(cnf={"x5t#S256": form(certificates.agent.der)})
    async with site.serving(bank, tls=certificates.tls(certificates.agent)) as line:
        await refused(bank, line, bank.peer.bearer(token), "invalid_token", works=False)
        assert (await line.send(bank.peer.bearer(bound_to(bank, certificates.agent)))).status_code == 200


@pytest.mark.attack("CNF-07")
@pytest.mark.requirement("RSV-10", proves="refused")
@pytest.mark.parametrize("claim", ["of the authority", "of another certificate of the same key", "x5t", "x5t#S512"])
async def test_a_thumbprint_of_something_else_is_no_binding_to_this_certificate(
    site: Site, certificates: BankCertificates, claim: str
) -> None:
    bank = Bank(sender_constraint=SenderConstraint.CERTIFICATE)
    der = certificates.agent.der
    authority = ssl.PEM_cert_to_DER_cert(certificates.authority.cert_pem.bytes().decode())
    cnf: dict[str, Any] = {
        "of the authority": {"x5t#S256": b64(hashlib.sha256(authority).digest())},
        "of another certificate of the same key": {"x5t#S256": certificates.signed_by_itself().thumbprint},
        "x5t": {"x5t": b64(hashlib.sha1(der).digest())},
        "x5t#S512": {"x5t#S512": b64(hashlib.sha512(der).digest())},
    }[claim]
    async with site.serving(bank, tls=certificates.tls(certificates.agent)) as line:
        await refused(bank, line, bank.peer.bearer(bank.peer.token(cnf=cnf)), "invalid_token", works=False)


@pytest.mark.attack("CNF-01")
@pytest.mark.parametrize("constraint", TAKEN)
async def test_a_token_of_a_key_is_no_bearer_token_though_the_caller_shows_a_certificate(
    site: Site, certificates: BankCertificates, constraint: SenderConstraint
) -> None:
    bank = Bank(sender_constraint=constraint)
    by_key = bank.peer.token()
    by_both = bound_to(bank, certificates.agent, jkt=AGENT_KEY.thumbprint)
    async with site.serving(bank, tls=certificates.tls(certificates.agent)) as line:
        for token in (by_key, by_both):
            await refused(bank, line, bank.peer.bearer(token), "invalid_token", works=False)
            await refused(bank, line, bank.peer.headers(token, scheme="Bearer"), "invalid_token", works=False)
        of_the_certificate = bank.peer.headers(bound_to(bank, certificates.agent))
        await refused(bank, line, of_the_certificate, "invalid_token", works=False)
        assert (await line.send(bank.peer.headers(by_both))).status_code == 200


@pytest.mark.attack("CNF-05")
@pytest.mark.parametrize("constraint", SenderConstraint)
@pytest.mark.parametrize("wrong", ["the key", "the certificate", "no certificate", "no proof"])
async def test_of_two_bindings_one_is_not_enough(
    site: Site, certificates: BankCertificates, constraint: SenderConstraint, wrong: str
) -> None:
    bank = Bank(sender_constraint=constraint)
    token = bound_to(bank, certificates.agent, jkt=AGENT_KEY.thumbprint)
    proof = bank.peer.proof(token, key=PeerKey.es256(seed=5)) if wrong == "the key" else None
    headers = bank.peer.headers(token, proof)
    if wrong == "no proof":
        headers = [pair for pair in headers if pair[0] != "dpop"]
    shown = {"the certificate": certificates.somebody, "no certificate": None}.get(wrong, certificates.agent)
    error = "invalid_dpop_proof" if wrong == "no proof" else "invalid_token"
    async with site.serving(bank, tls=certificates.tls(shown)) as line:
        await refused(bank, line, headers, error, works=False)
    async with site.serving(bank, tls=certificates.tls(certificates.agent)) as line:
        assert (await line.send(bank.peer.headers(token))).status_code == 200


@pytest.mark.attack("CNF-02")
async def test_the_tokens_of_two_clients_work_over_their_own_certificates_only(
    site: Site, certificates: BankCertificates
) -> None:
    """What the OpenID happy flow tries with its second client's token and the first one's certificate."""
    bank = Bank(sender_constraint=SenderConstraint.EITHER)
    clients = {"client-1": certificates.agent, "client-2": certificates.signed_by_itself()}
    tokens = {
        name: bank.peer.token(client_id=name, cnf={"x5t#S256": shown.thumbprint}) for name, shown in clients.items()
    }
    for name, shown in clients.items():
        async with site.serving(bank, tls=certificates.tls(shown)) as line:
            for owner, token in tokens.items():
                if owner == name:
                    assert (await line.send(bank.peer.bearer(token))).status_code == 200
                    bank.done.clear()
                else:
                    await refused(bank, line, bank.peer.bearer(token), "invalid_token", works=False)


async def test_of_many_connections_each_has_its_own_certificate(site: Site, certificates: BankCertificates) -> None:
    bank = Bank(sender_constraint=SenderConstraint.CERTIFICATE)
    shown = [certificates.signed_by_itself(f"agent-{number}") for number in range(8)]
    tokens = [bound_to(bank, one) for one in shown]
    async with site.serving(bank, tls=certificates.tls(None)) as line:
        lines = [_line(bank, line, certificates, one) for one in shown]
        calls = [one.send(bank.peer.bearer(token)) for one in lines for token in tokens]
        statuses = [answer.status_code for answer in await asyncio.gather(*calls)]
    assert statuses == [200 if mine == theirs else 401 for mine in range(8) for theirs in range(8)]
    assert bank.done == ["get_balance"] * 8


def _line(bank: Bank, line: Line, certificates: BankCertificates, shown: Shown) -> Line:
    assert isinstance(line.http, RawHttp)
    return Line(bank, RawHttp(line.http.port, tls=certificates.client(shown)))


@pytest.mark.attack("MTL-19")
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_session_that_a_client_wants_to_resume_brings_no_certificate_back(
    certificates: BankCertificates, version: ssl.TLSVersion
) -> None:
    bank = Bank(sender_constraint=SenderConstraint.CERTIFICATE)
    of_agent = _request(bank, bound_to(bank, certificates.agent))
    context = certificates.client(certificates.agent, version)
    async with listening(
        SITES[1].behind_the_kit(bank, stateless=True, json_response=True, options={}),
        certfile=certificates.bank,
        keyfile=certificates.bank,
        client_certificates=True,
    ) as port:

        def resumed(session: ssl.SSLSession | None) -> tuple[int, bool, ssl.SSLSession | None]:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
                context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
            ):
                tls.sendall(of_agent)
                received = b""
                while piece := tls.recv(65536):
                    received += piece
                return answers(received)[0].status, bool(tls.session_reused), tls.session

        status, reused, session = await asyncio.to_thread(resumed, None)
        assert (status, reused) == (200, False)
        context.load_cert_chain(certificates.somebody.file)  # the same client, but for what it shows from now on
        status, reused, _ = await asyncio.to_thread(resumed, session)
        assert (status, reused) == (401, False)


@pytest.mark.attack("MTL-21")
@pytest.mark.parametrize("version", VERSIONS)
async def test_an_open_connection_keeps_the_certificate_that_it_was_opened_with(
    site: Site, certificates: BankCertificates, version: ssl.TLSVersion
) -> None:
    bank = Bank(sender_constraint=SenderConstraint.CERTIFICATE)
    renewed = certificates.signed_by_itself()
    before, after = bound_to(bank, certificates.agent), bound_to(bank, renewed)
    old, new = (certificates.client(shown, version) for shown in (certificates.agent, renewed))
    async with site.serving(bank, tls=certificates.tls(None)) as line:
        assert isinstance(line.http, RawHttp)
        async with connected(line.http.port, tls=old) as opened:
            assert await _on(opened, bank, before) == 200
            bank.clock.advance(timedelta(seconds=240))
            assert await _on(opened, bank, after) == 401  # bound to the certificate that replaced this one
            assert await _on(opened, bank, before) == 200
            bank.clock.advance(timedelta(seconds=3600))
            assert await _on(opened, bank, before) == 401  # a connection does not keep a token alive
        after = bound_to(bank, renewed)
        async with connected(line.http.port, tls=new) as opened:
            assert await _on(opened, bank, after) == 200
    assert bank.done == ["get_balance"] * 3


@pytest.mark.attack("MTL-20")
@pytest.mark.parametrize("offered", [["h2", "http/1.1"], ["http/1.1", "h2"]])
async def test_where_certificates_are_shown_no_connection_is_shared_between_hosts(
    site: Site, certificates: BankCertificates, offered: list[str]
) -> None:
    bank = Bank(sender_constraint=SenderConstraint.CERTIFICATE)
    context = certificates.client(certificates.agent)
    context.set_alpn_protocols(offered)
    only_h2 = certificates.client(certificates.agent)
    only_h2.set_alpn_protocols(["h2"])
    async with site.serving(bank, tls=certificates.tls(None)) as line:
        assert isinstance(line.http, RawHttp)
        port = line.http.port
        async with connected(port, tls=context) as (_, writer):
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        async with connected(port, tls=context) as (reader, writer):
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            assert answers(await reader.read())[0].status in {400, 505}
        async with connected(port, tls=only_h2) as (_, writer):
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() is None
    assert (bank.done, bank.observer.admissions) == ([], [])


def _request(bank: Bank, token: str, *more: tuple[str, str]) -> bytes:
    fields = [
        *bank.peer.bearer(token),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "get_balance"),
        *more,
    ]
    encoded = [(name.encode(), value.encode()) for name, value in fields]
    return wire("POST", "/mcp", encoded, as_body(tool_call()))


async def _on(opened: tuple[asyncio.StreamReader, asyncio.StreamWriter], bank: Bank, token: str) -> int:
    """One call on an open connection, which stays open."""
    reader, writer = opened
    writer.write(_request(bank, token, ("connection", "keep-alive")))
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    if b"content-length" in fields:
        await reader.readexactly(int(fields[b"content-length"]))
    else:
        await reader.readuntil(b"\r\n0\r\n\r\n")
    return int(head.split(b" ", 2)[1])
