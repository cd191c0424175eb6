"""Tokens work only in the hands that they were issued to: nothing weaker is accepted in their place."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from tests.support.guarded_bank import ABSENT, AGENT_KEY, Bank
from tests.support.guarded_refusals import refused
from tests.support.kit_over_http import Site, Tls
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


class Certificates:
    """An authority, and who has a certificate of it: the bank, the agent and somebody else."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.bank = directory / "bank.pem"
        self.authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(self.bank)
        self.agent = self.authority.issue_cert("agent.example")
        self.somebody = self.authority.issue_cert("somebody.example")

    def tls(self, shown: trustme.LeafCert | None) -> Tls:
        """The bank asks for a certificate, and the caller shows this one."""
        client = ssl.create_default_context()
        self.authority.configure_trust(client)
        if shown is not None:
            shown.configure_cert(client)
        return Tls(server=str(self.bank), client=client)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def thumbprint(pem: trustme.Blob, digest: Callable[[bytes], bytes] = lambda der: hashlib.sha256(der).digest()) -> str:
    return b64(digest(ssl.PEM_cert_to_DER_cert(pem.bytes().decode())))


def of(certificate: trustme.LeafCert) -> trustme.Blob:
    """The certificate itself, which leads its chain."""
    return certificate.cert_chain_pems[0]


@pytest.mark.attack("CNF-02")
@pytest.mark.requirement("RSV-10", proves="refused")
@pytest.mark.parametrize("shown", [None, "somebody"])
async def test_a_token_that_is_also_bound_to_a_certificate_needs_it(
    site: Site, certificates: Certificates, shown: str | None
) -> None:
    bank = Bank()
    token = bank.peer.token(cnf={"jkt": JKT, "x5t#S256": thumbprint(of(certificates.agent))})
    tls = certificates.tls(None if shown is None else getattr(certificates, shown))
    async with site.serving(bank, tls=tls) as line:
        await refused(bank, line, bank.peer.headers(token), "invalid_token")


@pytest.mark.requirement("CNF-2", proves="holds")
@pytest.mark.requirement("RSV-10", proves="holds")
@pytest.mark.requirement("RSV-2", proves="holds")
@pytest.mark.attack("CNF-02")
async def test_a_token_bound_to_key_and_certificate_passes_with_both(site: Site, certificates: Certificates) -> None:
    bank = Bank()
    token = bank.peer.token(cnf={"jkt": JKT, "x5t#S256": thumbprint(of(certificates.agent))})
    async with site.serving(bank, tls=certificates.tls(certificates.agent)) as line:
        assert (await line.send(bank.peer.headers(token))).status_code == 200
        bank.done.clear()
        await refused(
            bank, line, [pair for pair in bank.peer.headers(token) if pair[0] != "dpop"], "invalid_dpop_proof"
        )


FORMS: Final[dict[str, Callable[[Certificates], str]]] = {
    "padded": lambda made: thumbprint(of(made.agent)) + "=",
    "hexadecimal": lambda made: hashlib.sha256(ssl.PEM_cert_to_DER_cert(of(made.agent).bytes().decode())).hexdigest(),
    "SHA-1": lambda made: thumbprint(of(made.agent), lambda der: hashlib.sha1(der).digest()),
    "of the authority": lambda made: thumbprint(made.authority.cert_pem),
    "of the PEM": lambda made: b64(hashlib.sha256(of(made.agent).bytes()).digest()),
}


@pytest.mark.attack("CNF-07")
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
async def test_another_form_of_the_certificates_thumbprint_is_refused(
    site: Site, certificates: Certificates, form: Callable[[Certificates], str]
) -> None:
    bank = Bank()
    token = bank.peer.token(cnf={"jkt": JKT, "x5t#S256": form(certificates)})
    async with site.serving(bank, tls=certificates.tls(certificates.agent)) as line:
        await refused(bank, line, bank.peer.headers(token), "invalid_token")


async def test_a_token_bound_to_a_certificate_alone_is_refused_where_dpop_is_required(
    site: Site, certificates: Certificates
) -> None:
    bank = Bank()
    token = bank.peer.token(cnf={"x5t#S256": thumbprint(of(certificates.agent))})
    async with site.serving(bank, tls=certificates.tls(certificates.agent)) as line:
        await refused(bank, line, bank.peer.headers(token), "invalid_token")
        without = [pair for pair in bank.peer.headers(token) if pair[0] != "dpop"]
        await refused(bank, line, without, "invalid_token")
        await refused(bank, line, bank.peer.bearer(token), "invalid_token")
        await refused(bank, line, bank.peer.headers(token, scheme="bearer"), "invalid_token")


@pytest.mark.requirement("DPOP-RS-18", proves="refused")
async def test_a_header_of_the_client_is_no_certificate(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token(cnf={"jkt": JKT, "x5t#S256": X5T})
    headers = bank.peer.headers(token, client_cert=f":{b64(CERTIFICATE)}:", x_ssl_client_cert=b64(CERTIFICATE))
    async with site.serving(bank) as line:
        await refused(bank, line, headers, "invalid_token")
