"""Compact JWS: what is refused before a key is touched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs_kit.protocol.errors import InvalidJws
from tests.support.compact_tokens import EC, ED, PEERS, parse, verify
from tests.support.peer_keys import PeerKey, as_json, b64, compact


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.alg)
@pytest.mark.requirement("JOSE-1", proves="holds")
def test_each_of_the_three_algorithms_verifies(peer: PeerKey) -> None:
    verified = verify(peer.sign({"typ": "at+jwt", "kid": "k"}, {"sub": "alice"}), peer)
    assert verified.claims == {"sub": "alice"}
    assert verified.header["alg"] == peer.alg
    assert verified.key.thumbprint == peer.thumbprint


@pytest.mark.parametrize(
    "alg",
    [
        "RS256",
        "RS384",
        "PS384",
        "PS512",
        "ES384",
        "ES512",
        "ES256K",
        "HS256",
        "HS384",
        "HS512",
        "Ed448",
        "ML-DSA-44",
        "ESP256",
        "",
        1,
        None,
        ["ES256"],
        {},
    ],
    ids=str,
)
@pytest.mark.requirement("JOSE-1", proves="refused")
def test_every_other_algorithm_is_refused_before_a_key_is_looked_for(alg: object) -> None:
    with pytest.raises(InvalidJws, match="alg"):
        parse(EC.sign({"alg": alg, "typ": "at+jwt"}, {}))


@pytest.mark.attack("JOS-01")
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "es256", "Es256", "ed25519", "eddsa"])
@pytest.mark.parametrize("signature", [b"", b"garbage"], ids=["empty", "garbage"])
@pytest.mark.requirement("JOSE-2", proves="refused")
def test_none_and_other_spellings_are_refused(alg: str, signature: bytes) -> None:
    with pytest.raises(InvalidJws):
        parse(compact({"alg": alg, "typ": "at+jwt"}, {"sub": "a"}, signature))


@pytest.mark.attack("JOS-01")
@pytest.mark.parametrize(
    "header", ['{"alg":"none","alg":"ES256","typ":"at+jwt"}', '{"alg":"ES256","alg":"none","typ":"at+jwt"}']
)
def test_an_algorithm_that_stands_twice_is_refused(header: str) -> None:
    with pytest.raises(InvalidJws, match="repeated"):
        parse(EC.sign(header, {}))


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
@pytest.mark.requirement("JOSE-3", proves="holds")
def test_ed25519_is_known_by_both_of_its_names(alg: str) -> None:
    verified = verify(ED.sign({"alg": alg, "typ": "at+jwt", "kid": "k"}, {}), ED)
    assert verified.header["alg"] == alg
    assert parse(ED.sign({"alg": alg, "typ": "at+jwt"}, {})).algorithm == "Ed25519"


@pytest.mark.requirement("JOSE-3", proves="refused")
def test_eddsa_is_no_name_where_ed25519_is_not_allowed() -> None:
    with pytest.raises(InvalidJws, match="alg"):
        parse(ED.sign({"alg": "EdDSA", "typ": "at+jwt"}, {}), algorithms=frozenset({"ES256"}))


@pytest.mark.attack("JOS-02")
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
@pytest.mark.requirement("JOSE-8", proves="refused")
def test_a_mac_under_the_public_key_is_refused(alg: str) -> None:
    token = compact({"alg": alg, "typ": "at+jwt", "kid": "k"}, {"sub": "a"}, bytes(32))
    with pytest.raises(InvalidJws, match="alg"):
        verify(token, EC)


@pytest.mark.parametrize("token", ["a.b", "a.b.c.d", "a.b.c.d.e", "a.b.c.d.e.f", "a", "", "..", ".b.c", "a..c", "a.b."])
@pytest.mark.requirement("JOSE-11", proves="refused")
def test_another_number_of_parts_or_an_empty_one_is_refused(token: str) -> None:
    with pytest.raises(InvalidJws):
        parse(token)


@pytest.mark.requirement("JOSE-11", proves="holds")
def test_three_parts_are_a_jws() -> None:
    assert parse(EC.sign({"typ": "at+jwt"}, {})).kid is None


def _spoiled(part: int, spoil: Any) -> str:
    parts = EC.sign({"typ": "at+jwt", "kid": "k"}, {"sub": "alice", "n": "abc"}).split(".")
    parts[part] = spoil(parts[part])
    return ".".join(parts)


SPOILS = {
    "padding": lambda part: part + "=",
    "more padding": lambda part: part + "==",
    "standard alphabet": lambda part: "+/+/" + part,
    "space": lambda part: part[:4] + " " + part[4:],
    "newline": lambda part: part[:4] + "\n" + part[4:],
    "trailing newline": lambda part: part + "\n",
    "exclamation mark": lambda part: part[:4] + "!" + part[4:],
    "not ASCII": lambda part: part[:4] + "é" + part[4:],
    "impossible length": lambda part: part + "A" * ((1 - len(part)) % 4 or 4),
}


@pytest.mark.attack("JOS-18")
@pytest.mark.parametrize("part", range(3), ids=["header", "payload", "signature"])
@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
@pytest.mark.requirement("JOSE-10", proves="refused")
def test_anything_but_canonical_base64url_is_refused(part: int, spoil: Any) -> None:
    token = _spoiled(part, spoil)
    with pytest.raises(InvalidJws):
        parse(token)
    with pytest.raises(InvalidJws):
        parse(token.encode("utf-8"))


@pytest.mark.requirement("JOSE-10", proves="holds")
def test_a_canonical_token_is_read_from_text_and_bytes() -> None:
    token = EC.sign({"typ": "at+jwt"}, {"sub": "alice"})
    assert parse(token) == parse(token.encode())


@pytest.mark.parametrize(
    "token",
    [
        json.dumps({"payload": "e30", "protected": "e30", "signature": "AA"}),
        json.dumps(
            {"payload": "e30", "signatures": [{"protected": "e30", "header": {"alg": "ES256"}, "signature": "AA"}]}
        ),
    ],
    ids=["flattened", "general"],
)
@pytest.mark.attack("JOS-22")
def test_the_json_serialisations_are_refused(token: str) -> None:
    with pytest.raises(InvalidJws):
        parse(token)


@pytest.mark.attack("JOS-19")
@pytest.mark.parametrize("alg", ["dir", "A128KW", "ECDH-ES", "RSA-OAEP", "RSA1_5", "PBES2-HS256+A128KW"])
def test_a_jwe_is_refused_by_its_number_of_parts(alg: str) -> None:
    header = b64(as_json({"alg": alg, "enc": "A256GCM", "p2c": 2**31 - 1}))
    with pytest.raises(InvalidJws, match="parts"):
        parse(f"{header}.AAAA.AAAA.AAAA.AAAA")


@pytest.mark.attack("JOS-05")
@pytest.mark.parametrize("crit", [["x"], [], "x", ["alg"], ["exp"], ["kid"], ["b64"], ["x", "x"], {}, None], ids=str)
@pytest.mark.requirement("JOSE-13", proves="refused")
def test_every_crit_is_refused_because_nothing_is_understood(crit: object) -> None:
    with pytest.raises(InvalidJws):
        parse(EC.sign({"typ": "at+jwt", "crit": crit, "x": 1}, {}))


@pytest.mark.requirement("JOSE-13", proves="holds")
def test_header_parameters_that_nobody_knows_are_ignored() -> None:
    assert parse(EC.sign({"typ": "at+jwt", "x": 1, "urn:y": [2], "x5t": "abc"}, {})).header["x"] == 1


@pytest.mark.attack("JOS-06")
@pytest.mark.parametrize("more", [{"b64": False}, {"b64": True}, {"b64": False, "crit": ["b64"]}], ids=str)
def test_unencoded_payloads_do_not_exist(more: dict[str, object]) -> None:
    with pytest.raises(InvalidJws):
        parse(EC.sign({"typ": "at+jwt", **more}, {}))


@pytest.mark.attack("JOS-07")
@pytest.mark.parametrize("member", ["jku", "x5u", "x5c", "jwk"])
@pytest.mark.requirement("JOSE-14", proves="refused")
def test_a_header_that_brings_its_own_key_is_refused(member: str) -> None:
    attacker = PeerKey.es256()
    value: object = attacker.jwk() if member == "jwk" else ["MIIB"] if member == "x5c" else "https://evil.example/jwks"
    for signer in (attacker, EC):  # refused even where the registered key signed
        with pytest.raises(InvalidJws, match="header"):
            parse(signer.sign({"typ": "at+jwt", "kid": "k", member: value}, {}))


@pytest.mark.attack("JOS-20")
def test_compression_is_refused() -> None:
    with pytest.raises(InvalidJws):
        parse(EC.sign({"typ": "at+jwt", "zip": "DEF"}, {}))


@pytest.mark.parametrize("cty", ["JWT", "jwt", "x", 1], ids=str)
@pytest.mark.requirement("JOSE-17", proves="refused")
def test_a_nested_content_type_is_refused(cty: object) -> None:
    with pytest.raises(InvalidJws):
        parse(EC.sign({"typ": "at+jwt", "cty": cty}, {}))


@pytest.mark.requirement("JOSE-17", proves="holds")
def test_no_content_type_is_the_rule() -> None:
    assert "cty" not in parse(EC.sign({"typ": "at+jwt"}, {})).header


@pytest.mark.attack("JOS-08")
@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "' OR 1=1--",
        "| id",
        "%00",
        "https://evil.example/key",
        "k" * 257,
        "",
        1,
        ["k"],
        None,
        {},
    ],
    ids=lambda kid: str(kid)[:20],
)
@pytest.mark.requirement("JOSE-15", proves="refused")
def test_a_kid_is_looked_up_and_nothing_else(kid: object) -> None:
    with pytest.raises(InvalidJws):
        verify(EC.sign({"typ": "at+jwt", "kid": kid}, {}), EC)


@pytest.mark.parametrize("kid", ["k" * 257, "", 1, ["k"], None, {}], ids=lambda kid: str(kid)[:20])
def test_a_kid_that_can_name_no_key_is_refused_at_once(kid: object) -> None:
    with pytest.raises(InvalidJws, match="kid"):
        parse(EC.sign({"typ": "at+jwt", "kid": kid}, {}))


@pytest.mark.requirement("JOSE-15", proves="holds")
def test_any_string_names_a_key_as_it_stands() -> None:
    strange = "../' OR 1=1--\u00e9"
    assert verify(EC.sign({"typ": "at+jwt", "kid": strange}, {}), EC, kid=strange).key.kid == strange


@pytest.mark.attack("JOS-25")
@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
@pytest.mark.requirement("JOSE-16", proves="holds")
def test_the_type_is_compared_as_a_media_type(typ: str) -> None:
    assert parse(EC.sign({"typ": typ}, {})).header["typ"] == typ


@pytest.mark.attack("JOS-25")
@pytest.mark.parametrize(
    "typ",
    [
        "JWT",
        "dpop+jwt",
        "text/at+jwt",
        "application/application/at+jwt",
        " at+jwt",
        "at+jwt;x=1",
        "",
        ["at+jwt"],
        1,
        None,
        {},
        True,
    ],
    ids=str,
)
@pytest.mark.requirement("JOSE-16", proves="refused")
def test_another_type_is_refused(typ: object) -> None:
    for required in (True, False):
        with pytest.raises(InvalidJws, match="typ"):
            parse(EC.sign({"typ": typ}, {}), type_required=required)


def test_a_type_may_be_missing_only_where_that_is_said() -> None:
    token = EC.sign({}, {})
    assert parse(token, type_required=False).header == {"alg": "ES256"}
    with pytest.raises(InvalidJws, match="typ"):
        parse(token)


@pytest.mark.attack("JOS-24")
@pytest.mark.parametrize(
    "token",
    [
        EC.sign({"typ": "at+jwt", "pad": "p" * 3100}, {}),
        EC.sign({"typ": "at+jwt"}, {"pad": "p" * 25_000}),
        compact({"alg": "ES256", "typ": "at+jwt"}, {}, bytes(2048)),
    ],
    ids=["header", "payload", "signature"],
)
def test_an_oversized_part_is_refused_before_it_is_decoded(token: str) -> None:
    with pytest.raises(InvalidJws, match="length"):
        parse(token)


@pytest.mark.attack("JOS-13")
@pytest.mark.parametrize("name", ["sub", "aud", "exp", "cnf", "htu", "jti", "scope"])
def test_a_claim_that_stands_twice_is_refused(name: str) -> None:
    with pytest.raises(InvalidJws, match="repeated"):
        parse(EC.sign({"typ": "at+jwt"}, f'{{"{name}":"a","{name}":"b"}}'))


@pytest.mark.attack("JOS-15")
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("where", ["header", "payload"])
def test_another_encoding_than_utf_8_is_refused(encoding: str, where: str) -> None:
    header, payload = '{"alg":"ES256","typ":"at+jwt"}', '{"sub":"a"}'
    parts = (header.encode(encoding), payload) if where == "header" else (header, payload.encode(encoding))
    with pytest.raises(InvalidJws, match="JSON"):
        parse(EC.sign(*parts))


@pytest.mark.attack("JOS-16")
@pytest.mark.parametrize(
    "payload",
    [b'{"sub":"\xc0\xaf"}', b'{"sub":"\xff"}', b'{"sub":"\\ud800"}', b'{"sub":"a\\u0000b"}', b'{"sub":"a\x00b"}'],
)
def test_text_that_others_read_differently_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidJws):
        parse(EC.sign({"typ": "at+jwt"}, payload))


def test_another_form_of_a_name_is_another_name() -> None:
    claims = parse(EC.sign({"typ": "at+jwt"}, {"\u0435xp": 1, "\ufeffsub": "x", "sub": "e\u0301"})).claims
    assert "exp" not in claims
    assert claims["sub"] != "\u00e9"


@pytest.mark.parametrize(
    "payload", ["[]", "1", '"x"', "null", "{", "", "[" * 100 + "]" * 100, '{"a":' * 17 + "1" + "}" * 17]
)
def test_claims_that_are_no_object_are_refused(payload: str) -> None:
    with pytest.raises(InvalidJws):
        parse(EC.sign({"typ": "at+jwt"}, payload))


@pytest.mark.attack("JOS-26")
@pytest.mark.parametrize(
    "token",
    [
        "SECRET.x.y",
        _spoiled(0, lambda _: b64(b'{"SECRET"}')),
        EC.sign({"typ": "SECRET"}, {}),
        EC.sign({"alg": "SECRET"}, {}),
    ],
)
def test_no_error_repeats_what_it_was_given(token: str) -> None:
    with pytest.raises(InvalidJws) as caught:
        parse(token)
    assert "SECRET" not in caught.value.detail


@given(st.text(max_size=60) | st.binary(max_size=60) | st.text("eyJ.{}abAB_-", max_size=60))
def test_any_text_gives_a_token_or_the_one_error(token: str | bytes) -> None:
    with pytest.raises(InvalidJws):  # nothing so short has the header that is asked for
        parse(token)
