"""Credentials, tokens and scopes, through ASGI down to the tools of an unmodified MCP application."""

from __future__ import annotations

from typing import Any

import pytest

from rs_kit.adapters.observer import LoggingObserver
from rs_kit.protocol.tool_policy import ToolPolicy
from tests.support.fakes import NOW
from tests.support.guarded_bank import ABSENT, RESOURCE, Bank, Peer, rpc, tool_call
from tests.support.guarded_refusals import PRM, challenge_of, refused
from tests.support.kit_over_http import Site
from tests.support.peer_keys import PeerKey

OTHER_KEY = PeerKey.es256(seed=13)


@pytest.mark.attack("DPR-16")
@pytest.mark.requirement("MCP-3", proves="refused")
async def test_a_token_anywhere_but_in_one_authorization_field_is_refused(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token()
    async with site.serving(bank) as line:
        bare = [("dpop", bank.peer.proof(token)), ("content-type", "application/json")]
        await refused(bank, line, bare, None, status=400, path=f"/mcp?access_token={token}")
        await refused(bank, line, None, None, status=400, path=f"/mcp?access_token={token}")
        await refused(bank, line, [*bare, ("cookie", f"access_token={token}")], None)
        form = [("dpop", bank.peer.proof(token)), ("content-type", "application/x-www-form-urlencoded")]
        await refused(bank, line, form, None, message=f"access_token={token}".encode())


@pytest.mark.attack("DPR-16")
@pytest.mark.requirement("DPOP-RS-7", proves="refused")
@pytest.mark.requirement("RSE-2", proves="refused")
@pytest.mark.parametrize("second", ["DPoP", "Bearer"])
async def test_two_authorization_fields_are_one_too_many(site: Site, second: str) -> None:
    bank = Bank()
    token = bank.peer.token()
    headers = [*bank.peer.headers(token), ("authorization", f"{second} {token}")]
    async with site.serving(bank) as line:
        response = await refused(bank, line, headers, None, status=400)
    assert response.json()["error"] == "invalid_request"


@pytest.mark.attack("DPR-17")
@pytest.mark.requirement("DPOP-RS-17", proves="holds")
@pytest.mark.parametrize("scheme", ["dpop", "DPOP", "dPoP"])
async def test_the_scheme_has_no_case(site: Site, scheme: str) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        assert (await line.send(bank.peer.headers(scheme=scheme))).status_code == 200


@pytest.mark.attack("DPR-17")
@pytest.mark.requirement("DPOP-RS-17", proves="refused")
@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("DPoP  {}", 400),
        ("DPoP\t{}", 400),
        ("DPoP {} x", 400),
        ("DPoP {}, Bearer {}", 400),
        ("DPoP", 400),
        ("DPoP ", 400),
        ("", 400),
        ("{}", 400),
        ("DPoPx {}", 401),
        ("Basic {}", 401),
    ],
)
async def test_other_forms_of_credentials_are_refused(site: Site, value: str, status: int) -> None:
    bank = Bank()
    token = bank.peer.token()
    headers = [pair for pair in bank.peer.headers(token) if pair[0] != "authorization"]
    async with site.serving(bank) as line:
        await refused(bank, line, [("authorization", value.replace("{}", token)), *headers], None, status=status)


ANOTHER_AUDIENCE = [pytest.mark.requirement(row, proves="refused") for row in ("AT-11", "MCP-2", "RSV-4")]
TOKEN_FAULT = [pytest.mark.requirement(row, proves="refused") for row in ("RSE-3", "DPOP-RS-4")]
ANOTHER_TIME = pytest.mark.requirement("RSV-8", proves="refused")


