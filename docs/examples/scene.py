"""What the demo shows once everything runs: the agents work, the thief does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from agent import REDIRECT_URI, Session, client_key, session
from browser import Browser
from place import ALLOWED, CLIENT_ID, CLIENT_KEY_ID, PASSWORD, USERNAME, Place, StepFailed, done
from processes import Processes
from robot import show_robot
from thief import Loot, Outcome, Thief, Wiretap

from fapi_as.agent import AgentSettings, Identity


@asynccontextmanager
async def agent_and_person(place: Place) -> AsyncIterator[tuple[Session, Browser]]:
    """The agent's session, and the browser of the person whom it sends there."""
    trust = place.trust()
    browser = Browser(trust, username=USERNAME, password=PASSWORD)
    key = client_key(place.client_key, kid=CLIENT_KEY_ID)
    identity = Identity(issuer=place.issuer, client_id=CLIENT_ID, key=key, redirect_uri=REDIRECT_URI)
    settings = AgentSettings(resource=place.resource, identities=(identity,), scope=(ALLOWED,))

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
    async with agent_and_person(place) as (agent, browser):
        wiretap = Wiretap()
        wiretap.listen_to(agent.http, agent.back_channel)
        balance = await agent.call_tool("get_balance", {"account": "checking"})
        _expect(browser.pages == ["sign-in", "consent"], f"the person saw {browser.pages}")
        done(f"the agent was asked who it is, and sent {USERNAME} to the authorization server with a pushed request")
        done(f"{USERNAME} signed in and allowed {CLIENT_ID} one thing: {ALLOWED}")
        _expect("1250 EUR" in balance, f"get_balance said {balance!r}")
        done(f"the agent called get_balance with a token bound to its key: {balance}")
        loot = _loot(agent, wiretap)
    thief = Thief(place.trust(), loot)
    try:
        await _thefts(processes, thief)
    finally:
        await thief.close()
    await show_robot(place)


def _loot(agent: Session, wiretap: Wiretap) -> Loot:
    tokens, (identity,) = agent.auth.agent.tokens, agent.auth.agent.settings.identities
    if tokens is None or tokens.refresh_token is None or tokens.scope != (ALLOWED,):
        raise StepFailed(f"the tokens are {tokens}")
    redemption = wiretap.last(b"grant_type=authorization_code")
    return Loot(
        call=wiretap.last(b"tools/call"),
        redemption=redemption,
        refresh_token=tokens.refresh_token.reveal(),
        issuer=identity.issuer,
        client_id=identity.client_id,
        client_key=identity.key,
        proof_key=tokens.proof_key,
        server_nonce=wiretap.nonce(str(redemption.url)),
    )


async def _thefts(processes: Processes, thief: Thief) -> None:
    move = {"amount": 1000, "source": "checking", "target": "savings"}
    await _refused("the token without the key, as Bearer", thief.token_as_bearer(), 401, "invalid_token")
    await _refused("the token with another key", thief.token_with_another_key(), 401, "invalid_token")
    await _refused("the same proof twice", thief.same_proof_twice(), 401, "invalid_dpop_proof")
    await _refused("a proof for another URL", thief.proof_for_another_url(), 401, "invalid_dpop_proof")
    beyond = thief.tool_that_was_not_allowed("transfer", move)
    await _refused("a tool outside the granted scopes", beyond, 403, "insufficient_scope")
    correlation_id = await _refused("the code redeemed twice", thief.code_twice(), 400, "invalid_grant")
    afterwards = thief.refresh_token_afterwards()
    await _refused("the refresh token of that code, afterwards", afterwards, 400, "invalid_grant")
    _expect(correlation_id is not None, "the refusal has no correlation id")
    reason = processes.command("explain", str(correlation_id), "--json")
    _expect("code replayed" in reason, f"fapi-as explain says {reason}")
    done(f"fapi-as explain {correlation_id} tells the operator what the thief is not told: code replayed")


async def _refused(what: str, attempt: Awaitable[Outcome], status: int, error: str) -> str | None:
    outcome = await attempt
    _expect(
        (outcome.status, outcome.error) == (status, error),
        f"{what}: expected {status} {error}, got {outcome.status} {outcome.error}",
    )
    done(f"refused with {status} {error}: {what}")
    return outcome.correlation_id


def _expect(held: bool, otherwise: str) -> None:  # noqa: FBT001 - an assertion
    if not held:
        raise StepFailed(otherwise)
