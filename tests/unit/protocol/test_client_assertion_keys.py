"""Client assertions: type, form, size, algorithm and key are right before any claim is believed."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol import client_assertion
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.errors import InvalidClient
from rs_kit.protocol import jwk
from tests.support.assertion_judge import (
    AGENT,
    CLIENT,
    KEY,
    OTHER_KEY,
    accepted,
    judged,
    peer,
    refused,
    registered,
)
from tests.support.fakes import ISSUER, NOW
from tests.support.peer_keys import PeerKey, as_json, b64, compact

# --- type, form and size


@pytest.mark.requirement("PKJ-7", proves="holds")
@pytest.mark.parametrize(
    "typ", [..., "JWT", "jwt", "client-authentication+jwt", "application/client-authentication+jwt"]
)
def test_three_types_are_a_client_assertion(typ: Any) -> None:
    assert accepted(assertion_header={"typ": typ}).registered is CLIENT


@pytest.mark.requirement("PKJ-7", proves="refused")
@pytest.mark.parametrize(
    "typ",
    ["oauth-authz-req+jwt", "dpop+jwt", "at+jwt", "application/at+jwt", "secevent+jwt", "logout+jwt", "", "JWT ",
     "text/JWT", None, 1, ["JWT"]],
)  # fmt: skip
def test_a_jwt_for_another_purpose_is_no_client_assertion(typ: Any) -> None:
    assert refused(assertion_header={"typ": typ}) == "assertion: typ"


def _is_accepted(assertion: str) -> bool:
    try:
        return judged(assertion).registered is CLIENT
    except InvalidClient:
        return False


@pytest.mark.requirement("PKJ-12", proves="holds")
def test_an_assertion_of_8_kib_is_read() -> None:
    claims = {"iss": AGENT, "sub": AGENT, "aud": ISSUER, "exp": NOW + 60, "jti": "j"}
    pads = [KEY.sign({"kid": "client-key"}, claims | {"pad": "p" * length}) for length in range(5_800, 6_000)]
    lengths = [len(assertion) for assertion in pads if _is_accepted(assertion)]
    assert max(lengths) in (8 * 1024 - 1, 8 * 1024)
    assert len(lengths) < len(pads)


@pytest.mark.requirement("PKJ-12", proves="refused")
def test_a_larger_assertion_or_another_serialization_is_refused() -> None:
    assert refused(assertion_claims={"pad": "p" * 8_000}) == "assertion: length"
    header, payload, signature = peer().assertion().split(".")
    flattened = {"protected": header, "payload": payload, "signature": signature}
    general = {"payload": payload, "signatures": [{"protected": header, "signature": signature}]}
    for serialized in (json.dumps(flattened), json.dumps(general), json.dumps([f"{header}.{payload}.{signature}"])):
        assert refused(assertion=serialized).startswith("assertion: ")


@pytest.mark.parametrize(
    "change",
    [
        lambda assertion: "",
        lambda assertion: "a.b.c",
        lambda assertion: "..",
        lambda assertion: assertion + ".",
        lambda assertion: "." + assertion,
        lambda assertion: assertion + "=",
        lambda assertion: assertion + "\n",
        lambda assertion: " " + assertion,
        lambda assertion: assertion.rpartition(".")[0] + ".",
        lambda assertion: assertion.rpartition(".")[0],
        lambda assertion: assertion.rpartition(".")[0] + "." + "A" * 86,
        lambda assertion: assertion[:-2],
        lambda assertion: f"{assertion}.{assertion}",
        lambda assertion: assertion.replace(".", "。"),
    ],
)
def test_an_assertion_that_is_not_exactly_one_compact_jws_is_refused(change: Any) -> None:
    assert refused(assertion=change(peer().assertion()))


# --- algorithms and keys


@pytest.mark.requirement("FAPI2-AS-22", proves="holds")
@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (PeerKey.ps256(), "PS256"),
        (KEY, "ES256"),
        (PeerKey.ed25519(seed=1), "Ed25519"),
        (PeerKey.ed25519(seed=1), "EdDSA"),
    ],
    ids=["PS256", "ES256", "Ed25519", "EdDSA"],
)
def test_three_algorithms_sign_assertions_one_of_them_under_two_names(key: PeerKey, alg: str) -> None:
    client = registered(key)
    with peer(key).lying(assertion_header={"alg": alg}) as lying:
        assert judged(lying.assertion(), client).registered is client


@pytest.mark.requirement("FAPI2-AS-22", proves="refused")
@pytest.mark.attack("CLA-11")
@pytest.mark.parametrize(
    "alg", ["RS256", "PS384", "PS512", "ES512", "ES384", "ES256K", "HS256", "Ed448", "es256", "", None]
)
def test_an_assertion_under_another_algorithm_is_refused_even_when_its_signature_is_right(alg: Any) -> None:
    key = PeerKey(PeerKey.ps256().private, "RS256")
    with peer(key).lying(assertion_header={"alg": alg}) as lying, pytest.raises(InvalidClient) as raised:
        judged(lying.assertion(), registered(PeerKey.ps256()))
    assert raised.value.detail == "assertion: alg"


@pytest.mark.attack("CLA-11")
@pytest.mark.parametrize("secret", ["jwk", "pem", "der"])
def test_the_public_key_is_no_shared_secret(secret: str) -> None:
    public = KEY.private.public_key()
    octets = {
        "jwk": as_json(KEY.jwk()),
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    }[secret]
    for alg in ("HS256", "ES256"):
        message = f"{b64(as_json({'alg': alg}))}.{peer().assertion().split('.')[1]}"
        code = hmac.digest(octets, message.encode(), hashlib.sha256)
        assert refused(assertion=f"{message}.{b64(code)}") in ("assertion: alg", "assertion: signature")


@pytest.mark.attack("CLA-11")
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE"])
@pytest.mark.parametrize("signature", [b"", b"garbage"])
def test_an_unsigned_assertion_is_refused(alg: str, signature: bytes) -> None:
    claims = {"iss": AGENT, "sub": AGENT, "aud": ISSUER, "exp": NOW + 60, "jti": "j"}
    assert refused(assertion=compact({"alg": alg}, claims, signature)).startswith("assertion: ")


@pytest.mark.requirement("PKJ-8", proves="holds")
@pytest.mark.parametrize(
    ("key", "alg", "named"),
    [
        (KEY, "ES256", "ES256"),
        (PeerKey.ps256(), "PS256", "PS256"),
        (PeerKey.ed25519(seed=1), "Ed25519", "EdDSA"),
        (PeerKey.ed25519(seed=1), "EdDSA", "Ed25519"),
        (PeerKey.ed25519(seed=1), "EdDSA", "EdDSA"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_registered_algorithm_signs_under_either_of_its_names(key: PeerKey, alg: str, named: str) -> None:
    client = registered(key, token_endpoint_auth_signing_alg=named)
    with peer(key).lying(assertion_header={"alg": alg}) as lying:
        assert judged(lying.assertion(), client).registered is client


def two_keys(algorithm: str | None) -> RegisteredClient:
    keys = [KEY.jwk(kid="ec", alg="ES256"), PeerKey.ps256().jwk(kid="rsa", alg="PS256")]
    return replace(registered(jwks={"keys": keys}), token_endpoint_auth_signing_alg=algorithm)


@pytest.mark.requirement("PKJ-8", proves="refused")
@pytest.mark.parametrize(
    ("alg", "key", "kid"), [("ES256", PeerKey.ps256(), "rsa"), ("PS256", KEY, "ec"), ("Ed25519", KEY, "ec")],
    ids=["ES256", "PS256", "Ed25519"],
)  # fmt: skip
def test_another_registered_key_of_another_algorithm_is_refused(alg: str, key: PeerKey, kid: str) -> None:
    client = two_keys(alg)
    with pytest.raises(InvalidClient) as raised:
        judged(peer(key, kid=kid).assertion(), client)
    assert raised.value.detail == "assertion: not the registered algorithm"


def test_without_a_registered_algorithm_each_registered_key_signs_with_its_own() -> None:
    client = two_keys(None)
    for key, kid in ((KEY, "ec"), (PeerKey.ps256(), "rsa")):
        assert judged(peer(key, kid=kid).assertion(), client).registered is client


@pytest.mark.requirement("PKJ-9", proves="refused")
@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
def test_a_key_that_comes_with_the_assertion_is_never_used(member: str) -> None:
    brought = {
        "jwk": OTHER_KEY.jwk(),
        "jku": "https://evil.example/jwks",
        "x5u": "https://evil.example/x",
        "x5c": ["MII"],
    }
    header = {member: brought[member]}
    assert refused(assertion_header=header, assertion_key=OTHER_KEY).startswith("assertion: ")
    assert refused(assertion_header=header).startswith("assertion: ")  # nor is it ignored


@pytest.mark.requirement("PKJ-9", proves="refused")
@pytest.mark.attack("CLA-13")
@pytest.mark.parametrize(
    "kid",
    ["unknown", "", "../../dev/null", "' OR 1=1--", "k" * 4_000, ["client-key"], None, 1, {}, "Client-key"],
    ids=lambda kid: f"{kid!r:.16}",
)  # fmt: skip
def test_a_kid_that_names_no_registered_key_is_refused(kid: Any) -> None:
    assert refused(assertion_header={"kid": kid}).startswith("assertion: ")


@pytest.mark.attack("CLA-13")
def test_without_a_kid_several_keys_of_one_algorithm_are_none() -> None:
    keys = [KEY.jwk(kid="one", alg="ES256"), OTHER_KEY.jwk(kid="two", alg="ES256")]
    assert refused(client=registered(jwks={"keys": keys}), assertion_header={"kid": ...}) == (
        "assertion: several keys with this alg and no kid"
    )
    assert accepted(assertion_header={"kid": ...}).registered is CLIENT


@pytest.mark.requirement("FAPI2-JWKS-4", proves="holds")
def test_two_keys_of_different_types_may_share_a_kid() -> None:
    keys = tuple(jwk.parse_public(key.jwk(kid="1", alg=key.alg)) for key in (PeerKey.ps256(), KEY))
    client = replace(CLIENT, keys=keys, token_endpoint_auth_signing_alg=None)
    for key in (PeerKey.ps256(), KEY):
        assert judged(peer(key, kid="1").assertion(), client).registered is client


@pytest.mark.requirement("FAPI2-JWKS-4", proves="refused")
def test_a_shared_kid_lends_no_key_to_another_algorithm() -> None:
    keys = tuple(jwk.parse_public(key.jwk(kid="1", alg=key.alg)) for key in (PeerKey.ps256(), KEY))
    client = replace(CLIENT, keys=keys, token_endpoint_auth_signing_alg=None)
    for stranger in (OTHER_KEY, PeerKey.ps256(index=1), PeerKey.ed25519(seed=1)):
        with pytest.raises(InvalidClient):
            judged(peer(stranger, kid="1").assertion(), client)


# --- properties


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))
CLAIMS = st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti"])


@given(st.dictionaries(CLAIMS, JSON, max_size=3), st.dictionaries(st.sampled_from(["typ", "alg", "kid", "crit"]), JSON))
def test_every_signed_assertion_is_a_client_or_the_one_error(claims: dict[str, Any], header: dict[str, Any]) -> None:
    with peer().lying(assertion_claims=claims, assertion_header=header) as lying:
        assertion = lying.assertion()
    try:
        found = judged(assertion)
    except InvalidClient:
        return
    assert found.registered is CLIENT
    assert not {"aud", "iss", "sub"} & set(claims)  # whatever was drawn instead of the truth was refused


@given(st.text(max_size=200) | st.text(st.sampled_from("abc.-_=\n"), max_size=200), st.none() | st.text(max_size=8))
def test_every_text_is_presented_or_the_one_error(assertion: str, client_id: str | None) -> None:
    with pytest.raises(InvalidClient):
        client_assertion.present(assertion, client_id=client_id)
