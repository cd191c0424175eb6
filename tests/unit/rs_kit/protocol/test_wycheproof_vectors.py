"""Wycheproof's vectors at the one verification of JWS: nothing invalid is accepted, and all that is ours is."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from rs_kit.protocol import access_token, base64url, dpop, jwk, jws
from rs_kit.protocol.errors import InvalidDpopProof, InvalidJwk, InvalidJws, InvalidToken
from rs_kit.protocol.jwk import PublicJwk
from tests.support.wycheproof import CRYPTO, JWE, JWK, JWS, Vector, present, vectors

OURS: Final = frozenset({"ES256", "PS256", "Ed25519"})
TYPES: Final = frozenset({"JWT", "JOSE"})
SIZES: Final = {JWS: 401, JWK: 26, JWE: 139, CRYPTO: 83}
# valid by Wycheproof and refused here on purpose
OVERRIDES: Final[dict[str, dict[int, str]]] = {
    JWS: {
        272: "an empty payload: no JWT has one",
        346: "PS384 under a key for PS256",
        347: "ES512 under a key for an algorithm that does not exist",
        350: "PS384 under a key for PS256",
        351: "ES512 under a key for an algorithm that does not exist",
        372: "a character inside base64 that no alphabet has",
        373: "a character inside base64 that no alphabet has",
    },
    JWK: {},
    CRYPTO: {},
}
ACCEPTED: Final = {JWS: {18, 273, 274, 275, 287, 288, 378}, JWK: set[int](), CRYPTO: {18}}


def keys_of(document: dict[str, Any]) -> tuple[PublicJwk, ...]:
    try:
        return jwk.parse_set(document) if "keys" in document else (jwk.parse_public(document),)
    except InvalidJwk:
        return ()


def verifies(vector: Vector, keys: tuple[PublicJwk, ...]) -> bool:
    """The steps of `parse_compact` and `verify` without the claims: the vectors sign text that is no JSON."""
    try:
        segment, payload, signing_input, signature = jws.split(vector.token, max_length=8192)
        header = jws.parse_header(segment)
        jws.check_type(header, TYPES, required=False)
        algorithm = jws.check_algorithm(header, OURS)
        base64url.decode(payload)
        jws.verify(jws.UnverifiedJws(header, {}, algorithm, jws._kid(header), signing_input, signature), keys)
    except (InvalidJws, ValueError):
        return False
    return True


def refusal_of_the_whole(vector: Vector) -> str:
    """Why `parse_compact` itself reads no claims from it."""
    with pytest.raises(InvalidJws) as refusal:
        jws.parse_compact(vector.token, algorithms=OURS, types=TYPES, type_required=False, max_length=8192)
    return refusal.value.detail or ""


def header_algorithm(vector: Vector) -> object:
    try:
        return json.loads(base64url.decode(vector.token.split(".")[0])).get("alg")
    except ValueError:
        return None


@pytest.mark.attack("JOS-28")
@pytest.mark.parametrize("file", [JWS, JWK, CRYPTO])
def test_no_invalid_vector_is_accepted_and_every_valid_one_in_scope_is(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if not present(capsys):
        return
    accepted: set[int] = set()
    assert len(vectors(file)) == SIZES[file]
    for vector in vectors(file):
        if verifies(vector, keys_of(vector.document)):
            assert vector.is_valid, f"{file} {vector.number}: {vector.comment}"
            assert refusal_of_the_whole(vector).startswith("JSON: "), vector  # only its payload is no JWT's
            accepted.add(vector.number)
        elif vector.is_valid and header_algorithm(vector) in OURS:
            assert vector.number in OVERRIDES[file], f"{file} {vector.number}: {vector.comment}"
    assert accepted == ACCEPTED[file]
    assert not accepted & OVERRIDES[file].keys()


def test_what_is_refused_on_purpose_is_valid_to_wycheproof(capsys: pytest.CaptureFixture[str]) -> None:
    if present(capsys):
        valid = {vector.number for vector in vectors(JWS) if vector.is_valid}
        assert OVERRIDES[JWS].keys() <= valid


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (7, "a modulus of the ROCA family"),
        (8, "modulus"),
        (9, "exponent"),
        (22, "the point is not on the curve"),
        (1, "a key is private or symmetric"),
        (16, "a key is private or symmetric"),
    ],
)
def test_a_bad_key_of_wycheproof_is_refused_for_what_is_bad_about_it(
    number: int, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if not present(capsys):
        return
    vector = next(vector for vector in vectors(JWK) if vector.number == number)
    unnamed = [{name: value for name, value in key.items() if name != "alg"} for key in vector.document["keys"]]
    with pytest.raises(InvalidJwk) as refusal:  # RS256 would be refused before its numbers are looked at
        jwk.parse_set({"keys": unnamed})
    assert refusal.value.detail == reason


@pytest.mark.attack("JOS-19")
@pytest.mark.parametrize("file", [JWE, CRYPTO])
def test_no_encrypted_vector_is_read_as_any_kind_of_jwt(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    if not present(capsys):
        return
    expect = dpop.ProofExpectation("POST", "https://auth.example/token", 0, 60, 30, None)
    for vector in vectors(file):
        assert refusal_of_the_whole(vector)
        with pytest.raises(InvalidDpopProof):
            dpop.verify_proof(vector.token, expect=expect, keys=dpop.ProofKeys())
        with pytest.raises(InvalidToken):
            access_token.present(vector.token)
