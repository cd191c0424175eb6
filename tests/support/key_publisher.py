"""The part of an issuer that resource servers see: metadata and keys over TLS, which can be away, slow, or others."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from tests.support.processes import free_port

METADATA = "/.well-known/oauth-authorization-server"


class KeyPublisher:
    """Serves from a thread at an address that stays the same while it is stopped and started again."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self._context)
        self._port = free_port()
        self.issuer = f"https://localhost:{self._port}"
        self.keys: list[dict[str, Any]] = []
        self.answered: Counter[str] = Counter()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, and answer."""
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.may_answer.wait(20)
                body = publisher.document(self.path)
                publisher.answered[self.path] += 1
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass  # a peer that gave up

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._server.socket = self._context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def document(self, path: str) -> bytes | None:
        """What stands at a path."""
        documents: dict[str, Any] = {
            METADATA: {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks"},
            "/jwks": {"keys": self.keys},
        }
        return json.dumps(documents[path]).encode() if path in documents else None

    def stop(self) -> None:
        """Connections are refused from now on."""
        self.may_answer.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
        self._server = None


@contextlib.contextmanager
def publishing(directory: Path) -> Iterator[KeyPublisher]:
    """A publisher that runs."""
    publisher = KeyPublisher(directory)
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.stop()
