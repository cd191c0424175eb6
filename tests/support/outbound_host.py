"""The host that every public address of the outbound bench leads to, hostile in all the ways a host can be."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.support.authorization_server import SCOPE
from tests.support.document_host import OK, Answer, DocumentHost, document, endless, saying
from tests.support.outbound_values import DOMAIN, DRIBBLE, HONEST, HOSTILE, REDIRECTS, SILENT, SLOW_SECONDS
from tests.support.peer_keys import PeerKey

KEY: Final = PeerKey.es256(seed=91)
KID: Final = "first"
CLIENT_ID, JWKS_URI, AUTHORITY = "document", "keys", "authority"  # the doors, as they stand in names
_PIECE: Final = b" " * 65_536
_TEN_GB: Final = 10 * 1024**3
_TIMES: Final = _TEN_GB // len(_PIECE)
_BOMB: Final = gzip.compress(b" " * 50_000_000)  # 49 KB
_CHUNKED: Final = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def callback(url: str) -> str:
    """The redirect_uri of the client with this document: of the same origin."""
    return f"https://{url.split('/')[2]}/callback"


def late(answer: Answer) -> Answer:
    """The same, after a while."""

    def answer_late(connection: socket.socket) -> None:
        threading.Event().wait(SLOW_SECONDS)
        answer(connection)

    return answer_late


def metadata(url: str) -> dict[str, Any]:
    """A client ID metadata document that nobody can object to."""
    return {
        "client_id": url,
        "client_name": "A client that describes itself",
        "redirect_uris": [callback(url)],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "private_key_jwt",
        "scope": SCOPE,
        "jwks_uri": f"https://{url.split('/')[2]}/honest-{JWKS_URI}",
    }


def _answers() -> dict[str, Answer]:
    keys = document(json.dumps({"keys": [KEY.jwk(kid=KID)]}).encode(), content_type=b"application/jwk-set+json")
    described = {value.name: json.dumps(metadata(value.at(CLIENT_ID))).encode() for value in (*HOSTILE, HONEST)}
    slow = metadata(next(value.at(CLIENT_ID) for value in HOSTILE if value.name == "slow-twice"))
    slow["jwks_uri"] = slow["jwks_uri"].replace("/honest-", "/slow-")
    redirects = {
        name: saying(b"HTTP/1.1 %d Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, to.encode()))
        for name, (status, to) in REDIRECTS.items()
    }
    return redirects | {
        f"honest-{JWKS_URI}": keys,
        f"honest-{AUTHORITY}": keys,
        f"honest-{CLIENT_ID}": document(described["honest"]),
        "two-stage": document(described["two-stage"]),
        "slow-twice": late(document(json.dumps(slow).encode())),
        f"slow-{JWKS_URI}": late(keys),
        "told-10-gb": endless(OK + b"Content-Length: %d\r\n\r\n" % _TEN_GB, _PIECE, times=_TIMES),
        "untold-10-gb": endless(OK + b"\r\n", _PIECE, times=_TIMES),
        "chunked-10-gb": endless(_CHUNKED, b"10000\r\n" + _PIECE + b"\r\n", times=_TIMES),
        "endless-head": endless(OK, b"X: " + b"y" * 4000 + b"\r\n"),
        "endless-interim": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "gzip": document(_BOMB, b"Content-Encoding: gzip"),
        "gzip-untold": document(_BOMB[:9000]),
        "gzip-transfer": saying(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", _BOMB),
        "deep": document(b"[" * 9000),
        "long-number": document(b'{"keys":[{"kty":%s}]}' % (b"9" * 9000)),
        "other-type": document(described["other-type"], content_type=b"text/html"),
        "utf-16": document(
            described["utf-16"].decode().encode("utf-16"), content_type=b"application/json; charset=utf-16"
        ),
        "drip-head": endless(OK, b"X", pause=0.1),
        "drip-body": endless(OK + b"\r\n", b" ", pause=0.1),
        "drip-chunk": endless(_CHUNKED, b"0", pause=0.1),
        "nothing": endless(b"", b"", pause=0.1, times=200),
    }


def _names() -> list[str]:
    """A certificate does not say `*.example`."""
    return [
        f"{value.name}-{door}.{DOMAIN}" for value in (*HOSTILE, HONEST) for door in (CLIENT_ID, JWKS_URI, AUTHORITY)
    ]


class OutboundHost:
    """`ports` is where each port of a public address really is; `ca_file` is the authority to trust."""

    def __init__(self, directory: Path, *, everywhere: bool) -> None:
        address = "0.0.0.0" if everywhere else "127.0.0.1"
        self._documents = DocumentHost(directory, *_names(), place=(address, 443 if everywhere else 0))
        self._documents.answers |= {f"/{path}": answer for path, answer in _answers().items()}
        self.ca_file = self._documents.ca_file
        self._silent = socket.create_server((address, SILENT if everywhere else 0), backlog=64)
        self._dribble = socket.create_server((address, DRIBBLE if everywhere else 0), backlog=64)
        self.ports = {
            443: self._documents.port,
            SILENT: int(self._silent.getsockname()[1]),
            DRIBBLE: int(self._dribble.getsockname()[1]),
        }
        threading.Thread(target=self._serve_dribble, daemon=True).start()

    def met(self) -> list[str]:
        """The hosts that were asked for, one per request."""
        lines = [head.decode("latin-1").split("\r\n") for head in self._documents.heads]
        return [line.partition(":")[2].strip() for head in lines for line in head if line.lower().startswith("host:")]

    def said(self) -> list[str]:
        """The names of all fields that came with a request, in lower case, and `certificate` if one was shown."""
        lines = [line for head in self._documents.heads for line in head.decode("latin-1").split("\r\n")[1:] if line]
        shown = ["certificate"] if any(self._documents.certificates) else []
        return sorted({line.partition(":")[0].lower() for line in lines}) + shown

    def stop(self) -> None:
        """Refuse connections from now on."""
        self._documents.stop()
        for listener in (self._silent, self._dribble):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _serve_dribble(self) -> None:
        while True:
            try:
                connection, _ = self._dribble.accept()
            except OSError:
                return
            threading.Thread(target=_dribble, args=(connection,), daemon=True).start()


def _dribble(connection: socket.socket) -> None:
    """The first bytes of a handshake that would take a day."""
    pause = threading.Event()
    with contextlib.suppress(OSError), connection:
        connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
        for _ in range(200):
            connection.sendall(b"\x00")
            pause.wait(0.1)


@contextlib.contextmanager
def outbound_host(directory: Path, *, everywhere: bool) -> Iterator[OutboundHost]:
    """The host, at every address there is or at one of this machine."""
    host = OutboundHost(directory, everywhere=everywhere)
    try:
        yield host
    finally:
        host.stop()
