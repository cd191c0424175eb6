"""Certificates that look like a client's: shown at the mTLS address, judged inside the global oracles."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from cryptography.x509.oid import ObjectIdentifier as Oid

from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.profile import FAILED_AUTHENTICATIONS_LIMIT
from tests.support.certificate_scene import Der, out, signed_with_sha1, with_explicit_curve
from tests.support.certificates import SERVER_AUTH, Authority, Shown, ec_key, resigned_der, sans, self_signed, usage
from tests.support.certified_client import PKI, PRIVATE_KEY_JWT, SELF_SIGNED, CertifiedClient, CertifiedHouse
from tests.support.client_members import refused as registration_refused
from tests.support.token_scene import claims_of, refused

BANK: Final = "CN=a,O=Bank,C=GB"
_CPU_LIMIT: Final = 0.05  # seconds, MTL-17


@pytest.fixture
def house(tmp_path: Path) -> CertifiedHouse:
    return CertifiedHouse(tmp_path)


@pytest.mark.attack("MTL-01")
@pytest.mark.parametrize("method", [PKI, SELF_SIGNED])
async def test_no_certificate_at_the_alias_is_no_client(house: CertifiedHouse, method: str) -> None:
    shown = house.authority.issue(BANK) if method == PKI else self_signed()
    await out(house.certified("bank", shown, method=method), None, "no assertion and no certificate")


@pytest.mark.attack("MTL-02")
@pytest.mark.parametrize("method", [PKI, SELF_SIGNED])
@pytest.mark.parametrize(
    ("dates", "reason"),
    [({"begins": -30, "days": -1}, "the certificate has expired"), ({"begins": 1}, "the certificate is not valid yet")],
)
async def test_a_certificate_out_of_its_dates_is_refused(
    house: CertifiedHouse, method: str, dates: dict[str, float], reason: str
) -> None:
    if method == PKI:
        client, shown = house.certified("bank", house.authority.issue(BANK)), house.authority.issue(BANK, **dates)
    else:
        good, shown = self_signed(), self_signed("CN=old", **dates)
        keys = {"keys": [good.jwk(kid="good"), shown.jwk(kid="old")]}
        client = house.certified("bank", good, method=method, jwks=keys)
    await out(client, shown, f"certificate: {reason}")


@pytest.mark.attack("MTL-02")
async def test_a_certificate_that_expires_while_it_is_known_is_refused(house: CertifiedHouse) -> None:
    bank = house.certified("bank", house.authority.issue(BANK, days=1))
    assert (await bank.client_credentials()).access_token
    house.clock.advance(86_400)
    assert (await bank.client_credentials()).access_token  # RFC 5280 §4.1.2.5: its last second is one of its own
    house.clock.advance(1)
    await refused(
        house, bank.client_credentials, 401, "invalid_client", reason="certificate: the certificate has expired"
    )
    house.clock.advance(-86_400 * 3)
    await refused(
        house, bank.client_credentials, 401, "invalid_client", reason="certificate: the certificate is not valid yet"
    )


@pytest.mark.attack("MTL-03")
@pytest.mark.parametrize(
    "purpose",
    [
        {"eku": [SERVER_AUTH]},
        {"eku": None},
        {"eku": None, "usage": usage(key_cert_sign=True)},
        {"eku": [ExtendedKeyUsageOID.CODE_SIGNING]},
        {"eku": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]},
        {"usage": usage(key_encipherment=True)},
        {"constraints": x509.BasicConstraints(ca=True, path_length=None)},
    ],
    ids=["servers", "none", "none but certificates", "code", "any", "encryption only", "an authority"],
)
async def test_a_certificate_for_another_purpose_is_refused(house: CertifiedHouse, purpose: dict[str, Any]) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    await out(bank, house.authority.issue(BANK, **purpose))


@pytest.mark.attack("MTL-03")
async def test_an_authority_that_may_certify_servers_only_certifies_no_client(house: CertifiedHouse) -> None:
    below = Authority("CN=TLS servers", issuer=house.authority, eku=[SERVER_AUTH])
    await out(house.certified("bank", house.authority.issue(BANK)), below.issue(BANK))


@pytest.mark.attack("MTL-04")
async def test_who_signs_the_right_name_for_itself_is_nobody(house: CertifiedHouse) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    forged = self_signed(BANK)
    await out(bank, forged)
    await out(bank, forged.sending(forged.certificate))
    await out(bank, forged.sending(house.authority.certificate))


@pytest.mark.attack("MTL-05")
@pytest.mark.parametrize("sends", ["its root", "the true root", "nothing"])
async def test_an_authority_with_the_name_of_the_trusted_one_is_another(house: CertifiedHouse, sends: str) -> None:
    rogue = Authority("CN=Bank CA,O=Authorities")
    assert rogue.certificate.subject == house.authority.certificate.subject
    above = {"its root": (rogue.certificate,), "the true root": (house.authority.certificate,), "nothing": ()}[sends]
    await out(house.certified("bank", house.authority.issue(BANK)), rogue.issue(BANK).sending(*above))


@pytest.mark.attack("MTL-05")
async def test_a_rogue_authority_with_the_key_identifier_of_the_trusted_one_is_another(house: CertifiedHouse) -> None:
    identifier = x509.SubjectKeyIdentifier.from_public_key(house.authority.key.public_key())
    rogue = Authority("CN=Bank CA,O=Authorities", extensions=[(identifier, False)])
    claimed = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    forged = rogue.issue(BANK, extensions=[(claimed, False)]).sending(rogue.certificate)
    await out(house.certified("bank", house.authority.issue(BANK)), forged)


@pytest.mark.attack("MTL-07")
async def test_a_client_certifies_nobody(house: CertifiedHouse) -> None:
    """With and without basic constraints, the certificate of a client is no authority's."""
    bank = house.certified("bank", house.authority.issue(BANK))
    for changes in ({}, {"constraints": x509.BasicConstraints(ca=False, path_length=None)}):
        thief = house.authority.issue("CN=thief", **changes)
        below = Authority("CN=thief", key=thief.key)
        await out(bank, below.issue(BANK).sending(thief.certificate))


