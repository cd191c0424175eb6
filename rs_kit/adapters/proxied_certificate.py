"""Client certificates from a proxy that terminates TLS (RFC 9440): believed from the proxy, stripped from anybody else.

`ProxiedCertificate(app, ProxyTrust(networks=["10.0.0.0/28"], certificates=[thumbprint]))` in front of `protect(...)` or
any ASGI application: afterwards the scope says of a connection what our own listener would have said.
"""

from __future__ import annotations

import contextlib
import hmac
import ssl
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from rs_kit.adapters.asgi_exchange import Application, Receive, Scope, Send
from rs_kit.adapters.observer import LoggingObserver
from rs_kit.adapters.peer_certificate import MUTUAL_TLS, PEER_CERTIFICATE, PEER_CHAIN, peer_certificate
from rs_kit.adapters.refusals import answer
from rs_kit.ports import Observer, Refusal
from rs_kit.protocol import base64url
from rs_kit.protocol.client_cert_header import ClientCertificate, client_certificate, may_forge_certificate
from rs_kit.protocol.confirmation import certificate_thumbprint
from rs_kit.protocol.errors import InvalidRequest, InvalidToken
from rs_kit.protocol.http import Headers

REFUSED: Final = "rs_kit.proxied_certificate.refused"  # in the scope, for applications that refuse in their own way
PROXIED: Final = "rs_kit.proxied_certificate.proxied"  # in the scope: True where the peer is the proxy
SECRET_HEADER: Final = "x-proxy-secret"  # noqa: S105 - the name of a field
_FEWEST_SECRET_BYTES: Final = 32
_VISIBLE: Final = bytes(range(0x21, 0x7F))
_THUMBPRINT_BYTES: Final = 32
_OF_THE_PEER: Final = (PEER_CERTIFICATE, PEER_CHAIN)
# never None beside a certificate: to an application that reads it, None means that somebody verified
_UNVERIFIED: Final = "the proxy says no more than that it was shown"
_NO_TLS: Final[dict[str, object]] = {"server_cert": None, "tls_version": None, "cipher_suite": None}

