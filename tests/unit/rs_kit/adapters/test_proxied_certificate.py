"""The middleware for certificates from a proxy: who is believed, what is read, and what the application sees."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from typing import Any, Final

import pytest

from rs_kit.adapters.peer_certificate import peer_certificate
from rs_kit.adapters.proxied_certificate import REFUSED, ProxiedCertificate, ProxyTrust
from rs_kit.protocol.confirmation import certificate_thumbprint
from rs_kit.protocol.errors import InvalidRequest
from rs_kit.testing import RecordingObserver
from tests.support.asgi_peer import AsgiAnswer, call_with
from tests.support.asgi_peer import scope as asgi_scope

SECRET: Final = b"a-secret-of-the-proxy-and-of-nobody-else"
LEAF, ISSUER, PROXY, OTHER = b"0\x04leaf", b"0\x06issuer", b"0\x05proxy", b"0\x05other"
NETWORKS: Final = ("10.1.0.0/16", "2001:db8::/32")
BY_SECRET: Final = ProxyTrust(networks=NETWORKS, secret=SECRET)
BY_CERTIFICATE: Final = ProxyTrust(networks=NETWORKS, certificates=[certificate_thumbprint(PROXY)])
BY_BOTH: Final = ProxyTrust(networks=NETWORKS, secret=SECRET, certificates=[certificate_thumbprint(PROXY)])
BY_SOCKET: Final = ProxyTrust(unix_socket="/run/bank.sock")
Pairs = list[tuple[bytes, bytes]]


def item(octets: bytes) -> bytes:
    return b":" + base64.b64encode(octets) + b":"


SAID: Final[Pairs] = [(b"client-cert", item(LEAF)), (b"client-cert-chain", item(ISSUER))]
KNOWN: Final[Pairs] = [(b"x-proxy-secret", SECRET)]


class Application:
    """Writes down the scopes that it is given, and answers 200."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})


def from_proxy(headers: Pairs, *, source: str | None = "10.1.2.3", shows: bytes | None = None) -> dict[str, Any]:
    """A request as the server tells of it; `shows` is the certificate of the peer on our own listener."""
    made = asgi_scope("POST", "/mcp", [*headers, (b"content-type", b"application/json")])
    made["client"] = None if source is None else (source, 4711)
    if shows is not None:
        made["state"] = {"peer_certificate": shows, "peer_chain": (), "mutual_tls": True, "of_the_lifespan": 1}
        chain = [ssl.DER_cert_to_PEM_cert(shows)]
        made["extensions"] = {"tls": {"client_cert_chain": chain, "client_cert_name": "CN=proxy", "tls_version": 772}}
    return made


async def seen(trust: ProxyTrust, asked: dict[str, Any]) -> tuple[AsgiAnswer, Any]:
    """The answer, and the scope that the application was given, or None."""
    app = Application()
    answer = await call_with(ProxiedCertificate(app, trust), asked, asyncio.Queue())
    return answer, app.scopes[0] if app.scopes else None


def names(scope: Any) -> list[bytes]:
    return [name for name, _ in scope["headers"]]


OF_THE_PROXY: Final = {
    "a secret": (BY_SECRET, from_proxy([*SAID, *KNOWN])),
    "a secret over IPv6": (BY_SECRET, from_proxy([*SAID, *KNOWN], source="2001:db8::7")),
    "a secret over mapped IPv4": (BY_SECRET, from_proxy([*SAID, *KNOWN], source="::ffff:10.1.2.3")),
    "a secret over mutual TLS": (BY_SECRET, from_proxy([*SAID, *KNOWN], shows=OTHER)),
    "a certificate": (BY_CERTIFICATE, from_proxy(SAID, shows=PROXY)),
    "both": (BY_BOTH, from_proxy([*SAID, *KNOWN], shows=PROXY)),
    "a unix socket": (BY_SOCKET, from_proxy(SAID, source=None) | {"server": ("/run/bank.sock", None)}),
}


@pytest.mark.parametrize(("trust", "asked"), OF_THE_PROXY.values(), ids=OF_THE_PROXY)
async def test_what_the_proxy_says_is_what_our_listener_would_have_said(
    trust: ProxyTrust, asked: dict[str, Any]
) -> None:
    before = dict(asked["state"])
    answer, scope = await seen(trust, asked)
    assert answer.status == 200
    assert peer_certificate(scope) == LEAF
    state = scope["state"]
    assert (state["peer_certificate"], state["peer_chain"], state["mutual_tls"]) == (LEAF, (ISSUER,), True)
    tls = scope["extensions"]["tls"]
    assert [ssl.PEM_cert_to_DER_cert(pem) for pem in tls["client_cert_chain"]] == [LEAF, ISSUER]
    assert (tls["client_cert_name"], bool(tls["client_cert_error"])) == (None, True)
    assert {"server_cert", "tls_version", "cipher_suite"} < set(tls)
    assert names(scope) == [b"host", b"content-type"]
    assert asked["state"] == before  # the server's own scope is left as it was


