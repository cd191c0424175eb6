"""Names in certificates that resemble the registered one: another spelling, another type, another name within."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.support.certificate_scene import CN, COUNTRY, GB, ORGANIZATION, STRINGS, name, out
from tests.support.certificates import sans
from tests.support.certified_client import PKI, PRIVATE_KEY_JWT, SELF_SIGNED, CertifiedHouse
from tests.support.client_members import refused as registration_refused

BANK: Final = "CN=a,O=Bank,C=GB"


@pytest.fixture
def house(tmp_path: Path) -> CertifiedHouse:
    return CertifiedHouse(tmp_path)


@pytest.mark.attack("MTL-08")
@pytest.mark.parametrize(
    "subject",
    [
        "O=Bank,CN=a,C=GB",
        "C=GB,O=Bank,CN=a",
        "CN=a,OU=x,O=Bank,C=GB",
        "CN=a,C=GB",
        "CN=a,CN=b,O=Bank,C=GB",
        "CN=a,O=Bank",
    ],
    ids=["reordered", "reversed", "an OU more", "an O less", "a CN more", "no country"],
)
async def test_a_subject_with_other_parts_is_another_subject(house: CertifiedHouse, subject: str) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    await out(
        bank,
        house.authority.issue(subject),
        "certificate: the certificate is for another tls_client_auth_subject_dn",
    )


@pytest.mark.attack("MTL-09")
@pytest.mark.parametrize(
    ("registered", "equal", "another"),
    [
        (
            "CN=a+UID=b,C=GB",
            name(GB, [(NameOID.USER_ID, "B", STRINGS.UTF8String), (CN, "A", STRINGS.UTF8String)]),
            "CN=a,UID=b,C=GB",
        ),
        (
            r"CN=x,O=Bank\, Inc,C=GB",
            name(
                [(COUNTRY, "gb", STRINGS.PrintableString)],
                [(ORGANIZATION, "Bank, Inc", STRINGS.PrintableString)],
                [(CN, "x", STRINGS.UTF8String)],
            ),
            "CN=x,O=Bank,C=GB",
        ),
        (r"CN=\ x\ ,C=GB", name(GB, [(CN, "x", STRINGS.UTF8String)]), "CN=x y,C=GB"),
        ("CN=A  b,C=GB", name(GB, [(CN, " a b ", STRINGS.BMPString)]), "CN=ab,C=GB"),
        ("CN=#0c0161,C=GB", name(GB, [(CN, "a", STRINGS.PrintableString)]), "CN=\\#0c0161,C=GB"),
        (
            "CN=Straße,C=DE",
            name([(COUNTRY, "DE", STRINGS.PrintableString)], [(CN, "STRASSE", STRINGS.UTF8String)]),
            "CN=Strase,C=DE",
        ),
        (
            "1.2.840.113549.1.9.1=a@b.example,C=GB",
            name(GB, [(NameOID.EMAIL_ADDRESS, "A@B.example", STRINGS.IA5String)]),
            "CN=a@b.example,C=GB",
        ),
    ],
    ids=["set", "comma", "spaces around", "spaces within", "hex", "folded", "mail in IA5"],
)
async def test_equal_names_are_equal_however_they_are_written(
    house: CertifiedHouse, registered: str, equal: x509.Name, another: str
) -> None:
    bank = house.certified("bank", house.authority.issue(equal), tls_client_auth_subject_dn=registered)
    await out(bank, house.authority.issue(another))


@pytest.mark.attack("MTL-09")
@pytest.mark.parametrize(
    "registered",
    [
        "",
        " ",
        "bank",
        "=bank",
        "CN=",
        "CN=a,",
        ",CN=a",
        "CN=a,,C=GB",
        "CN=a+",
        "CN=a\\",
        "CN=a\\0",
        "CN=a\\zz",
        "CN=\\ff",
        "CN=#",
        "CN=#0",
        "CN=#0c",
        "CN=#0c05616263",
        "CN=#zz",
        "CN=#0c8161",
        'CN="a"',
        "CN=a;C=GB",
        "CN=<a>",
        "XYZ=a",
        "2=a",
        "2.5.4.03=a",
        "2..5=a",
        "OID.=a",
        "CN=a\\00b",
        "CN=a\\0ab",
        "CN=\u202eknab",
        "CN=a\u200bb",
        "\uff23\uff2e=a",
        "CN=\\\u00e9",
        "CN=" + "a" * 2000,
    ],
)
def test_a_text_that_is_no_name_may_not_be_registered(registered: str) -> None:
    told = registration_refused(token_endpoint_auth_method=PKI, jwks=..., tls_client_auth_subject_dn=registered)
    assert "tls_client_auth" in told


@pytest.mark.attack("MTL-10")
@pytest.mark.parametrize(
    "common_name",
    [
        "CN=victim",
        "x,CN=victim",
        "victim\0",
        "victim\0.evil",
        "\0victim",
        "victim\n",
        "vic\u00adtim",
        "victim\u200b",
        "x+CN=victim",
        "victim,O=Bank",
        "victim\\",
    ],
)
async def test_a_name_with_another_one_written_into_it_is_not_that_one(house: CertifiedHouse, common_name: str) -> None:
    victim = house.certified("victim", house.authority.issue("CN=victim"))
    await out(victim, house.authority.issue(name([(CN, common_name, STRINGS.UTF8String)])))


@pytest.mark.attack("MTL-11")
@pytest.mark.parametrize(
    ("subject", "names"),
    [
        ("CN=x", ["*.example"]),
        ("CN=x", ["*"]),
        ("CN=x", ["client.*"]),
        ("CN=x", ["client.example.evil"]),
        ("CN=x", ["evil.client.example"]),
        ("CN=x", ["xn--clent-uva.example"]),
        ("CN=x", ["client.example."]),
        ("CN=client.example", []),
        ("CN=client.example", ["other.example"]),
    ],
)
async def test_a_dns_name_that_covers_or_resembles_the_registered_one_is_another(
    house: CertifiedHouse, subject: str, names: list[str]
) -> None:
    shown = house.authority.issue("CN=x", san=sans(dns=["CLIENT.example"]))
    client = house.certified("client", shown, tls_client_auth_subject_dn=..., tls_client_auth_san_dns="client.example")
    await out(client, house.authority.issue(subject, san=sans(dns=names)))


@pytest.mark.attack("MTL-12")
@pytest.mark.parametrize(
    ("kind", "registered", "right", "wrong"),
    [
        (
            "uri",
            "https://c.example/",
            {"uri": ["https://c.example/"]},
            [
                {"uri": ["https://c.example"]},
                {"uri": ["https://c.example/ "]},
                {"uri": ["https://C.example/"]},
                {"uri": ["https://c.example/?"]},
            ],
        ),
        (
            "ip",
            "192.0.2.7",
            {"ip": ["192.0.2.7"]},
            [{"ip": ["::ffff:192.0.2.7"]}, {"ip": ["192.0.2.70"]}, {"dns": ["192.0.2.7"]}, {"uri": ["192.0.2.7"]}],
        ),
        ("ip", "::ffff:192.0.2.7", {"ip": ["::ffff:192.0.2.7"]}, [{"ip": ["192.0.2.7"]}, {"ip": ["::192.0.2.7"]}]),
        (
            "email",
            "A.b@c.example",
            {"email": ["A.b@C.example"]},
            [
                {"email": ["a.b@c.example"]},
                {"email": ["A.b@c.example.evil"]},
                {"uri": ["mailto:A.b@c.example"]},
                {"dns": ["c.example"]},
            ],
        ),
    ],
    ids=["uri", "ip", "mapped ip", "email"],
)
async def test_a_name_of_another_type_or_spelling_is_another_one(
    house: CertifiedHouse, kind: str, registered: str, right: dict[str, list[str]], wrong: list[dict[str, list[str]]]
) -> None:
    members: dict[str, Any] = {"tls_client_auth_subject_dn": ..., f"tls_client_auth_san_{kind}": registered}
    client = house.certified("client", house.authority.issue("CN=x", san=sans(**right)), **members)
    for names in wrong:
        await out(client, house.authority.issue("CN=x", san=sans(**names)))


@pytest.mark.attack("MTL-12")
@pytest.mark.parametrize(
    ("kind", "registered"),
    [
        ("dns", "*.example"),
        ("dns", "a..example"),
        ("dns", "a.example."),
        ("dns", "ä.example"),
        ("dns", "a_b.example"),
        ("dns", "192.0.2.7"),
        ("dns", "-a.example"),
        ("uri", "bank"),
        ("uri", "//bank.example"),
        ("uri", "https://bank.example/ä"),
        ("uri", "https://bank.example/a b"),
        ("uri", "https://bank.example/%z"),
        ("ip", "192.0.2.256"),
        ("ip", "192.0.2"),
        ("ip", "192.0.2.0/24"),
        ("ip", "fe80::1%eth0"),
        ("ip", "192.000.002.007"),
        ("ip", "localhost"),
        ("email", "bank"),
        ("email", "@bank.example"),
        ("email", "a@"),
        ("email", "a b@bank.example"),
        ("email", "Bank <a@bank.example>"),
        ("email", "ä@bank.example"),
    ],
)
def test_what_no_certificate_could_have_may_not_be_registered(kind: str, registered: str) -> None:
    told = registration_refused(token_endpoint_auth_method=PKI, jwks=..., **{f"tls_client_auth_san_{kind}": registered})
    assert f"tls_client_auth_san_{kind} must be" in told


@pytest.mark.attack("MTL-13")
@pytest.mark.parametrize(
    "subjects",
    [
        {},
        {"tls_client_auth_san_dns": "a.example", "tls_client_auth_san_uri": "https://a.example/"},
        {"tls_client_auth_subject_dn": "CN=a", "tls_client_auth_san_ip": "::1"},
    ],
)
def test_a_client_of_two_subjects_or_of_none_may_not_be_registered(subjects: dict[str, str]) -> None:
    assert "subject" in registration_refused(token_endpoint_auth_method=PKI, jwks=..., **subjects)
    for method in (SELF_SIGNED, PRIVATE_KEY_JWT):
        for kind in subjects:
            told = registration_refused(token_endpoint_auth_method=method, **subjects)
            assert "subject" in told or kind in told or "x5c" in told
