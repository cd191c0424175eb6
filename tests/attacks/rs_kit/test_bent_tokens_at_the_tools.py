"""Access tokens and proofs that are bent in every way the catalogue knows (JOS), over HTTP in front of the tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.bent_tokens import BENDS, ORDER, Bend, L, parts, raw, signed
from tests.support.guarded_bank import AGENT_KEY, ISSUER_KEY, Bank, Peer
from tests.support.guarded_refusals import refused, still_works
from tests.support.kit_over_http import Site
from tests.support.peer_keys import PeerKey, as_json, b64, compact, unb64

ERRORS: Final = {"token": "invalid_token", "proof": "invalid_dpop_proof"}
OTHER_KEY: Final = PeerKey.es256(seed=13)
# what is not one token68 is refused as a request, whatever token it was to be (RFC 6750 §3.1)
NO_TOKEN68: Final = frozenset({"space", "flattened", "general"})
TOO_LARGE: Final = frozenset({"large payload"})  # for a head of a request
NOT_ASKED: Final = frozenset({"typ of another kind"})  # it is the right kind here: `test_each_kind_in_the_others_place`
CASES = [
    pytest.param(name, bend, id=name, marks=pytest.mark.attack(case))
    for name, (case, bend) in BENDS.items()
    if name not in NOT_ASKED
]


def honest(bank: Bank, kind: str) -> tuple[PeerKey, dict[str, Any], dict[str, Any]]:
    """Key, header and claims of what this agent would show now."""
    token = bank.peer.token()
    shown, key = (token, ISSUER_KEY) if kind == "token" else (bank.peer.proof(token), AGENT_KEY)
    header, claims = (json.loads(unb64(part)) for part in shown.split(".")[:2])
    return key, header, claims


def showing(bank: Bank, kind: str, bend: Callable[..., str]) -> list[tuple[str, str]]:
    """The headers of a call whose token or proof is bent; everything else about it is right."""
    if kind == "token":
        return bank.peer.headers(bend(*honest(bank, kind)))
    token = bank.peer.token()
    header, claims = (json.loads(unb64(part)) for part in bank.peer.proof(token).split(".")[:2])
    return bank.peer.headers(token, bend(AGENT_KEY, header, claims))


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize(("name", "bend"), CASES)
async def test_a_bent_token_opens_nothing(site: Site, kind: str, name: str, bend: Bend) -> None:
    bank = Bank()
    headers = showing(bank, kind, bend)
    async with site.serving(bank) as line:
        if name in TOO_LARGE:
            assert (await line.send(headers)).status_code == 431
            assert (bank.done, bank.observer.admissions) == ([], [])
            await still_works(bank, line)
        elif kind == "token" and name in NO_TOKEN68:
            await refused(bank, line, headers, None, status=400)
        else:
            response = await refused(bank, line, headers, ERRORS[kind])
            assert headers[0 if kind == "token" else 1][1][-20:] not in response.text  # JOS-26


@pytest.mark.attack("JOS-26")
@pytest.mark.parametrize("kind", ERRORS)
async def test_a_large_token_is_echoed_nowhere(site: Site, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    bank = Bank()
    marker = "an-unmistakable-text-" * 100
    headers = showing(bank, kind, lambda key, header, claims: signed(key, header | {"typ": marker}, claims))
    headers_of_claims = showing(bank, kind, lambda key, header, claims: signed(key, header, claims | {"jti": [marker]}))
    async with site.serving(bank) as line:
        for sent in (headers, headers_of_claims):
            response = await refused(bank, line, sent, ERRORS[kind])
            assert "unmistakable" not in response.text + str(response.headers)
    assert "unmistakable" not in caplog.text


@pytest.mark.attack("JOS-04")
async def test_the_other_root_of_a_proofs_signature_is_the_same_proof(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token()
    first, second, octets = (*(proof := bank.peer.proof(token)).split(".")[:2], unb64(proof.split(".")[2]))
    bent = ORDER - int.from_bytes(octets[32:], "big")
    async with site.serving(bank) as line:
        assert (await line.send(bank.peer.headers(token, proof))).status_code == 200
        bank.done.clear()
        again = f"{first}.{second}.{b64(octets[:32] + bent.to_bytes(32, 'big'))}"
        await refused(bank, line, bank.peer.headers(token, again), "invalid_dpop_proof")


@pytest.mark.attack("JOS-04")
async def test_an_ed25519_signature_beyond_the_order_is_refused(site: Site) -> None:
    bank = Bank()
    peer = Peer(bank.clock, PeerKey.ed25519(seed=14))
    token = peer.token()
    header, claims = (json.loads(unb64(part)) for part in peer.proof(token).split(".")[:2])
    first, second, octets = parts(peer.key, header, claims)
    beyond = int.from_bytes(octets[32:], "little") + L
    proof = f"{first}.{second}.{b64(octets[:32] + beyond.to_bytes(32, 'little'))}"
    async with site.serving(bank) as line:
        await refused(bank, line, peer.headers(token, proof), "invalid_dpop_proof")


@pytest.mark.attack("JOS-07")
@pytest.mark.parametrize("where", ["jwk", "jku", "x5u", "x5c"])
async def test_the_thiefs_key_in_the_header_of_a_token_is_not_used(site: Site, where: str) -> None:
    bank = Bank()
    named = {"jwk": OTHER_KEY.jwk(), "jku": "https://evil.example/jwks", "x5u": "https://evil.example", "x5c": ["AAAA"]}
    async with site.serving(bank) as line:
        token = bank.peer.token(key=OTHER_KEY, header={where: named[where]})
        await refused(bank, line, bank.peer.headers(token), "invalid_token")


@pytest.mark.attack("JOS-08")
@pytest.mark.parametrize(
    "kid",
    ["../../../../dev/null", "' OR 1=1--", "| id", "%00", "https://evil.example", "k" * 4000, 7, None, [], ""],
    ids=lambda kid: str(kid)[:9],
)
async def test_a_strange_kid_names_no_key(site: Site, kid: Any, caplog: pytest.LogCaptureFixture) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(bank.peer.token(header={"kid": kid})), "invalid_token")
    assert "dev/null" not in caplog.text


def weak(bits: int) -> PeerKey:
    return PeerKey(PeerKey.ps256(bits).private, "PS256")


def on_p256(x: bytes, y: bytes) -> dict[str, str]:
    return {"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)}


RSA_MEMBERS = PeerKey.ps256().jwk()
FIELD = (0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF).to_bytes(32, "big")
BAD_KEYS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "RSA-1024": ("JOS-09", weak(1024).jwk()),
    "RSA-2047": ("JOS-09", {**RSA_MEMBERS, "n": b64(((1 << 2046) + 1).to_bytes(256, "big"))}),
    "e is 1": ("JOS-09", {**RSA_MEMBERS, "e": "AQ"}),
    "e is 2": ("JOS-09", {**RSA_MEMBERS, "e": "Ag"}),
    "e is 3": ("JOS-09", {**RSA_MEMBERS, "e": "Aw"}),
    "e is huge": ("JOS-09", {**RSA_MEMBERS, "e": b64(b"\x7f" + b"\xff" * 255)}),
    "n is even": ("JOS-09", {**RSA_MEMBERS, "n": b64(b"\xff" * 255 + b"\xfe")}),
    "n is 0": ("JOS-09", {**RSA_MEMBERS, "n": "AA"}),
    "n is large": ("JOS-09", {**RSA_MEMBERS, "n": b64(b"\xff" * 1024)}),
    "off the curve": ("JOS-10", on_p256(b"\x01" * 32, b"\x02" * 32)),
    "the origin": ("JOS-10", on_p256(bytes(32), bytes(32))),
    "beyond the field": ("JOS-10", on_p256(FIELD, FIELD)),
    "P-384": ("JOS-10", PeerKey(ec.derive_private_key(99, ec.SECP384R1()), "ES256").jwk()),
    "secp256k1": ("JOS-10", PeerKey(ec.derive_private_key(99, ec.SECP256K1()), "ES256").jwk(crv="secp256k1")),
    "for encryption": ("JOS-23", AGENT_KEY.jwk(use="enc")),
    "to sign with": ("JOS-23", AGENT_KEY.jwk(key_ops=["sign"])),
}


@pytest.mark.parametrize(
    "jwk",
    [pytest.param(jwk, id=name, marks=pytest.mark.attack(case)) for name, (case, jwk) in BAD_KEYS.items()],
)
async def test_a_proof_under_a_key_that_is_none_is_refused(site: Site, jwk: dict[str, Any]) -> None:
    bank = Bank()
    token = bank.peer.token()
    alg = "PS256" if jwk["kty"] == "RSA" else "ES256"
    proof = bank.peer.proof(token, header={"jwk": jwk, "alg": alg})
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(token, proof), "invalid_dpop_proof")


@pytest.mark.attack("JOS-13")
@pytest.mark.parametrize(
    ("kind", "name"),
    [("token", name) for name in ("sub", "aud", "exp", "cnf", "scope", "iss", "client_id", "jti")]
    + [("proof", name) for name in ("htu", "htm", "jti", "iat", "ath", "nonce")],
)
@pytest.mark.parametrize("last", ["wrong", "right"])
async def test_a_claim_that_is_there_twice_is_refused_whichever_is_right(
    site: Site, kind: str, name: str, last: str
) -> None:
    def doubled(key: PeerKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
        wrong, right = b'"%s":"x"' % name.encode(), as_json({name: claims.pop(name)})[1:-1]
        pair = (wrong, right) if last == "right" else (right, wrong)
        return raw(key, as_json({"alg": key.alg, **header}), as_json(claims)[:-1] + b"," + b",".join(pair) + b"}")

    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, showing(bank, kind, doubled), ERRORS[kind])


@pytest.mark.attack("JOS-14")
@pytest.mark.parametrize(
    "number",
    [
        "1e400",
        "Infinity",
        "NaN",
        "-1",
        "-0.5",
        "1.5",
        "true",
        '"1"',
        "[1]",
        "{}",
        "9" * 4000,
        "9" * 5000,
        "1e15",
        "null",
    ],
    ids=lambda number: number[:12],
)
@pytest.mark.parametrize(("kind", "name"), [("token", "exp"), ("token", "iat"), ("proof", "iat")])
async def test_a_number_that_is_no_date_is_refused(site: Site, kind: str, name: str, number: str) -> None:
    def dated(key: PeerKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
        payload = as_json(claims | {name: "HERE"}).replace(b'"HERE"', number.encode())
        return raw(key, as_json({"alg": key.alg, **header}), payload)

    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, showing(bank, kind, dated), ERRORS[kind])


@pytest.mark.attack("JOS-16")
@pytest.mark.parametrize(
    "text", ["\\ud800", "\\u0000", "\\ufeff", "\\u001b[31m", "\\n"], ids=["surrogate", "NUL", "BOM", "ESC", "LF"]
)
@pytest.mark.parametrize("name", ["sub", "client_id", "jti"])
async def test_an_identifier_that_cannot_be_written_down_is_no_crash_anywhere(
    site: Site, name: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    def named(key: PeerKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
        payload = as_json(claims | {name: "HERE"}).replace(b"HERE", b"a" + text.encode() + b"b")
        return raw(key, as_json({"alg": key.alg, **header}), payload)

    bank = Bank()
    async with site.serving(bank) as line:
        response = await line.send(showing(bank, "token", named))
        # a control character of an identifier may be the issuer's own; it breaks no line of ours
        assert response.status_code in (200, 401)
        bank.done.clear()
        await still_works(bank, line)
    assert not [record for record in caplog.records if "\x1b" in record.getMessage() or "\n" in record.getMessage()]


@pytest.mark.attack("JOS-21")
async def test_each_kind_in_the_others_place_is_refused(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token()
    proof = bank.peer.proof(token)
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(proof, bank.peer.proof(proof)), "invalid_token")
        await refused(bank, line, bank.peer.headers(token, token), "invalid_dpop_proof")
        await refused(bank, line, bank.peer.headers(proof, proof), "invalid_token")
        typed = bank.peer.proof(token, header={"typ": "at+jwt"})
        await refused(bank, line, bank.peer.headers(token, typed), "invalid_dpop_proof")


@pytest.mark.attack("JOS-25")
@pytest.mark.parametrize("typ", [["at+jwt"], 7, None, "at+jwt ", "application/AT", "text/at+jwt", "application/"])
async def test_a_type_that_is_not_that_media_type_is_refused(site: Site, typ: Any) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(bank.peer.token(header={"typ": typ})), "invalid_token")


@pytest.mark.attack("JOS-19")
@pytest.mark.parametrize("alg", ["dir", "A128KW", "ECDH-ES", "RSA-OAEP", "RSA1_5", "PBES2-HS256+A128KW"])
async def test_an_encrypted_token_is_not_even_opened(site: Site, alg: str) -> None:
    bank = Bank()
    header = {"alg": alg, "enc": "A256GCM", "typ": "at+jwt", "cty": "JWT", "p2c": 2**31, "p2s": "AAAA"}
    inner = compact({"alg": "none"}, {}, b"")
    token = ".".join([b64(as_json(header)), "AAAA", "AAAA", b64(inner.encode()), "AAAA"])
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(token), "invalid_token")


@pytest.mark.parametrize("token", ["opaque", "2YotnFZFEjr1zCsicMWpAA", "a.b", "...", "=", "-._~+/="])
async def test_a_token_that_nobody_here_can_read_is_refused_and_never_looked_up(site: Site, token: str) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(token), "invalid_token")