@pytest.mark.attack("MTL-07")
async def test_an_authority_below_one_that_may_have_none_is_none(house: CertifiedHouse) -> None:
    narrow = Authority("CN=Narrow", issuer=house.authority, path_length=0)
    below = Authority("CN=Below", issuer=narrow)
    bank = house.certified("bank", narrow.issue(BANK))
    assert (await bank.client_credentials()).access_token
    await out(bank, below.issue(BANK))


@pytest.mark.attack("MTL-07")
@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (x509.DNSName("bank.example"), sans(dns=["a.bank.example"]), sans(dns=["a.evil.example"])),
        (
            x509.UniformResourceIdentifier(".bank.example"),
            sans(uri=["https://a.bank.example/"]),
            sans(uri=["https://evil.example/"]),
        ),
        (x509.RFC822Name("bank.example"), sans(email=["a@bank.example"]), sans(email=["a@evil.example"])),
        (
            x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "GB")])),
            "CN=a,O=Bank,C=GB",
            "CN=a,O=Bank,C=FR",
        ),
    ],
    ids=["dns", "uri", "email", "dn"],
)
async def test_an_authority_certifies_only_names_that_it_may(
    house: CertifiedHouse, constraint: x509.GeneralName, good: Any, bad: Any
) -> None:
    only = x509.NameConstraints(permitted_subtrees=[constraint], excluded_subtrees=None)
    below = Authority("CN=Narrow,C=GB", issuer=house.authority, extensions=[(only, True)])

    def issued(names: Any) -> Shown:
        return below.issue(names) if isinstance(names, str) else below.issue(BANK, san=names)

    shown = issued(good)
    bank = house.certified("bank", shown)
    assert (await bank.client_credentials()).access_token
    bad_shown = issued(bad)
    registered = house.change_client("bank", certificate_subject=house.store.clients["bank"].certificate_subject)
    assert registered.certificate_subject is not None
    await out(bank, bad_shown)


@pytest.mark.attack("MTL-14")
async def test_only_the_very_certificate_that_a_client_registered_is_its_own(house: CertifiedHouse) -> None:
    key = ec_key()
    mine, others = self_signed(BANK, key=key), self_signed("CN=other")
    own = house.certified("own", mine, method=SELF_SIGNED)
    other = house.certified("other", others, method=SELF_SIGNED)
    reason = "certificate: the certificate is not registered"
    await out(own, self_signed(BANK, key=key, days=60), reason)  # issued again for the same key
    await out(own, self_signed(BANK), reason)  # the same name
    await out(own, others, reason)  # somebody else's registered one
    await out(own, house.authority.issue(BANK), reason)  # a trusted one
    await out(other, mine, reason)


@pytest.mark.attack("MTL-14")
async def test_a_key_without_a_certificate_authenticates_nobody_by_tls(house: CertifiedHouse) -> None:
    mine = self_signed(BANK)
    bare = {name: value for name, value in mine.jwk(kid="bare").items() if name != "x5c"}
    assert "x5c" in registration_refused(token_endpoint_auth_method=SELF_SIGNED, jwks={"keys": [bare]})
    good = self_signed("CN=good")
    own = house.certified("own", good, method=SELF_SIGNED, jwks={"keys": [bare, good.jwk(kid="good")]})
    await out(own, mine, "certificate: the certificate is not registered")


