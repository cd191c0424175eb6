"""An operator's files as a rule of trust, and the files that make none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fapi_as.adapters.tls.proxy_trust import read_proxy_trust
from rs_kit.testing import new_certificate

NETWORKS = ["10.1.0.0/16"]
SECRET = "what-the-proxy-knows-and-nobody-else-does"


def kept(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_no_proxy_is_no_rule() -> None:
    assert read_proxy_trust(networks=[], certificates_file=None, secret_file=None) is None


def test_a_secret_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    for text in (SECRET, SECRET + "\n"):
        file = kept(tmp_path / "secret", text)
        trust = read_proxy_trust(networks=NETWORKS, certificates_file=None, secret_file=file)
        assert trust is not None
        assert (trust.secret, tuple(trust.networks), tuple(trust.certificates)) == (
            SECRET.encode(),
            ("10.1.0.0/16",),
            (),
        )


def test_every_certificate_of_the_file_may_be_shown(tmp_path: Path) -> None:
    old, new = new_certificate("proxy"), new_certificate("proxy")
    file = kept(tmp_path / "proxy.pem", old.pem + new.pem, 0o644)
    trust = read_proxy_trust(networks=NETWORKS, certificates_file=file, secret_file=None)
    assert trust is not None
    assert (trust.secret, tuple(trust.certificates)) == (None, (old.thumbprint, new.thumbprint))


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "networks alone": ({"networks": NETWORKS}, "no proof"),
    "a secret alone": ({"secret": SECRET}, "networks"),
    "certificates alone": ({"certificate": True}, "networks"),
    "everybody": ({"networks": ["0.0.0.0/0"], "secret": SECRET}, "everybody"),
    "a short secret": ({"networks": NETWORKS, "secret": "short"}, "32 bytes"),
    "an open secret": ({"networks": NETWORKS, "secret": SECRET, "mode": 0o644}, "0600"),
    "no certificates in the file": ({"networks": NETWORKS, "certificate": "PEM"}, "no PEM"),
}


@pytest.mark.parametrize(("case", "why"), BROKEN.values(), ids=BROKEN)
def test_files_that_make_no_rule_are_refused(tmp_path: Path, case: dict[str, Any], why: str) -> None:
    secret = kept(tmp_path / "secret", case["secret"], case.get("mode", 0o600)) if "secret" in case else None
    shown = case.get("certificate")
    pem = new_certificate().pem if shown is True else shown
    certificates = kept(tmp_path / "proxy.pem", pem) if pem is not None else None
    with pytest.raises(ValueError, match=why):
        read_proxy_trust(networks=case.get("networks", []), certificates_file=certificates, secret_file=secret)


def test_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    for files in ({"secret_file": tmp_path / "x"}, {"certificates_file": tmp_path / "x"}):
        with pytest.raises(ValueError, match="does not exist"):
            read_proxy_trust(networks=NETWORKS, **{"certificates_file": None, "secret_file": None, **files})
