"""The second address: where it is when nothing is said, and what two addresses may not have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from fapi_as.settings import ConfigurationError, Settings, load

MINIMAL = '[server]\nissuer = "https://as.example:8443"\n'


def loaded(directory: Path, text: str, **environ: str) -> Settings:
    path = directory / "fapi-as.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, {f"FAPI_AS__MTLS__{name.upper()}": value for name, value in environ.items()})


def test_the_second_address_is_like_the_first_with_another_port(tmp_path: Path) -> None:
    settings = loaded(tmp_path, f'{MINIMAL}host = "0.0.0.0"\ncertificate_file = "a.pem"\nprivate_key_file = "a.key"\n')
    mtls = settings.mtls
    assert (mtls.enabled, mtls.host, mtls.port) == (True, "0.0.0.0", 8444)
    assert (mtls.certificate_file, mtls.private_key_file) == (tmp_path / "a.pem", tmp_path / "a.key")
    assert settings.mutual_tls_url == "https://as.example:8444"
    assert settings.policy().mutual_tls_url == "https://as.example:8444"


def test_what_is_said_of_it_holds(tmp_path: Path) -> None:
    text = '[mtls]\nhost = "127.0.0.2"\nport = 9444\ncertificate_file = "b.pem"\nprivate_key_file = "b.key"\n'
    settings = loaded(tmp_path, f'{MINIMAL}certificate_file = "a.pem"\nprivate_key_file = "a.key"\n{text}')
    mtls = settings.mtls
    assert (mtls.host, mtls.port, settings.mutual_tls_url) == ("127.0.0.2", 9444, "https://as.example:9444")
    assert (mtls.certificate_file, mtls.private_key_file) == (tmp_path / "b.pem", tmp_path / "b.key")


def test_the_environment_has_the_last_word(tmp_path: Path) -> None:
    settings = loaded(tmp_path, f"{MINIMAL}[mtls]\nport = 9444\n", port="9445", url="https://mtls.as.example")
    assert (settings.mtls.port, settings.mutual_tls_url) == (9445, "https://mtls.as.example")


@pytest.mark.parametrize(
    ("issuer", "port", "url"),
    [
        ("https://as.example:8443", 443, "https://as.example"),
        ("https://as.example", 8444, "https://as.example:8444"),
        ("https://[2001:db8::1]:8443", 8444, "https://[2001:db8::1]:8444"),
    ],
)
def test_its_name_is_an_origin_as_an_issuer_is(tmp_path: Path, issuer: str, port: int, url: str) -> None:
    assert loaded(tmp_path, f'[server]\nissuer = "{issuer}"\n[mtls]\nport = {port}\n').mutual_tls_url == url


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    settings = loaded(tmp_path, f"{MINIMAL}[mtls]\nport = 8443\n", enabled="false")
    assert settings.mutual_tls_url is None
    assert settings.policy().mutual_tls_url is None


def test_workers_get_what_the_parent_has_read(tmp_path: Path) -> None:
    settings = loaded(tmp_path, f'{MINIMAL}host = "::1"\n[mtls]\nurl = "https://mtls.as.example"\n')
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("port = 8443\n", "mtls.port is 8443 as server.port is: clients with certificates need one of their own"),
        ('url = "https://as.example:8443"\n', "mtls.url is the issuer: browsers would be asked for certificates there"),
        ('url = "http://as.example:8444"\n', "mtls.url must begin with https:// (RFC 8414, section 2)"),
        ('url = "https://as.example:8444/"\n', "mtls.url must not end with a slash"),
        ("port = 0\n", "mtls.port is 0 and must be 1 to 65535"),
        ('host = "no host"\n', "mtls.host must be an IP address or a host name"),
        ('certificate_file = "b.pem"\n', "mtls.certificate_file and mtls.private_key_file are set together"),
        ('private_key_file = "b.key"\n', "mtls.certificate_file and mtls.private_key_file are set together"),
        ("enabled = 1\n", "mtls.enabled must be true or false"),
        ("prot = 8444\n", "mtls.prot is not a setting; did you mean mtls.port?"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_by_name(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, f"{MINIMAL}[mtls]\n{text}")
    assert str(caught.value).startswith(sentence)
