"""One HTTP request as bytes and ordered pairs: nothing lost, nothing merged."""

# typing.override came with Python 3.12, and dunder methods have no other parent than object
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

from typing import Final, NamedTuple

from rs_kit.protocol.errors import InvalidRequest

Headers = tuple[tuple[bytes, bytes], ...]

_PRINTABLE: Final = bytes(range(0x20, 0x7F))
_TOKEN68: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="  # RFC 9110 §11.2


class HttpRequest(NamedTuple):
    """What a guard may look at; header names are lower case, `peer_certificate` is DER of this connection."""

    method: str
    target_path: str
    headers: Headers
    body: bytes = b""
    peer_certificate: bytes | None = None

    def __repr__(self) -> str:
        return f"HttpRequest({self.method!r}, {self.target_path!r}, ***)"  # credentials are among the headers


class Credentials(NamedTuple):
    """RFC 9110 §11.4: `scheme` in lower case, `token` exactly as received."""

    scheme: str
    token: str

    def __repr__(self) -> str:
        return f"Credentials({self.scheme!r}, ***)"


def once(headers: Headers, name: bytes) -> bytes | None:
    """The octets of a header field that may be there once.

    Raises:
        InvalidRequest: it is repeated (RFC 9110 §5.3).
    """
    found: bytes | None = None
    for field, value in headers:
        if field == name:
            if found is not None:
                raise InvalidRequest("a header field is repeated", "a header field is given more than once")
            found = value
    return found


def single(headers: Headers, name: bytes) -> str | None:
    """The value of a header field that may be there once.

    Raises:
        InvalidRequest: it is repeated, or not printable ASCII (RFC 9110 §5.3, §5.5).
    """
    found = once(headers, name)
    return None if found is None else text(found)


def text(value: bytes) -> str:
    """The value of a header field as text.

    Raises:
        InvalidRequest: it is not printable ASCII (RFC 9110 §5.5).
    """
    if value.translate(None, _PRINTABLE):  # a third of the time of str.isprintable, on the longest strings there are
        raise InvalidRequest("a header field is not printable ASCII")
    return value.decode("ascii")


def credentials(field: bytes) -> Credentials:
    """What an Authorization field says: one scheme, one space, one token68.

    Raises:
        InvalidRequest: empty, a list, or another separator (RFC 6750 §3.1, DPR-17).
    """
    scheme, separator, token = text(field).partition(" ")
    if not separator or not scheme.isalnum():
        raise InvalidRequest("credentials have no token")
    encoded = token.encode("ascii")
    if not token or encoded.translate(None, _TOKEN68):
        raise InvalidRequest("credentials are not a token68")
    return Credentials(scheme.lower(), token)
