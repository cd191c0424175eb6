"""DPoP proofs: what their claims must say (RFC 9449 §4.3 (8) to (12))."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from rs_kit.protocol import nonce
from rs_kit.protocol.dpop import (
    VerifiedProof,
    access_token_hash,
)
from rs_kit.protocol.errors import UseDpopNonce
from tests.support.peer_keys import PeerKey, b64, unb64
from tests.support.proofs import EC, NONCE_KEY, NOW, PEERS, RSA, TOKEN, URL, proof, refused, verify


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
