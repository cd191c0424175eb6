"""MTLS-18: the server behind a proxy that terminates TLS, over real sockets; whoever is not the proxy has no word."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from fapi_as.protocol.profile import FAILED_AUTHENTICATIONS_LIMIT
from rs_kit.adapters.proxied_certificate import ProxyTrust
from tests.support.bank_certificates import BankCertificates
from tests.support.certificates import Authority, Shown, self_signed
from tests.support.certified_client import PKI, PRIVATE_KEY_JWT, SELF_SIGNED, CertifiedClient, CertifiedHouse
from tests.support.terminating_proxy import SECRET, TerminatingProxy, item, told
from tests.support.token_scene import refused

BANK: Final = "CN=bank,O=Bank,C=GB"
by = pytest.mark.parametrize("by", ["its certificate", "a secret"])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> BankCertificates:
    return BankCertificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def house(tmp_path: Path) -> CertifiedHouse:
    return CertifiedHouse(tmp_path)


def through(proxy: TerminatingProxy, shown: Shown, method: str = PKI, **more: Any) -> CertifiedClient:
    """A client of the house that speaks to the proxy."""
    client = proxy.house.certified("bank", shown, method=method, **more)
    client.http = proxy.http
    return client


@pytest.mark.requirement("MTLS-18", proves="holds")
@by
@pytest.mark.parametrize("method", [PKI, SELF_SIGNED, PRIVATE_KEY_JWT])
async def test_a_client_is_known_and_bound_by_the_certificate_that_the_proxy_saw(
    house: CertifiedHouse, certificates: BankCertificates, by: str, method: str
) -> None:
    proxy = TerminatingProxy(house, certificates, by)
    below = Authority("CN=Bank CA 2", issuer=house.authority, path_length=0)
    shown = self_signed(BANK) if method == SELF_SIGNED else below.issue(BANK)
    async with proxy.serving():
        tokens = await through(proxy, shown, method).client_credentials()
    assert tokens.access_token
    assert house.signer.signed[-1][1]["cnf"] == {"x5t#S256": shown.x5t}


@pytest.mark.requirement("MTLS-18", proves="refused")
@by
@pytest.mark.parametrize("who", ["a stranger", "from elsewhere"])
async def test_the_header_of_anybody_else_is_no_certificate(
    house: CertifiedHouse, certificates: BankCertificates, by: str, who: str
) -> None:
    proxy = TerminatingProxy(house, certificates, by)
    shown = house.authority.issue(BANK)
    client = through(proxy, shown)
    trust = proxy.trust
    if who == "from elsewhere":
        elsewhere = ["192.0.2.0/24"]
        trust = ProxyTrust(networks=elsewhere, certificates=trust.certificates, secret=trust.secret)
    async with proxy.serving(trust):
        if who == "a stranger":
            proxy.own = certificates.somebody if proxy.own is not None else None
            proxy.knows = False
        forged = [*told(shown), *(((b"x-proxy-secret", SECRET[:-1].encode()),) if by == "a secret" else ())]
        older = (b"x-ssl-cert", b"x-forwarded-client-cert", b"ssl_client_cert", b"x-client-cert")
        proxy.tells = [*forged, *((name, item(shown.der)) for name in older)]
        await refused(house, client.client_credentials, 401, "invalid_client")


@pytest.mark.requirement("MTLS-18", proves="refused")
@by
@pytest.mark.parametrize("said", ["another certificate", "none", "an older name", "of another client"])
async def test_the_proxy_vouches_for_the_certificate_and_the_server_for_the_client(
    house: CertifiedHouse, certificates: BankCertificates, by: str, said: str
) -> None:
    proxy = TerminatingProxy(house, certificates, by)
    shown, other = house.authority.issue(BANK), house.authority.issue("CN=other,O=Bank,C=GB")
    house.certified("other", other)
    client = through(proxy, shown)
    proxy.tells = {
        "another certificate": told(self_signed(BANK)),
        "none": [],
        "an older name": [(b"x-ssl-cert", item(shown.der)), (b"client_cert", item(shown.der))],
        "of another client": told(other),
    }[said]
    async with proxy.serving():
        await refused(house, client.client_credentials, 401, "invalid_client")
        proxy.tells = None
        assert (await client.client_credentials()).access_token


@pytest.mark.requirement("MTLS-18", proves="refused")
@by
@pytest.mark.parametrize("method", [PKI, PRIVATE_KEY_JWT])
@pytest.mark.parametrize("form", ["twice", "two in one", "PEM", "empty", "a chain alone", "a chain with a gap"])
async def test_what_the_proxy_tells_in_another_form_is_400_and_not_no_certificate(
    house: CertifiedHouse, certificates: BankCertificates, by: str, method: str, form: str
) -> None:
    proxy = TerminatingProxy(house, certificates, by)
    shown = house.authority.issue(BANK)
    client = through(proxy, shown, method)
    one = item(shown.der)
    proxy.tells = {
        "twice": [(b"client-cert", one), (b"client-cert", one)],
        "two in one": [(b"client-cert", one + b", " + one)],
        "PEM": [(b"client-cert", b"-----BEGIN CERTIFICATE----- " + one[1:-1] + b" -----END CERTIFICATE-----")],
        "empty": [(b"client-cert", b"")],
        "a chain alone": [(b"client-cert-chain", one)],
        "a chain with a gap": [(b"client-cert", one), (b"client-cert-chain", one + b",,")],
    }[form]
    async with proxy.serving():
        await refused(house, client.client_credentials, 400, "invalid_request")
        proxy.tells = None
        assert (await client.client_credentials()).access_token


FORWARDED: Final = [
    (b"forwarded", b'for=203.0.113.9;host="evil.example";proto=http'),
    (b"x-forwarded-for", b"203.0.113.9"),
    (b"x-forwarded-host", b"evil.example"),
    (b"x-forwarded-proto", b"http"),
    (b"x-real-ip", b"203.0.113.9"),
    (b"x-ssl-client-verify", b"SUCCESS"),
    (b"x-ssl-client-s-dn", BANK.encode()),
]


@pytest.mark.requirement("ATT-T-21", proves="holds")
@by
async def test_from_the_configured_address_one_header_counts_and_no_other(
    house: CertifiedHouse, certificates: BankCertificates, by: str
) -> None:
    proxy = TerminatingProxy(house, certificates, by)
    shown = house.authority.issue(BANK)
    client = through(proxy, shown)
    proxy.tells = [*told(shown), *FORWARDED]
    async with proxy.serving():
        assert (await client.client_credentials()).access_token
    assert house.store.written[-1].stamp.source == "127.0.0.1"
    claims = house.signer.signed[-1][1]
    assert (claims["iss"], claims["cnf"]) == (house.context.policy.issuer, {"x5t#S256": shown.x5t})


@pytest.mark.requirement("ATT-T-21", proves="refused")
@by
async def test_from_any_other_address_no_header_of_a_proxy_counts(
    house: CertifiedHouse, certificates: BankCertificates, by: str
) -> None:
    proxy = TerminatingProxy(house, certificates, by)
    shown = house.authority.issue(BANK)
    client = through(proxy, shown)
    proxy.tells = [*told(shown), *FORWARDED]
    trust = ProxyTrust(networks=["203.0.113.0/24"], certificates=proxy.trust.certificates, secret=proxy.trust.secret)
    async with proxy.serving(trust):
        await refused(house, client.client_credentials, 401, "invalid_client")
    refusals = [written for written in house.store.written if written.fact.error == "invalid_client"]
    assert [written.stamp.source for written in refusals] == ["127.0.0.1"]


@pytest.mark.attack("MTL-15")
@pytest.mark.parametrize("shows", [True, False], ids=["a certificate", "none"])
async def test_a_stranger_behind_the_proxy_locks_no_client_out(
    house: CertifiedHouse, certificates: BankCertificates, shows: bool
) -> None:
    proxy = TerminatingProxy(house, certificates, "a secret")
    client = through(proxy, house.authority.issue(BANK))
    async with proxy.serving():
        message = client.credentials_request()
        proxy.tells = told(Authority("CN=Stranger").issue(BANK)) if shows else []
        for _ in range(FAILED_AUTHENTICATIONS_LIMIT):
            assert (await client.send(message)).status_code == 401
        assert (await client.send(message)).status_code == 429
        proxy.tells = None
        assert (await client.client_credentials()).access_token
