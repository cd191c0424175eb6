"""Tokens work only in the hands that they were issued to: nothing weaker is accepted in their place."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from rs_kit.protocol.errors import InvalidToken, ProtocolError
from tests.support.guarded_bank import ABSENT, AGENT_KEY, Bank
from tests.support.guarded_refusals import refused
from tests.support.kit_over_http import Site
from tests.support.peer_keys import PeerKey, b64

JKT = AGENT_KEY.thumbprint
CERTIFICATE = b"0\x82 DER of the certificate of this connection"
X5T = b64(hashlib.sha256(CERTIFICATE).digest())


@pytest.mark.attack("CNF-01")
@pytest.mark.requirement("DPOP-RS-6", proves="refused")
@pytest.mark.parametrize("proof", ["with", "without"])
async def test_a_bound_token_under_the_bearer_scheme_is_refused(site: Site, proof: str) -> None:
    bank = Bank()
    headers = [pair for pair in bank.peer.headers(scheme="Bearer") if proof == "with" or pair[0] != "dpop"]
    async with site.serving(bank) as line:
        await refused(bank, line, headers, "invalid_token")


@pytest.mark.requirement("DPOP-RS-6", proves="holds")
async def test_the_same_token_under_its_own_scheme_passes(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token()
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(token, scheme="Bearer"), "invalid_token")
        assert (await line.send(bank.peer.headers(token))).status_code == 200


@pytest.mark.attack("CNF-04")
@pytest.mark.requirement("DPOP-RS-8", proves="refused")
@pytest.mark.requirement("DPOP-RS-12", proves="refused")
@pytest.mark.requirement("RSV-2", proves="refused")
@pytest.mark.requirement("AT-14", proves="refused")
async def test_an_unbound_token_with_a_good_proof_is_refused(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(bank.peer.token(cnf=ABSENT)), "invalid_token")


@pytest.mark.attack("CNF-05")
@pytest.mark.requirement("CNF-2", proves="refused")
@pytest.mark.parametrize(
    "cnf",
    [
        {},
        None,
        "jkt",
        [JKT],
        {"jkt": None},
        {"jkt": [JKT]},
        {"jkt": JKT + "="},
        {"jkt": JKT.lower()},
        {"jkt": ""},
        {"foo": 1},
        {"jkt": JKT, "foo": 1},
        {"jwk": AGENT_KEY.jwk()},
        {"kid": "agent"},
        {"jkt": JKT, "x5t#S256": PeerKey.es256(seed=1).thumbprint},
    ],
    ids=str,
)
async def test_a_confirmation_that_is_not_wholly_met_is_refused(site: Site, cnf: Any) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(bank.peer.token(cnf=cnf)), "invalid_token")


async def outcome(cnf: dict[str, str], certificate: bytes | None) -> ProtocolError | None:
    bank = Bank()
    headers = bank.peer.headers(bank.peer.token(cnf=cnf))
    try:
        await bank.guard.admit(bank.request(headers, certificate=certificate))
    except ProtocolError as error:
        return error
    return None


@pytest.mark.attack("CNF-02")
@pytest.mark.requirement("RSV-10", proves="refused")
@pytest.mark.parametrize("certificate", [None, b"", b"another certificate"])
async def test_a_token_that_is_also_bound_to_a_certificate_needs_it(certificate: bytes | None) -> None:
    assert isinstance(await outcome({"jkt": JKT, "x5t#S256": X5T}, certificate), InvalidToken)


@pytest.mark.requirement("CNF-2", proves="holds")
@pytest.mark.attack("CNF-02")
@pytest.mark.requirement("RSV-10", proves="holds")
@pytest.mark.requirement("RSV-2", proves="holds")
async def test_a_token_bound_to_key_and_certificate_passes_with_both() -> None:
    assert await outcome({"jkt": JKT, "x5t#S256": X5T}, CERTIFICATE) is None


@pytest.mark.attack("CNF-07")
@pytest.mark.parametrize(
    "thumbprint",
    [
        X5T + "=",
        hashlib.sha256(CERTIFICATE).hexdigest(),
        b64(hashlib.sha1(CERTIFICATE).digest()),
        b64(hashlib.sha256(b"the authority that issued it").digest()),
    ],
)
async def test_another_form_of_the_certificates_thumbprint_is_refused(thumbprint: str) -> None:
    assert isinstance(await outcome({"jkt": JKT, "x5t#S256": thumbprint}, CERTIFICATE), InvalidToken)


async def test_a_token_bound_to_a_certificate_alone_is_refused_where_dpop_is_required() -> None:
    assert isinstance(await outcome({"x5t#S256": X5T}, CERTIFICATE), InvalidToken)


@pytest.mark.requirement("DPOP-RS-18", proves="refused")
async def test_a_header_of_the_client_is_no_certificate(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token(cnf={"jkt": JKT, "x5t#S256": X5T})
    headers = bank.peer.headers(token, client_cert=f":{b64(CERTIFICATE)}:", x_ssl_client_cert=b64(CERTIFICATE))
    async with site.serving(bank) as line:
        await refused(bank, line, headers, "invalid_token")
