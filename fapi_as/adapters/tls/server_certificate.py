"""The server's own certificate, judged at start by the code that will show it."""

from __future__ import annotations

import stat
from pathlib import Path

from rs_kit.adapters.listener.tls import TlsContext, UnusableCertificate


def refusal(section: str, certificate_file: Path, private_key_file: Path) -> str | None:
    """Why the pair that a section of the configuration names cannot be served with, as a sentence; or None."""
    for name, path in (("certificate_file", certificate_file), ("private_key_file", private_key_file)):
        if not path.is_file():
            return f"{section}.{name} {path} does not exist"
    if stat.S_IMODE(private_key_file.stat().st_mode) & 0o077:
        return f"{section}.private_key_file {private_key_file} can be read by others, set its mode to 0600"
    try:
        TlsContext(str(certificate_file), str(private_key_file))
    except (UnusableCertificate, OSError):
        return (
            f"{section}.certificate_file {certificate_file} and {section}.private_key_file are no PEM files, "
            "do not belong together, or the key is encrypted"
        )
    return None
