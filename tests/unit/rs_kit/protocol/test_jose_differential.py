"""Our parser and two others agree on every token that ours accepts."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwk as joserfc_jwk
from joserfc import jws as joserfc_jws
from joserfc.errors import JoseError

from rs_kit.protocol import jws
from rs_kit.protocol.errors import InvalidJws
from rs_kit.protocol.jwk import parse_public
from tests.support.peer_keys import PeerKey

EC, ED = PeerKey.es256(seed=51), PeerKey.ed25519(seed=52)
SEEDS = [
    EC.sign({"typ": "at+jwt", "kid": "k"}, {"sub": "alice", "aud": ["a", "b"], "exp": 1790000000, "x": 1.5}),
    ED.sign({"typ": "at+jwt", "kid": "k"}, {"sub": "al\u00efce", "cnf": {"jkt": "abc"}}),
]
PAYLOADS = st.text('{}[]":,abc01.e-\\u \n', max_size=30) | st.binary(max_size=20)


def ours(token: str, key: PeerKey) -> dict[str, Any] | None:
    try:
        unverified = jws.parse_compact(
            token,
            algorithms=frozenset({"ES256", "Ed25519"}),
            types=frozenset({"at+jwt"}),
            max_length=8192,
        )
        return dict(jws.verify(unverified, [parse_public(key.jwk(kid="k"))]).claims)
    except InvalidJws:
        return None


def theirs(token: str, key: PeerKey) -> dict[str, Any] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joserfc warns about EdDSA at every call
        try:
            imported = joserfc_jwk.import_key(key.jwk(kid="k"))
            payload = joserfc_jws.deserialize_compact(token, imported, algorithms=["ES256", "Ed25519", "EdDSA"]).payload
            claims = json.loads(payload)
        except (JoseError, ValueError, RecursionError):
            return None
    return claims if isinstance(claims, dict) else None


def agree(token: str, key: PeerKey) -> None:
    mine = ours(token, key)
    assert mine is None or mine == theirs(token, key)


@pytest.mark.attack("JOS-27")
@settings(max_examples=300)
@given(st.sampled_from([(SEEDS[0], EC), (SEEDS[1], ED)]), st.data())
def test_a_mutated_token_is_refused_or_read_alike(seed: tuple[str, PeerKey], data: st.DataObject) -> None:
    token, key = list(seed[0]), seed[1]
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(token) - 1))
        token[place : place + data.draw(st.integers(0, 2))] = data.draw(st.text("AZaz09-_.=+/ \n", max_size=2))
    agree("".join(token), key)


@pytest.mark.attack("JOS-27")
@settings(max_examples=300)
@given(PAYLOADS, st.sampled_from([EC, ED]))
def test_a_signed_oddity_is_refused_or_read_alike(payload: str | bytes, key: PeerKey) -> None:
    agree(key.sign({"typ": "at+jwt", "kid": "k"}, payload), key)


def test_what_is_good_is_good_for_both() -> None:
    for token, key in zip(SEEDS, (EC, ED), strict=True):
        assert ours(token, key) == theirs(token, key) is not None
