"""A proxy that terminates TLS hands certificates on (RFC 9440): it is believed once it proves itself, others never."""

from __future__ import annotations

import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from rs_kit.adapters.proxied_certificate import ProxiedCertificate, ProxyTrust
from rs_kit.protocol.confirmation import SenderConstraint
from tests.support.bank_certificates import BankCertificates, Shown
from tests.support.guarded_bank import AGENT_KEY, Bank, Line
from tests.support.guarded_refusals import refused
from tests.support.kit_over_http import RawHttp, Site, listening

SECRET: Final = "what-the-proxy-knows-and-nobody-else-does"
PROOFS: Final = ("its certificate", "a secret", "both")
Fields = list[tuple[str, str]]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> BankCertificates:
    return BankCertificates(tmp_path_factory.mktemp("certificates"))


class Behind:
    """The bank behind a proxy on this machine; `hands_on` makes of a client's request what the proxy sends."""

    def __init__(
        self, certificates: BankCertificates, proof: str, *, networks: tuple[str, ...] = ("127.0.0.0/8",)
    ) -> None:
        self.certificates = certificates
        self.proxy = certificates.signed_by_itself("proxy")
        self.asks = proof != "a secret"
        self.secret = SECRET if proof != "its certificate" else None
        self.trust = ProxyTrust(
            networks=networks,
            certificates=[self.proxy.thumbprint] if self.asks else [],
            secret=None if self.secret is None else self.secret.encode(),
        )

    def hands_on(self, *fields: tuple[str, str]) -> Fields:
        return [*fields, *([] if self.secret is None else [("x-proxy-secret", self.secret)])]

    @contextlib.asynccontextmanager
    async def serving(self, site: Site, bank: Bank, shown: Shown | None = None) -> AsyncIterator[Line]:
        """A line of the proxy to the bank; of somebody else who shows this certificate, or none, where one is given."""
        inner = site.behind_the_kit(bank, stateless=True, json_response=True, options={})
        app = ProxiedCertificate(inner, self.trust, observer=bank.guard._observer)
        file = self.certificates.bank
        client = self.certificates.client(shown or (self.proxy if self.asks else None))
        async with listening(app, certfile=file, keyfile=file, client_certificates=self.asks) as port:
            yield Line(bank, RawHttp(port, tls=client))


def field(shown: Shown) -> tuple[str, str]:
    return "client-cert", f":{base64.b64encode(shown.der).decode()}:"


def bank_of(certificates: BankCertificates) -> tuple[Bank, str]:
    """A bank that wants certificates, and a token of the agent."""
    bank = Bank(sender_constraint=SenderConstraint.EITHER)
    return bank, bank.peer.token(cnf={"x5t#S256": certificates.agent.thumbprint})


@pytest.mark.requirement("MTLS-18", proves="holds")
@pytest.mark.parametrize("proof", PROOFS)
async def test_what_the_proxy_saw_binds_as_if_the_bank_had_seen_it(
    site: Site, certificates: BankCertificates, proof: str
) -> None:
    bank, token = bank_of(certificates)
    behind = Behind(certificates, proof)
    async with behind.serving(site, bank) as line:
        said = behind.hands_on(field(certificates.agent))
        assert (await line.send([*bank.peer.bearer(token), *said])).status_code == 200
        both = bank.peer.token(cnf={"x5t#S256": certificates.agent.thumbprint, "jkt": AGENT_KEY.thumbprint})
        assert (await line.send([*bank.peer.headers(both), *said])).status_code == 200
    assert bank.done == ["get_balance", "get_balance"]
    for seen in bank.seen:
        assert {"client-cert", "x-proxy-secret"}.isdisjoint(seen)


@pytest.mark.attack("CNF-02")
@pytest.mark.requirement("MTLS-13", proves="refused")
@pytest.mark.parametrize("proof", PROOFS)
async def test_another_certificate_none_and_the_proxys_own_bind_nothing(
    site: Site, certificates: BankCertificates, proof: str
) -> None:
    bank, token = bank_of(certificates)
    behind = Behind(certificates, proof)
    of_the_proxy = bank.peer.token(cnf={"x5t#S256": behind.proxy.thumbprint})
    async with behind.serving(site, bank) as line:
        for presented, said in (
            (token, behind.hands_on(field(certificates.somebody))),
            (token, behind.hands_on()),
            (of_the_proxy, behind.hands_on()),
            (of_the_proxy, behind.hands_on(field(certificates.agent))),
        ):
            await refused(bank, line, [*bank.peer.bearer(presented), *said], "invalid_token")


