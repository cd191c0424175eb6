"""The certificate that the caller of this connection has shown, as ASGI scopes tell it.

Our listener leaves DER in `scope["state"]`; servers with the ASGI TLS extension tell a chain in PEM, the leaf first.
Both say that the handshake proved the key, and nothing of the chain, which a resource server need not judge (RFC 8705
§3).
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

from rs_kit.protocol.errors import InvalidToken

PEER_CERTIFICATE: Final = "peer_certificate"  # in scope["state"]: DER of the leaf
PEER_CHAIN: Final = "peer_chain"  # in scope["state"]: DER of what else the peer sent
MUTUAL_TLS: Final = "mutual_tls"  # in scope["state"]: True where certificates are asked for
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"


def peer_certificate(scope: MutableMapping[str, Any]) -> bytes | None:
    """DER of the caller's certificate; None where there is none.

    Raises:
        InvalidToken: the listener and the extension do not say the same, or the extension tells no PEM.
    """
    told = (scope.get("state") or {}).get(PEER_CERTIFICATE)
    left = told if isinstance(told, bytes) else None
    extension = (scope.get("extensions") or {}).get("tls")
    if extension is None:
        return left
    shown = _leaf(extension)
    if left is not None and left != shown:
        raise InvalidToken("the client certificate: the listener and the TLS extension differ")
    return shown


def _leaf(extension: Mapping[str, Any]) -> bytes | None:
    chain: Iterable[object] = extension.get("client_cert_chain") or ()
    for first in chain:
        return _der(first)
    return None


def _der(pem: object) -> bytes:
    lines = pem.split() if isinstance(pem, str) else []
    text = "".join(lines[2:-2])
    if " ".join(lines[:2] + lines[-2:]) != f"{_BEGIN} {_END}":
        raise InvalidToken("the client certificate: the TLS extension tells no PEM")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise InvalidToken("the client certificate: the TLS extension tells no PEM") from None
