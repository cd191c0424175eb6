"""A host of small documents over TLS at which everything may be wrong, and what it was asked."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import trustme

Answer = Callable[[socket.socket], None]
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def saying(*pieces: bytes) -> Answer:
    """Send this and close."""

    def answer(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return answer


def document(body: bytes, *fields: bytes, content_type: bytes = b"application/json") -> Answer:
    """An honest answer."""
    head = b"".join(field + b"\r\n" for field in (b"Content-Type: " + content_type, *fields))
    return saying(b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body), body)


def endless(begin: bytes, piece: bytes, *, pause: float = 0.0, times: int = 200_000) -> Answer:
    """Send a piece again and again, until the peer is gone."""

    def answer(connection: socket.socket) -> None:
        gone = threading.Event()
        connection.sendall(begin)
        for _ in range(times):
            connection.sendall(piece)
            if pause:
                gone.wait(pause)

    return answer


class DocumentHost:
    """Answers by path; `heads` are the requests, `certificates` what certificates the peers showed."""

    def __init__(self, directory: Path, *names: str, place: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        authority = trustme.CA()
        self.ca_file = directory / "document-host-ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*(names or ("localhost",))).configure_cert(self._context)
        self._context.verify_mode = ssl.CERT_OPTIONAL  # asks for a certificate
        authority.configure_trust(self._context)
        self.answers: dict[str, Answer] = {}
        self.heads: list[bytes] = []
        self.certificates: list[bytes | None] = []
        self.connections = 0
        self._listener = socket.create_server(place, backlog=600)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def url(self, path: str, host: str = "localhost") -> str:
        """The address of a document."""
        return f"https://{host}:{self.port}{path}"

    def asked(self, path: str) -> int:
        """How many requests came for a path."""
        return sum(head.startswith(f"GET {path} HTTP/1.1\r\n".encode()) for head in self.heads)

    def stop(self) -> None:
        """Refuse connections from now on."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(10)
        with contextlib.suppress(OSError), plain, self._context.wrap_socket(plain, server_side=True) as connection:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = connection.recv(4096)
                if not piece:
                    return
                head += piece
            self.heads.append(head)
            self.certificates.append(connection.getpeercert(binary_form=True))
            path = head.split(b" ", 2)[1].decode()
            answer = self.answers.get(path, saying(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
            answer(connection)
            with contextlib.suppress(OSError):
                connection.unwrap()


@contextlib.contextmanager
def document_host(directory: Path, *names: str, place: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[DocumentHost]:
    """A host that runs."""
    host = DocumentHost(directory, *names, place=place)
    try:
        yield host
    finally:
        host.stop()