@pytest.mark.attack("MTL-15")
@pytest.mark.requirement("MTLS-18", proves="refused")
@pytest.mark.parametrize("proof", PROOFS)
@pytest.mark.parametrize("who", ["a stranger", "somebody with another certificate", "from another network"])
async def test_nobody_else_is_believed(site: Site, certificates: BankCertificates, proof: str, who: str) -> None:
    bank, token = bank_of(certificates)
    elsewhere = who == "from another network"
    behind = Behind(certificates, proof, networks=("192.0.2.0/24", "2001:db8::/32") if elsewhere else ("127.0.0.1/32",))
    shown = None if elsewhere else certificates.somebody if behind.asks else None
    guesses: list[Fields] = [[], [("x-proxy-secret", SECRET[:-1])], [("x-proxy-secret", "")]]
    if elsewhere:
        guesses = [behind.hands_on()]
    elif proof == "a secret":
        guesses.append([("x-proxy-secret", SECRET), ("x-proxy-secret", SECRET)])
    async with behind.serving(site, bank, shown) as line:
        for guess in guesses:
            headers = [*bank.peer.bearer(token), field(certificates.agent), *guess]
            await refused(bank, line, headers, "invalid_token")


@pytest.mark.attack("MTL-15")
@pytest.mark.parametrize("proof", PROOFS)
@pytest.mark.parametrize(
    "name",
    ["X-SSL-Cert", "X-Forwarded-Client-Cert", "SSL_CLIENT_CERT", "X-SSL-Client-Cert", "X-Client-Cert", "Client_Cert"],
)
async def test_names_of_other_times_are_not_read_even_from_the_proxy(
    site: Site, certificates: BankCertificates, proof: str, name: str
) -> None:
    bank, token = bank_of(certificates)
    behind = Behind(certificates, proof)
    values = (field(certificates.agent)[1], ssl.DER_cert_to_PEM_cert(certificates.agent.der).replace("\n", " ").strip())
    async with behind.serving(site, bank) as line:
        for value in values:
            headers = [*bank.peer.bearer(token), *behind.hands_on((name, value))]
            await refused(bank, line, headers, "invalid_token")


@pytest.mark.parametrize("proof", PROOFS)
@pytest.mark.parametrize("fault", ["twice", "two kinds", "in one", "PEM", "parameter", "cut", "empty", "a chain alone"])
async def test_what_the_proxy_says_in_another_form_is_400_and_reaches_nobody(
    site: Site, certificates: BankCertificates, proof: str, fault: str
) -> None:
    bank, token = bank_of(certificates)
    behind = Behind(certificates, proof)
    (name, value), other = field(certificates.agent), field(certificates.somebody)[1]
    said: dict[str, Any] = {
        "twice": [(name, value), (name, value)],
        "two kinds": [(name, value), ("Client-Cert", other)],
        "in one": [(name, f"{value}, {other}")],
        "PEM": [(name, ssl.DER_cert_to_PEM_cert(certificates.agent.der).replace("\n", " ").strip())],
        "parameter": [(name, f"{value};a=1")],
        "cut": [(name, value[:-9] + ":")],
        "empty": [(name, "")],
        "a chain alone": [("client-cert-chain", value)],
    }
    async with behind.serving(site, bank) as line:
        headers = [*bank.peer.bearer(token), *behind.hands_on(*said[fault])]
        await refused(bank, line, headers, "invalid_request", status=400)


async def test_who_connects_to_the_listener_itself_is_known_by_its_own_certificate(
    site: Site, certificates: BankCertificates
) -> None:
    bank, token = bank_of(certificates)
    behind = Behind(certificates, "its certificate")
    async with behind.serving(site, bank, certificates.agent) as line:
        assert (await line.send(bank.peer.bearer(token))).status_code == 200
        forged = [*bank.peer.bearer(token), field(certificates.somebody)]
        assert (await line.send(forged)).status_code == 200  # the claim is gone, the certificate is the connection's
