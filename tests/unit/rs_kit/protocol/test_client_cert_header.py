"""RFC 9440 as we read it: one form of each field, and everything else is refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_kit.protocol.client_cert_header import (
    CERTIFICATE_LIMIT,
    CHAIN_LIMIT,
    ClientCertificate,
    client_certificate,
    may_forge_certificate,
)
from rs_kit.protocol.errors import InvalidRequest

# RFC 9440 appendix A: the certificate of the example, and the one of the intermediate authority that issued it
EXAMPLE = (
    b":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVk"
    b"aWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnX"
    b"XfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSME"
    b"GDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4"
    b"YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmu"
    b"ydBVoU4hBVZ1yhk=:"
)


def der(content: bytes) -> bytes:
    """A sequence of this content, as an encoder writes it."""
    length = len(content)
    head = bytes([length]) if length < 0x80 else None
    if head is None:
        octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
        head = bytes([0x80 | len(octets)]) + octets
    return b"\x30" + head + content


def item(octets: bytes) -> bytes:
    return b":" + base64.b64encode(octets) + b":"


LEAF, FIRST, SECOND = der(b"leaf"), der(b"a" * 130), der(b"b" * 300)


def test_the_example_of_the_rfc_is_read() -> None:
    found = client_certificate(((b"host", b"x"), (b"client-cert", EXAMPLE)))
    assert found is not None
    assert (len(found.leaf), found.chain) == (428, ())
    assert item(found.leaf) == EXAMPLE


def test_a_chain_is_read_in_its_order() -> None:
    chain = item(FIRST) + b" ,\t" + item(SECOND) + b"," + item(LEAF)
    headers = ((b"client-cert-chain", chain), (b"client-cert", b" " + item(LEAF) + b" "))
    assert client_certificate(headers) == ClientCertificate(LEAF, (FIRST, SECOND, LEAF))


def test_without_the_field_there_is_no_certificate() -> None:
    assert client_certificate(((b"x-client-cert", item(LEAF)), (b"client_cert", item(LEAF)))) is None


MALFORMED = {
    "empty": b"",
    "no colons": base64.b64encode(LEAF),
    "one colon": b":",
    "no end": item(LEAF)[:-1],
    "no beginning": item(LEAF)[1:],
    "nothing between": b"::",
    "a parameter": item(LEAF) + b";a=1",
    "a string": b'"' + base64.b64encode(LEAF) + b'"',
    "without padding": item(der(b"ab")).replace(b"=", b""),
    "too much padding": item(LEAF).replace(b"=", b"", 1)[:-1] + b"==:",
    "bits that are not zero": b":MABC:".replace(b"C:", b"D=:"),
    "the alphabet of URLs": item(der(b"\xfb\xff" * 9)).replace(b"+", b"-").replace(b"/", b"_"),
    "a space": item(LEAF)[:5] + b" " + item(LEAF)[5:],
    "a line break": item(LEAF)[:5] + b"\n" + item(LEAF)[5:],
    "PEM": b"-----BEGIN CERTIFICATE----- " + base64.b64encode(LEAF) + b" -----END CERTIFICATE-----",
    "percent encoding": b"%3A" + base64.b64encode(LEAF) + b"%3A",
    "not ASCII": item(LEAF)[:-1] + b"\xc3\xa9:",
    "another tag": item(b"\x31" + LEAF[1:]),
    "one byte": item(b"\x30"),
    "cut": item(LEAF[:-1]),
    "something after it": item(LEAF + b"\x00"),
    "two of them": item(LEAF + LEAF),
    "an indefinite length": item(b"\x30\x80" + b"abc" + b"\x00\x00"),
    "a length of more bytes than needed": item(b"\x30\x81\x04leaf"),
    "a long length of more bytes than needed": item(b"\x30\x82\x00\x82" + b"a" * 130),
    "a length of three bytes": item(b"\x30\x83\x01\x00\x00" + b"a" * 65536),
    "too long": item(der(b"a" * CERTIFICATE_LIMIT)),
}


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED)
def test_any_other_form_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidRequest):
        client_certificate(((b"client-cert", value),))
    with pytest.raises(InvalidRequest):
        client_certificate(((b"client-cert", item(LEAF)), (b"client-cert-chain", value + b"," + item(FIRST))))


@pytest.mark.parametrize(
    "chain", [b"", b",", item(FIRST) + b",", b"," + item(FIRST), item(FIRST) + b",," + item(SECOND)]
)
def test_a_chain_with_a_gap_is_refused(chain: bytes) -> None:
    with pytest.raises(InvalidRequest):
        client_certificate(((b"client-cert", item(LEAF)), (b"client-cert-chain", chain)))


def test_blanks_without_an_end_cost_no_more_than_other_bytes() -> None:
    chain = b"x" + b" " * 500_000 + b"y"  # a pattern that looks for a comma behind them would take minutes
    with pytest.raises(InvalidRequest):
        client_certificate(((b"client-cert", item(LEAF)), (b"client-cert-chain", chain)))


def test_a_chain_is_as_long_as_it_may_be() -> None:
    for length in (CHAIN_LIMIT, CHAIN_LIMIT + 1):
        headers = ((b"client-cert", item(LEAF)), (b"client-cert-chain", b", ".join([item(FIRST)] * length)))
        if length == CHAIN_LIMIT:
            found = client_certificate(headers)
            assert found is not None
            assert len(found.chain) == CHAIN_LIMIT
        else:
            with pytest.raises(InvalidRequest):
                client_certificate(headers)


@pytest.mark.parametrize(
    "names",
    [("client-cert", "client-cert"), ("client-cert", "client-cert-chain", "client-cert-chain"), ("client-cert-chain",)],
    ids=str,
)
def test_a_field_that_is_repeated_and_a_chain_of_nobody_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest):
        client_certificate(tuple((name.encode(), item(LEAF)) for name in names))


@settings(deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda content: item(der(content))))
def test_what_is_read_is_written_the_same_way(value: bytes) -> None:
    try:
        found = client_certificate(((b"client-cert", value),))
    except InvalidRequest:
        return
    assert found is not None
    assert item(found.leaf) == value.strip(b" ")


FORGED = [
    *("client-cert", "client-cert-chain", "Client_Cert", "X-SSL-Cert", "X-SSL-Client-Cert", "X_SSL_CLIENT_CERT"),
    *("SSL_CLIENT_CERT", "ssl-client-cert", "ssl-client-verify", "ssl-client-subject-dn", "SSL_CLIENT_S_DN"),
    *("X-Client-Cert", "X-Client-Certificate", "X-Client-Cert-Hash", "X-ClientCert", "X-ARR-ClientCert"),
    *("X-Forwarded-Client-Cert", "X-Forwarded-Client-Cert-Chain", "X-Forwarded-Tls-Client-Cert"),
    *("X-Forwarded-Tls-Client-Cert-Info", "X-Amzn-Mtls-Clientcert", "X-Amzn-Mtls-Clientcert-Leaf"),
    *("CF-Client-Cert-DER-Base64", "X-TLS-Client-Certificate", "TLS-Client-Cert", "X-SSL-Client-Verify"),
]


@pytest.mark.parametrize("name", FORGED)
def test_the_names_under_which_gateways_tell_certificates_are_known(name: str) -> None:
    assert may_forge_certificate(name.lower().encode())


@pytest.mark.parametrize(
    "name", ["client", "certificate", "x-client-version", "x-forwarded-for", "dpop", "authorization"]
)
def test_other_names_are_left_alone(name: str) -> None:
    assert not may_forge_certificate(name.encode())
