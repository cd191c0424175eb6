"""TLS as an agent speaks it: 1.2 with four suites, or 1.3, and certificates that are checked."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

_SUITES: Final = "ECDHE+AESGCM"  # the four that RFC 9325 §4.2 recommends for TLS 1.2


def trust(authority: Path | str | None = None) -> ssl.SSLContext:
    """What an agent's HTTP clients take as `verify` (FAPI 2.0 §5.2.2).

    Args:
        authority: a file with the only certificates to trust; the machine's own when it is None.

    Raises:
        OSError: the file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context(cafile=authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)  # FAPI2-NET-5
    return context
