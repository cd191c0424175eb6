"""Any octets that an authority signed give a judgement about a certificate, never a defect."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from fapi_as.adapters.tls.client_trust import ClientTrust
from fapi_as.protocol.client_certificate import (
    CertificateSubject,
    SubjectKind,
    UnreadableCertificate,
    read,
    registered_refusal,
    subject_refusal,
)
from tests.properties.test_parsers import EDITS, edited
from tests.support.certificates import EPOCH, Authority, pem, resigned_der, sans

ROOT: Final = Authority("CN=Root,O=X,C=GB")
POINTS: Final = x509.CRLDistributionPoints(
    [x509.DistributionPoint([x509.UniformResourceIdentifier("http://127.0.0.1/x")], None, None, None)]
)
LEAF: Final = ROOT.issue(
    "CN=bank+UID=7,O=Bank,C=GB",
    san=sans(dns=["a.example"], uri=["https://a/"], ip=["::1"], email=["a@b.example"]),
    extensions=[
        (POINTS, False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ROOT.key.public_key()), False),  # type: ignore[arg-type]
        (x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)]), False),
    ],
)
BELOW: Final = Authority(
    "CN=Below", issuer=ROOT, extensions=[(x509.NameConstraints([x509.DNSName("example")], None), True)]
)
OF_BELOW: Final = BELOW.issue("CN=low", san=sans(dns=["a.example"]))
SUBJECTS: Final = [
    CertificateSubject(kind=kind, value=value)
    for kind, value in zip(
        SubjectKind, ["CN=bank+UID=7,O=Bank,C=GB", "a.example", "https://a/", "::1", "a@b.example"], strict=True
    )
]
# what cryptography reports of a serial number, beside refusing or reading it
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> ClientTrust:
    directory: Path = tmp_path_factory.mktemp("trust")
    (directory / "ca.pem").write_bytes(pem(ROOT.certificate))
    (directory / "crl.pem").write_bytes(ROOT.crl())
    return ClientTrust.open(directory / "ca.pem", directory / "crl.pem")


@settings(max_examples=300, deadline=None)
@given(edits=EDITS)
def test_a_certificate_with_other_octets_is_judged(trust: ClientTrust, edits: list[tuple[int, int, bytes]]) -> None:
    der = resigned_der(LEAF, partial(edited, edits=edits), ROOT)
    assert isinstance(trust.refusal(der, (), EPOCH), str | None)
    for subject in SUBJECTS:
        assert isinstance(subject_refusal(subject, der), str | None)
    assert isinstance(registered_refusal(der, [der], EPOCH), str | None)


@settings(max_examples=150, deadline=None)
@given(edits=EDITS)
def test_a_chain_with_other_octets_is_judged(trust: ClientTrust, edits: list[tuple[int, int, bytes]]) -> None:
    above = resigned_der(BELOW.shown, partial(edited, edits=edits), ROOT)
    assert isinstance(trust.refusal(OF_BELOW.der, (above,), EPOCH), str | None)


@settings(max_examples=150, deadline=None)
@given(octets=st.binary(max_size=200) | st.builds(edited, st.just(LEAF.der), EDITS))
def test_any_octets_are_a_certificate_or_refused(octets: bytes) -> None:
    with contextlib.suppress(UnreadableCertificate):
        assert read(octets).serial_number > 0
