"""Which public keys may verify here."""

from __future__ import annotations

import itertools
import math

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from hypothesis import given
from hypothesis import strategies as st

from rs_kit.protocol import jwk
from rs_kit.protocol.errors import InvalidJwk
from tests.support.peer_keys import PeerKey, b64, unb64
from tests.support.weak_keys import WeakKey, weak_keys

EC, RSA, ED = PeerKey.es256(seed=11), PeerKey.ps256(), PeerKey.ed25519(seed=12)
LOW = next(peer for peer in map(PeerKey.es256, range(1, 5000)) if unb64(peer.jwk()["x"])[0] == 0)
P = 2**255 - 19
RFC_7638_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
    "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn"
    "1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)
RFC_7638 = {"kty": "RSA", "n": RFC_7638_N, "e": "AQAB", "kid": "2011-04-29"}
RFC_8037 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (RFC_7638, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        (RFC_8037, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
    ],
    ids=["RFC 7638 §3.1", "RFC 8037 A.3"],
)
@pytest.mark.requirement("JOSE-36", proves="holds")
def test_the_thumbprints_of_the_rfcs_come_out(members: dict[str, object], expected: str) -> None:
    assert jwk.parse_public(members).thumbprint == expected


@pytest.mark.parametrize("peer", [EC, RSA, ED], ids=lambda peer: peer.alg)
@pytest.mark.requirement("JOSE-36", proves="refused")
def test_members_that_are_not_required_do_not_reach_the_thumbprint(peer: PeerKey) -> None:
    shuffled = dict(reversed(list(peer.jwk(kid="other", use="sig", x5t="abc", thumbprint="mine").items())))
    assert jwk.parse_public(shuffled).thumbprint == peer.thumbprint


@pytest.mark.parametrize("peer", [EC, RSA, ED], ids=lambda peer: peer.alg)
@pytest.mark.requirement("JOSE-5", proves="holds")
def test_a_key_verifies_its_own_algorithm_and_only_what_it_signed(peer: PeerKey) -> None:
    key = jwk.parse_public(peer.jwk(kid="one", alg=peer.alg, use="sig", key_ops=["verify"]))
    signature = peer.signature(b"message")
    assert (key.kid, key.alg, key.algorithm) == ("one", peer.alg, peer.alg)
    assert key.verify(signature, b"message")
    assert not key.verify(signature, b"massage")
    assert not key.verify(signature[:-1], b"message")
    assert not key.verify(signature + b"\x00", b"message")
    assert not key.verify(bytes(len(signature)), b"message")
    assert not key.verify(b"", b"message")


@pytest.mark.parametrize(
    ("peer", "alg"),
    [(EC, "ES384"), (EC, "Ed25519"), (RSA, "RS256"), (RSA, "PS384"), (ED, "ES256"), (ED, "Ed448"), (EC, 1), (EC, None)],
)
@pytest.mark.requirement("JOSE-5", proves="refused")
def test_a_key_registered_for_another_algorithm_is_refused(peer: PeerKey, alg: object) -> None:
    members = peer.jwk(alg=alg)
    if alg is None:
        assert jwk.parse_public(members).alg is None
        return
    with pytest.raises(InvalidJwk):
        jwk.parse_public(members)


def test_every_es256_signature_verifies() -> None:
    key = jwk.parse_public(EC.jwk())
    for number in range(64):  # with and without the bit that DER takes for a sign
        message = str(number).encode()
        assert key.verify(EC.signature(message), message)


def test_an_es256_signature_has_one_length_only() -> None:
    key = jwk.parse_public(EC.jwk())
    message = b"message"
    signature = next(drawn for drawn in iter(lambda: EC.signature(message), b"") if drawn[32] == 0)
    assert key.verify(signature, message)
    assert not key.verify(signature[:32] + signature[33:], message)  # the same two numbers in 63 octets


def test_eddsa_is_the_old_name_of_ed25519() -> None:
    key = jwk.parse_public(ED.jwk(alg="EdDSA"))
    assert (key.alg, key.algorithm) == ("EdDSA", "Ed25519")
    assert key.to_jwk()["alg"] == "EdDSA"
    assert jwk.parse_public(ED.jwk()).to_jwk()["alg"] == "Ed25519"


@pytest.mark.parametrize("bits", [2048, 3072])
@pytest.mark.requirement("JOSE-6", proves="holds")
def test_rsa_keys_from_2048_bits_are_accepted(bits: int) -> None:
    peer = PeerKey.ps256(bits)
    assert jwk.parse_public(peer.jwk()).verify(peer.signature(b"m"), b"m")


