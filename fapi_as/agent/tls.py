"""TLS as an agent speaks it: 1.2 with four suites, or 1.3, and certificates that are checked."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import Final, TypeVar

_SUITES: Final = "ECDHE+AESGCM"  # the four that RFC 9325 §4.2 recommends for TLS 1.2
Context = TypeVar("Context", bound=ssl.SSLContext)


def trust(authority: Path | str | None = None) -> ssl.SSLContext:
    """What an agent's HTTP clients take as `verify` (FAPI 2.0 §5.2.2); `ClientCertificate.context` where it has one.

    Args:
        authority: a file with the only certificates to trust; the machine's own when it is None.

    Raises:
        OSError: the file cannot be read or holds no certificate.
    """
    return hardened(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), authority)


def hardened(context: Context, authority: Path | str | None) -> Context:
    """A client's context, with what it trusts and speaks.

    Raises:
        OSError: the file cannot be read or holds no certificate.
    """
    if sys.version_info >= (3, 13):  # as `ssl.create_default_context` does from then on
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    if authority is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cafile=authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)  # FAPI2-NET-5
    return context
