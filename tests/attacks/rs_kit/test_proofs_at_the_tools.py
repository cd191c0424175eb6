"""DPoP proofs, through ASGI down to the tools of an unmodified MCP application: each way to be wrong."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.fakes import NOW
from tests.support.guarded_bank import ABSENT, AGENT_KEY, ISSUER_KEY, Bank, Peer, ath
from tests.support.guarded_refusals import refused, still_works
from tests.support.kit_over_http import Site
from tests.support.peer_keys import PeerKey, b64, compact

OTHER_KEY = PeerKey.es256(seed=13)


@pytest.mark.requirement("DPOP-RS-2", proves="holds")
@pytest.mark.requirement("DPOP-RS-8", proves="holds")
@pytest.mark.requirement("DPOP-14", proves="holds")
@pytest.mark.requirement("AT-10", proves="holds")
@pytest.mark.requirement("AT-14", proves="holds")
@pytest.mark.requirement("RSE-2", proves="holds")
@pytest.mark.requirement("RSE-6", proves="holds")
@pytest.mark.requirement("MCP-3", proves="holds")
@pytest.mark.requirement("DPOP-RS-1", proves="holds")
@pytest.mark.requirement("DPOP-RS-4", proves="holds")
@pytest.mark.requirement("DPOP-RS-12", proves="holds")
@pytest.mark.requirement("RSV-1", proves="holds")
async def test_a_bound_token_with_a_fresh_proof_runs_the_tool_once(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        response = await line.send()
    assert response.status_code == 200
    assert response.json()["result"]["structuredContent"] == {"result": "get_balance"}
    assert bank.done == ["get_balance"]
    assert [(call.rpc_method, call.target) for call in bank.observer.admissions] == [("tools/call", "get_balance")]


@pytest.mark.attack("DPR-01")
@pytest.mark.requirement("DPOP-RS-1", proves="refused")
@pytest.mark.requirement("DPOP-RS-2", proves="refused")
async def test_a_token_without_a_proof_is_refused(site: Site) -> None:
    bank = Bank()
    headers = [pair for pair in bank.peer.headers() if pair[0] != "dpop"]
    async with site.serving(bank) as line:
        await refused(bank, line, headers, "invalid_dpop_proof")


@pytest.mark.requirement("RSE-8", proves="refused")
@pytest.mark.attack("DPR-02")
@pytest.mark.parametrize("second", ["dpop", "DPoP", "joined"])
async def test_two_proofs_are_refused(site: Site, second: str) -> None:
    bank = Bank()
    token = bank.peer.token()
    proofs = [bank.peer.proof(token), bank.peer.proof(token)]
    if second == "joined":
        headers = bank.peer.headers(token, ", ".join(proofs))
    else:
        headers = [*bank.peer.headers(token, proofs[0]), (second, proofs[1])]
    async with site.serving(bank) as line:
        await refused(bank, line, headers, "invalid_dpop_proof")


@pytest.mark.attack("DPR-03")
@pytest.mark.requirement("DPOP-14", proves="refused")
@pytest.mark.parametrize("kind", ["missing", "another token", "padded", "SHA-1", "of the header value", "null"])
async def test_a_proof_that_is_not_for_this_token_is_refused(site: Site, kind: str) -> None:
    bank = Bank()
    token = bank.peer.token()
    wrong = {
        "missing": ABSENT,
        "another token": ath(bank.peer.token()),
        "padded": ath(token) + "=",
        "SHA-1": b64(hashlib.sha1(token.encode()).digest()),
        "of the header value": ath(f"DPoP {token}"),
        "null": None,
    }[kind]
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(token, bank.peer.proof(token, ath=wrong)), "invalid_dpop_proof")


@pytest.mark.attack("DPR-04")
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/mcp"), ("DELETE", "/mcp"), ("POST", "/other"), ("GET", "/other")]
)
async def test_a_proof_for_post_mcp_opens_nothing_else(site: Site, method: str, path: str) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, None, "invalid_dpop_proof", method=method, path=path)


async def test_another_path_is_not_found_by_those_who_prove_themselves_for_it(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token()
    headers = bank.peer.headers(token, bank.peer.proof(token, htu="https://mcp.bank.example/other"))
    async with site.serving(bank) as line:
        await refused(bank, line, headers, None, status=404, path="/other")


@pytest.mark.attack("DPR-05")
@pytest.mark.requirement("DPOP-11", proves="refused")
@pytest.mark.parametrize("name", ["host", "x-forwarded-host", "forwarded"])
async def test_a_forged_host_with_a_proof_for_it_is_refused(site: Site, name: str) -> None:
    bank = Bank()
    token = bank.peer.token()
    value = "host=evil.example" if name == "forwarded" else "evil.example"
    proof = bank.peer.proof(token, htu="https://evil.example/mcp")
    async with site.serving(bank) as line:
        await refused(bank, line, [*bank.peer.headers(token, proof), (name, value)], "invalid_dpop_proof")


@pytest.mark.requirement("DPOP-11", proves="holds")
async def test_behind_a_proxy_the_configured_url_counts_and_not_the_host(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank, path="/inside/mcp") as line:
        response = await line.send([*bank.peer.headers(), ("host", "10.0.0.7:8080")], path="/inside/mcp")
    assert response.status_code == 404  # the MCP application answers: it is not mounted there
    assert len(bank.observer.admissions) == 1


@pytest.mark.attack("DPR-06")
@pytest.mark.parametrize(
    "htu",
    [
        "https://mcp.bank.example@evil.example/mcp",
        "https://mcp.bank.example\\@evil.example/mcp",
        "https://mcp.b\u0430nk.example/mcp",
        "https://mcp.bank.example./mcp",
        "https://mcp.bank.example:/mcp",
        "https://[fe80::1%25eth0]/mcp",
        "http://mcp.bank.example/mcp",
        "https://mcp.bank.example/mcp/",
        "https://mcp.bank.example/MCP",
        "/mcp",
        "",
    ],
)
async def test_a_proof_for_a_url_that_only_looks_like_ours_is_refused(site: Site, htu: str) -> None:
    bank = Bank()
    token = bank.peer.token()
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(token, bank.peer.proof(token, htu=htu)), "invalid_dpop_proof")


def _proofs_with_bad_keys(token: str) -> dict[str, str]:
    peer = Peer(Bank().clock)
    good = peer.proof(token)
    _, payload, signature = good.split(".")
    claims = json.loads(_decoded(payload))
    p384 = PeerKey(_p384(), "ES256")
    rs256 = PeerKey(PeerKey.ps256().private, "RS256")
    return {
        "none": compact({"typ": "dpop+jwt", "alg": "none", "jwk": AGENT_KEY.jwk()}, claims, b""),
        "none, signed": AGENT_KEY.sign({"typ": "dpop+jwt", "alg": "none", "jwk": AGENT_KEY.jwk()}, claims),
        "HS256 with oct": AGENT_KEY.sign(
            {"typ": "dpop+jwt", "alg": "HS256", "jwk": {"kty": "oct", "k": b64(b"k" * 32)}}, claims
        ),
        "RS256": rs256.sign({"typ": "dpop+jwt", "jwk": rs256.jwk()}, claims),
        "P-384": p384.sign({"typ": "dpop+jwt", "jwk": p384.jwk()}, claims),
        "private member": AGENT_KEY.sign({"typ": "dpop+jwt", "jwk": AGENT_KEY.private_jwk()}, claims),
        "k beside EC": AGENT_KEY.sign({"typ": "dpop+jwt", "jwk": AGENT_KEY.jwk(k="AAAA")}, claims),
        "no jwk": AGENT_KEY.sign({"typ": "dpop+jwt"}, claims),
        "kid only": AGENT_KEY.sign({"typ": "dpop+jwt", "kid": "agent-1"}, claims),
        "jku": AGENT_KEY.sign({"typ": "dpop+jwt", "jwk": AGENT_KEY.jwk(), "jku": "https://evil.example"}, claims),
        "crit": AGENT_KEY.sign({"typ": "dpop+jwt", "jwk": AGENT_KEY.jwk(), "crit": ["exp"]}, claims),
        "typ JWT": AGENT_KEY.sign({"typ": "JWT", "jwk": AGENT_KEY.jwk()}, claims),
        "typ at+jwt": AGENT_KEY.sign({"typ": "at+jwt", "jwk": AGENT_KEY.jwk()}, claims),
        "no typ": AGENT_KEY.sign({"jwk": AGENT_KEY.jwk()}, claims),
        "another key's signature": OTHER_KEY.sign({"typ": "dpop+jwt", "jwk": AGENT_KEY.jwk()}, claims),
        "another payload": ".".join((good.split(".")[0], payload[:-4] + "AAAA", signature)),
        "no signature": good.rpartition(".")[0] + ".",
        "no JWS": "abc",
        "JSON form": json.dumps({"payload": payload, "signature": signature, "protected": good.split(".")[0]}),
    }


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _p384() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(99, ec.SECP384R1())


@pytest.mark.requirement("DPOP-RS-5", proves="refused")
@pytest.mark.requirement("DPOP-RS-14", proves="refused")
@pytest.mark.attack("DPR-13")
@pytest.mark.parametrize("kind", list(_proofs_with_bad_keys("t")))
async def test_a_proof_with_another_kind_of_key_or_signature_is_refused(site: Site, kind: str) -> None:
    bank = Bank()
    token = bank.peer.token()
    headers = bank.peer.headers(token, _proofs_with_bad_keys(token)[kind])
    async with site.serving(bank) as line:
        await refused(bank, line, headers, "invalid_dpop_proof")


@pytest.mark.parametrize(
    "claims",
    [
        {"jti": ABSENT},
        {"jti": ""},
        {"jti": 7},
        {"htm": ABSENT},
        {"htm": "post"},
        {"htm": "GET"},
        {"htu": ABSENT},
        {"iat": ABSENT},
        {"iat": str(NOW)},
        {"iat": True},
        {"iat": NOW - 61},
        {"iat": NOW - 3600},
        {"iat": NOW + 31},
        {"iat": NOW + 303},
        {"exp": NOW - 60},
        {"nbf": NOW + 600},
    ],
    ids=str,
)
@pytest.mark.requirement("RSE-6", proves="refused")
async def test_a_proof_with_a_wrong_claim_is_refused(site: Site, claims: dict[str, Any]) -> None:
    bank = Bank()
    token = bank.peer.token()
    async with site.serving(bank) as line:
        headers = bank.peer.headers(token, bank.peer.proof(token, **claims))
        await refused(bank, line, headers, "invalid_dpop_proof")


@pytest.mark.attack("DPR-14")
@pytest.mark.requirement("DPOP-15", proves="refused")
@pytest.mark.requirement("RSV-11", proves="refused")
async def test_a_stolen_token_with_the_thiefs_own_key_is_refused(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token()
    thief = Peer(bank.clock, OTHER_KEY)
    async with site.serving(bank) as line:
        await refused(bank, line, thief.headers(token), "invalid_token")


@pytest.mark.attack("DPR-15")
@pytest.mark.requirement("RSV-11", proves="holds")
@pytest.mark.requirement("DPOP-15", proves="holds")
async def test_the_thumbprint_is_ours_whatever_else_the_jwk_says(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token()
    odd = dict(reversed(AGENT_KEY.jwk(kid="not-the-thumbprint", use="sig", extra="member").items()))
    async with site.serving(bank) as line:
        headers = bank.peer.headers(token, bank.peer.proof(token, header={"jwk": odd}))
        assert (await line.send(headers)).status_code == 200


@pytest.mark.attack("DPR-28")
@pytest.mark.parametrize("kind", ["12 KiB", "deep", "jti twice", "BOM", "UTF-16", "lone surrogate"])
async def test_a_proof_that_is_hard_to_read_is_refused_without_a_crash(site: Site, kind: str) -> None:
    bank = Bank()
    token = bank.peer.token()
    claims = json.loads(_decoded(bank.peer.proof(token).split(".")[1]))
    text = json.dumps(claims)
    header = {"typ": "dpop+jwt", "jwk": AGENT_KEY.jwk()}
    proof = {
        "12 KiB": lambda: AGENT_KEY.sign({**header, "pad": "x" * 9_000}, claims),
        "deep": lambda: AGENT_KEY.sign(header, text[:-1] + ',"x":' + "[" * 3000 + "]" * 3000 + "}"),
        "jti twice": lambda: AGENT_KEY.sign(header, text[:-1] + ',"jti":"other"}'),
        "BOM": lambda: AGENT_KEY.sign(header, b"\xef\xbb\xbf" + text.encode()),
        "UTF-16": lambda: AGENT_KEY.sign(header, text.encode("utf-16")),
        "lone surrogate": lambda: AGENT_KEY.sign(header, text[:-1] + ',"x":"\\ud800"}'),
    }[kind]()
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(token, proof), "invalid_dpop_proof")


@pytest.mark.attack("DPR-28")
@pytest.mark.parametrize("name", ["dpop", "authorization"])
async def test_a_head_of_100_kib_is_not_even_shown_to_the_kit(site: Site, name: str) -> None:
    bank = Bank()
    headers = [(key, value + "x" * 100_000 if key == name else value) for key, value in bank.peer.headers()]
    async with site.serving(bank) as line:
        response = await line.send(headers)
        assert response.status_code == 431
        assert (bank.done, bank.observer.refusals, bank.observer.admissions) == ([], [], [])
        await still_works(bank, line)


@pytest.mark.attack("DPR-29")
async def test_a_method_override_is_only_a_header(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        response = await line.send(bank.peer.headers(x_http_method_override="DELETE"))
    assert response.status_code == 200
    assert bank.done == ["get_balance"]


def test_the_peer_signs_without_the_kit() -> None:
    assert ISSUER_KEY.verifies(Bank().peer.token())
