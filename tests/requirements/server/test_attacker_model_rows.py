"""The attackers of FAPI 2.0 and what each of them cannot reach, with the kit in front of the bank."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fapi_as.protocol.effects import HandleKind
from rs_kit.adapters.issuer_keys import StaticIssuerKeys
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.guard import Guard
from rs_kit.protocol.errors import InvalidDpopProof, InvalidToken, ProtocolError
from rs_kit.protocol.http import HttpRequest
from rs_kit.protocol.tool_policy import ToolPolicy
from rs_kit.testing import RecordingObserver
from tests.support.command_line import CLIENT, CommandLine
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient, Message, Tokens
from tests.support.house import PASSWORD, RESOURCE, House, callback, page
from tests.support.peer_keys import PeerKey
from tests.support.standing_still import (
    a_code,
    query_for,
    ready,
    refused_message,
    refused_page,
    refused_push,
    refused_redemption,
    refused_tokens,
    visited,
)

GRANT, NOBODY, PROOF = (400, "invalid_grant"), (401, "invalid_client"), (400, "invalid_dpop_proof")
PAGE = (400, "invalid_request_uri")
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_balance", "arguments": {}}}


@pytest.fixture
async def house() -> House:
    return await ready(House())


@pytest.fixture
async def mallory(house: House) -> FapiClient:
    """The attacker: a registered client, a user, a site and a key of its own."""
    house.user("mallory")
    client = house.client("mallory", redirect_uris=["https://mallory.example/cb"])
    await client.push()
    return client


class Bank:
    """The protected resource behind the kit, trusting the house."""

    def __init__(self, house: House, *, resource: str = RESOURCE) -> None:
        self.observer = RecordingObserver()
        self.guard = Guard(
            resource=resource,
            issuer=ISSUER,
            keys=StaticIssuerKeys(ISSUER, house.signer.public_jwks()),
            used_once=MemoryUsedOnce(),
            tools=ToolPolicy(tools={"get_balance": ["accounts:read"], "transfer": ["transfers:write"]}),
            nonce_key=None,
            clock=house.clock,
            observer=self.observer,
        )

    async def asked(self, message: Message) -> Any:
        headers = tuple((name.encode(), value.encode()) for name, value in message.headers)
        return await self.guard.admit(HttpRequest("POST", "/mcp", headers, message.body))


def calling(house: House, tokens: Tokens) -> Message:
    return house.agent.resource_request(tokens, json_body=CALL)


# --- goals


@pytest.mark.requirement("ATT-G-1", proves="holds")
async def test_alice_reads_her_balance_through_the_agent_that_she_allowed(house: House) -> None:
    tokens = await house.agent.obtain(username="alice", password=PASSWORD)
    admitted = await Bank(house).asked(calling(house, tokens))
    assert admitted.token.subject == "sub-alice"


@pytest.mark.requirement("ATT-G-1", proves="refused")
@pytest.mark.parametrize("stolen", ["code", "refresh token", "access token", "call"])
async def test_nothing_that_is_stolen_opens_her_account(house: House, mallory: FapiClient, stolen: str) -> None:
    done, pushed = await a_code(house)
    if stolen == "code":
        assert await refused_redemption(house, done, pushed, client=mallory) == GRANT
        return
    tokens = await house.agent.redeem(done, pushed)
    bank = Bank(house)
    if stolen == "refresh token":
        assert await refused_tokens(house, lambda: mallory.refresh_request(tokens.refresh_token or "")) == GRANT
        return
    call = calling(house, tokens)
    if stolen == "call":
        await bank.asked(call)
    else:
        thief = Tokens(tokens.access_token, "DPoP", 300, "", None, mallory.dpop_key, tokens.response)
        call = calling(house, thief)
    with pytest.raises(ProtocolError):
        await bank.asked(call)
    assert len(bank.observer.admissions) == (1 if stolen == "call" else 0)


@pytest.mark.requirement("ATT-G-3", proves="holds")
async def test_the_flow_that_alice_began_completes_as_alice(house: House) -> None:
    await house.agent.obtain(username="alice", password=PASSWORD)
    assert house.signer.signed[-1][1]["sub"] == "sub-alice"


@pytest.mark.requirement("ATT-G-3", proves="refused")
async def test_alice_cannot_be_put_into_a_flow_that_somebody_else_began(house: House, mallory: FapiClient) -> None:
    begun = page(await mallory.browser.open(mallory.authorization_url(await mallory.push())))
    alices = house.browser()
    place = page(await alices.open(begun.url))
    assert (place.status, place.error) == PAGE
    assert house.store.handles_of(HandleKind.CODE) == ()


# --- attackers


@pytest.mark.requirement("ATT-A1", proves="holds")
async def test_an_honest_flow_beside_an_attackers_client_succeeds(house: House, mallory: FapiClient) -> None:
    await mallory.push()
    assert (await house.agent.obtain(username="alice", password=PASSWORD)).scope == "accounts:read"


@pytest.mark.requirement("ATT-A1", proves="refused")
async def test_a_web_attacker_cannot_send_alices_code_to_his_site(house: House, mallory: FapiClient) -> None:
    pushed = await house.agent.push()
    sent = {**query_for(pushed), "redirect_uri": "https://mallory.example/cb", "client_id": "mallory"}
    assert await refused_page(house, sent) == PAGE
    form = {"redirect_uri": house.agent.redirect_uri}
    assert await refused_push(house, client=mallory, form=form) == (400, "invalid_request")


@pytest.mark.requirement("ATT-A1a", proves="holds")
async def test_an_answer_of_ours_says_that_it_is_ours(house: House) -> None:
    assert callback(await visited(house, await house.agent.push())).parameters["iss"] == ISSUER


@pytest.mark.requirement("ATT-A1a", proves="refused")
async def test_an_assertion_that_an_attackers_server_was_given_is_nothing_here(house: House) -> None:
    assert await refused_push(house, aud="https://as.mallory.example") == NOBODY


@pytest.mark.requirement("ATT-A3a", proves="holds")
async def test_a_reader_of_the_request_cannot_stop_it_by_opening_it(house: House) -> None:
    pushed = await house.agent.push()
    page(await house.browser().open(house.agent.authorization_url(pushed)))
    assert callback(await visited(house, pushed)).code


@pytest.mark.requirement("ATT-A3a", proves="refused")
async def test_a_reader_of_the_request_gets_nothing_after_it_was_completed(house: House, mallory: FapiClient) -> None:
    pushed = await house.agent.push()
    callback(await visited(house, pushed))
    assert await refused_page(house, query_for(pushed)) == PAGE
    assert await refused_page(house, query_for(pushed, "mallory")) == PAGE


@pytest.mark.requirement("ATT-A4", proves="holds")
async def test_a_token_request_reaches_the_endpoint_of_the_metadata(house: House) -> None:
    await house.agent.discover()
    assert (await house.agent.client_credentials()).scope == "accounts:read"


@pytest.mark.requirement("ATT-A4", proves="refused")
async def test_a_token_request_that_was_read_and_sent_again_gives_nothing(house: House) -> None:
    done, pushed = await a_code(house)
    message = house.agent.code_request(done.code or "", pushed)
    first = await house.agent.send(message)
    assert first.status_code == 200
    response = await refused_message(house, message)
    assert (response.status_code, response.json()["error"]) == NOBODY
    assert (await house.agent.refresh(first.json()["refresh_token"])).scope == "accounts:read"


@pytest.mark.requirement("ATT-A5", proves="holds")
async def test_a_call_with_its_own_proof_is_admitted(house: House) -> None:
    tokens = await house.agent.obtain(username="alice", password=PASSWORD)
    bank = Bank(house)
    for _ in range(2):
        await bank.asked(calling(house, tokens))
    assert len(bank.observer.admissions) == 2


@pytest.mark.requirement("ATT-A5", proves="refused")
async def test_a_call_that_was_read_works_no_second_time_and_nowhere_else(house: House) -> None:
    tokens = await house.agent.obtain(username="alice", password=PASSWORD)
    bank, call = Bank(house), calling(house, tokens)
    await bank.asked(call)
    with pytest.raises(InvalidDpopProof):
        await bank.asked(call)
    with pytest.raises(ProtocolError):
        await Bank(house, resource="https://shop.example/mcp").asked(call)
    proof = dict(call.headers)["dpop"]
    assert await refused_push(house, proof=proof) == PROOF


# --- threats


@pytest.mark.requirement("ATT-T-1", proves="holds")
@pytest.mark.requirement("ATT-T-7", proves="holds")
@pytest.mark.requirement("ATT-T-9", proves="holds")
@pytest.mark.requirement("ATT-T-10", proves="holds")
@pytest.mark.requirement("ATT-T-11", proves="holds")
@pytest.mark.requirement("ATT-T-12", proves="holds")
@pytest.mark.requirement("ATT-T-14", proves="holds")
@pytest.mark.requirement("ATT-T-15", proves="holds")
@pytest.mark.requirement("ATT-T-20", proves="holds")
async def test_with_every_defence_up_the_ordinary_work_succeeds(house: House) -> None:
    tokens = await house.agent.obtain(username="alice", password=PASSWORD)
    assert (await house.agent.refresh(tokens.refresh_token or "")).scope == "accounts:read"
    await house.agent.client_credentials()
    assert house.signer.signed[-1][1]["sub"] == "agent"


@pytest.mark.requirement("ATT-T-1", proves="refused")
@pytest.mark.parametrize("aud", [f"{ISSUER}/token", f"{ISSUER}/par", f"{ISSUER}/revoke", [ISSUER], f"{ISSUER}/"])
@pytest.mark.parametrize("endpoint", ["par", "token"])
async def test_an_injected_audience_is_not_the_issuer(house: House, endpoint: str, aud: Any) -> None:
    if endpoint == "par":
        assert await refused_push(house, aud=aud) == NOBODY
    else:
        with house.agent.lying(aud=aud):
            assert await refused_tokens(house, house.agent.credentials_request) == NOBODY


@pytest.mark.requirement("ATT-T-6", proves="holds")
async def test_whoever_opened_the_request_completes_it_and_sees_for_whom(house: House) -> None:
    asked = await house.asked()
    assert "The agent" in asked.text
    assert callback(await house.agent.browser.submit(asked, "consent-approve")).code


@pytest.mark.requirement("ATT-T-6", proves="refused")
@pytest.mark.parametrize("step", ["login", "consent"])
async def test_a_forwarded_step_is_worth_nothing_in_another_browser(house: House, step: str) -> None:
    place = await house.opened() if step == "login" else await house.asked()
    victim = house.browser()
    forwarded = page(await victim.open(place.url))
    assert (forwarded.status, forwarded.error) == PAGE
    assert house.store.handles_of(HandleKind.CODE) == ()


@pytest.mark.requirement("ATT-T-7", proves="refused")
async def test_a_swapped_request_uri_is_of_another_client(house: House, mallory: FapiClient) -> None:
    pushed = await mallory.push()
    assert await refused_page(house, query_for(pushed, "agent")) == PAGE


@pytest.mark.requirement("ATT-T-8", proves="holds")
async def test_the_consent_page_shows_who_began_and_where_it_ends(house: House) -> None:
    asked = await house.asked()
    assert "The agent" in asked.text
    assert "client.example" in asked.text


@pytest.mark.requirement("ATT-T-8", proves="refused")
async def test_an_answer_that_was_captured_is_dead_after_a_minute(house: House) -> None:
    done, pushed = await a_code(house)
    house.clock.advance(60)
    assert await refused_redemption(house, done, pushed) == GRANT


@pytest.mark.requirement("ATT-T-9", proves="refused")
async def test_a_leaked_request_completes_once(house: House) -> None:
    pushed = await house.agent.push()
    house.user("mallory")
    place = await house.agent.visit(pushed, username="mallory", password=PASSWORD, browser=house.browser())
    assert callback(place).code
    assert await refused_page(house, query_for(pushed)) == PAGE


@pytest.mark.requirement("ATT-T-10", proves="refused")
def test_no_client_is_called_like_a_person(tmp_path: Path) -> None:
    commands = CommandLine(directory=tmp_path)
    assert commands.run("init").code == 0
    subject = commands.json("user", "add", "alice", "--password-stdin", stdin=PASSWORD)["subject"]
    sentence = commands.refused("client", "add", "-", stdin=json.dumps({**CLIENT, "client_id": subject}))
    assert sentence == "stdin: client_id is the subject of a user, choose another"
    assert commands.json("client", "list") == []


@pytest.mark.requirement("ATT-T-11", proves="refused")
@pytest.mark.parametrize("endpoint", ["par", "token"])
async def test_a_proof_serves_once(house: House, endpoint: str) -> None:
    proof = house.agent.proof("POST", f"{ISSUER}/{endpoint}")
    with house.agent.lying(proof=proof):
        if endpoint == "par":
            await house.agent.push()
            assert await refused_push(house, proof=proof) == PROOF
        else:
            await house.agent.client_credentials()
            assert await refused_tokens(house, house.agent.credentials_request) == PROOF


@pytest.mark.requirement("ATT-T-12", proves="refused")
async def test_a_proof_that_was_made_in_advance_is_refused(house: House) -> None:
    proof = house.agent.proof("POST", f"{ISSUER}/par")
    house.clock.advance(61)
    assert await refused_push(house, proof=proof) == PROOF
    later = house.clock.now()
    assert await refused_push(house, iat=later + 31) == PROOF
    assert await refused_push(house, nonce="pre-computed") == (400, "use_dpop_nonce")


@pytest.mark.requirement("ATT-T-13", proves="holds")
async def test_a_bound_code_is_redeemed_with_the_key_of_its_push(house: House) -> None:
    done, pushed = await a_code(house, bound=True)
    assert (await house.agent.redeem(done, pushed)).scope == "accounts:read"


@pytest.mark.requirement("ATT-T-13", proves="refused")
async def test_a_bound_code_is_refused_with_the_attackers_key(house: House) -> None:
    other = PeerKey.es256(seed=1234)
    await house.agent.push(key=other)
    done, pushed = await a_code(house, bound=True)
    assert await refused_redemption(house, done, pushed, key=other) == PROOF


@pytest.mark.requirement("ATT-T-14", proves="refused")
async def test_no_token_without_a_proof_and_no_bound_token_as_a_bearer(house: House) -> None:
    done, pushed = await a_code(house)
    with house.agent.lying(proof=...):
        assert await refused_redemption(house, done, pushed) == PROOF
    tokens = await house.agent.redeem(done, pushed)
    with house.agent.lying(authorization=f"Bearer {tokens.access_token}", proof=...), pytest.raises(InvalidToken):
        await Bank(house).asked(calling(house, tokens))


@pytest.mark.requirement("ATT-T-15", proves="refused")
@pytest.mark.parametrize("strip", ["challenge", "method", "verifier"])
async def test_pkce_cannot_be_stripped(house: House, strip: str) -> None:
    if strip == "verifier":
        done, pushed = await a_code(house)
        assert await refused_redemption(house, done, pushed, code_verifier=...) == GRANT
        return
    form = {"code_challenge": ...} if strip == "challenge" else {"code_challenge_method": ...}
    assert await refused_push(house, form=form) == (400, "invalid_request")


@pytest.mark.requirement("ATT-T-20", proves="refused")
@pytest.mark.parametrize("form", [{"scope": ["a", "b"]}, {"client_id": ["agent", "agent"]}, {"x": ["", ""]}])
async def test_no_parameter_is_smuggled_in_twice(house: House, form: Any) -> None:
    assert await refused_push(house, form=form) == (400, "invalid_request")
