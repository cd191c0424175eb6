"""DPoP proofs, check by check; the peer that makes them is not ours."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs_kit.protocol import nonce
from rs_kit.protocol.dpop import (
    ProofExpectation,
    ProofKeys,
    VerifiedProof,
    access_token_hash,
    make_proof,
    proof_header,
    verify_proof,
)
from rs_kit.protocol.errors import InvalidDpopProof, UseDpopNonce
from rs_kit.protocol.htu import InvalidUri
from rs_kit.protocol.jws import SigningKey
from tests.support.peer_keys import PeerKey, b64, compact, unb64

NOW = 1_790_000_000
URL = "https://rs.example/mcp"
NONCE_KEY = b"n" * 32
TOKEN = "eyJ.access.token"
EC, RSA, ED = PeerKey.es256(seed=41), PeerKey.ps256(), PeerKey.ed25519(seed=42)
PEERS = [EC, RSA, ED]


def proof(key: PeerKey = EC, header: dict[str, Any] | None = None, /, **changes: Any) -> str:
    """A proof that is right until a test changes it; `...` takes a member away."""
    head = {"typ": "dpop+jwt", "alg": key.alg, "jwk": key.jwk()} | (header or {})
    claims = {"jti": "proof-1", "htm": "POST", "htu": URL, "iat": NOW} | changes
    return key.sign(
        {name: value for name, value in head.items() if value is not ...},
        {name: value for name, value in claims.items() if value is not ...},
    )


def verify(token: str, *, keys: ProofKeys | None = None, **changes: Any) -> VerifiedProof:
    expected: dict[str, Any] = {
        "method": "POST",
        "htu": URL,
        "now": NOW,
        "max_age_seconds": 60,
        "max_future_seconds": 30,
        "nonce_key": None,
    }
    return verify_proof(
        token,
        expect=ProofExpectation(**expected | changes),
        keys=ProofKeys() if keys is None else keys,
    )


def refused(token: str, **changes: Any) -> InvalidDpopProof:
    with pytest.raises(InvalidDpopProof) as caught:
        verify(token, **changes)
    assert caught.value.error == "invalid_dpop_proof"
    return caught.value


@pytest.mark.parametrize("name", [b"dpop"])
@pytest.mark.requirement("DPOP-1", proves="holds")
def test_one_header_field_is_the_proof(name: bytes) -> None:
    assert proof_header(((b"accept", b"*/*"), (name, b"a.b.c"))) == "a.b.c"
    assert proof_header(((b"accept", b"*/*"),)) is None


@pytest.mark.parametrize(
    "headers",
    [
        ((b"dpop", b"a.b.c"), (b"dpop", b"a.b.c")),
        ((b"dpop", b"a.b.c"), (b"dpop", b"")),
        ((b"dpop", b"a.b.c, d.e.f"),),
        ((b"dpop", b"a.b.c,d.e.f"),),
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


@pytest.mark.requirement("DPOP-7", proves="holds")
def test_the_four_claims_are_enough() -> None:
    digest = hashlib.sha256(f"{EC.thumbprint}proof-1".encode()).digest()
    assert verify(proof()) == VerifiedProof(EC.thumbprint, "proof-1", NOW, digest, NOW + 61)


@pytest.mark.parametrize("name", ["jti", "htm", "htu", "iat"])
@pytest.mark.parametrize("value", [..., None, True, 1.5, [], {}, "", -1, str(NOW)], ids=str)
@pytest.mark.requirement("DPOP-7", proves="refused")
def test_a_claim_that_is_missing_or_of_another_type_is_refused(name: str, value: object) -> None:
    if name == "jti" and value == str(NOW):
        assert verify(proof(jti=value)).jti == value
        return
    refused(proof(**{name: value}))


@pytest.mark.requirement("DPOP-8", proves="holds")
def test_the_method_of_the_request_is_accepted() -> None:
    assert verify(proof(htm="DELETE"), method="DELETE").jti == "proof-1"


@pytest.mark.parametrize("htm", ["GET", "post", "Post", "POST ", "", "DELETE"])
@pytest.mark.requirement("DPOP-8", proves="refused")
def test_a_proof_for_another_method_is_refused(htm: str) -> None:
    refused(proof(htm=htm))


@pytest.mark.parametrize(
    "htu",
    [URL, URL + "?a=b", URL + "#x", URL + "?a=b#x", "HTTPS://RS.example:443/mcp", "https://rs.example/x/../m%63p"],
)
@pytest.mark.requirement("DPOP-9", proves="holds")
def test_query_and_fragment_of_htu_are_ignored(htu: str) -> None:
    assert verify(proof(htu=htu)).jti == "proof-1"


@pytest.mark.attack("DPR-06")
@pytest.mark.parametrize(
    "htu",
    [
        "https://rs.example/other",
        "https://rs.example/mcp/",
        "https://evil.example/mcp",
        "http://rs.example/mcp",
        "https://rs.example:8443/mcp",
        "https://rs.example:/mcp",
        "https://rs.example./mcp",
        "https://rs.example@evil.example/mcp",
        "https://user@rs.example/mcp",
        "https://rs\\@evil/mcp",
        "https://rs.ex\u0430mple/mcp",
        "https://[fe80::1%25eth0]/mcp",
        "/mcp",
        "https://rs.example",
    ],
)
@pytest.mark.requirement("DPOP-9", proves="refused")
def test_a_proof_for_another_uri_is_refused(htu: str) -> None:
    refused(proof(htu=htu))


@pytest.mark.parametrize("age", [-30, -10, 0, 10, 60])
@pytest.mark.requirement("DPOP-12", proves="holds")
def test_a_proof_of_this_minute_is_accepted(age: int) -> None:
    assert verify(proof(iat=NOW - age)).replay_until == NOW - age + 61
    assert verify(proof(iat=float(NOW - age))).issued_at == NOW - age


@pytest.mark.parametrize("age", [-3600, -61, -31, 61, 303, 3600, NOW, NOW + 1])
@pytest.mark.requirement("DPOP-12", proves="refused")
def test_a_proof_of_another_time_is_refused(age: int) -> None:
    refused(proof(iat=NOW - age))


def nonce_for(key: PeerKey | None, *, now: int = NOW, sealed_with: bytes = NONCE_KEY) -> str:
    return nonce.issue(sealed_with, now=now, jkt=key.thumbprint if key else None, window_seconds=120)


@pytest.mark.requirement("DPOP-13", proves="holds")
def test_the_current_and_the_previous_nonce_are_accepted() -> None:
    for value in (nonce_for(EC), nonce_for(EC, now=NOW - 120), nonce_for(None)):
        assert verify(proof(nonce=value), nonce_key=NONCE_KEY).jkt == EC.thumbprint


@pytest.mark.parametrize(
    "value",
    [
        ...,
        None,
        "",
        "guess",
        "\u00e9" * 32,
        nonce_for(EC, now=NOW - 240),
        nonce_for(EC, sealed_with=b"o" * 32),
        nonce_for(RSA),
        "n" * 1000,
    ],
    ids=["none", "null", "empty", "guess", "not ASCII", "two generations old", "other server's", "other key's", "long"],
)
@pytest.mark.requirement("DPOP-13", proves="refused")
def test_without_a_nonce_of_ours_a_new_one_is_offered_to_the_key_that_was_proved(value: object) -> None:
    with pytest.raises(UseDpopNonce) as caught:
        verify(proof(nonce=value), nonce_key=NONCE_KEY)
    assert (caught.value.error, caught.value.jkt) == ("use_dpop_nonce", EC.thumbprint)


@pytest.mark.parametrize("value", [1, True, [], {"a": 1}], ids=str)
def test_a_nonce_of_another_type_is_a_malformed_proof(value: object) -> None:
    refused(proof(nonce=value), nonce_key=NONCE_KEY)


@pytest.mark.parametrize(
    "changes",
    [{"htm": "GET"}, {"htu": "https://rs.example/x"}, {"iat": NOW - 61}, {"jti": ""}, {"exp": 1}],
    ids=str,
)
def test_the_nonce_is_judged_last_so_that_a_wrong_proof_learns_none(changes: dict[str, Any]) -> None:
    refused(proof(nonce="stale", **changes), nonce_key=NONCE_KEY)


def test_a_nonce_that_nobody_asked_for_is_ignored() -> None:
    assert verify(proof(nonce=1)).jti == "proof-1"


ATH = b64(hashlib.sha256(TOKEN.encode()).digest())


@pytest.mark.requirement("DPOP-14", proves="holds")
def test_the_digest_of_the_token_that_comes_along_is_accepted() -> None:
    assert access_token_hash(TOKEN) == ATH
    assert verify(proof(ath=ATH), access_token=TOKEN).jti == "proof-1"


@pytest.mark.attack("DPR-03")
@pytest.mark.parametrize(
    "ath",
    [
        ...,
        None,
        "",
        ATH + "=",
        ATH[:-1],
        b64(hashlib.sha256(b"another token").digest()),
        b64(hashlib.sha1(TOKEN.encode()).digest()),
        hashlib.sha256(TOKEN.encode()).hexdigest(),
        base64.b64encode(hashlib.sha256(TOKEN.encode()).digest()).decode(),
        [ATH],
    ],
    ids=["none", "null", "empty", "padded", "cut", "another token's", "SHA-1", "hex", "base64", "list"],
)
@pytest.mark.requirement("DPOP-14", proves="refused")
def test_a_proof_for_another_token_is_refused(ath: object) -> None:
    refused(proof(ath=ath), access_token=TOKEN)


def test_ath_is_ignored_where_no_token_comes_along() -> None:
    assert verify(proof(ath="any")).jti == "proof-1"


@pytest.mark.requirement("DPOP-16", proves="holds")
def test_the_same_jti_under_another_key_is_another_use() -> None:
    digests = {verify(proof(key)).replay_digest for key in PEERS}
    assert len(digests) == 3
    assert all(len(digest) == 32 for digest in digests)  # whatever the length of the jti


@pytest.mark.requirement("DPOP-16", proves="refused")
def test_the_same_jti_under_the_same_key_is_the_same_use_in_every_other_dress() -> None:
    first = verify(proof())
    dressed = proof(EC, {"x": 1, "jwk": dict(reversed(EC.jwk(use="sig", kid="z").items()))}, more=1, iat=NOW - 1)
    assert verify(dressed).replay_digest == first.replay_digest
    assert verify(proof(jti="proof-2")).replay_digest != first.replay_digest
    message, _, signature = proof().rpartition(".")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = unb64(signature)[:32], int.from_bytes(unb64(signature)[32:], "big")
    malleated = f"{message}.{b64(r + (order - s).to_bytes(32, 'big'))}"  # JOS-04: verifies, and spends the same jti
    assert verify(malleated).replay_digest == first.replay_digest


@pytest.mark.attack("DPA-14")
@pytest.mark.requirement("DPOP-17", proves="holds")
def test_unknown_members_and_valid_times_are_accepted() -> None:
    token = proof(EC, {"x": 1, "urn:y": {}}, exp=NOW + 60, nbf=NOW, more=[1], cnf={"a": 1})
    assert verify(token).jti == "proof-1"
    assert verify(proof(exp=NOW - 9, nbf=NOW + 30)).jti == "proof-1"


@pytest.mark.parametrize(
    "changes",
    [{"exp": NOW - 10}, {"exp": 0}, {"exp": "x"}, {"exp": None}, {"nbf": NOW + 31}, {"nbf": True}],
    ids=str,
)
@pytest.mark.requirement("DPOP-17", proves="refused")
def test_times_that_are_stated_are_meant(changes: dict[str, Any]) -> None:
    refused(proof(**changes))


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
