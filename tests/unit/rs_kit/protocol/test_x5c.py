"""A JWK that carries certificates: the first one is for its key, or the JWK is none (RFC 7517 §4.7)."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x448

from rs_kit.protocol import jwk, x5c
from rs_kit.protocol.errors import InvalidJwk
from tests.support import weak_keys
from tests.support.peer_keys import PeerKey, b64

PEERS = [PeerKey.es256(seed=21), PeerKey.ps256(), PeerKey.ed25519(seed=22)]
OTHER = PeerKey.es256(seed=23)
SIGNER = ec.derive_private_key(99, ec.SECP256R1())


def certificate(public_key: Any) -> bytes:
    return base64.b64decode(weak_keys.certificate(public_key))


def shown(peer: PeerKey, *certificates: bytes, **more: Any) -> dict[str, Any]:
    return peer.jwk(x5c=[base64.b64encode(der).decode() for der in certificates], **more)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.alg)
def test_the_certificate_of_the_key_may_stand_beside_it(peer: PeerKey) -> None:
    der = certificate(peer.private.public_key())
    digests = {"x5t": b64(hashlib.sha1(der).digest()), "x5t#S256": b64(hashlib.sha256(der).digest())}
    members = shown(peer, der, certificate(SIGNER.public_key()), **digests)
    assert jwk.parse_public(members).thumbprint == peer.thumbprint
    assert x5c.chain(members)[0] == der
    assert len(x5c.chain(members)) == 2


def test_a_key_without_certificates_has_none() -> None:
    assert x5c.chain(OTHER.jwk()) == ()


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.alg)
@pytest.mark.parametrize("of", [OTHER.private.public_key(), x448.X448PrivateKey.generate().public_key()])
def test_a_certificate_of_another_key_is_refused(peer: PeerKey, of: Any) -> None:
    with pytest.raises(InvalidJwk) as refusal:
        jwk.parse_public(shown(peer, certificate(of)))
    assert refusal.value.detail == "x5c is for another key"


def test_the_certificate_of_the_key_must_be_the_first() -> None:
    ours = certificate(PEERS[0].private.public_key())
    with pytest.raises(InvalidJwk) as refusal:
        jwk.parse_public(shown(PEERS[0], certificate(OTHER.private.public_key()), ours))
    assert refusal.value.detail == "x5c is for another key"


@pytest.mark.parametrize("member", ["x5t", "x5t#S256"])
@pytest.mark.parametrize("value", ["AAAA", b64(bytes(32)), None, 7])
def test_a_digest_of_another_certificate_is_refused(member: str, value: Any) -> None:
    with pytest.raises(InvalidJwk) as refusal:
        jwk.parse_public(shown(PEERS[0], certificate(PEERS[0].private.public_key()), **{member: value}))
    assert refusal.value.detail == f"{member} is of another certificate"


GOOD = base64.b64encode(certificate(PEERS[0].private.public_key())).decode()


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        GOOD,
        {},
        [GOOD, 7],
        [""],
        ["AAAA"],
        [GOOD.rstrip("=") + "="] if not GOOD.endswith("=") else [GOOD.rstrip("=")],
        [f"{GOOD[:40]}\n{GOOD[40:]}"],
        [b64(base64.b64decode(GOOD)) + "-_"],
        [f"-----BEGIN CERTIFICATE-----\n{GOOD}\n-----END CERTIFICATE-----"],
        ["ä" + GOOD],
        ["A" * 12_000],
        [GOOD] * 9,
        [base64.b64encode(base64.b64decode(GOOD)[:-1]).decode()],
        [base64.b64encode(base64.b64decode(GOOD) + b"\x00").decode()],
    ],
    ids=range(16),
)
def test_what_is_no_list_of_certificates_is_refused(value: Any) -> None:
    with pytest.raises(InvalidJwk) as refusal:
        jwk.parse_public(PEERS[0].jwk(x5c=value))
    assert refusal.value.detail.startswith("x5c")


@pytest.mark.parametrize("text", ["AAAA=", "AAAA==", "AAB=", "AB=="])
def test_base64_has_one_form(text: str) -> None:
    with pytest.raises(InvalidJwk):
        x5c.chain({"x5c": [text]})


def test_a_certificate_for_a_key_that_nobody_knows_is_refused() -> None:
    der = certificate(ec.derive_private_key(5, ec.SECP256R1()).public_key())
    unknown = der.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030163"))
    assert unknown != der
    with pytest.raises(InvalidJwk) as refusal:
        x5c.public_key_of(unknown)
    assert refusal.value.detail == "x5c: no certificate"
