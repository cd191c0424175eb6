"""Whom a server trusts to certify its clients: told by the configuration, looked at before anything is served."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fapi_as import bootstrap
from fapi_as.adapters.entropy import SystemEntropy
from fapi_as.adapters.keys import write_sealing_key
from fapi_as.adapters.tls.client_trust import ClientTrust, NoTrust
from fapi_as.adapters.tls.dev_certificates import ensure_dev_certificates
from fapi_as.protocol.audit_events import Stamp
from fapi_as.settings import ConfigurationError, Settings, load
from tests.support.certificates import EPOCH, Authority, pem, self_signed
from tests.support.fakes import NOW

STAMP = Stamp(at=NOW, correlation_id="start", endpoint="fapi-as serve", source="uid:0")
CA = 'client_ca_file = "client-ca.pem"\n'
CRL = 'client_crl_file = "client-crl.pem"\n'


@pytest.fixture
def place(tmp_path: Path, certificates: Path) -> Path:
    for name in ("authorization-server.pem", "authorization-server.key"):
        shutil.copy(certificates / name, tmp_path)
    write_sealing_key(tmp_path / "sealing.key", SystemEntropy())
    authority = Authority("CN=Clients")
    (tmp_path / "client-ca.pem").write_bytes(pem(authority.certificate))
    (tmp_path / "client-crl.pem").write_bytes(authority.crl())
    return tmp_path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_dev_certificates(tmp_path_factory.mktemp("certificates"), NOW).authority.parent


def loaded(place: Path, mtls: str) -> Settings:
    (place / "fapi-as.toml").write_text(f'[server]\nissuer = "https://as.example"\n[mtls]\n{mtls}', encoding="utf-8")
    return load(place / "fapi-as.toml", {})


@pytest.mark.parametrize(
    ("mtls", "trusts", "told"),
    [
        ("", NoTrust, False),
        (CA, ClientTrust, True),
        (CA + CRL, ClientTrust, True),
        ("enabled = false\n" + CA, NoTrust, False),
    ],
    ids=["nobody", "authorities", "and what they revoked", "no address"],
)
def test_who_is_trusted_is_what_the_configuration_says(place: Path, mtls: str, trusts: type, told: bool) -> None:
    settings = loaded(place, mtls)
    assert isinstance(bootstrap._client_trust(settings.mtls), trusts)
    assert settings.policy().client_authorities is told
    bootstrap.inspect(settings)


def test_a_list_without_authorities_is_a_mistake(place: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"mtls\.client_crl_file is set and mtls\.client_ca_file is not"):
        loaded(place, CRL)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("client-ca.pem", None, "cannot be read"),
        ("client-ca.pem", b"", "must hold certificates of authorities in PEM"),
        ("client-ca.pem", pem(self_signed(now=EPOCH).certificate), "may not certify clients"),
        ("client-crl.pem", None, "cannot be read"),
        ("client-crl.pem", b"-----BEGIN X509 CRL-----\nAA==\n-----END X509 CRL-----\n", "is not readable"),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start(
    place: Path, name: str, content: bytes | None, sentence: str
) -> None:
    if content is None:
        (place / name).unlink()
    else:
        (place / name).write_bytes(content)
    settings = loaded(place, CA + CRL)
    for look in (bootstrap.inspect, lambda settings: bootstrap.prepare(settings, STAMP)):
        with pytest.raises(ConfigurationError, match=f"{name}.*{sentence}"):
            look(settings)
    assert not (place / "fapi-as.db").exists()