@pytest.mark.attack("DPR-19")
@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"iss": "https://as.bank.example/"},
        {"iss": ABSENT},
        pytest.param({"aud": "https://other.example/mcp"}, marks=ANOTHER_AUDIENCE),
        pytest.param({"aud": "https://mcp.bank.example"}, marks=ANOTHER_AUDIENCE),
        pytest.param({"aud": "https://mcp.bank.example/mcp/"}, marks=ANOTHER_AUDIENCE),
        pytest.param({"aud": "https://mcp.bank.example/mcp2"}, marks=ANOTHER_AUDIENCE),
        pytest.param({"aud": "HTTPS://mcp.bank.example/mcp"}, marks=ANOTHER_AUDIENCE),
        pytest.param({"aud": ABSENT}, marks=ANOTHER_AUDIENCE),
        pytest.param({"aud": []}, marks=ANOTHER_AUDIENCE),
        pytest.param({"exp": NOW - 11}, marks=TOKEN_FAULT),
        {"exp": ABSENT},
        {"exp": "1900000000"},
        pytest.param({"nbf": NOW + 31}, marks=ANOTHER_TIME),
        pytest.param({"iat": NOW + 31}, marks=ANOTHER_TIME),
        {"client_id": ABSENT},
        {"sub": ABSENT},
        {"jti": ABSENT},
        {"scope": ["accounts:read"]},
    ],
    ids=str,
)
async def test_a_token_that_is_not_for_here_and_now_is_refused(site: Site, claims: dict[str, Any]) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(bank.peer.token(**claims)), "invalid_token")


@pytest.mark.attack("DPR-19")
@pytest.mark.parametrize(
    "claims",
    [
        pytest.param(
            {"aud": [RESOURCE, "https://other.example"]},
            marks=[pytest.mark.requirement(row, proves="holds") for row in ("AT-11", "RSV-4")],
        ),
        pytest.param(
            {"exp": NOW - 9}, marks=[pytest.mark.requirement(row, proves="holds") for row in ("AT-12", "RSE-3")]
        ),
        {"nbf": NOW + 30},
    ],
    ids=str,
)
async def test_a_token_at_the_edge_of_what_is_good_passes(site: Site, claims: dict[str, Any]) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        assert (await line.send(bank.peer.headers(bank.peer.token(**claims)))).status_code == 200


@pytest.mark.attack("DPR-20")
@pytest.mark.requirement("RSV-5", proves="refused")
@pytest.mark.requirement("AT-8", proves="refused")
@pytest.mark.parametrize(
    "typ",
    [
        ABSENT,
        "JWT",
        "logout+jwt",
        "oauth-authz-req+jwt",
        "token-introspection+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "txntoken+jwt",
        "oauth-id-jag+jwt",
    ],
)
async def test_another_kind_of_jwt_of_the_same_issuer_is_no_access_token(site: Site, typ: object) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(bank.peer.token(header={"typ": typ})), "invalid_token")


@pytest.mark.requirement("RSV-5", proves="holds")
@pytest.mark.requirement("AT-8", proves="holds")
@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT"])
async def test_the_type_of_an_access_token_is_compared_as_a_media_type(site: Site, typ: object) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        assert (await line.send(bank.peer.headers(bank.peer.token(header={"typ": typ})))).status_code == 200


@pytest.mark.requirement("AT-10", proves="refused")
@pytest.mark.parametrize("kind", ["another issuer's key", "unknown kid", "jwk in the header", "none", "cut"])
async def test_a_token_that_the_issuers_keys_do_not_verify_is_refused(site: Site, kind: str) -> None:
    bank = Bank()
    peer = bank.peer
    token = {
        "another issuer's key": lambda: peer.token(key=OTHER_KEY),
        "unknown kid": lambda: peer.token(header={"kid": "as-2"}),
        "jwk in the header": lambda: peer.token(key=OTHER_KEY, header={"jwk": OTHER_KEY.jwk()}),
        "none": lambda: peer.token(header={"alg": "none"}).rpartition(".")[0] + ".",
        "cut": lambda: peer.token()[:-1],
    }[kind]()
    async with site.serving(bank) as line:
        response = await line.send(bank.peer.headers(token))
        assert (response.status_code, bank.done) in [(401, []), (400, [])]
        assert len(bank.observer.refusals) == 1


