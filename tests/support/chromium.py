"""A headless Chromium driven from Node: what it needs, or why it cannot be had, and one visit."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.processes import ROOT

MODULES: Final = ROOT / "build" / "browser"
SCREENS: Final = ROOT / "build" / "screens"
_SOURCES: Final = ROOT / "tests" / "browser"
_VISIT_SECONDS: Final = 180
_INSTALL_SECONDS: Final = 300
_OLDEST_NODE: Final = 18


class NoChromium(Exception):
    """One sentence that says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chromium:
    """What a visit is made with."""

    chromium: str
    node: str


def found() -> Chromium:
    """Find the programs and install the two packages that drive them, as the lock file has them.

    Raises:
        NoChromium: something is missing.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    node, npm = shutil.which("node"), shutil.which("npm")
    if chromium is None or node is None or npm is None:
        raise NoChromium("no chromium, node and npm; on Debian: apt-get install chromium nodejs npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    if int(version.removeprefix("v").partition(".")[0]) < _OLDEST_NODE:
        raise NoChromium(f"Node {_OLDEST_NODE} or later is needed, this is {version.strip()}")
    _install(npm)
    return Chromium(chromium=chromium, node=node)


def _install(npm: str) -> None:
    lock = (_SOURCES / "package-lock.json").read_bytes()
    installed = MODULES / "installed"
    if installed.is_file() and installed.read_text() == hashlib.sha256(lock).hexdigest():
        return
    MODULES.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_SOURCES / name, MODULES / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=MODULES, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS)
    if done.returncode != 0:
        raise NoChromium(f"npm ci failed: {done.stderr.strip()[-300:]}")
    installed.write_text(hashlib.sha256(lock).hexdigest())


def key_digest(certificate: Path) -> str:
    """The digest by which Chromium knows the key of a certificate."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    return base64.b64encode(
        hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    ).decode()


def visit(with_what: Chromium, scratch: Path, **told: Any) -> dict[str, Any]:
    """Run the visit of tests/browser/visit.mjs and give what was seen."""
    shutil.rmtree(SCREENS, ignore_errors=True)
    SCREENS.mkdir(parents=True)
    told |= {
        "chromium": with_what.chromium,
        "modules": str(MODULES),
        "screens": str(SCREENS),
        "profiles": str(scratch / "profiles"),
    }
    done = subprocess.run(
        [with_what.node, str(_SOURCES / "visit.mjs")],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        check=False,
        timeout=_VISIT_SECONDS,
        env={**os.environ, "HOME": str(scratch)},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen
