"""The bare pyOpenSSL echo server that handshakes of the listener are compared with: one thread, one peer at a time.

python -m tests.bench.bare_echo CERTFILE [asking]
"""

from __future__ import annotations

import contextlib
import socket
import sys

from OpenSSL import SSL


def main(certfile: str, *, asking: bool) -> None:
    """Shake hands, send back the first thing that comes, say goodbye, and wait for the next peer."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.use_certificate_chain_file(certfile)
    context.use_privatekey_file(certfile)
    if asking:
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"serving https://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        while True:
            peer, _ = listening.accept()
            with peer, contextlib.suppress(SSL.Error, OSError):
                connection = SSL.Connection(context, peer)
                connection.set_accept_state()
                connection.do_handshake()
                connection.send(connection.recv(65536))
                connection.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], asking="asking" in sys.argv[2:])
