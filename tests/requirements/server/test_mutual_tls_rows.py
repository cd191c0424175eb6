"""Clients that authenticate with certificates (RFC 8705 §2), row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from fapi_as.protocol.client import ClientKeySet, RegisteredClient
from fapi_as.protocol.client_metadata import parse_client, to_metadata
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from tests.support.back_channel import BACK_CHANNEL, SUCCESS
from tests.support.certificates import SERVER_AUTH, Authority, Shown, ec_key, sans, self_signed
from tests.support.certified_client import (
    MUTUAL_TLS_URL,
    PKI,
    PRIVATE_KEY_JWT,
    SELF_SIGNED,
    CertifiedClient,
    CertifiedHouse,
)
from tests.support.client_members import client_members
from tests.support.client_members import refused as registration_refused
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD
from tests.support.peer_keys import PeerKey
from tests.support.token_scene import refused

BANK: Final = "CN=bank,O=Bank,C=GB"
SUBJECTS: Final[dict[str, str]] = {
    "tls_client_auth_subject_dn": BANK,
    "tls_client_auth_san_dns": "bank.example",
    "tls_client_auth_san_uri": "https://bank.example/agent",
    "tls_client_auth_san_ip": "192.0.2.7",
    "tls_client_auth_san_email": "agent@bank.example",
}
ALL_NAMES: Final = sans(
    dns=["bank.example"], uri=["https://bank.example/agent"], ip=["192.0.2.7", "::1"], email=["agent@bank.example"]
)
everywhere = pytest.mark.parametrize("path", BACK_CHANNEL)


@pytest.fixture
def house(tmp_path: Path) -> CertifiedHouse:
    return CertifiedHouse(tmp_path)


def named(house: CertifiedHouse, shown: Shown, kind: str, value: str) -> CertifiedClient:
    """A client of the PKI that registered this one subject."""
    return house.certified("bank", shown, **{"tls_client_auth_subject_dn": ..., kind: value})


async def in_(client: CertifiedClient) -> dict[str, Any]:
    """What its token says."""
    await client.client_credentials()
    return dict(house_of(client).signer.signed[-1][1])


def house_of(client: CertifiedClient) -> CertifiedHouse:
    transport = client.http._transport
    assert isinstance(transport, CertifiedHouse)
    return transport


async def not_in(client: CertifiedClient, reason: str, **form: Any) -> None:
    house = house_of(client)
    with client.lying(form=form):
        answer = await refused(house, client.client_credentials, 401, "invalid_client", reason=reason)
    assert answer.json()["error_description"] == "client authentication failed"


# --- MTLS-1, MTLS-2: who it is, and that it holds the key


@pytest.mark.requirement("MTLS-1", proves="holds")
@everywhere
async def test_the_client_id_beside_a_certificate_says_whose_it_is(house: CertifiedHouse, path: str) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    answer = await bank.send(BACK_CHANNEL[path](bank))
    assert answer.status_code == SUCCESS[path]


@pytest.mark.requirement("MTLS-1", proves="refused")
async def test_a_certificate_without_a_client_id_is_nobodys(house: CertifiedHouse) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    await not_in(bank, "no client_id beside the certificate", client_id=...)


@pytest.mark.requirement("MTLS-2", proves="holds")
async def test_the_certificate_of_the_connection_is_the_credential(house: CertifiedHouse) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    assert (await in_(bank))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-2", proves="refused")
@everywhere
async def test_without_a_certificate_there_is_no_credential(house: CertifiedHouse, path: str) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    with bank.showing(None):
        ask = lambda: bank.send(BACK_CHANNEL[path](bank))  # noqa: E731 - asked once
        answer = await refused(house, ask, 401, "invalid_client", reason="no assertion and no certificate")
    assert answer.headers["content-type"] == "application/json"


# --- MTLS-3: whom the PKI lets in


@pytest.mark.requirement("MTLS-3", proves="holds")
async def test_a_chain_to_an_authority_of_the_tenant_is_trusted(house: CertifiedHouse) -> None:
    below = Authority("CN=Bank CA 2,O=Authorities", issuer=house.authority, path_length=0)
    assert (await in_(house.certified("bank", below.issue(BANK))))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-3", proves="refused")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"begins": -30, "days": -1}, "certificate: the certificate has expired"),
        ({"begins": 1}, "certificate: the certificate is not valid yet"),
        ({"eku": [SERVER_AUTH]}, "certificate: the certificate is not for clients: no extended key usage clientAuth"),
        ({"eku": None}, "certificate: the certificate is not for clients: no extended key usage clientAuth"),
    ],
    ids=["expired", "not yet valid", "for servers", "for everything"],
)
async def test_a_certificate_that_the_pki_does_not_vouch_for_now_is_refused(
    house: CertifiedHouse, changes: dict[str, Any], reason: str
) -> None:
    await not_in(house.certified("bank", house.authority.issue(BANK, **changes)), reason)


@pytest.mark.requirement("MTLS-3", proves="refused")
async def test_another_authority_vouches_for_nobody(house: CertifiedHouse) -> None:
    stranger = Authority("CN=Stranger CA")
    reason = "certificate: the certificate is not trusted: unable to get local issuer certificate"
    await not_in(house.certified("bank", stranger.issue(BANK)), reason)


# --- MTLS-4: exactly one subject


@pytest.mark.requirement("MTLS-4", proves="holds")
@pytest.mark.parametrize(("kind", "value"), SUBJECTS.items())
async def test_each_kind_of_subject_may_be_registered_and_lets_its_client_in(
    house: CertifiedHouse, kind: str, value: str
) -> None:
    bank = named(house, house.authority.issue(BANK, san=ALL_NAMES), kind, value)
    registered = house.store.clients["bank"]
    assert to_metadata(registered)[kind] == value
    assert parse_client(to_metadata(registered), client_id="bank", version=1) == registered
    assert (await in_(bank))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-4", proves="refused")
@pytest.mark.parametrize(
    "subjects", [{}, *({kind: value, "tls_client_auth_san_dns": "x.example"} for kind, value in SUBJECTS.items())]
)
def test_none_or_two_subjects_may_not_be_registered(subjects: dict[str, str]) -> None:
    if list(subjects) == ["tls_client_auth_san_dns"]:
        subjects = subjects | {"tls_client_auth_san_ip": "192.0.2.7"}
    told = registration_refused(token_endpoint_auth_method=PKI, jwks=..., **subjects)
    assert "subject" in told


# --- MTLS-5: distinguished names


@pytest.mark.requirement("MTLS-5", proves="holds")
@pytest.mark.parametrize(
    "registered",
    [
        r"CN=a\2C b+UID=7,O=Bank\, Inc,C=GB",
        r"UID=7+CN=a\, b,O=Bank\, Inc,C=GB",
        r"cn=A\,  B+uid=7,o=BANK\, INC,c=gb",
        r"2.5.4.3=a\, b+0.9.2342.19200300.100.1.1=7,2.5.4.10=Bank\, Inc,2.5.4.6=GB",
        r"CN= a\, b + UID=7 , O=Bank\, Inc , C=GB",
        r"CN=#0c04612c2062+UID=7,O=Bank\, Inc,C=#13024742",
    ],
    ids=["escaped", "another order in the set", "case and spaces", "OIDs", "spaces around", "hex"],
)
async def test_names_are_compared_as_names(house: CertifiedHouse, registered: str) -> None:
    shown = house.authority.issue(r"CN=a\, b+UID=7,O=Bank\, Inc,C=GB")
    assert (await in_(named(house, shown, "tls_client_auth_subject_dn", registered)))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-5", proves="refused")
@pytest.mark.parametrize(
    "shown",
    ["C=GB,O=Bank,CN=bank", "CN=bank,O=Bank,C=GB,DC=x", "CN=bank", "CN=bank,O=Bank Ltd,C=GB", "CN=bank+O=Bank,C=GB"],
    ids=["another order", "more", "less", "longer", "one RDN"],
)
async def test_a_name_that_only_looks_alike_is_another_one(house: CertifiedHouse, shown: str) -> None:
    bank = named(house, house.authority.issue(shown), "tls_client_auth_subject_dn", BANK)
    await not_in(bank, "certificate: the certificate is for another tls_client_auth_subject_dn")


# --- MTLS-6 to MTLS-9: alternative names


@pytest.mark.requirement("MTLS-6", proves="holds")
async def test_a_dns_name_is_equal_whatever_its_letter_case(house: CertifiedHouse) -> None:
    shown = house.authority.issue("CN=whoever", san=sans(dns=["other.example", "Bank.EXAMPLE"]))
    assert (await in_(named(house, shown, "tls_client_auth_san_dns", "bank.example")))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-6", proves="refused")
@pytest.mark.parametrize(
    ("subject", "names"),
    [("CN=x", ["*.example"]), ("CN=x", ["*"]), ("CN=x", ["bank.example.evil"]), ("CN=bank.example", [])],
    ids=["wildcard", "star", "longer", "common name only"],
)
async def test_no_wildcard_and_no_common_name_is_a_dns_name(
    house: CertifiedHouse, subject: str, names: list[str]
) -> None:
    bank = named(house, house.authority.issue(subject, san=sans(dns=names)), "tls_client_auth_san_dns", "bank.example")
    await not_in(bank, "certificate: the certificate is for another tls_client_auth_san_dns")


@pytest.mark.requirement("MTLS-7", proves="holds")
async def test_an_equal_uri_is_the_client(house: CertifiedHouse) -> None:
    shown = house.authority.issue("CN=whoever", san=sans(uri=["urn:other", "https://bank.example/agent"]))
    bank = named(house, shown, "tls_client_auth_san_uri", "https://bank.example/agent")
    assert (await in_(bank))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-7", proves="refused")
@pytest.mark.parametrize(
    "names",
    [
        {"uri": ["https://bank.example/Agent"]},
        {"uri": ["HTTPS://bank.example/agent"]},
        {"uri": ["https://bank.example/agent/"]},
        {"uri": ["https://bank.example:443/agent"]},
        {"dns": ["bank.example"]},
    ],
    ids=["case of the path", "case of the scheme", "slash", "port", "a DNS name"],
)
async def test_a_uri_that_is_spelt_in_another_way_is_another_one(
    house: CertifiedHouse, names: dict[str, list[str]]
) -> None:
    shown = house.authority.issue("CN=x", san=sans(**names))
    bank = named(house, shown, "tls_client_auth_san_uri", "https://bank.example/agent")
    await not_in(bank, "certificate: the certificate is for another tls_client_auth_san_uri")


@pytest.mark.requirement("MTLS-8", proves="holds")
@pytest.mark.parametrize("registered", ["::1", "0:0:0:0:0:0:0:1", "0000::0001", "192.0.2.7"])
async def test_an_address_is_compared_in_binary(house: CertifiedHouse, registered: str) -> None:
    shown = house.authority.issue("CN=x", san=sans(ip=["::1", "192.0.2.7"]))
    assert (await in_(named(house, shown, "tls_client_auth_san_ip", registered)))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-8", proves="refused")
@pytest.mark.parametrize(
    ("subject", "addresses"),
    [("CN=x", ["192.0.2.8"]), ("CN=x", ["::ffff:192.0.2.7"]), ("CN=192.0.2.7", [])],
    ids=["another", "its IPv6 form", "common name only"],
)
async def test_another_address_is_another_client(house: CertifiedHouse, subject: str, addresses: list[str]) -> None:
    bank = named(house, house.authority.issue(subject, san=sans(ip=addresses)), "tls_client_auth_san_ip", "192.0.2.7")
    await not_in(bank, "certificate: the certificate is for another tls_client_auth_san_ip")


@pytest.mark.requirement("MTLS-9", proves="holds")
@pytest.mark.parametrize("shown", ["agent@bank.example", "agent@BANK.example"])
async def test_an_equal_address_of_mail_is_the_client(house: CertifiedHouse, shown: str) -> None:
    bank = named(
        house, house.authority.issue("CN=x", san=sans(email=[shown])), "tls_client_auth_san_email", "agent@bank.example"
    )
    assert (await in_(bank))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-9", proves="refused")
@pytest.mark.parametrize(
    ("subject", "addresses"),
    [("CN=x", ["Agent@bank.example"]), ("CN=x,1.2.840.113549.1.9.1=agent@bank.example", []), ("CN=x", ["agent@bank"])],
    ids=["case of the local part", "only in the subject", "shorter"],
)
async def test_another_address_of_mail_is_another_client(
    house: CertifiedHouse, subject: str, addresses: list[str]
) -> None:
    shown = house.authority.issue(subject, san=sans(email=addresses))
    bank = named(house, shown, "tls_client_auth_san_email", "agent@bank.example")
    await not_in(bank, "certificate: the certificate is for another tls_client_auth_san_email")


# --- MTLS-10: self-signed


class PublishedCertificates:
    """The ClientKeys port: what stands behind a jwks_uri, and how often it was looked for a name."""

    def __init__(self, *certificates: bytes) -> None:
        self.certificates = certificates
        self.newer: tuple[bytes, ...] = certificates
        self.looked_for: list[str | None] = []

    async def keys(self, client: RegisteredClient, kid: str | None) -> ClientKeySet:
        self.looked_for.append(kid)
        if kid is not None:
            self.certificates = self.newer
        return ClientKeySet(keys=client.keys, certificates=self.certificates)


@pytest.mark.requirement("MTLS-10", proves="holds")
async def test_a_registered_certificate_needs_nobody_to_vouch_for_it(house: CertifiedHouse) -> None:
    old, new = self_signed(eku=None, usage=None), self_signed("CN=new", eku=[SERVER_AUTH])
    keys = [old.jwk(kid="old"), new.jwk(kid="new")]
    own = house.certified("own", old, method=SELF_SIGNED, jwks={"keys": keys})
    for shown in (old, new):
        with own.showing(shown):
            assert (await in_(own))["cnf"] == {"x5t#S256": shown.x5t}


@pytest.mark.requirement("MTLS-10", proves="holds")
async def test_a_certificate_that_is_new_behind_the_jwks_uri_is_found_there(house: CertifiedHouse) -> None:
    old, new = self_signed(), self_signed("CN=new")
    published = PublishedCertificates(old.der)
    object.__setattr__(house.context, "client_keys", published)
    own = house.certified("own", old, method=SELF_SIGNED, jwks=..., jwks_uri="https://own.example/jwks")
    await in_(own)
    assert published.looked_for == [None]
    published.newer = (new.der,)
    with own.showing(new):
        assert (await in_(own))["cnf"] == {"x5t#S256": new.x5t}
    assert published.looked_for == [None, None, new.x5t]


@pytest.mark.requirement("MTLS-10", proves="refused")
@pytest.mark.parametrize("other", ["absent", "same subject", "same key"])
async def test_any_other_certificate_is_not_the_registered_one(house: CertifiedHouse, other: str) -> None:
    key = ec_key()
    mine = self_signed(BANK, key=key)
    own = house.certified("own", mine, method=SELF_SIGNED)
    shown = {
        "absent": self_signed("CN=other"),
        "same subject": self_signed(BANK),
        "same key": self_signed(BANK, key=key, days=29),
    }[other]
    with own.showing(shown):
        await not_in(own, "certificate: the certificate is not registered")


# --- MTLS-19: what is read of a certificate


@pytest.mark.requirement("MTLS-19", proves="holds")
async def test_one_of_several_names_is_enough(house: CertifiedHouse) -> None:
    shown = house.authority.issue(BANK, san=[*sans(dns=[f"n{n}.example" for n in range(40)]), *ALL_NAMES])
    assert (await in_(named(house, shown, "tls_client_auth_san_dns", "bank.example")))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-19", proves="refused")
@pytest.mark.parametrize("hidden", ["bank.example\0.evil", "bank.example\n", " bank.example"])
async def test_a_name_with_something_hidden_in_it_is_another_one(house: CertifiedHouse, hidden: str) -> None:
    shown = house.authority.issue("CN=x", san=sans(dns=[hidden]))
    bank = named(house, shown, "tls_client_auth_san_dns", "bank.example")
    await not_in(bank, "certificate: the certificate is for another tls_client_auth_san_dns")


# --- MTLS-21: people need no certificate


@pytest.mark.requirement("MTLS-21", proves="holds")
async def test_a_person_authorizes_without_a_certificate(house: CertifiedHouse) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    done = await bank.authorize(await bank.push(), username="alice", password=PASSWORD)
    assert done.code
    pages = [path for method, path, _ in house.log if path in {"/authorize", "/login", "/consent"}]
    assert pages
    assert "authorization_endpoint" not in (await bank.discover())["mtls_endpoint_aliases"]


# --- FAPI2-AS-6, FAPI2-AS-7: these methods, and the registered one


@pytest.mark.requirement("FAPI2-AS-6", proves="holds")
@pytest.mark.parametrize("method", [PKI, SELF_SIGNED, PRIVATE_KEY_JWT])
async def test_certificates_and_assertions_authenticate(house: CertifiedHouse, method: str) -> None:
    shown = self_signed() if method == SELF_SIGNED else house.authority.issue(BANK)
    assert (await in_(house.certified("bank", shown, method=method)))["client_id"] == "bank"


@pytest.mark.requirement("FAPI2-AS-6", proves="refused")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt", "none", ...])
def test_nothing_else_may_be_registered(method: object) -> None:
    assert "token_endpoint_auth_method" in registration_refused(token_endpoint_auth_method=method)


@pytest.mark.requirement("FAPI2-AS-7", proves="refused")
@pytest.mark.parametrize("method", [PKI, SELF_SIGNED, PRIVATE_KEY_JWT])
async def test_a_good_credential_of_another_kind_is_none(house: CertifiedHouse, method: str) -> None:
    """The certificate is registered and trusted, the key signs assertions, and each is for another method."""
    key = PeerKey.es256(seed=9)
    shown = house.authority.issue(BANK)
    keys = {"keys": [key.jwk(kid="client-key", use="sig"), shown.jwk(kid="certificate")]}
    bank = house.certified("bank", shown, method=method, jwks=keys)
    bank.client_key = key
    assert (await in_(bank))["client_id"] == "bank"
    bank.method = PKI if method == PRIVATE_KEY_JWT else PRIVATE_KEY_JWT
    await not_in(bank, "not the registered authentication method" if method != PRIVATE_KEY_JWT else NOT_THIS)


NOT_THIS: Final = "certificate: not the registered authentication method"


@pytest.mark.requirement("FAPI2-AS-7", proves="holds")
async def test_two_clients_with_the_same_certificate_are_two_clients(house: CertifiedHouse) -> None:
    """Each is let in by its own method, whatever else the certificate would be good for."""
    shown = house.authority.issue(BANK)
    one = house.certified("one", shown)
    two = house.certified("two", shown, method=SELF_SIGNED)
    assert [(await in_(each))["client_id"] for each in (one, two)] == ["one", "two"]


# --- FAPI2-NET-11, FAPI2-NET-12


@pytest.mark.requirement("FAPI2-NET-11", proves="holds")
async def test_the_aliases_are_there_for_clients_with_assertions_too(house: CertifiedHouse) -> None:
    document = (await house.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    posted_to = {
        endpoint.metadata_member: MUTUAL_TLS_URL + path
        for path, endpoint in house.endpoints.items()
        if "POST" in endpoint.methods and endpoint.face.value == "protocol" and endpoint.metadata_member
    }
    assert document["mtls_endpoint_aliases"] == posted_to
    bank = house.certified("bank", house.authority.issue(BANK), method=PRIVATE_KEY_JWT)
    for path, build in BACK_CHANNEL.items():
        bank.metadata = document
        url, headers, body = build(bank)
        answer = await bank.send(type(build(bank))(MUTUAL_TLS_URL + path, headers, body))
        assert (url.startswith((MUTUAL_TLS_URL, ISSUER)), answer.status_code) == (True, SUCCESS[path])


@pytest.mark.requirement("FAPI2-NET-12", proves="holds")
@pytest.mark.parametrize("said", [True, False, ...])
def test_whether_a_client_uses_the_aliases_is_kept_and_told(said: object) -> None:
    client = parse_client(client_members(use_mtls_endpoint_aliases=said), client_id="c", version=1)
    assert to_metadata(client)["use_mtls_endpoint_aliases"] is (said is True)


@pytest.mark.requirement("FAPI2-NET-12", proves="refused")
@pytest.mark.parametrize("said", ["true", 1, "false", []])
def test_whether_a_client_uses_the_aliases_is_a_boolean(said: object) -> None:
    assert "use_mtls_endpoint_aliases" in registration_refused(InvalidClientMetadata, use_mtls_endpoint_aliases=said)


# --- FAPI2-DISC-9


@pytest.mark.requirement("FAPI2-DISC-9", proves="holds")
async def test_what_is_on_is_published(house: CertifiedHouse) -> None:
    document = (await house.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert document["tls_client_certificate_bound_access_tokens"] is True
    assert document["token_endpoint_auth_methods_supported"] == [PRIVATE_KEY_JWT, PKI, SELF_SIGNED]
    assert set(document["mtls_endpoint_aliases"]) < set(document)


async def test_an_error_of_a_refused_client_says_nothing_of_its_certificate(house: CertifiedHouse) -> None:
    bank = house.certified("bank", Authority("CN=Stranger CA").issue(BANK))
    with pytest.raises(Refused) as raised:
        await bank.client_credentials()
    assert isinstance(raised.value.response, httpx2.Response)
    assert raised.value.response.json() == {
        "error": "invalid_client",
        "error_description": "client authentication failed",
    }