@pytest.mark.parametrize(("trust", "asked"), OF_THE_PROXY.values(), ids=OF_THE_PROXY)
async def test_of_a_client_without_a_certificate_the_proxys_own_is_not_left(
    trust: ProxyTrust, asked: dict[str, Any]
) -> None:
    said = [pair for pair in asked["headers"] if not pair[0].startswith(b"client-cert")]
    _, scope = await seen(trust, {**asked, "headers": said})
    assert peer_certificate(scope) is None
    assert not {"peer_certificate", "peer_chain"} & set(scope["state"])
    assert scope["state"].get("mutual_tls") == asked["state"].get("mutual_tls")  # the address that it came to
    assert tuple(scope["extensions"]["tls"]["client_cert_chain"]) == ()
    assert scope["extensions"]["tls"]["client_cert_error"] is None
    assert scope["state"].get("of_the_lifespan") == asked["state"].get("of_the_lifespan")


FORGED: Final[Pairs] = [
    *SAID,
    (b"Client_Cert", item(LEAF)),
    (b"x-ssl-cert", b"PEM"),
    (b"X-Forwarded-Client-Cert", b'Cert="PEM"'),
    (b"ssl_client_cert", b"PEM"),
]
STRANGERS: Final = {
    "nobody": (BY_SECRET, from_proxy(FORGED, source="192.0.2.7")),
    "the network alone": (BY_SECRET, from_proxy(FORGED)),
    "the secret from elsewhere": (BY_SECRET, from_proxy([*FORGED, *KNOWN], source="192.0.2.7")),
    "the secret from a neighbour": (BY_SECRET, from_proxy([*FORGED, *KNOWN], source="10.2.0.1")),
    "another secret": (BY_SECRET, from_proxy([*FORGED, (b"x-proxy-secret", SECRET[:-1] + b"?")])),
    "a part of the secret": (BY_SECRET, from_proxy([*FORGED, (b"x-proxy-secret", SECRET[:-1])])),
    "an empty secret": (BY_SECRET, from_proxy([*FORGED, (b"x-proxy-secret", b"")])),
    "the secret twice": (BY_SECRET, from_proxy([*FORGED, *KNOWN, *KNOWN])),
    "a guess and the secret": (BY_SECRET, from_proxy([*FORGED, (b"x-proxy-secret", b"?"), *KNOWN])),
    "no certificate": (BY_CERTIFICATE, from_proxy(FORGED)),
    "another certificate": (BY_CERTIFICATE, from_proxy(FORGED, shows=OTHER)),
    "the certificate from elsewhere": (BY_CERTIFICATE, from_proxy(FORGED, shows=PROXY, source="192.0.2.7")),
    "the certificate without the secret": (BY_BOTH, from_proxy(FORGED, shows=PROXY)),
    "the secret without the certificate": (BY_BOTH, from_proxy([*FORGED, *KNOWN])),
    "no address": (BY_SECRET, from_proxy([*FORGED, *KNOWN], source=None)),
    "no address that is one": (BY_SECRET, from_proxy([*FORGED, *KNOWN], source="unix:")),
    "TCP where a socket is named": (BY_SOCKET, from_proxy(FORGED)),
    "another socket": (BY_SOCKET, from_proxy(FORGED, source=None) | {"server": ("/tmp/bank.sock", None)}),
    "no server": (BY_SOCKET, from_proxy(FORGED, source=None) | {"server": None}),
    "sources that differ": (
        BY_CERTIFICATE,
        from_proxy(FORGED, shows=OTHER) | {"state": {"peer_certificate": PROXY}},
    ),
}


@pytest.mark.attack("MTL-15")
@pytest.mark.parametrize(("trust", "asked"), STRANGERS.values(), ids=STRANGERS)
async def test_from_anybody_else_the_headers_are_gone_and_say_nothing(trust: ProxyTrust, asked: dict[str, Any]) -> None:
    answer, scope = await seen(trust, asked)
    assert answer.status == 200
    assert names(scope) == [b"host", b"content-type"]
    assert scope["state"] == asked["state"]
    assert scope["extensions"] == asked["extensions"]


async def test_a_client_that_connects_itself_keeps_the_certificate_that_it_has_shown() -> None:
    _, scope = await seen(BY_CERTIFICATE, from_proxy(FORGED, shows=OTHER))
    assert peer_certificate(scope) == OTHER


BROKEN: Final[dict[str, Pairs]] = {
    "twice": [SAID[0], SAID[0]],
    "twice in another case": [SAID[0], (b"Client-Cert", item(OTHER))],
    "PEM": [(b"client-cert", ssl.DER_cert_to_PEM_cert(LEAF).replace("\n", " ").encode())],
    "empty": [(b"client-cert", b"")],
    "a list": [(b"client-cert", item(LEAF) + b", " + item(ISSUER))],
    "a chain alone": [SAID[1]],
    "two chains": [*SAID, SAID[1]],
}


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
async def test_a_header_of_the_proxy_that_cannot_be_read_is_400_and_the_observer_is_told(said: Pairs) -> None:
    app, observer = Application(), RecordingObserver()
    guarded = ProxiedCertificate(app, BY_SECRET, observer=observer)
    answer = await call_with(guarded, from_proxy([*said, *KNOWN]), asyncio.Queue())
    assert answer.status == 400
    assert answer.body == b'{"error":"invalid_request","error_description":"' + _public(said) + b'"}'
    assert answer.header("cache-control") == "no-store"
    assert app.scopes == []
    (refusal,) = observer.refusals
    assert (refusal.http_method, refusal.path, refusal.error.error) == ("POST", "/mcp", "invalid_request")