def _rsa(n: int, e: int = 65537) -> dict[str, object]:
    return {"kty": "RSA", "n": b64(_octets(n)), "e": b64(_octets(e))}


def _octets(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


N = int.from_bytes(unb64(RFC_7638_N), "big")
X, Y = (int.from_bytes(unb64(EC.jwk()[name]), "big") for name in "xy")
FIELD = 2**256 - 2**224 + 2**192 + 2**96 - 1


def _point(x: int, y: int, crv: str = "P-256") -> dict[str, object]:
    return {"kty": "EC", "crv": crv, "x": b64(x.to_bytes(32, "big")), "y": b64(y.to_bytes(32, "big"))}


def _of_the_roca_family() -> int:
    """A 2048-bit modulus that is a power of 65537 modulo each small prime, as CVE-2017-15361 made them."""
    product = math.prod(jwk._ROCA_PRIMES)
    modulus = pow(65537, 12345, product) + (2**2047 // product + 1) * product
    return modulus if modulus % 2 else modulus + product


CLOSE = 3 * 2**1022 + 1037, 3 * 2**1022 + 1697  # two primes that follow each other (CVE-2022-26320)


def _edwards(y: int) -> dict[str, object]:
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(y.to_bytes(32, "little"))}


BAD_KEYS: dict[str, dict[str, object]] = {
    "RSA-512": _rsa(N >> 1536 | 1),
    "RSA-1024": _rsa(N >> 1024 | 1),
    "RSA-2047": _rsa(N >> 1 | 1),
    "RSA-4097": _rsa(1 << 4096 | 1),
    "RSA of 32768 bits": _rsa(1 << 32767 | 1),
    "an even modulus": _rsa(N - 1),
    "a modulus of zero": _rsa(0),
    "e = 0": _rsa(N, 0),
    "e = 1": _rsa(N, 1),
    "e = 2": _rsa(N, 2),
    "e = 3": _rsa(N, 3),
    "an even e": _rsa(N, 65538),
    "a huge e": _rsa(N, N - 2),
    "ROCA": _rsa(_of_the_roca_family()),
    "a small factor": _rsa(751 * (N // 751 | 1)),
    "a square": _rsa((2**1024 - 105) ** 2),
    "close primes": _rsa(math.prod(CLOSE)),
    "a leading zero in n": {**_rsa(N), "n": b64(b"\x00" + _octets(N))},
    "a leading zero in e": {**_rsa(N), "e": b64(b"\x00\x01\x00\x01")},
    "no n": {"kty": "RSA", "e": "AQAB"},
    "e is a number": {"kty": "RSA", "n": RFC_7638_N, "e": 65537},
    "a point off the curve": _point(X, Y ^ 1),
    "the point (0, 0)": _point(0, 0),
    "a coordinate beyond the field": _point(X, FIELD),
    "P-384": PeerKey(ec.derive_private_key(7, ec.SECP384R1()), "ES384").jwk(),
    "secp256k1": PeerKey(ec.derive_private_key(7, ec.SECP256K1()), "ES256K").jwk(crv="secp256k1"),
    "P-384 called P-256": PeerKey(ec.derive_private_key(7, ec.SECP384R1()), "ES384").jwk(crv="P-256"),
    "a short coordinate": {**EC.jwk(), "x": b64(unb64(EC.jwk()["x"])[1:])},
    "a long coordinate": {**EC.jwk(), "y": b64(b"\x00" + unb64(EC.jwk()["y"]))},
    "a coordinate without its leading zero": {**LOW.jwk(), "x": b64(unb64(LOW.jwk()["x"])[1:])},
    "P-256 called P-384": EC.jwk(crv="P-384"),
    "P-256 called secp256k1": EC.jwk(crv="secp256k1"),
    "a padded coordinate": {**EC.jwk(), "x": EC.jwk()["x"] + "="},
    "no y": {name: value for name, value in EC.jwk().items() if name != "y"},
    "Ed448": {"kty": "OKP", "crv": "Ed448", "x": b64(ed448.Ed448PrivateKey.generate().public_key().public_bytes_raw())},
    "X25519": {**ED.jwk(), "crv": "X25519"},
    "a point off the Edwards curve": _edwards(2),
    "another spelling of an Edwards point": _edwards(P + 3),
    "a y beyond the field of Edwards": _edwards(2**255 - 2),
    "a short Ed25519 key": {**ED.jwk(), "x": b64(bytes(31))},
    "kid is empty": EC.jwk(kid=""),
    "kid is a list": EC.jwk(kid=["a"]),
    "kid is long": EC.jwk(kid="k" * 257),
    "use is enc": EC.jwk(use="enc"),
    "use is a list": EC.jwk(use=["sig"]),
    "key_ops without verify": EC.jwk(key_ops=["sign"]),
    "key_ops is a string": EC.jwk(key_ops="verify"),
    "no kty": {"crv": "P-256"},
    "kty is a list": {"kty": ["EC"]},
    "an AKP key": {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
    "a symmetric key": {"kty": "oct"},
}


@pytest.mark.attack("JOS-09")
@pytest.mark.parametrize("name", [name for name in BAD_KEYS if BAD_KEYS[name].get("kty") == "RSA"])
@pytest.mark.requirement("JOSE-6", proves="refused")
def test_a_weak_or_odd_rsa_key_is_refused(name: str) -> None:
    with pytest.raises(InvalidJwk):
        jwk.parse_public(BAD_KEYS[name])


@pytest.mark.attack("JOS-10")
@pytest.mark.parametrize("name", [name for name in BAD_KEYS if BAD_KEYS[name].get("kty") == "EC"])
def test_a_key_off_the_curve_or_for_another_use_is_refused(name: str) -> None:
    with pytest.raises(InvalidJwk):
        jwk.parse_public(BAD_KEYS[name])


@pytest.mark.parametrize("name", [name for name in BAD_KEYS if BAD_KEYS[name].get("kty") not in ("EC", "RSA")])
def test_a_key_of_another_type_is_refused(name: str) -> None:
    with pytest.raises(InvalidJwk):
        jwk.parse_public(BAD_KEYS[name])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a small factor", "a modulus that can be factored"),
        ("a square", "a modulus that can be factored"),
        ("close primes", "a modulus that can be factored"),
        ("ROCA", "a modulus of the ROCA family"),
        ("a point off the Edwards curve", "the point is not on the curve, or another spelling of one"),
        ("another spelling of an Edwards point", "the point is not on the curve, or another spelling of one"),
        ("a y beyond the field of Edwards", "the point is not on the curve, or another spelling of one"),
    ],
)
def test_a_key_that_has_the_right_form_and_is_worth_nothing_says_why(name: str, reason: str) -> None:
    with pytest.raises(InvalidJwk) as refusal:
        jwk.parse_public(BAD_KEYS[name])
    assert refusal.value.detail == reason


def test_the_same_point_in_its_own_spelling_is_a_key() -> None:
    assert jwk.parse_public(_edwards(3)).algorithm == "Ed25519"


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"])
def test_a_private_member_is_refused_whatever_the_type(member: str) -> None:
    for peer in (EC, RSA, ED):
        with pytest.raises(InvalidJwk):
            jwk.parse_public(peer.jwk(**{member: "AAAA"}))
    with pytest.raises(InvalidJwk):
        jwk.parse_set({"keys": [EC.jwk(), ED.jwk(use="enc", **{member: "AAAA"})]})


def _edwards_multiples(encoded: bytes) -> set[tuple[int, int]]:
    """The points 1·A … 8·A, with nothing but modular arithmetic (RFC 8032 §5.1)."""
    d = -121665 * pow(121666, -1, P) % P
    y = (int.from_bytes(encoded, "little") & (2**255 - 1)) % P
    square = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square
    multiples, point = set(), (0, 1)
    for _ in range(8):
        (a, b), product = point, d * point[0] * x * point[1] * y
        point = (
            (a * y + b * x) * pow(1 + product, -1, P) % P,
            (b * y + a * x) * pow(1 - product, -1, P) % P,
        )
        multiples.add(point)
    return multiples


@pytest.mark.parametrize("encoded", sorted(jwk._SMALL_ORDER), ids=lambda encoded: encoded.hex()[:8])
def test_an_ed25519_key_of_small_order_is_refused(encoded: bytes) -> None:
    assert (0, 1) in _edwards_multiples(encoded)  # eight times the point is the neutral element: the list is right
    for sign in (0, 0x80):
        with pytest.raises(InvalidJwk):
            jwk.parse_public({"kty": "OKP", "crv": "Ed25519", "x": b64(encoded[:31] + bytes((encoded[31] | sign,)))})


def test_an_ordinary_ed25519_key_has_no_small_order() -> None:
    assert (0, 1) not in _edwards_multiples(unb64(ED.jwk()["x"]))


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(
    st.sampled_from([EC.jwk(kid="a"), RSA.jwk(), ED.jwk()]),
    st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops", "d", "k"]),
        JSON_LIKE,
        max_size=3,
    ),
)
def test_any_members_give_a_key_or_the_one_error(members: dict[str, object], changes: dict[str, object]) -> None:
    try:
        key = jwk.parse_public({**members, **changes})
    except InvalidJwk:
        return
    assert jwk.parse_public(key.to_jwk()).thumbprint == key.thumbprint


@given(JSON_LIKE | st.fixed_dictionaries({"keys": st.lists(JSON_LIKE | st.just({"kty": []}) | st.just(EC.jwk()))}))
def test_any_document_gives_keys_or_the_one_error(document: object) -> None:
    for reader in (jwk.parse_set, jwk.usable_keys):
        try:
            keys = reader(document)
        except InvalidJwk:
            continue
        assert all(isinstance(key, jwk.PublicJwk) for key in keys)


def test_a_registered_set_passes_over_keys_for_other_uses() -> None:
    keys = jwk.parse_set({"keys": [EC.jwk(kid="a"), ED.jwk(use="enc"), {"kty": "AKP", "pub": "AA"}, RSA.jwk(kid="b")]})
    assert [key.kid for key in keys] == ["a", "b"]


def test_keys_of_different_algorithms_may_share_a_kid() -> None:
    keys = jwk.parse_set({"keys": [EC.jwk(kid="a"), ED.jwk(kid="a"), RSA.jwk(kid="a")]})
    assert [key.algorithm for key in keys] == ["ES256", "Ed25519", "PS256"]


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [EC.jwk(use="enc")],
        [EC.jwk(kid="a"), EC.jwk(kid="a")],
        [EC.jwk(), _rsa(N >> 1024 | 1)],
        [EC.jwk(), {"kty": "oct", "k": "AAAA"}],
        [EC.jwk(), 1],
        [EC.jwk()] * 33,
        {"kty": "EC"},
    ],
    ids=["empty", "enc only", "kid twice", "one weak", "one symmetric", "no object", "too many", "no list"],
)
def test_a_bad_registered_set_is_refused_whole(keys: object) -> None:
    with pytest.raises(InvalidJwk):
        jwk.parse_set({"keys": keys})


