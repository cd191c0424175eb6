"""The subject of a client's certificates (RFC 8705 §2.1.2): each kind is registered, compared, refused in one way."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from fapi_as.protocol.client_metadata import parse_client, to_metadata
from tests.support.certificate_scene import let_in, named, not_let_in
from tests.support.certificates import sans
from tests.support.certified_client import PKI, CertifiedHouse
from tests.support.client_members import refused as registration_refused

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


@pytest.fixture
def house(tmp_path: Path) -> CertifiedHouse:
    return CertifiedHouse(tmp_path)


@pytest.mark.requirement("MTLS-4", proves="holds")
@pytest.mark.parametrize(("kind", "value"), SUBJECTS.items())
async def test_each_kind_of_subject_may_be_registered_and_lets_its_client_in(
    house: CertifiedHouse, kind: str, value: str
) -> None:
    bank = named(house, house.authority.issue(BANK, san=ALL_NAMES), kind, value)
    registered = house.store.clients["bank"]
    assert to_metadata(registered)[kind] == value
    assert parse_client(to_metadata(registered), client_id="bank", version=1) == registered
    assert (await let_in(bank))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-4", proves="refused")
@pytest.mark.parametrize(
    "subjects", [{}, *({kind: value, "tls_client_auth_san_dns": "x.example"} for kind, value in SUBJECTS.items())]
)
def test_none_or_two_subjects_may_not_be_registered(subjects: dict[str, str]) -> None:
    if list(subjects) == ["tls_client_auth_san_dns"]:
        subjects = subjects | {"tls_client_auth_san_ip": "192.0.2.7"}
    told = registration_refused(token_endpoint_auth_method=PKI, jwks=..., **subjects)
    assert "subject" in told


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
    assert (await let_in(named(house, shown, "tls_client_auth_subject_dn", registered)))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-5", proves="refused")
@pytest.mark.parametrize(
    "shown",
    ["C=GB,O=Bank,CN=bank", "CN=bank,O=Bank,C=GB,DC=x", "CN=bank", "CN=bank,O=Bank Ltd,C=GB", "CN=bank+O=Bank,C=GB"],
    ids=["another order", "more", "less", "longer", "one RDN"],
)
async def test_a_name_that_only_looks_alike_is_another_one(house: CertifiedHouse, shown: str) -> None:
    bank = named(house, house.authority.issue(shown), "tls_client_auth_subject_dn", BANK)
    await not_let_in(bank, "certificate: the certificate is for another tls_client_auth_subject_dn")


@pytest.mark.requirement("MTLS-6", proves="holds")
async def test_a_dns_name_is_equal_whatever_its_letter_case(house: CertifiedHouse) -> None:
    shown = house.authority.issue("CN=whoever", san=sans(dns=["other.example", "Bank.EXAMPLE"]))
    assert (await let_in(named(house, shown, "tls_client_auth_san_dns", "bank.example")))["client_id"] == "bank"


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
    await not_let_in(bank, "certificate: the certificate is for another tls_client_auth_san_dns")


@pytest.mark.requirement("MTLS-7", proves="holds")
async def test_an_equal_uri_is_the_client(house: CertifiedHouse) -> None:
    shown = house.authority.issue("CN=whoever", san=sans(uri=["urn:other", "https://bank.example/agent"]))
    bank = named(house, shown, "tls_client_auth_san_uri", "https://bank.example/agent")
    assert (await let_in(bank))["client_id"] == "bank"


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
    await not_let_in(bank, "certificate: the certificate is for another tls_client_auth_san_uri")


@pytest.mark.requirement("MTLS-8", proves="holds")
@pytest.mark.parametrize("registered", ["::1", "0:0:0:0:0:0:0:1", "0000::0001", "192.0.2.7"])
async def test_an_address_is_compared_in_binary(house: CertifiedHouse, registered: str) -> None:
    shown = house.authority.issue("CN=x", san=sans(ip=["::1", "192.0.2.7"]))
    assert (await let_in(named(house, shown, "tls_client_auth_san_ip", registered)))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-8", proves="refused")
@pytest.mark.parametrize(
    ("subject", "addresses"),
    [("CN=x", ["192.0.2.8"]), ("CN=x", ["::ffff:192.0.2.7"]), ("CN=192.0.2.7", [])],
    ids=["another", "its IPv6 form", "common name only"],
)
async def test_another_address_is_another_client(house: CertifiedHouse, subject: str, addresses: list[str]) -> None:
    bank = named(house, house.authority.issue(subject, san=sans(ip=addresses)), "tls_client_auth_san_ip", "192.0.2.7")
    await not_let_in(bank, "certificate: the certificate is for another tls_client_auth_san_ip")


@pytest.mark.requirement("MTLS-9", proves="holds")
@pytest.mark.parametrize("shown", ["agent@bank.example", "agent@BANK.example"])
async def test_an_equal_address_of_mail_is_the_client(house: CertifiedHouse, shown: str) -> None:
    bank = named(
        house, house.authority.issue("CN=x", san=sans(email=[shown])), "tls_client_auth_san_email", "agent@bank.example"
    )
    assert (await let_in(bank))["client_id"] == "bank"


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
    await not_let_in(bank, "certificate: the certificate is for another tls_client_auth_san_email")


@pytest.mark.requirement("MTLS-19", proves="holds")
async def test_one_of_several_names_is_enough(house: CertifiedHouse) -> None:
    shown = house.authority.issue(BANK, san=[*sans(dns=[f"n{n}.example" for n in range(40)]), *ALL_NAMES])
    assert (await let_in(named(house, shown, "tls_client_auth_san_dns", "bank.example")))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-19", proves="refused")
@pytest.mark.parametrize("hidden", ["bank.example\0.evil", "bank.example\n", " bank.example"])
async def test_a_name_with_something_hidden_in_it_is_another_one(house: CertifiedHouse, hidden: str) -> None:
    shown = house.authority.issue("CN=x", san=sans(dns=[hidden]))
    bank = named(house, shown, "tls_client_auth_san_dns", "bank.example")
    await not_let_in(bank, "certificate: the certificate is for another tls_client_auth_san_dns")
