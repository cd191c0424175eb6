"""The certificate that an agent shows to servers that ask for one, from files that may be renewed while it runs."""

from __future__ import annotations

import hashlib
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fapi_as.agent.errors import Misconfigured
from fapi_as.agent.tls import hardened
from rs_kit.protocol import base64url

if TYPE_CHECKING:
    from collections.abc import Callable

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override  # httpx2 brings it to the Pythons that need it

_END: Final = "-----END CERTIFICATE-----"
_LOOKS: Final = 3  # at files that change while they are read
_SIZE_LIMIT: Final = 262_144  # bytes of a chain

Stamp = tuple[tuple[int, int, int], ...]


class ClientCertificate:
    """A certificate with its key, and the TLS context that shows it: what HTTP clients take as `verify`.

    Files that were renewed count from the next connection on, without a restart. One that cannot be read, or whose key
    has not arrived yet, leaves the last good pair in place.

    Args:
        certificate: a PEM file with the certificate and, after it, what leads to its authority.
        private_key: a PEM file with its key, not encrypted; None when it is in the same file.
        authority: as for `trust`.

    Raises:
        Misconfigured: the files are no certificate with its key.
        OSError: the authority's file cannot be read or holds no certificate.
    """

    def __init__(
        self, certificate: Path, private_key: Path | None = None, *, authority: Path | str | None = None
    ) -> None:
        self._files = (certificate, private_key if private_key is not None else certificate)
        self._stamp: Stamp = ()
        self._thumbprint = ""
        self._context = hardened(_Context(ssl.PROTOCOL_TLS_CLIENT), authority)
        try:
            self._read()
        except (OSError, ValueError) as error:
            raise Misconfigured(f"{certificate} is no certificate that fits its private key: {_why(error)}") from None
        self._context.before_handshake = self.thumbprint

    @property
    def context(self) -> ssl.SSLContext:
        """The same object for as long as this one lives, so that a client keeps it through renewals."""
        return self._context

    def thumbprint(self) -> str:
        """`x5t#S256` (RFC 8705 §3.1) of the certificate that the next connection shows."""
        try:
            self._read()
        except (OSError, ValueError):  # half renewed: the last good pair is still shown
            return self._thumbprint
        return self._thumbprint

    def is_shown_on(self, connection: object) -> bool:
        """Whether a connection, as its `ssl.SSLObject`, was made with this context."""
        return isinstance(connection, ssl.SSLObject) and connection.context is self._context

    def was_renewed_since(self, connection: object) -> bool:
        """Whether a connection shows a certificate of this object that another one has replaced."""
        return isinstance(connection, _Connection) and connection.thumbprint not in {"", self.thumbprint()}

    def _read(self) -> None:
        for _ in range(_LOOKS):
            stamp = tuple(_stamp(path) for path in self._files)
            if stamp == self._stamp:
                return
            # into a context of its own first: a pair that does not fit would leave the other without any
            _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), *self._files)
            thumbprint = _thumbprint(self._files[0])
            if stamp == tuple(_stamp(path) for path in self._files):
                _load(self._context, *self._files)
                self._stamp, self._thumbprint = stamp, thumbprint
                return


class _Connection(ssl.SSLObject):
    """A connection that knows which certificate it shows."""

    thumbprint = ""


class _Context(ssl.SSLContext):
    """Looks at the files before each handshake."""

    sslobject_class = _Connection
    before_handshake: Callable[[], str] | None = None

    @override
    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        thumbprint = self.before_handshake() if self.before_handshake is not None else ""
        made = super().wrap_bio(*arguments, **named)
        if isinstance(made, _Connection):
            made.thumbprint = thumbprint
        return made

    @override
    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        if self.before_handshake is not None:
            self.before_handshake()
        return super().wrap_socket(*arguments, **named)


def _load(context: ssl.SSLContext, certificate: Path, private_key: Path) -> None:
    context.load_cert_chain(certificate, private_key, password="")  # nobody is there to be asked


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _thumbprint(certificate: Path) -> str:
    with certificate.open(encoding="ascii") as file:
        text = file.read(_SIZE_LIMIT)
    begin, end = text.find("-----BEGIN CERTIFICATE-----"), text.find(_END)
    der = ssl.PEM_cert_to_DER_cert(text[begin : end + len(_END)])  # the first one is the agent's own
    return base64url.encode(hashlib.sha256(der).digest())


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").lower().replace("_", " ")
    return (error.strerror if isinstance(error, OSError) else None) or "not PEM"
