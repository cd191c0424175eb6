"""Who may tell what certificate a client has shown: the files of an operator as a rule of trust."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from rs_kit.adapters.proxied_certificate import ProxyTrust
from rs_kit.protocol.confirmation import certificate_thumbprint

__all__ = ["ProxyTrust", "read_proxy_trust"]


def read_proxy_trust(
    *, networks: Sequence[str], certificates_file: Path | None, secret_file: Path | None
) -> ProxyTrust | None:
    """The rule; None where no proxy is named.

    Args:
        networks: addresses of the proxy in CIDR form.
        certificates_file: PEM; each certificate that the proxy shows us, during a change the old and the new one.
        secret_file: what the proxy adds to each request, as it stands in the first line.

    Raises:
        ValueError: the rule would let others in, or a file cannot be used.
    """
    if not networks and certificates_file is None and secret_file is None:
        return None
    return ProxyTrust(
        networks=tuple(networks),
        certificates=() if certificates_file is None else _thumbprints(certificates_file),
        secret=None if secret_file is None else _secret(secret_file),
    )


def _thumbprints(path: Path) -> tuple[str, ...]:
    try:
        made = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        raise ValueError(f"{path} does not exist or holds no PEM certificates") from None
    return tuple(certificate_thumbprint(certificate.public_bytes(Encoding.DER)) for certificate in made)


def _secret(path: Path) -> bytes:
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ValueError(f"{path} can be read by others, set its mode to 0600")
        return path.read_bytes().removesuffix(b"\n")
    except OSError:
        raise ValueError(f"{path} does not exist or cannot be read") from None
