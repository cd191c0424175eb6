"""What the demo shows once everything runs: the agents work, the thief does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from admission import after_the_agent, before_the_agent, told_why
from agent import REDIRECT_URI, Session, session
from browser import Browser
from gatecrasher import Gatecrasher
from newcomers import agent_that_nobody_knows
from place import ALLOWED, CLIENT_NAME, PASSWORD, USERNAME, Place, StepFailed, done
from processes import Processes
from robot import show_robot
from thief import Loot, Thief, Wiretap, refused

from fapi_as.agent import AgentSettings, Registration


@asynccontextmanager
async def agent_and_person(place: Place) -> AsyncIterator[tuple[Session, Browser]]:
    """The agent's session, and the browser of the person whom it sends there."""
    trust = place.trust()
    browser = Browser(trust, username=USERNAME, password=PASSWORD)
    registrants = (agent_that_nobody_knows(place),)
    settings = AgentSettings(resource=place.resource, registrants=registrants, scope=(ALLOWED,))

    async def authorize(url: str) -> str:
        return await browser.sign_in_and_allow(url, until=f"{REDIRECT_URI}?")

    async with session(settings, trust=trust, authorize=authorize) as opened:
        try:
            yield opened, browser
        finally:
            await browser.close()


async def show(processes: Processes, place: Place) -> None:
    """The agents work; the thief does not.

    Raises:
        StepFailed: one of them did not.
    """
    gatecrasher = Gatecrasher(place, place.trust())
    try:
        reasons = await before_the_agent(gatecrasher)
        loot, registered, registration = await _agent_at_work(place)
        reasons |= await after_the_agent(gatecrasher, registered, registration)
    finally:
        await gatecrasher.close()
    thief = Thief(place.trust(), loot)
    try:
        await _thefts(processes, thief)
    finally:
        await thief.close()
    await show_robot(place)
    told_why(processes, reasons)


async def _agent_at_work(place: Place) -> tuple[Loot, httpx2.Request, Registration | None]:
    async with agent_and_person(place) as (agent, browser):
        wiretap = Wiretap()
        wiretap.listen_to(agent.http, agent.back_channel)
        balance = await agent.call_tool("get_balance", {"account": "checking"})
        loot = _loot(agent, wiretap)
        _expect(browser.pages == ["sign-in", "consent"], f"the person saw {browser.pages}")
        _expect("1250 EUR" in balance, f"get_balance said {balance!r}")
        done(f"the agent was asked who it is, and registered itself as {loot.client_id} with its statement")
        done(f"the agent sent {USERNAME} to the authorization server with a pushed request")
        done(f"{USERNAME} signed in and allowed {CLIENT_NAME} one thing: {ALLOWED}")
        done(f"the agent called get_balance with a token bound to its key: {balance}")
        return loot, wiretap.last(b"software_statement", 201), await agent.registrations.load(place.issuer)


def _loot(agent: Session, wiretap: Wiretap) -> Loot:
    tokens, (identity,) = agent.auth.agent.tokens, agent.auth.agent.settings.everybody
    if tokens is None or tokens.refresh_token is None or tokens.scope != (ALLOWED,):
        raise StepFailed(f"the tokens are {tokens}")
    redemption = wiretap.last(b"grant_type=authorization_code")
    return Loot(
        call=wiretap.last(b"tools/call"),
        redemption=redemption,
        refresh_token=tokens.refresh_token.reveal(),
        issuer=identity.issuer,
        client_id=tokens.client_id,
        client_key=identity.key,
        proof_key=tokens.proof_key,
        server_nonce=wiretap.nonce(str(redemption.url)),
    )


async def _thefts(processes: Processes, thief: Thief) -> None:
    move = {"amount": 1000, "source": "checking", "target": "savings"}
    refused("the token without the key, as Bearer", await thief.token_as_bearer(), 401, "invalid_token")
    refused("the token with another key", await thief.token_with_another_key(), 401, "invalid_token")
    refused("the same proof twice", await thief.same_proof_twice(), 401, "invalid_dpop_proof")
    refused("a proof for another URL", await thief.proof_for_another_url(), 401, "invalid_dpop_proof")
    beyond = await thief.tool_that_was_not_allowed("transfer", move)
    refused("a tool outside the granted scopes", beyond, 403, "insufficient_scope")
    correlation_id = refused("the code redeemed twice", await thief.code_twice(), 400, "invalid_grant")
    afterwards = await thief.refresh_token_afterwards()
    refused("the refresh token of that code, afterwards", afterwards, 400, "invalid_grant")
    _expect(correlation_id is not None, "the refusal has no correlation id")
    reason = processes.command("explain", str(correlation_id), "--json")
    _expect("code replayed" in reason, f"fapi-as explain says {reason}")
    done(f"fapi-as explain {correlation_id} tells the operator what the thief is not told: code replayed")


def _expect(held: bool, otherwise: str) -> None:  # noqa: FBT001 - an assertion
    if not held:
        raise StepFailed(otherwise)
