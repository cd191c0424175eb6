"""DPoP proofs: their form, their key, their limits; the peer that makes them is not ours."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs_kit.protocol.dpop import (
    ProofKeys,
    make_proof,
    proof_header,
)
from rs_kit.protocol.errors import InvalidDpopProof, UseDpopNonce
from rs_kit.protocol.htu import InvalidUri
from rs_kit.protocol.jws import SigningKey
from tests.support.peer_keys import PeerKey, b64, compact, unb64
from tests.support.proofs import EC, ED, NONCE_KEY, NOW, PEERS, RSA, TOKEN, URL, proof, refused, verify

ATH = b64(hashlib.sha256(TOKEN.encode()).digest())


@pytest.mark.parametrize("name", [b"dpop"])
@pytest.mark.requirement("DPOP-1", proves="holds")
def test_one_header_field_is_the_proof(name: bytes) -> None:
    assert proof_header(((b"accept", b"*/*"), (name, b"a.b.c"))) == "a.b.c"
    assert proof_header(((b"accept", b"*/*"),)) is None


@pytest.mark.parametrize(
    "headers",
    [
        ((b"dpop", proof().encode()), (b"dpop", proof().encode())),
        ((b"dpop", proof().encode()), (b"dpop", b"")),
        ((b"dpop", proof().encode() + b", " + proof().encode()),),
        ((b"dpop", proof().encode() + b"," + proof().encode()),),
        ((b"dpop", b""),),
        ((b"dpop", b"\xff"),),
        ((b"dpop", proof().encode() + b"\t"),),
        ((b"dpop", b"\t" + proof().encode()),),
    ],
    ids=["two", "one empty", "list", "list without space", "empty", "not ASCII", "tab after", "tab before"],
)
@pytest.mark.requirement("DPOP-1", proves="refused")
def test_two_fields_or_a_list_are_refused(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    with pytest.raises(InvalidDpopProof):
        verify(proof_header(headers) or "")


def test_an_empty_field_is_a_wrong_proof_and_not_a_missing_one() -> None:
    with pytest.raises(InvalidDpopProof):
        proof_header(((b"dpop", b""),))


@pytest.mark.requirement("DPOP-2", proves="holds")
def test_one_compact_jws_is_accepted() -> None:
    assert verify(proof()).jti == "proof-1"


@pytest.mark.parametrize(
    "token",
    [
        "abc",
        "a.b",
        "a.b.c",
        json.dumps({"payload": "e30", "protected": "e30", "signature": "AA"}),
        "AAAA.AAAA.AAAA.AAAA.AAAA",
        proof() + " " + proof(),
        proof() + ".",
        " " + proof(),
        proof() + "=",
        proof()[:-1],
        "e30." * 5000,
    ],
    ids=["word", "two parts", "no JSON", "JSON form", "JWE", "two JWTs", "dot", "space", "padding", "cut", "long"],
)
@pytest.mark.requirement("DPOP-2", proves="refused")
def test_anything_but_one_compact_jws_is_refused(token: str) -> None:
    refused(token)


@pytest.mark.parametrize("typ", ["dpop+jwt", "dpop+JWT", "DPoP+jwt", "application/dpop+jwt"])
@pytest.mark.requirement("DPOP-3", proves="holds")
def test_the_type_of_a_proof_is_compared_as_a_media_type(typ: str) -> None:
    assert verify(proof(EC, {"typ": typ})).jkt == EC.thumbprint


@pytest.mark.parametrize(
    "header",
    [
        {"typ": ...},
        {"typ": "JWT"},
        {"typ": "at+jwt"},
        {"typ": None},
        {"alg": None},
        {"jwk": ...},
        {"jwk": None},
        {"jwk": []},
        {"jwk": "x"},
    ],
    ids=str,
)
@pytest.mark.requirement("DPOP-3", proves="refused")
def test_a_header_without_its_three_members_is_refused(header: dict[str, Any]) -> None:
    refused(proof(EC, header))


@pytest.mark.parametrize("key", PEERS, ids=lambda key: key.alg)
@pytest.mark.requirement("DPOP-4", proves="holds")
def test_each_algorithm_verifies(key: PeerKey) -> None:
    assert verify(proof(key)).jkt == key.thumbprint


def test_eddsa_is_accepted_as_the_old_name() -> None:
    assert verify(proof(ED, {"alg": "EdDSA"})).jkt == ED.thumbprint


@pytest.mark.parametrize(
    ("key", "header"),
    [
        (EC, {"alg": "none"}),
        (EC, {"alg": "HS256", "jwk": {"kty": "oct", "k": b64(b"k" * 32)}}),
        (EC, {"alg": "HS256"}),
        (RSA, {"alg": "RS256"}),
        (EC, {"alg": "ES384"}),
        (EC, {"alg": "ES256K"}),
        (EC, {"alg": "unknown"}),
        (EC, {"alg": "es256"}),
        (EC, {"alg": "PS256"}),
        (ED, {"alg": "ES256"}),
    ],
    ids=str,
)
@pytest.mark.requirement("DPOP-4", proves="refused")
def test_another_algorithm_is_refused(key: PeerKey, header: dict[str, Any]) -> None:
    refused(proof(key, header))
    if header["alg"] == "none":
        refused(compact({"typ": "dpop+jwt", "alg": "none", "jwk": EC.jwk()}, {"jti": "a"}, b""))


@pytest.mark.attack("DPA-15")
@pytest.mark.parametrize("bits", [2048, 3072, 4096])
@pytest.mark.requirement("DPOP-5", proves="holds")
def test_a_public_key_of_every_allowed_size_fits(bits: int) -> None:
    assert verify(proof(PeerKey.ps256(bits))).jkt == PeerKey.ps256(bits).thumbprint


@pytest.mark.parametrize(
    "members",
    [
        EC.private_jwk(),
        RSA.private_jwk(),
        ED.private_jwk(),
        EC.jwk(k="AAAA"),
        {"kty": "oct", "k": "AAAA"},
        EC.jwk(y=EC.jwk()["x"]),
        {"kty": "RSA", "n": b64(b"\xff" * 128), "e": "AQAB"},
        EC.jwk(crv="P-384"),
        {},
    ],
    ids=[
        "EC with d",
        "RSA with d",
        "Ed25519 with d",
        "EC with k",
        "oct",
        "off the curve",
        "RSA-1024",
        "P-384",
        "empty",
    ],
)
@pytest.mark.requirement("DPOP-5", proves="refused")
def test_a_key_that_is_private_weak_or_none_is_refused(members: dict[str, Any]) -> None:
    key = RSA if members.get("kty") == "RSA" else ED if members.get("kty") == "OKP" else EC
    refused(proof(key, {"jwk": members}))


@pytest.mark.requirement("DPOP-6", proves="holds")
def test_a_name_for_the_key_is_only_a_name() -> None:
    assert verify(proof(EC, {"kid": "any"})).jkt == EC.thumbprint
    assert verify(proof(EC, {"kid": "a", "jwk": EC.jwk(kid="a")})).jkt == EC.thumbprint


@pytest.mark.parametrize(
    "token",
    [
        proof(EC, {"jwk": PeerKey.es256().jwk()}),
        proof(RSA, {"jwk": PeerKey.ps256(index=1).jwk()}),
        proof(EC, {"jku": "https://evil.example/jwks"}),
        proof(EC, {"x5u": "https://evil.example/x"}),
        proof(EC, {"x5c": ["MIIB"]}),
        proof(EC, {"kid": "a", "jwk": EC.jwk(kid="b")}),
        ".".join([*proof().split(".")[:2], b64(bytes(64))]),
        ".".join([proof().split(".")[0], proof(jti="other").split(".")[1], proof().split(".")[2]]),
    ],
    ids=["other EC key", "other RSA key", "jku", "x5u", "x5c", "two names", "zero signature", "other claims"],
)
@pytest.mark.requirement("DPOP-6", proves="refused")
def test_a_signature_that_the_embedded_key_did_not_make_is_refused(token: str) -> None:
    refused(token)


@pytest.mark.requirement("DPOP-18", proves="holds")
def test_no_crit_is_the_rule() -> None:
    assert verify(proof()).jkt == EC.thumbprint


@pytest.mark.parametrize(
    "header",
    [{"crit": ["x"], "x": 1}, {"crit": []}, {"crit": ["alg"]}, {"b64": False, "crit": ["b64"]}],
    ids=str,
)
@pytest.mark.requirement("DPOP-18", proves="refused")
def test_every_crit_is_refused(header: dict[str, Any]) -> None:
    refused(proof(EC, header))


@pytest.mark.requirement("DPOP-19", proves="holds")
def test_a_jti_of_1024_characters_is_accepted() -> None:
    assert len(verify(proof(jti="j" * 1024)).replay_digest) == 32


def _header_of(characters: int) -> str:
    for pad in range(characters):
        token = proof(EC, {"pad": "p" * (characters * 3 // 4 - 300 + pad)})
        if len(token.split(".")[0]) >= characters:
            return token
    raise AssertionError


@pytest.mark.parametrize(
    "token",
    [_header_of(4097), proof(jti="j" * 1025), proof(jti="j" * 100_000), proof(more="x" * 10_000)],
    ids=["header", "jti", "huge jti", "claims"],
)
@pytest.mark.requirement("DPOP-19", proves="refused")
def test_an_oversized_proof_is_refused(token: str) -> None:
    refused(token)


def test_a_header_of_4096_characters_is_read() -> None:
    token = _header_of(4094)
    assert 4094 <= len(token.split(".")[0]) <= 4096
    assert verify(token).jkt == EC.thumbprint


@pytest.mark.attack("DPR-28")
@pytest.mark.parametrize(
    "claims",
    [
        b"\xef\xbb\xbf{}",
        '{"jti":"a"}'.encode("utf-16"),
        b'{"jti":"a","jti":"b","htm":"POST"}',
        b"[" * 3000 + b"]" * 3000,
        b'{"a":' * 17 + b"1" + b"}" * 17,
        b"",
        b"[]",
    ],
    ids=["BOM", "UTF-16", "jti twice", "deep arrays", "deep objects", "nothing", "array"],
)
def test_claims_that_parsers_disagree_about_are_refused(claims: bytes) -> None:
    refused(EC.sign({"typ": "dpop+jwt", "jwk": EC.jwk()}, claims))


def test_keys_are_remembered_only_after_a_signature_and_within_bounds() -> None:
    keys = ProofKeys(limit=2)
    with pytest.raises(InvalidDpopProof):
        verify(proof(EC, {"jwk": PeerKey.es256().jwk()}), keys=keys)
    assert len(keys) == 0
    refused(proof(htm="GET"), keys=keys)
    assert len(keys) == 1  # the key is proved, whatever else is wrong
    for key in (ED, RSA, PeerKey.es256(seed=43)):
        verify(proof(key), keys=keys)
    assert len(keys) == 2
    assert verify(proof(), keys=keys).jkt == EC.thumbprint


def test_a_remembered_header_checks_the_signature_again() -> None:
    keys = ProofKeys()
    assert verify(proof(), keys=keys) == verify(proof(), keys=keys)
    header, claims, _ = proof().split(".")
    with pytest.raises(InvalidDpopProof):
        verify(f"{header}.{claims}.{b64(PeerKey.es256(seed=44).signature(f'{header}.{claims}'.encode()))}", keys=keys)


@pytest.mark.parametrize("peer", PEERS, ids=lambda key: key.alg)
def test_our_proofs_verify_at_another_implementation_and_at_ours(peer: PeerKey) -> None:
    key = SigningKey.from_private_key(peer.private, kid="k")
    bare = make_proof(key, method="POST", url=URL, jti="j", issued_at=NOW)
    full = make_proof(key, method="GET", url=URL + "?a=b", jti="j", issued_at=NOW, nonce="n", access_token=TOKEN)
    assert peer.verifies(bare)
    assert peer.verifies(full)
    header, claims = (json.loads(unb64(part)) for part in full.split(".")[:2])
    assert header == {"typ": "dpop+jwt", "alg": peer.alg, "jwk": peer.jwk()}
    assert claims == {"jti": "j", "htm": "GET", "htu": URL, "iat": NOW, "nonce": "n", "ath": ATH}
    assert verify(bare).jkt == peer.thumbprint


def test_a_proof_for_no_uri_cannot_be_made() -> None:
    with pytest.raises(InvalidUri):
        make_proof(SigningKey.from_private_key(EC.private), method="POST", url="/mcp", jti="j", issued_at=NOW)


VALUE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.just([1])


@given(
    st.dictionaries(st.sampled_from(["typ", "alg", "jwk", "kid", "crit", "x5c"]), VALUE, max_size=2),
    st.dictionaries(st.sampled_from(["jti", "htm", "htu", "iat", "nonce", "ath", "exp", "nbf"]), VALUE, max_size=3),
)
def test_any_proof_gives_a_value_or_one_of_the_two_errors(header: dict[str, Any], claims: dict[str, Any]) -> None:
    try:
        verified = verify(proof(EC, header, **claims), nonce_key=NONCE_KEY, access_token=TOKEN)
    except (InvalidDpopProof, UseDpopNonce):
        return
    assert verified.jkt == EC.thumbprint


@given(st.text(max_size=80) | st.text("eyJ.abcAB_-", max_size=80))
def test_any_text_is_refused_with_the_one_error(token: str) -> None:
    with pytest.raises(InvalidDpopProof):
        verify(token)
