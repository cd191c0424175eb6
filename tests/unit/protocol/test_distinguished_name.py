"""Distinguished names: what RFC 4514 says in text is what a certificate says in DER, and nothing else is."""

from __future__ import annotations

import contextlib

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.client_certificate import CertificateSubject, SubjectKind, subject_refusal
from fapi_as.protocol.distinguished_name import InvalidName, of_subject, parse
from tests.support.certificate_scene import CN, COUNTRY, ORGANIZATION, STRINGS, name
from tests.support.certificates import self_signed

# what every text type may carry and nothing that is refused or folded into something else
_WORDS = st.text(st.characters(categories=("Lu", "Ll", "Nd", "Po", "Sm"), max_codepoint=0x2FF), min_size=1, max_size=12)
_TYPES = st.sampled_from([CN, ORGANIZATION, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.USER_ID, NameOID.LOCALITY_NAME])
_RDN = st.lists(st.tuples(_TYPES, _WORDS), min_size=1, max_size=3, unique_by=lambda pair: pair[0].dotted_string)
_NAMES = st.lists(_RDN, min_size=1, max_size=4)


@given(_NAMES)
def test_the_text_of_a_name_by_somebody_else_is_that_name(rdns: list[list[tuple[x509.ObjectIdentifier, str]]]) -> None:
    made = x509.Name(
        x509.RelativeDistinguishedName([x509.NameAttribute(oid, value) for oid, value in rdn]) for rdn in rdns
    )
    assert parse(made.rfc4514_string()) == of_subject(made)


@given(_NAMES)
def test_the_order_within_an_rdn_does_not_matter(rdns: list[list[tuple[x509.ObjectIdentifier, str]]]) -> None:
    shuffled = [list(reversed(rdn)) for rdn in rdns]
    texts = [
        ",".join("+".join(f"{oid.dotted_string}={_hex(value)}" for oid, value in rdn) for rdn in reversed(each))
        for each in (rdns, shuffled)
    ]
    assert parse(texts[0]) == parse(texts[1])


def _hex(value: str) -> str:
    return "".join(f"\\{octet:02x}" for octet in value.encode())


@given(st.text(max_size=60) | st.text('CNOUD=+,\\#;"<> 0a2.5', max_size=60))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidName):
        found = parse(text)
        assert found
        assert all(rdn and rdn == tuple(sorted(rdn)) for rdn in found)
        assert parse(text) == found


@pytest.mark.parametrize("value", ["Bank", "Bänk", "\u0431\u0430\u043d\u043a", "銀行"])
@pytest.mark.parametrize("kind", [STRINGS.UTF8String, STRINGS.BMPString, STRINGS.UniversalString])
def test_the_type_of_a_text_is_no_part_of_the_name(value: str, kind: object) -> None:
    assert of_subject(name([(CN, value, kind)])) == parse(f"CN={value}")


@pytest.mark.parametrize(
    ("hex_form", "text"),
    [("#0c0461626364", "abcd"), ("#130441424344", "abcd"), ("#1e080061006200630064", "abcd"), ("#1604 61626364", None)],
)
def test_a_value_in_hex_is_the_text_in_it(hex_form: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(InvalidName):
            parse(f"CN={hex_form}")
        return
    assert parse(f"CN={hex_form}") == parse(f"CN={text}")


def test_a_long_value_in_hex_has_a_long_length() -> None:
    value = "a" * 300
    assert parse(f"CN=#0c82012c{value.encode().hex()}") == parse(f"CN={value}")
    for length in ("8100", "8105", "820005", "80", "8401000000"):
        with pytest.raises(InvalidName):
            parse(f"CN=#0c{length}6162636465")


def test_octets_are_compared_as_octets() -> None:
    shown = x509.Name([x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\x00\xff", _type=STRINGS.BitString)])
    assert of_subject(shown) == parse("2.5.4.45=#030200ff")
    assert of_subject(shown) != parse("2.5.4.45=#030200fe")
    assert parse("CN=#0402 6162".replace(" ", "")) != parse("CN=ab")


def test_of_a_type_that_nobody_knows_the_value_is_compared_exactly() -> None:
    assert parse("1.2.3.4=Ab") == of_subject(name([(x509.ObjectIdentifier("1.2.3.4"), "Ab", STRINGS.UTF8String)]))
    assert parse("1.2.3.4=Ab") != parse("1.2.3.4=ab")
    assert parse("OID.2.5.4.3=Ab") == parse("cn=aB")


@pytest.mark.parametrize(
    "text", ["1.2.3.4=a\\00", "1.2.3.4=\\e2\\80\\8b", "CN=a\\00", "1.2.3.4=", "CN=\\a", "CN=\\a 0", "CN=#0c01 61"]
)
def test_what_nobody_sees_is_in_no_value_of_any_type(text: str) -> None:
    with pytest.raises(InvalidName):
        parse(text)


def test_homographs_are_other_names() -> None:
    assert parse("CN=bank") != parse("CN=b\u0430nk")  # a Cyrillic letter
    bank = name([(COUNTRY, "gb", STRINGS.PrintableString)], [(CN, "BANK", STRINGS.UTF8String)])
    assert parse("CN=Bank,C=GB") == of_subject(bank)


def test_types_may_have_any_of_their_names() -> None:
    """As OpenSSL, Java and the registers of banks write them."""
    written = (
        "jurisdictionC=GB,jurisdictionST=x,jurisdictionL=y,serialNumber=7,EMAILADDRESS=a@b.example,userId=u,DC=com"
    )
    dotted = (
        "1.3.6.1.4.1.311.60.2.1.3=GB,1.3.6.1.4.1.311.60.2.1.2=x,1.3.6.1.4.1.311.60.2.1.1=y,2.5.4.5=7,"
        "1.2.840.113549.1.9.1=a@b.example,0.9.2342.19200300.100.1.1=u,0.9.2342.19200300.100.1.25=com"
    )
    assert parse(written) == parse(dotted)
    assert parse("organizationIdentifier=PSDGB-FCA-1,businessCategory=Private,ST=z") == parse(
        "2.5.4.97=psdgb-fca-1,2.5.4.15=private,stateOrProvinceName=Z"
    )


def test_a_country_that_is_none_is_compared_and_nothing_is_printed_about_it() -> None:
    with pytest.warns(UserWarning, match="length"):  # of who makes it
        shown = self_signed(x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "USA", _validate=False)]))
    assert subject_refusal(CertificateSubject(kind=SubjectKind.DN, value="C=usa"), shown.der) is None
