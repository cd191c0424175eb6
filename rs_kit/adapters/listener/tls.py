"""The TLS side of the listener: versions, suites, and alerts that reach the peer."""

from __future__ import annotations

import ssl
import sys
from typing import Any, Final

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

CIPHERS: Final = "ECDHE+AESGCM"  # the four suites that RFC 9325 §4.2 recommends for TLS 1.2 (FAPI2-NET-4)


class AlertingObject(ssl.SSLObject):
    """Lets the alert of a failed handshake reach the peer; the event loops would drop it with the connection."""

    outgoing: ssl.MemoryBIO | None = None
    failure: ssl.SSLError | None = None

    @override
    def do_handshake(self) -> None:
        if self.failure is not None:
            raise self.failure
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if self.outgoing is None or not self.outgoing.pending:
                raise
            # "want read" makes the loop write the alert; the peer's close or the time limit then ends the handshake
            self.failure = error
            raise ssl.SSLWantReadError from error


class AlertingContext(ssl.SSLContext):
    """A context whose connections tell their peer why a handshake failed."""

    sslobject_class = AlertingObject

    @override
    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **options: Any) -> ssl.SSLObject:
        wrapped = super().wrap_bio(incoming, outgoing, *args, **options)
        if isinstance(wrapped, AlertingObject):
            wrapped.outgoing = outgoing
        return wrapped


def tls_context(certfile: str, keyfile: str) -> ssl.SSLContext:
    """TLS 1.2 or later, the suites of BCP 195, HTTP/1.1 and nothing else (FAPI2-NET-2 to FAPI2-NET-4)."""
    context = AlertingContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # RFC 9325 §3.4: ticket keys must change, and OpenSSL's never do; other workers could not read them either
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.load_cert_chain(certfile, keyfile)
    return context