def _public(said: Pairs) -> bytes:
    fields = [name.lower() for name, _ in said]
    return b"a header field is given more than once" if len(set(fields)) < len(fields) else b"the request is not valid"


async def test_by_default_it_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "rs_kit.guard")
    answer, _ = await seen(BY_SECRET, from_proxy([*BROKEN["PEM"], *KNOWN]))
    assert answer.status == 400
    assert [record.detail for record in caplog.records] == ["Client-Cert is no byte sequence"]  # type: ignore[attr-defined]


async def test_an_application_may_refuse_in_its_own_way() -> None:
    app = Application()

    async def refuse(error: InvalidRequest, scope: Any, receive: Any, send: Any) -> None:
        assert scope[REFUSED] is error
        await app(scope, receive, send)

    asked = from_proxy([*BROKEN["twice"], *KNOWN], shows=OTHER)
    await call_with(ProxiedCertificate(app, BY_SECRET, refuse=refuse), asked, asyncio.Queue())
    (scope,) = app.scopes
    assert peer_certificate(scope) is None  # neither the proxy's own certificate nor one of the header
    assert names(scope) == [b"host", b"content-type"]


@pytest.mark.parametrize(("headers", "sent"), [(SAID, []), (BROKEN["twice"], ["websocket.close"])], ids=["good", "bad"])
async def test_a_websocket_is_treated_alike(headers: Pairs, sent: list[str]) -> None:
    app = Application()
    asked = from_proxy([*headers, *KNOWN]) | {"type": "websocket"}
    answer = await call_with(ProxiedCertificate(app, BY_SECRET), asked, asyncio.Queue())
    assert [message["type"] for message in answer.messages] == sent
    assert [peer_certificate(scope) for scope in app.scopes] == ([] if sent else [LEAF])


async def test_a_lifespan_passes() -> None:
    app = Application()
    await call_with(ProxiedCertificate(app, BY_SECRET), {"type": "lifespan"}, asyncio.Queue())
    assert app.scopes == [{"type": "lifespan"}]


UNSAFE: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "nothing": ({}, "networks"),
    "a proof without networks": ({"secret": SECRET}, "networks"),
    "networks without a proof": ({"networks": NETWORKS}, "no proof"),
    "everybody": ({"networks": ["10.1.0.0/16", "0.0.0.0/0"], "secret": SECRET}, "everybody"),
    "everybody over IPv6": ({"networks": ["::/0"], "secret": SECRET}, "everybody"),
    "no network": ({"networks": ["proxy.example"], "secret": SECRET}, "proxy.example"),
    "a network with a host": ({"networks": ["10.1.2.3/16"], "secret": SECRET}, "host bits"),
    "a short secret": ({"networks": NETWORKS, "secret": b"a" * 31}, "32 bytes"),
    "an empty secret": ({"networks": NETWORKS, "secret": b""}, "32 bytes"),
    "a secret that no header carries": ({"networks": NETWORKS, "secret": SECRET + b"\n"}, "visible ASCII"),
    "octets": ({"networks": NETWORKS, "secret": bytes(range(64))}, "visible ASCII"),
    "a thumbprint in hexadecimal": ({"networks": NETWORKS, "certificates": ["ab" * 32]}, "x5t"),
    "a thumbprint that is none": ({"networks": NETWORKS, "certificates": ["proxy"]}, "x5t"),
    "a socket with networks": ({"unix_socket": "/run/x", "networks": NETWORKS}, "unix socket"),
    "a socket with certificates": ({"unix_socket": "/run/x", "certificates": ["a"]}, "unix socket"),
}


@pytest.mark.parametrize(("rule", "why"), UNSAFE.values(), ids=UNSAFE)
def test_without_a_rule_that_names_the_proxy_there_is_no_middleware(rule: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ProxyTrust(**rule)
    with pytest.raises(TypeError):
        ProxiedCertificate(Application())  # type: ignore[call-arg]


def test_the_secret_is_not_shown() -> None:
    assert SECRET.decode() not in repr(BY_SECRET)


async def test_the_secret_may_have_another_name_and_is_never_handed_on() -> None:
    trust = ProxyTrust(networks=NETWORKS, secret=SECRET, secret_header="X-Edge-Key")
    _, scope = await seen(trust, from_proxy([*SAID, (b"x-edge-key", SECRET)]))
    assert (peer_certificate(scope), names(scope)) == (LEAF, [b"host", b"content-type"])
    _, scope = await seen(trust, from_proxy([*SAID, (b"x-edge-key", SECRET)], source="192.0.2.7"))
    assert (peer_certificate(scope), names(scope)) == (None, [b"host", b"content-type"])
