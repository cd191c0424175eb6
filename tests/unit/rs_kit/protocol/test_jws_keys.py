"""Which key may verify a compact JWS, the dates in it, and what our own keys sign."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

from rs_kit.protocol import jws
from rs_kit.protocol.errors import InvalidJwk, InvalidJws
from rs_kit.protocol.jws import SigningKey
from tests.support.compact_tokens import EC, ED, PEERS, RSA, parse, verify
from tests.support.peer_keys import PeerKey, as_json, b64, unb64

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
L = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.alg)
@pytest.mark.attack("JOS-03")
def test_a_spoiled_signature_is_refused(peer: PeerKey) -> None:
    message, _, signature = peer.sign({"typ": "at+jwt", "kid": "k"}, {"sub": "alice"}).rpartition(".")
    octets = unb64(signature)
    spoiled = [
        octets[:-1],
        octets + b"\x00",
        bytes(len(octets)),
        octets[:-1] + bytes((octets[-1] ^ 1,)),
        b"\x30" + octets,
    ]
    if peer is EC:
        spoiled += [ORDER.to_bytes(32, "big") + octets[32:], octets[:32] + ORDER.to_bytes(32, "big")]
        spoiled += [peer.private.sign(message.encode(), ec.ECDSA(jws._ECDSA.algorithm))]  # DER
    if peer is ED:
        scalar = int.from_bytes(octets[32:], "little") + L
        spoiled += [octets[:32] + scalar.to_bytes(32, "little")]  # JOS-04
    for bad in spoiled:
        with pytest.raises(InvalidJws, match="signature"):
            verify(f"{message}.{b64(bad)}", peer)


def test_a_signature_over_other_claims_is_refused() -> None:
    header, _, signature = EC.sign({"typ": "at+jwt", "kid": "k"}, {"sub": "alice"}).split(".")
    with pytest.raises(InvalidJws, match="signature"):
        verify(f"{header}.{b64(as_json({'sub': 'mallory'}))}.{signature}", EC)


@pytest.mark.requirement("JOSE-32", proves="holds")
def test_a_missing_kid_is_good_for_exactly_one_key() -> None:
    token = EC.sign({"typ": "at+jwt"}, {})
    assert verify(token, EC).claims == {}
    assert verify(token, EC, RSA, ED, kid=None).key.algorithm == "ES256"


@pytest.mark.requirement("JOSE-32", proves="refused")
def test_a_missing_kid_does_not_choose_among_several() -> None:
    with pytest.raises(InvalidJws, match="several"):
        verify(EC.sign({"typ": "at+jwt"}, {}), EC, PeerKey.es256(), kid=None)


@pytest.mark.attack("JOS-23")
@pytest.mark.parametrize(("signer", "registered"), [(EC, RSA), (RSA, ED), (ED, EC)], ids=["ES256", "PS256", "Ed25519"])
def test_a_key_of_another_algorithm_is_not_even_tried(signer: PeerKey, registered: PeerKey) -> None:
    with pytest.raises(InvalidJws, match="no key"):
        verify(signer.sign({"typ": "at+jwt", "kid": "k"}, {}), registered)


def test_without_keys_nothing_verifies() -> None:
    with pytest.raises(InvalidJws, match="no key"):
        verify(EC.sign({"typ": "at+jwt"}, {}))


def test_each_of_several_keys_with_one_name_is_tried() -> None:
    first, second, stranger = PeerKey.es256(), PeerKey.es256(), PeerKey.es256()
    for signer in (first, second):
        assert verify(signer.sign({"typ": "at+jwt", "kid": "k"}, {}), first, second).key.thumbprint == signer.thumbprint
    with pytest.raises(InvalidJws, match="signature"):
        verify(stranger.sign({"typ": "at+jwt", "kid": "k"}, {}), first, second)


def test_another_key_under_the_same_kid_is_refused() -> None:
    with pytest.raises(InvalidJws, match="signature"):
        verify(PeerKey.es256().sign({"typ": "at+jwt", "kid": "k"}, {}), EC)


NUMBERS = {
    "0": 0, "-0": 0, "1": 1, "1.0": 1, "1.5e9": 1_500_000_000, "1790000000": 1_790_000_000, "8589934591": 2**33 - 1,
}  # fmt: skip

BAD_NUMBERS = [
    "1e400",
    "Infinity",
    "NaN",
    "-1",
    "1.5",
    "true",
    '"123"',
    "null",
    "[1]",
    "{}",
    "9" * 4000,
    "9" * 5000,
    "1e15",
    "253402300800",
    "8589934592",
    "-1.0",
]


@pytest.mark.parametrize(("text", "value"), NUMBERS.items())
def test_a_numeric_date_is_an_integer_value(text: str, value: int) -> None:
    assert jws.numeric_date(parse(EC.sign({"typ": "at+jwt"}, f'{{"exp":{text}}}')).claims["exp"]) == value


@pytest.mark.attack("JOS-14")
@pytest.mark.parametrize("text", BAD_NUMBERS, ids=lambda text: text[:12])
def test_anything_else_is_no_numeric_date(text: str) -> None:
    try:
        claims = parse(EC.sign({"typ": "at+jwt"}, f'{{"exp":{text}}}')).claims
    except InvalidJws:
        return
    assert jws.numeric_date(claims["exp"]) is None


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.alg)
@pytest.mark.requirement("JOSE-7", proves="holds")
def test_what_we_sign_bare_cryptography_verifies(peer: PeerKey) -> None:
    key = SigningKey.from_private_key(peer.private, kid="k")
    for token in (
        jws.sign(key, {"sub": "älice"}, typ="at+jwt"),
        jws.sign(key, {"sub": "älice"}, typ="at+jwt"),
        jws.sign(key, {"sub": "älice"}, typ="at+jwt", header={"x": 1, "alg": "none"}),
    ):
        assert peer.verifies(token)
        assert json.loads(unb64(token.split(".")[1])) == {"sub": "älice"}
        header = json.loads(unb64(token.split(".")[0]))
        assert (header["alg"], header["typ"], header["kid"]) == (peer.alg, "at+jwt", "k")
        assert verify(token, peer).claims == {"sub": "älice"}


@pytest.mark.requirement("JOSE-7", proves="refused")
def test_two_es256_signatures_share_no_nonce() -> None:
    key = SigningKey.from_private_key(EC.private)
    signatures = {unb64(jws.sign(key, {"n": n}, typ="x").split(".")[2])[:32] for n in range(32)}
    assert len(signatures) == 32  # r repeats only when the nonce does


def test_a_signing_key_shows_its_public_half_only() -> None:
    key = SigningKey.from_private_key(EC.private, alg="ES256", kid="k")
    assert (key.alg, key.kid, key.thumbprint) == ("ES256", "k", EC.thumbprint)
    assert key.public_jwk() == EC.jwk(kid="k", use="sig", alg="ES256")
    assert "d" not in key.public_jwk()
    assert repr(key) == "SigningKey(alg='ES256', kid='k')"
    assert jws.sign(SigningKey.from_private_key(EC.private), {}, typ="x", header={}).count(".") == 2


def test_the_kept_headers_are_bounded() -> None:
    key = SigningKey.from_private_key(EC.private)
    for n in range(40):
        assert EC.verifies(jws.sign(key, {}, typ=f"t{n}"))
    assert len(key._headers) <= 16


@pytest.mark.parametrize(
    ("private", "alg"),
    [
        (EC.private, "PS256"),
        (ED.private, "ES256"),
        (RSA.private, "RS256"),
        (rsa.generate_private_key(public_exponent=65537, key_size=1024), None),
        (ec.derive_private_key(7, ec.SECP384R1()), None),
        (x25519.X25519PrivateKey.generate(), None),
    ],
    ids=["EC as PS256", "Ed25519 as ES256", "RSA as RS256", "RSA-1024", "P-384", "X25519"],
)
def test_a_key_that_may_not_sign_here_is_refused(private: Any, alg: str | None) -> None:
    with pytest.raises(InvalidJwk):
        SigningKey.from_private_key(private, alg=alg)


def test_claims_that_json_cannot_say_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        jws.sign(SigningKey.from_private_key(EC.private), {"exp": float("inf")}, typ="x")