@pytest.mark.requirement("MCP-11", proves="refused")
@pytest.mark.attack("DPR-21")
@pytest.mark.requirement("RSE-4", proves="refused")
async def test_a_tool_outside_the_granted_scopes_is_403_with_exactly_what_it_needs(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        response = await refused(
            bank, line, None, "insufficient_scope", status=403, message=tool_call("transfer", amount=5)
        )
    assert challenge_of(response)[1]["scope"] == "payments:write"


@pytest.mark.requirement("RSE-4", proves="holds")
async def test_with_the_scope_the_tool_runs(site: Site) -> None:
    bank = Bank()
    headers = bank.peer.headers(bank.peer.token(scope="payments:write"))
    async with site.serving(bank) as line:
        assert (await line.send(headers, tool_call("transfer", amount=5))).status_code == 200
    assert bank.done == ["transfer 5"]


BROAD = ToolPolicy(
    tools={"get_balance": ["accounts:read"], "transfer": ["payments:write"]},
    implied={"payments:write": ["accounts:read"], "bank": ["payments:write"]},
)


@pytest.mark.requirement("MCP-10", proves="holds")
async def test_a_broad_scope_includes_the_narrow_ones(site: Site) -> None:
    bank = Bank(tools=BROAD)
    headers = bank.peer.headers(bank.peer.token(scope="bank"))
    async with site.serving(bank) as line:
        assert (await line.send(headers)).status_code == 200


@pytest.mark.requirement("MCP-10", proves="refused")
async def test_a_narrow_scope_does_not_include_the_broad_one(site: Site) -> None:
    bank = Bank(tools=BROAD)
    async with site.serving(bank) as line:
        await refused(bank, line, None, "insufficient_scope", status=403, message=tool_call("transfer"))


@pytest.mark.requirement("MCP-11", proves="holds")
async def test_the_scope_of_a_challenge_is_that_of_the_operation(site: Site) -> None:
    bank = Bank()
    headers = bank.peer.headers(bank.peer.token(scope="mcp:use"))
    async with site.serving(bank) as line:
        response = await refused(bank, line, headers, "insufficient_scope", status=403)
    assert challenge_of(response)[1]["scope"] == "accounts:read"


@pytest.mark.parametrize(
    ("token", "host", "status"),
    [
        pytest.param(False, None, 401, marks=pytest.mark.requirement("PRM-9", proves="holds")),
        pytest.param(True, None, 403, marks=pytest.mark.requirement("PRM-9", proves="holds")),
        pytest.param(False, "evil.example", 401, marks=pytest.mark.requirement("PRM-9", proves="refused")),
        pytest.param(True, "evil.example", 403, marks=pytest.mark.requirement("PRM-9", proves="refused")),
    ],
)
async def test_every_challenge_says_where_our_metadata_stands(
    site: Site, token: bool, host: str | None, status: int
) -> None:
    bank = Bank()
    headers = bank.peer.headers() if token else []
    named = [("host", host), ("x-forwarded-host", host)] if host else []
    async with site.serving(bank) as line:
        response = await line.send([*headers, *named], tool_call("transfer", amount=5))
    assert response.status_code == status
    assert challenge_of(response)[1]["resource_metadata"] == PRM


@pytest.mark.requirement("RSE-1", proves="refused")
@pytest.mark.requirement("DPOP-RS-3", proves="refused")
async def test_an_error_is_named_only_to_those_who_showed_a_token(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        shown = challenge_of(await line.send(bank.peer.headers(bank.peer.token(exp=NOW - 60))))[1]
        none = challenge_of(await line.send([("dpop", bank.peer.proof(bank.peer.token()))]))[1]
    assert shown["error"] == "invalid_token"
    assert not {"error", "error_description"} & set(none)


@pytest.mark.attack("DPR-22")
@pytest.mark.requirement("DPOP-RS-3", proves="holds")
@pytest.mark.requirement("RSE-1", proves="holds")
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_without_credentials_there_is_a_challenge_without_an_error(site: Site, method: str) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        response = await refused(bank, line, [], None, method=method)
    scheme, parameters = challenge_of(response)
    assert set(parameters) == {"scope", "resource_metadata", "algs"}
    assert parameters["scope"] == "mcp:use"
    assert response.json() == {"error_description": "an access token is required"}
    assert scheme == "DPoP"


@pytest.mark.requirement("DPOP-RS-5", proves="holds")
@pytest.mark.parametrize(
    ("algorithm", "alg"), [("ES256", "ES256"), ("PS256", "PS256"), ("Ed25519", "Ed25519"), ("Ed25519", "EdDSA")]
)
async def test_every_algorithm_of_the_challenge_is_accepted(site: Site, algorithm: str, alg: str) -> None:
    bank = Bank()
    peer = Peer(bank.clock, PeerKey.of(algorithm))
    token = peer.token()
    async with site.serving(bank) as line:
        challenge = challenge_of(await line.send([]))[1]["algs"].split()
        assert alg in challenge
        assert len(set(challenge)) == len(challenge)
        proof = peer.proof(token, header={"alg": alg})
        assert (await line.send(peer.headers(token, proof))).status_code == 200


@pytest.mark.attack("DPR-23")
async def test_the_session_of_one_user_is_unknown_to_another(site: Site) -> None:
    bank = Bank(legacy_streams=True)
    legacy = "2025-06-18"
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": legacy, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    mallory = Peer(bank.clock, OTHER_KEY)
    hers = mallory.token(sub="mallory", client_id="agent-2")
    async with site.serving(bank, stateless=False) as line:
        opened = await line.send(message=hello, version=legacy)
        session = opened.headers["mcp-session-id"]
        for method in ("POST", "GET", "DELETE"):
            proof = mallory.proof(hers, htm=method)
            headers = mallory.headers(hers, proof, mcp_session_id=session)
            message = rpc("tools/list") if method == "POST" else None
            response = await line.send(headers, message, method=method, version=legacy)
            assert response.status_code in (403, 404)
        token = bank.peer.token()
        again = bank.peer.headers(token, mcp_session_id=session)
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await line.send(again, ready, version=legacy)).status_code == 202
        mine = bank.peer.headers(token, mcp_session_id=session)
        answer = await line.send(mine, {"jsonrpc": "2.0", "id": 2, **_call("whoami")}, version=legacy)
        assert '\\"sub\\": \\"alice\\"' in answer.text


def _call(name: str) -> dict[str, Any]:
    return {"method": "tools/call", "params": {"name": name, "arguments": {}}}


@pytest.mark.requirement("RSV-8", proves="holds")
@pytest.mark.requirement("AT-12", proves="refused")
async def test_a_token_seen_before_still_expires(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token(exp=NOW + 100)
    async with site.serving(bank) as line:
        assert (await line.send(bank.peer.headers(token))).status_code == 200
        bank.done.clear()
        bank.clock.advance(109)
        assert (await line.send(bank.peer.headers(token))).status_code == 200
        bank.done.clear()
        bank.clock.advance(1)
        await refused(bank, line, bank.peer.headers(token), "invalid_token")


@pytest.mark.requirement("RSV-9", proves="refused")
async def test_neither_tokens_nor_proofs_reach_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    bank = Bank(observer=LoggingObserver())
    token = bank.peer.token()
    headers = bank.peer.headers(token)
    async with site.serving(bank) as line:
        await line.send(headers)
        await line.send(headers)
        await line.send(bank.peer.headers(token, scheme="Bearer"))
        await line.send(bank.peer.headers(token + "x"))
    everything = caplog.text + str([record.__dict__ for record in caplog.records if record.name.startswith("rs_kit")])
    for secret in (token, headers[1][1], token.rpartition(".")[2], headers[1][1].rpartition(".")[2]):
        assert secret not in everything
    assert "call admitted" in caplog.text
    assert "replayed" in caplog.text