@pytest.mark.requirement("JOSE-31", proves="holds")
def test_a_fetched_set_is_good_for_its_good_keys() -> None:
    bad = [{"kty": "future"}, _rsa(N >> 1024 | 1), ED.private_jwk(), EC.jwk(alg="ES999"), RSA.jwk(use="unknown")]
    shuffled = [*bad[:2], EC.jwk(kid="good"), *bad[2:]]
    assert [key.kid for key in jwk.usable_keys({"keys": shuffled})] == ["good"]


@pytest.mark.parametrize("weak", [pytest.param(key, id=name) for name, key in weak_keys().items()])
def test_no_weak_key_comes_in_by_a_set(weak: WeakKey) -> None:
    named = {**weak.members, "kid": "weak"}
    assert jwk.usable_keys({"keys": [named]}) == ()
    assert [key.kid for key in jwk.usable_keys({"keys": [named, EC.jwk(kid="good")]})] == ["good"]
    with pytest.raises(InvalidJwk):
        jwk.parse_set({"keys": [named]})


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": ["x"]}, {"keys": [EC.jwk()] * 33}])
def test_what_is_no_set_is_no_fetched_set(document: object) -> None:
    with pytest.raises(InvalidJwk):
        jwk.usable_keys(document)


@pytest.mark.parametrize("peer", [EC, RSA, ED], ids=lambda peer: peer.alg)
def test_our_own_keys_become_the_same_jwk(peer: PeerKey) -> None:
    named, unnamed = (jwk.from_public_key(peer.private.public_key(), kid=kid) for kid in ("k1", None))
    assert named.to_jwk() == peer.jwk(kid="k1", use="sig", alg=peer.alg)
    assert "kid" not in unnamed.to_jwk()
    assert named.thumbprint == unnamed.thumbprint == peer.thumbprint


def test_keys_that_may_not_sign_here_are_refused_as_our_own() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
    for key in (weak, ec.derive_private_key(7, ec.SECP384R1()).public_key()):
        with pytest.raises(InvalidJwk):
            jwk.from_public_key(key)


def test_equal_keys_are_equal_and_show_no_numbers() -> None:
    first, second = (jwk.parse_public(EC.jwk(kid="a")) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first != jwk.parse_public(EC.jwk(kid="b"))
    assert EC.jwk()["x"] not in repr(first)
    assert all(
        a.thumbprint != b.thumbprint
        for a, b in itertools.combinations(map(jwk.parse_public, [EC.jwk(), RSA.jwk(), ED.jwk()]), 2)
    )
