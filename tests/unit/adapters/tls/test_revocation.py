"""Lists of revoked certificates: read again when they change; without a good one nobody of its authority is let in."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fapi_as.adapters.tls.client_trust import ClientTrust
from fapi_as.adapters.tls.watched_file import UnusableFile
from tests.support.certificates import EPOCH, Authority, Shown, ec_key, pem, usage

DAY: Final = 86_400
BROKEN: Final = "the revocation list of the authority is expired or broken"
REVOKED: Final = "the certificate is revoked"


class Place:
    """Two authorities below one root, and their file of lists."""

    def __init__(self, directory: Path) -> None:
        self.root = Authority("CN=Root")
        self.one, self.other = (Authority(f"CN={name}", issuer=self.root) for name in ("One", "Other"))
        self.crl_file = directory / "crl.pem"
        (directory / "ca.pem").write_bytes(pem(self.root.certificate))
        self.publish(self.one.crl())
        self.trust = ClientTrust.open(directory / "ca.pem", self.crl_file)

    def publish(self, *lists: bytes) -> None:
        self.crl_file.write_bytes(b"".join(lists))

    def judged(self, shown: Shown, *, now: int = EPOCH) -> str | None:
        return self.trust.refusal(shown.der, shown.chain, now)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_who_is_revoked_is_refused_as_soon_as_the_list_says_so(place: Place) -> None:
    shown, neighbour = place.one.issue(), place.one.issue()
    assert place.judged(shown) is None
    place.publish(place.one.crl(shown))
    assert place.judged(shown) == REVOKED
    assert place.judged(neighbour) is None
    place.publish(place.one.crl())
    assert place.judged(shown) is None


def test_an_authority_that_is_revoked_takes_its_clients_along(place: Place) -> None:
    shown = place.one.issue()
    place.publish(place.one.crl(), place.root.crl(place.one.certificate))
    assert place.judged(shown) == REVOKED
    assert place.judged(place.other.issue()) is None


def test_of_an_authority_without_a_list_nothing_is_asked(place: Place) -> None:
    assert place.judged(place.other.issue()) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"days": -0.5, "begins": -2},
        {"begins": 0.5},
        {"key": ec_key()},
        {"extension": x509.IssuingDistributionPoint(None, None, True, False, None, False, False)},
        {"extension": x509.DeltaCRLIndicator(1)},
    ],
    ids=["expired", "of tomorrow", "of another key", "a part", "a difference"],
)
def test_a_list_that_is_not_good_lets_nobody_of_its_authority_in(place: Place, changes: dict[str, Any]) -> None:
    place.publish(place.one.crl(**changes))
    assert place.judged(place.one.issue()) == BROKEN
    assert place.judged(place.other.issue()) is None


@pytest.mark.parametrize("algorithm", ["2a8648ce3d040301", "2a8648ce3d04037f"], ids=["SHA-224", "unknown"])
def test_a_list_over_a_weak_or_unknown_algorithm_is_not_good(place: Place, algorithm: str) -> None:
    strong = bytes.fromhex("2a8648ce3d040302")
    der = x509.load_pem_x509_crl(place.one.crl()).public_bytes(Encoding.DER)
    text = base64.encodebytes(der.replace(strong, bytes.fromhex(algorithm)))
    place.publish(b"-----BEGIN X509 CRL-----\n" + text + b"-----END X509 CRL-----\n")
    assert place.judged(place.one.issue()) == BROKEN
    assert place.judged(place.other.issue()) is None


def test_an_authority_whose_name_nobody_can_compare_is_covered_by_every_list(place: Place) -> None:
    odd = Authority(hidden("Odd\u200b"), issuer=place.root)
    assert place.judged(odd.issue()) == BROKEN


def hidden(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def test_a_list_ends_while_its_clients_are_known(place: Place) -> None:
    shown = place.one.issue()
    assert place.judged(shown) is None
    assert place.judged(shown, now=EPOCH + DAY - 1) is None
    assert place.judged(shown, now=EPOCH + DAY) == BROKEN


def test_one_good_list_beside_an_expired_one_is_enough(place: Place) -> None:
    shown = place.one.issue()
    place.publish(place.one.crl(days=-0.5, begins=-2), place.one.crl())
    assert place.judged(shown) is None
    place.publish(place.one.crl(), place.one.crl(shown))
    assert place.judged(shown) == REVOKED


def test_an_authority_that_may_not_revoke_revokes_nobody(place: Place) -> None:
    mute = Authority("CN=Mute", issuer=place.root, usage=usage(key_cert_sign=True))
    place.publish(mute.crl())
    assert place.judged(mute.issue()) == BROKEN


def test_a_list_in_the_name_of_an_authority_is_no_list_of_it(place: Place) -> None:
    """Nobody is revoked by it and nobody gets in: the file is the operator's, and something is wrong with it."""
    rogue = Authority("CN=one")  # names are compared as names
    place.publish(rogue.crl(place.one.issue()))
    assert place.judged(place.one.issue()) == BROKEN


@pytest.mark.parametrize(
    "content",
    [b"", b"nothing", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", b"-----BEGIN X509 CRL-----\n"],
)
def test_while_the_file_is_broken_nobody_is_trusted(place: Place, content: bytes) -> None:
    good = place.one.crl()
    for broken in (content, good + content if content.startswith(b"-----") else content):
        place.publish(broken)
        for shown in (place.one.issue(), place.other.issue()):
            assert "revocation list" in (place.judged(shown) or "")
        with pytest.raises(UnusableFile, match="revocation list"):
            ClientTrust.open(place.crl_file.parent / "ca.pem", place.crl_file)
    place.crl_file.unlink()
    assert "cannot be read" in (place.judged(place.other.issue()) or "")
    place.publish(good)
    assert place.judged(place.one.issue()) is None
