"""Certificates for a laptop: real dates, one authority, renewed when it is time and not before."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from fapi_as.adapters.tls.dev_certificates import LIFETIME, DevCertificates, ensure_dev_certificates

NOW = 1_800_000_000
DAY = 86_400


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DevCertificates]:
    directory = tmp_path_factory.mktemp("certs")
    return directory, ensure_dev_certificates(directory, NOW)


@pytest.fixture
def made(_made: tuple[Path, DevCertificates], tmp_path: Path) -> DevCertificates:
    """A fresh copy of one set, since keys take a moment to make."""
    for path in _made[0].iterdir():
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
        copy.chmod(path.stat().st_mode)
    again = ensure_dev_certificates(tmp_path, NOW)
    assert not again.renewed
    return again


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_every_certificate_has_a_real_end(made: DevCertificates) -> None:
    end = datetime.fromtimestamp(NOW, UTC) + LIFETIME
    files = [made.authorization_server, made.mcp_server, made.agent, made.other_agent]
    for path in (made.authority, *(file.certificate for file in files)):
        assert _certificate(path).not_valid_after_utc == end
        assert _certificate(path).not_valid_before_utc < datetime.fromtimestamp(NOW, UTC)
    assert made.expires_at == end


def test_servers_have_p256_keys_and_the_names_of_this_device(made: DevCertificates) -> None:
    for files in (made.authorization_server, made.mcp_server):
        certificate = _certificate(files.certificate)
        assert isinstance(certificate.public_key(), EllipticCurvePublicKey)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {str(name.value) for name in names} == {"localhost", "127.0.0.1", "::1"}


def test_the_keys_are_for_their_owner_only_and_fit_their_certificates(made: DevCertificates) -> None:
    for files in (made.authorization_server, made.mcp_server, made.agent, made.other_agent):
        assert stat.S_IMODE(files.private_key.stat().st_mode) == 0o600
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.private_key)


def test_the_key_of_the_authority_is_not_kept(made: DevCertificates) -> None:
    assert not list(made.authority.parent.glob("ca*.key"))
    assert len(list(made.authority.parent.glob("*.key"))) == 4


def test_a_good_set_is_kept_until_its_last_two_weeks(made: DevCertificates) -> None:
    directory, before = made.authority.parent, made.authority.read_bytes()
    assert not ensure_dev_certificates(directory, NOW + 75 * DAY).renewed
    assert made.authority.read_bytes() == before
    later = ensure_dev_certificates(directory, NOW + 77 * DAY)
    assert later.renewed
    assert later.expires_at == datetime.fromtimestamp(NOW + 77 * DAY, UTC) + LIFETIME


@pytest.mark.parametrize("spoilt", ["missing", "open to others", "of another certificate", "no key"])
def test_a_spoilt_set_is_written_again(made: DevCertificates, spoilt: str) -> None:
    key = made.mcp_server.private_key
    if spoilt == "missing":
        made.agent.certificate.unlink()
    elif spoilt == "open to others":
        key.chmod(0o644)
    elif spoilt == "of another certificate":
        key.write_bytes(made.authorization_server.private_key.read_bytes())
    else:
        key.write_text("nothing")
    again = ensure_dev_certificates(made.authority.parent, NOW)
    assert again.renewed
    assert not ensure_dev_certificates(made.authority.parent, NOW).renewed


def test_a_certificate_of_another_authority_is_not_part_of_the_set(made: DevCertificates, tmp_path: Path) -> None:
    other = ensure_dev_certificates(tmp_path / "other", NOW)
    for name in ("certificate", "private_key"):
        getattr(made.agent, name).write_bytes(getattr(other.agent, name).read_bytes())
    assert ensure_dev_certificates(made.authority.parent, NOW).renewed
