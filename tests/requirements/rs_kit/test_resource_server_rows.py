"""Rows of the resource server that ordinary calls and their neighbours prove, over HTTP, at both kinds of site."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from rs_kit.adapters.issuer_keys import StaticIssuerKeys
from rs_kit.protocol.tool_policy import ToolPolicy
from tests.support.guarded_bank import ISSUER, ISSUER_KEY, RESOURCE, Bank, rpc, tool_call
from tests.support.guarded_refusals import PRM, challenge_of, refused
from tests.support.kit_over_http import ORIGIN, SITES, Site

METADATA_PATH = PRM.removeprefix(ORIGIN)
OTHER_ISSUER = "https://as2.bank.example"

pytestmark = pytest.mark.parametrize("site", SITES, ids=str)


@pytest.mark.requirement("DPOP-RS-7", proves="holds")
@pytest.mark.parametrize(
    ("value", "error"), [("Bearer {}", "invalid_token"), ("Basic dXNlcjpwYXNz", None), ("Signature {}", None)]
)
async def test_the_one_scheme_that_is_supported_is_the_one_challenge(site: Site, value: str, error: str | None) -> None:
    bank = Bank()
    token = bank.peer.token()
    headers = [pair for pair in bank.peer.headers(token) if pair[0] != "authorization"]
    async with site.serving(bank) as line:
        await refused(bank, line, [("authorization", value.replace("{}", token)), *headers], error)


@pytest.mark.requirement("DPOP-RS-13", proves="holds")
async def test_the_application_runs_the_body_that_was_judged_and_no_other(site: Site) -> None:
    bank = Bank()
    headers = bank.peer.headers(bank.peer.token(scope="mcp:use payments:write"), mcp_name="transfer")
    async with site.serving(bank) as line:
        assert (await line.send(headers, tool_call("transfer", amount=5))).status_code == 200
    assert bank.done == ["transfer 5"]


@pytest.mark.requirement("DPOP-RS-18", proves="holds")
async def test_who_calls_is_what_the_kit_says_whatever_the_headers_of_a_gateway_claim(site: Site) -> None:
    bank = Bank()
    claimed = {"x_forwarded_user": "mallory", "x_rs_kit_call": "mallory", "remote_user": "mallory", "x_jkt": "AAAA"}
    async with site.serving(bank) as line:
        answer = await line.send(bank.peer.headers(**claimed), tool_call("whoami"))
        await line.send()
    who = json.loads(answer.json()["result"]["structuredContent"]["result"])
    assert (who["sub"], who["client"], who["iss"]) == ("alice", "agent-1", ISSUER)
    assert {"authorization", "dpop"}.isdisjoint(bank.seen[0])


@pytest.mark.requirement("AT-13", proves="holds")
async def test_a_client_that_acts_for_itself_is_told_apart_from_the_person_of_the_same_name(site: Site) -> None:
    bank = Bank()
    itself = bank.peer.headers(bank.peer.token(sub="agent-1", client_id="agent-1"))
    for_her = bank.peer.headers(bank.peer.token(sub="alice", client_id="agent-1"))
    async with site.serving(bank) as line:
        answers = [await line.send(headers, tool_call("whoami")) for headers in (itself, for_her)]
    who = [json.loads(answer.json()["result"]["structuredContent"]["result"]) for answer in answers]
    assert [(said["sub"], said["client"]) for said in who] == [("agent-1", "agent-1"), ("alice", "agent-1")]


@pytest.mark.requirement("AT-13", proves="refused")
@pytest.mark.parametrize(
    "claims",
    [
        {"scope": "mcp:use"},
        {"scope": "", "roles": ["accounts:read"], "groups": ["mcp:use"], "entitlements": ["accounts:read"]},
        {"scope": "mcp:use ACCOUNTS:READ"},
        {"scope": "mcp:use accounts:read:all"},
    ],
    ids=str,
)
async def test_nothing_but_the_scope_decides_what_a_call_may_do(site: Site, claims: dict[str, Any]) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(bank.peer.token(**claims)), "insufficient_scope", status=403)


@pytest.mark.requirement("PRM-4", proves="holds")
async def test_what_an_author_wants_to_be_known_stands_in_the_document_and_replaces_nothing(site: Site) -> None:
    published = {
        "resource_documentation": "https://mcp.bank.example/docs",
        "resource_policy_uri": "https://mcp.bank.example/policy",
        "resource_name#de": "Die Bank",
        "dpop_bound_access_tokens_required": False,
        "bearer_methods_supported": ["query"],
        "authorization_servers": ["https://evil.example"],
    }
    bank = Bank(resource_name="The bank", published=published)
    async with site.serving(bank) as line:
        document = (await line.send([], method="GET", path=METADATA_PATH)).json()
    assert document == {
        "resource": RESOURCE,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["mcp:use"],
        "resource_name": "The bank",
        "resource_name#de": "Die Bank",
        "resource_documentation": "https://mcp.bank.example/docs",
        "resource_policy_uri": "https://mcp.bank.example/policy",
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["PS256", "ES256", "EdDSA", "Ed25519"],
        "dpop_bound_access_tokens_required": True,
    }


@pytest.mark.requirement("PRM-4", proves="refused")
def test_a_document_that_offers_unsigned_answers_is_not_published(site: Site) -> None:
    with pytest.raises(ValueError, match="none"):
        Bank(published={"resource_signing_alg_values_supported": ["none"]})


@pytest.mark.requirement("PRM-8", proves="refused")
@pytest.mark.parametrize("resource", [ORIGIN, ORIGIN + "/", RESOURCE + "/", "https://other.example/mcp"])
async def test_a_resource_that_is_not_the_url_that_clients_call_lets_none_of_them_in(site: Site, resource: str) -> None:
    bank = Bank(resource=resource)
    token = bank.peer.token(aud=resource)
    async with site.serving(bank) as line:
        response = await line.send(bank.peer.headers(token))
    assert response.status_code in (401, 404)
    assert (bank.done, bank.observer.admissions) == ([], [])


@pytest.mark.requirement("PRM-10", proves="holds")
async def test_after_a_change_the_challenge_leads_to_the_new_document(site: Site) -> None:
    named = []
    for issuer in (ISSUER, OTHER_ISSUER):
        bank = Bank(issuer=issuer, keys=StaticIssuerKeys(issuer, {"keys": [ISSUER_KEY.jwk(kid="as-1")]}))
        async with site.serving(bank) as line:
            challenge = challenge_of(await line.send([]))[1]["resource_metadata"]
            answer = await line.send([], method="GET", path=challenge.removeprefix(ORIGIN))
            named.append(answer.json()["authorization_servers"])
            assert answer.headers["cache-control"] == "public, max-age=300"  # whoever kept the old one asks again
    assert named == [[ISSUER], [OTHER_ISSUER]]


@pytest.mark.requirement("PRM-10", proves="refused")
async def test_a_token_of_the_server_that_the_document_named_before_is_sent_to_the_new_document(site: Site) -> None:
    bank = Bank(issuer=OTHER_ISSUER, keys=StaticIssuerKeys(OTHER_ISSUER, {"keys": [ISSUER_KEY.jwk(kid="as-1")]}))
    async with site.serving(bank) as line:
        response = await refused(
            bank, line, bank.peer.headers(bank.peer.token(iss=ISSUER)), "invalid_token", works=False
        )
        assert challenge_of(response)[1]["resource_metadata"] == PRM


@pytest.mark.requirement("PRM-13", proves="refused")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/mcp", 401),
        ("POST", METADATA_PATH, 405),
        ("GET", METADATA_PATH + "/x", 404),
        ("GET", "/.well-known/openid-configuration", 404),
        ("GET", "/other", 401),
    ],
)
async def test_only_the_document_is_public_and_readable_from_every_page(
    site: Site, method: str, path: str, status: int
) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        answer = await line.send([], method=method, path=path)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    assert "public" not in answer.headers.get("cache-control", "")
    assert bank.done == []


@pytest.mark.requirement("RSE-8", proves="holds")
async def test_problems_of_the_protocol_are_told_in_json_rpc_to_those_who_may_call(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        unknown = await refused(bank, line, None, None, status=404, message=rpc("tools/execute"))
        disagree = await refused(bank, line, bank.peer.headers(mcp_name="whoami"), None, status=400)
        stranger = await refused(bank, line, [], None, message=rpc("tools/execute"))
    assert [answer.json()["error"]["code"] for answer in (unknown, disagree)] == [-32601, -32020]
    assert [answer.json()["id"] for answer in (unknown, disagree)] == [7, 7]
    assert "jsonrpc" not in stranger.json()


@pytest.mark.requirement("RSV-9", proves="holds")
async def test_the_log_names_a_call_by_the_id_of_its_token(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rs_kit")
    bank = Bank()
    token = bank.peer.token(jti="the-token-of-monday")
    async with site.serving(bank) as line:
        assert (await line.send(bank.peer.headers(token))).status_code == 200
    (record,) = [record for record in caplog.records if record.name == "rs_kit.guard"]
    facts = record.__dict__
    assert (facts["token_id"], facts["client_id"], facts["subject"]) == ("the-token-of-monday", "agent-1", "alice")
    assert token not in str(facts)
    assert token.rpartition(".")[2][:16] not in str(facts)


async def test_a_policy_without_base_scopes_asks_for_none(site: Site) -> None:
    bank = Bank(tools=ToolPolicy(tools={"get_balance": ["accounts:read"]}))
    async with site.serving(bank) as line:
        parameters = challenge_of(await refused(bank, line, [], None))[1]
    assert set(parameters) == {"resource_metadata", "algs"}