@pytest.mark.attack("MTL-15")
@pytest.mark.parametrize(
    "field",
    ["x-ssl-cert", "x-forwarded-client-cert", "ssl_client_cert", "client-cert", "client-cert-chain", "x-client-cert"],
)
async def test_a_certificate_in_a_header_is_no_certificate(house: CertifiedHouse, field: str) -> None:
    shown = house.authority.issue(BANK)
    bank = house.certified("bank", shown)
    encoded = f":{shown.jwk()['x5c'][0]}:"
    with bank.showing(None), bank.lying(headers=[(field, encoded), ("x-ssl-client-verify", "SUCCESS")]):
        await refused(house, bank.client_credentials, 401, "invalid_client")
    assert (await bank.client_credentials()).access_token


@pytest.mark.attack("MTL-16")
async def test_no_address_in_a_certificate_is_visited(house: CertifiedHouse) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = x509.UniformResourceIdentifier(f"http://127.0.0.1:{listener.getsockname()[1]}/x")
        points = x509.CRLDistributionPoints([x509.DistributionPoint([url], None, None, None)])
        access = x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(AuthorityInformationAccessOID.OCSP, url),
                x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, url),
            ]
        )
        extensions = [(points, False), (access, False), (x509.FreshestCRL(list(points)), False)]
        below = Authority("CN=Below", issuer=house.authority, extensions=extensions)
        bank = house.certified("bank", below.issue(BANK, extensions=extensions))
        await out(bank, Authority("CN=Stranger", extensions=extensions).issue(BANK, extensions=extensions))
        await out(bank, below.issue(BANK, extensions=extensions).sending())  # its issuer could be asked for
        with pytest.raises(BlockingIOError):
            listener.accept()


def monstrous(house: CertifiedHouse) -> dict[str, Shown]:
    authority = house.authority
    plain = authority.issue("CN=PQRSTUVW,O=Bank,C=GB", serial=0x7FFFFFFF)
    curve = bytes.fromhex("06082a8648ce3d030107")  # the OID of P-256, of which no curve is a neighbour

    def changed(shown: Shown, old: bytes, new: bytes) -> Shown:
        return Der(resigned_der(shown, lambda tbs: tbs.replace(old, new, 1), authority))

    def unknown(content: bytes) -> x509.UnrecognizedExtension:
        return x509.UnrecognizedExtension(Oid("1.2.3.4"), content)

    return {
        "4096 names": authority.issue(BANK, san=sans(dns=[f"n{number}.example" for number in range(4096)])),
        "a large extension": authority.issue(BANK, extensions=[(unknown(b"\x04" * 2**20), False)]),
        "an unknown critical extension": authority.issue(BANK, extensions=[(unknown(b"\x05\x00"), True)]),
        "a key of 1024 bits": authority.issue(BANK, key=rsa.generate_private_key(65537, 1024)),
        "a weak curve": authority.issue(BANK, key=ec.generate_private_key(ec.SECP192R1())),
        "another curve": authority.issue(BANK, key=ec.generate_private_key(ec.SECP256K1())),
        "SHA-1": Der(signed_with_sha1(authority, BANK)),
        "a negative serial": changed(plain, b"\x02\x04\x7f\xff", b"\x02\x04\x80\xff"),
        "serial zero": changed(authority.issue(BANK, serial=0x7F), b"\x02\x01\x7f", b"\x02\x01\x00"),
        "invalid UTF-8": changed(plain, b"PQRSTUVW", b"PQRST\xff\xfeW"),
        "an unknown curve": changed(plain, curve, curve[:-1] + b"\x7f"),
        "an explicit curve": Der(with_explicit_curve(plain, authority)),
        "no DER": Der(b"\x30\x82"),
        "nothing": Der(b""),
        "DER and more": Der(plain.der + b"\x00"),
        "many above": plain.sending(*(Authority(f"CN=Above {number}").certificate for number in range(20))),
        "nonsense above": Der(Authority("CN=Stranger").issue(BANK).der, ()),
    }


@pytest.mark.attack("MTL-17")
async def test_a_monstrous_certificate_is_refused_at_once(house: CertifiedHouse) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    for what, shown in monstrous(house).items():
        await out(bank, shown)
        der, chain, spent = shown.der, shown.chain, []
        for _ in range(3):
            begun = time.process_time()
            assert house.context.certificate_trust.refusal(der, chain, house.clock.now()) is not None, what
            spent.append(time.process_time() - begun)
        assert min(spent) < _CPU_LIMIT, (what, spent)


