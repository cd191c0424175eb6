"""The JWS and JWK vectors of Wycheproof through our verifier; they lie beside the repository and may be absent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from rs_kit.protocol import base64url, jwk, jws
from rs_kit.protocol.errors import InvalidJwk, InvalidJws
from rs_kit.protocol.jwk import PublicJwk
from tests.support.requirement_rows import ROOT

VECTORS = ROOT.parent / "shared" / "vectors" / "wycheproof"
OURS = {"ES256", "PS256", "Ed25519", "EdDSA"}
# valid by Wycheproof, refused here on purpose; by tcId
REFUSED_ON_PURPOSE: dict[str, dict[int, str]] = {
    "json_web_signature_test.json": {272: "an empty payload: no JWT has one"},
    "json_web_key_test.json": {},
}
IN_SCOPE = {"json_web_signature_test.json": 7, "json_web_key_test.json": 0}  # the rest is for algorithms we do not know


def groups(name: str) -> Iterator[dict[str, Any]]:
    path = VECTORS / name
    if not path.exists():
        print(f"{name} is not beside the repository: nothing was checked here")
        return
    yield from json.loads(path.read_text(encoding="utf-8"))["testGroups"]


def keys_of(group: dict[str, Any]) -> tuple[PublicJwk, ...]:
    document = group.get("public") or group["private"]
    return jwk.parse_set(document) if "keys" in document else (jwk.parse_public(document),)


def verifies(token: Any, keys: tuple[PublicJwk, ...]) -> bool:
    """Our own steps, without the claims: the vectors sign text that is no JSON."""
    if not isinstance(token, str):
        return False  # the JSON serialisation
    try:
        segment, payload, signing_input, signature = jws.split(token, max_length=8192)
        header = jws.parse_header(segment)
        jws.check_type(header, frozenset({"JWT", "JOSE"}), required=False)
        algorithm = jws.check_algorithm(header, frozenset({"ES256", "PS256", "Ed25519"}))
        base64url.decode(payload)
        kid = jws._kid(header)
        jws.verify(jws.UnverifiedJws(header, {}, algorithm, kid, signing_input, signature), keys)
    except (InvalidJws, ValueError):
        return False
    return True


@pytest.mark.attack("JOS-28")
@pytest.mark.parametrize("name", ["json_web_signature_test.json", "json_web_key_test.json"])
def test_no_invalid_vector_is_accepted_and_every_valid_one_in_scope_is(name: str) -> None:
    accepted: list[int] = []
    for group in groups(name):
        try:
            keys = keys_of(group)
        except InvalidJwk:
            keys = ()
        for case in group["tests"]:
            good = verifies(case["jws"], keys)
            assert not (good and case["result"] == "invalid"), f"{name} {case['tcId']}: {case['comment']}"
            if good:
                accepted.append(case["tcId"])
            elif case["result"] == "valid" and keys and _in_scope(case, keys):
                assert case["tcId"] in REFUSED_ON_PURPOSE[name], f"{name} {case['tcId']}: {case['comment']}"
    assert len(accepted) == IN_SCOPE[name] or not VECTORS.exists()


def _in_scope(case: dict[str, Any], keys: tuple[PublicJwk, ...]) -> bool:
    try:
        header = json.loads(base64url.decode(case["jws"].split(".")[0]))
    except (ValueError, AttributeError):
        return False
    return header.get("alg") in OURS and any(key.algorithm in OURS for key in keys)
