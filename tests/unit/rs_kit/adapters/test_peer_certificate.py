"""Where the certificate of a caller is read from, and what happens when two places do not say the same."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from rs_kit.adapters.peer_certificate import peer_certificate
from rs_kit.protocol.errors import InvalidToken
from tests.support.guarded_bank import ABSENT

LEAF, OTHER = b"0\x04leaf", b"0\x05other"
PEM, OTHER_PEM = ssl.DER_cert_to_PEM_cert(LEAF), ssl.DER_cert_to_PEM_cert(OTHER)


def scope(state: Any = ABSENT, *chain: Any, **extension: Any) -> dict[str, Any]:
    """A scope with this certificate in its state and, when there is any, this extension."""
    made: dict[str, Any] = {"type": "http"}
    if state is not ABSENT:
        made["state"] = {"peer_certificate": state}
    if chain or extension:
        made["extensions"] = {"tls": {"client_cert_chain": list(chain), **extension}}
    return made


@pytest.mark.parametrize(
    ("told", "leaf"),
    [
        ({"type": "http"}, None),
        ({"type": "http", "state": None, "extensions": None}, None),
        ({"type": "http", "state": {}, "extensions": {"http.response.push": {}}}, None),
        (scope(None), None),
        (scope("text"), None),
        (scope(LEAF), LEAF),
        (scope(ABSENT, PEM), LEAF),
        (scope(ABSENT, PEM, OTHER_PEM), LEAF),
        (scope(LEAF, PEM, OTHER_PEM), LEAF),
        (scope(LEAF, PEM.replace("\n", "\r\n")), LEAF),
        (scope(ABSENT, client_cert_error="self-signed certificate"), None),
        (scope(LEAF, PEM, client_cert_error="self-signed certificate"), LEAF),
        ({"type": "http", "extensions": {"tls": {}}}, None),
        ({"type": "http", "extensions": {"tls": {"client_cert_chain": None}}}, None),
        ({"type": "http", "extensions": {"tls": {"client_cert_chain": (pem for pem in (PEM,))}}}, LEAF),
    ],
    ids=range(15),
)
def test_the_leaf_is_found_wherever_it_is_told(told: dict[str, Any], leaf: bytes | None) -> None:
    assert peer_certificate(told) == leaf


@pytest.mark.parametrize(
    "told",
    [
        scope(LEAF, OTHER_PEM),
        scope(LEAF, OTHER_PEM, PEM),
        {"type": "http", "state": {"peer_certificate": LEAF}, "extensions": {"tls": {"client_cert_chain": []}}},
        scope(ABSENT, PEM + PEM),
        scope(ABSENT, PEM[:-10]),
        scope(ABSENT, PEM.replace("CERTIFICATE", "X509 CRL")),
        scope(ABSENT, PEM.replace("MAR", "M*R")),
        scope(ABSENT, ""),
        scope(ABSENT, LEAF),
        scope(ABSENT, None),
    ],
    ids=range(10),
)
def test_places_that_differ_and_what_is_no_pem_are_refused(told: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        peer_certificate(told)