@pytest.mark.attack("MTL-17")
async def test_a_giant_key_costs_nothing(house: CertifiedHouse) -> None:
    """16,384 bits: nobody makes one in a test, so the modulus is that of no key at all."""
    numbers = rsa.RSAPublicNumbers(65537, (1 << 16383) | 1).public_key()
    bank = house.certified("bank", house.authority.issue(BANK))
    giant = WithPublicKey(numbers)
    await out(bank, house.authority.issue(BANK, key=giant))


class WithPublicKey:
    """As much of a private key as a certificate for it needs."""

    def __init__(self, public: rsa.RSAPublicKey) -> None:
        self._public = public

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public


@pytest.mark.attack("MTL-21")
async def test_a_certificate_that_was_removed_is_refused_on_the_same_connection(house: CertifiedHouse) -> None:
    """Nothing of a connection is remembered but its certificate, which is compared with each request."""
    old, new = self_signed("CN=old"), self_signed("CN=new")
    own = house.certified("own", old, method=SELF_SIGNED)
    assert (await own.client_credentials()).access_token
    house.clock.advance(3600)
    jwks = {"keys": [new.jwk(kid="new")]}
    house.store.put_client(parse_client(own.registration(jwks=jwks), client_id="own", version=2))
    with own.showing(new):
        await out(own, old, "certificate: the certificate is not registered")


@pytest.mark.attack("CNF-09")
@pytest.mark.parametrize("method", [PKI, SELF_SIGNED, PRIVATE_KEY_JWT])
@pytest.mark.parametrize("bound", [True, False])
async def test_a_proof_binds_always_and_a_certificate_where_that_was_registered(
    house: CertifiedHouse, method: str, bound: bool
) -> None:
    shown = self_signed() if method == SELF_SIGNED else house.authority.issue(BANK)
    client = house.certified("bank", shown, method=method, bound=bound, proves=True)
    client.bound = True  # it shows its certificate either way
    tokens = await client.client_credentials()
    expected = {"jkt": client.dpop_key.thumbprint} | ({"x5t#S256": shown.x5t} if bound else {})
    assert claims_of(tokens.access_token)["cnf"] == expected


WEAK_KEYS: Final[dict[str, Any]] = {
    "RSA of 1024 bits": lambda: rsa.generate_private_key(65537, 1024),
    "a curve of 192 bits": lambda: ec.generate_private_key(ec.SECP192R1()),
}


@pytest.mark.attack("MTL-17")
@pytest.mark.parametrize("weak", WEAK_KEYS)
async def test_no_token_is_bound_to_a_certificate_with_a_weak_key(house: CertifiedHouse, weak: str) -> None:
    """Who authenticates with a key of its own may show any certificate; whoever breaks that one has the token."""
    agent = house.certified("agent", house.authority.issue(BANK), method=PRIVATE_KEY_JWT)
    with agent.showing(self_signed(key=WEAK_KEYS[weak]())):
        await refused(house, agent.client_credentials, 400, "invalid_request")
    assert (await agent.client_credentials()).access_token


async def test_guesses_with_certificates_end_in_429(house: CertifiedHouse) -> None:
    """CA-6 is one for all methods, and beyond it nothing is verified, whatever is shown."""
    bank = house.certified("bank", house.authority.issue(BANK))
    message = bank.credentials_request()
    with bank.showing(Authority("CN=Stranger").issue(BANK)):
        for _ in range(FAILED_AUTHENTICATIONS_LIMIT):
            assert (await bank.send(message)).status_code == 401
        assert (await bank.send(message)).status_code == 429
    assert (await bank.send(message)).status_code == 429
    house.clock.advance(60)
    assert (await bank.send(message)).status_code == 200


async def test_strangers_clients_and_methods_are_refused_alike(house: CertifiedHouse) -> None:
    """CA-3: whether there is such a client, and how it authenticates, is in no answer."""
    trusted, unknown = house.authority.issue("CN=somebody"), self_signed("CN=nobody")
    house.certified("pki", house.authority.issue(BANK))
    house.certified("own", self_signed(), method=SELF_SIGNED)
    answers = set()
    for shown in (trusted, unknown):
        for client_id in ("pki", "own", "agent", "no such client"):
            asking = CertifiedClient(
                house.http,
                shown=shown,
                issuer=house.context.policy.issuer,
                client_id=client_id,
                client_key=house.agent.client_key,
            )
            answer = await asking.send(asking.credentials_request(resource="https://bank.example/mcp"))
            answers.add((answer.status_code, answer.content, tuple(sorted(answer.headers.items()))))
    assert len(answers) == 1