Network = IPv4Network | IPv6Network
Refuse = Callable[[InvalidRequest, Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyTrust:
    """Who may say what certificate a client has shown: all that is named here must hold.

    Over TCP that is an address of `networks`, and a proof besides, since an address is easily shared or taken: a client
    certificate of the proxy itself on our listener (`certificates`: their `x5t#S256` thumbprints), a secret that it
    adds to each request, or both. A unix socket is its own proof: whoever may open it is the proxy.

    Args:
        networks: addresses in CIDR form.
        secret: at least 32 bytes, as they stand in the field `secret_header`.
        unix_socket: the path that the server listens at.

    Raises:
        ValueError: there is no proof, no network, a network of everybody, or a value that is none.
    """

    networks: Collection[str] = ()
    certificates: Collection[str] = ()
    secret: bytes | None = field(default=None, repr=False)
    secret_header: str = SECRET_HEADER
    unix_socket: str | None = None

    def __post_init__(self) -> None:
        if self.unix_socket is not None:
            if self.networks or self.certificates:
                raise ValueError("a unix socket has neither addresses nor certificates")
        elif not self.networks:
            raise ValueError("a trusted proxy needs networks, or a unix socket")
        elif not self.certificates and self.secret is None:
            raise ValueError("an address alone is no proof: a trusted proxy needs certificates or a secret")
        if any(ip_network(network).prefixlen == 0 for network in self.networks):
            raise ValueError("a network of everybody names no proxy")
        for thumbprint in self.certificates:
            _check_thumbprint(thumbprint)
        if self.secret is not None and len(self.secret) < _FEWEST_SECRET_BYTES:
            raise ValueError(f"the secret of a trusted proxy needs {_FEWEST_SECRET_BYTES} bytes")
        if self.secret is not None and self.secret.translate(None, _VISIBLE):
            raise ValueError("the secret of a trusted proxy must be visible ASCII: it travels in a header")


class ProxiedCertificate:
    """ASGI middleware; nothing behind it ever sees a header that claims a certificate, whoever sent it.

    For a request of the proxy the scope says what the proxy says: the client's certificate, or none. The proxy's own
    one is gone. Where certificates are asked for (`mutual_tls`) is what our listener says, and wherever the proxy hands
    one on. For everybody else the scope stays what the server said of the connection.

    Args:
        trust: who the proxy is.
        observer: told of a request whose header cannot be read; by default it is logged.
        refuse: answers such a request instead; it finds the error in the scope, too.
    """

    def __init__(
        self, app: Application, trust: ProxyTrust, *, observer: Observer | None = None, refuse: Refuse | None = None
    ) -> None:
        self._app = app
        self._trust = trust
        self._networks = tuple(ip_network(network) for network in trust.networks)
        self._secret_header = trust.secret_header.lower().encode("ascii")
        self._observer: Observer = LoggingObserver() if observer is None else observer
        self._refuse: Refuse = self._answer if refuse is None else refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if "headers" not in scope:  # lifespan
            await self._app(scope, receive, send)
            return
        headers: Headers = tuple((name.lower(), value) for name, value in scope["headers"])
        inner = {**scope, "headers": [pair for pair in headers if not self._is_ours(pair[0])]}
        if not self._is_proxy(scope, headers):
            await self._app(inner, receive, send)
            return
        inner.update(_said(scope, None), **{PROXIED: True})
        try:
            shown = client_certificate(headers)
        except InvalidRequest as error:
            await self._refuse(error, {**inner, REFUSED: error}, receive, send)
            return
        if shown is not None:
            inner.update(_said(scope, shown))
        await self._app(inner, receive, send)

    def _is_ours(self, name: bytes) -> bool:
        return name == self._secret_header or may_forge_certificate(name)

    def _is_proxy(self, scope: Scope, headers: Headers) -> bool:
        trust = self._trust
        if trust.unix_socket is not None:
            if tuple(scope.get("server") or ()) != (trust.unix_socket, None):
                return False
        elif not _is_within(scope.get("client"), self._networks):
            return False
        if trust.certificates and not _is_named(scope, trust.certificates):
            return False
        if trust.secret is None:
            return True
        told = [value for name, value in headers if name == self._secret_header]
        return len(told) == 1 and hmac.compare_digest(told[0], trust.secret)

    async def _answer(self, error: InvalidRequest, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        self._observer.refused(Refusal(error=error, http_method=scope["method"], path=scope["path"]))
        status, headers, body = answer(error, challenge=(), request_id=None)
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})


def _check_thumbprint(thumbprint: str) -> None:
    with contextlib.suppress(ValueError):
        if len(base64url.decode(thumbprint)) == _THUMBPRINT_BYTES:
            return
    raise ValueError("certificates are named by x5t#S256: base64url of SHA-256, 43 characters")


def _is_within(client: Any, networks: Collection[Network]) -> bool:
    try:
        address: IPv4Address | IPv6Address = ip_address(client[0])
    except (TypeError, IndexError, ValueError):
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def _is_named(scope: Scope, certificates: Collection[str]) -> bool:
    try:
        own = peer_certificate(scope)
    except InvalidToken:
        return False
    if own is None:
        return False
    thumbprint = certificate_thumbprint(own)
    return any(hmac.compare_digest(thumbprint, named) for named in certificates)


def _said(scope: Scope, shown: ClientCertificate | None) -> dict[str, Any]:
    """What a scope says of a client that has shown this certificate, or none."""
    state = {name: value for name, value in (scope.get("state") or {}).items() if name not in _OF_THE_PEER}
    extensions = dict(scope.get("extensions") or {})
    told: dict[str, object] = {"client_cert_chain": (), "client_cert_name": None, "client_cert_error": None}
    if shown is not None:
        state |= {PEER_CERTIFICATE: shown.leaf, PEER_CHAIN: shown.chain, MUTUAL_TLS: True}
        told["client_cert_chain"] = tuple(ssl.DER_cert_to_PEM_cert(der) for der in (shown.leaf, *shown.chain))
        told["client_cert_error"] = _UNVERIFIED
    extensions["tls"] = {**_NO_TLS, **extensions.get("tls", {}), **told}
    return {"state": state, "extensions": extensions}
