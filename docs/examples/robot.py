"""An agent that has a certificate instead of a key, and a thief who has a certificate of the same authority."""

from __future__ import annotations

from urllib.parse import parse_qsl

import httpx2
from agent import session
from newcomers import robot_that_nobody_knows
from place import ALLOWED, ROBOT, Place, StepFailed, done
from thief import Wiretap, outcome_of, refused

from fapi_as.agent import AgentSettings, GrantType


async def show_robot(place: Place) -> None:
    """Its certificate is all that the robot needs, and nobody else's will do.

    Raises:
        StepFailed: it was not enough, or another one was.
    """
    registrant = robot_that_nobody_knows(place)
    settings = AgentSettings(
        resource=place.resource,
        registrants=(registrant,),
        scope=(ALLOWED,),
        grant_type=GrantType.CLIENT_CREDENTIALS,
    )
    certificate = registrant.identity.certificate
    if certificate is None:
        raise StepFailed("the robot has no certificate")
    wiretap = Wiretap()
    async with session(settings, trust=certificate.context) as robot:
        wiretap.listen_to(robot.http, robot.back_channel)
        balance = await robot.call_tool("get_balance", {"account": "savings"})
    if "8000 EUR" not in balance:
        raise StepFailed(f"get_balance said {balance!r}")
    registered, tokens = wiretap.last(b"software_statement", 201), robot.auth.agent.tokens
    if tokens is None:
        raise StepFailed("the robot has no tokens")
    where = registered.url.netloc.decode()
    done(f"{ROBOT} registered itself as {tokens.client_id} at {where}, with its statement and its certificate")
    asked, call = wiretap.last(b"grant_type=client_credentials"), wiretap.last(b"tools/call")
    done(f"{ROBOT} showed its certificate at {asked.url.netloc.decode()} and got a token that is bound to it")
    done(f"the robot called get_balance with that token and certificate: {balance}")
    async with httpx2.AsyncClient(verify=place.other_certificate.context, timeout=10.0) as thief:
        posted = await thief.post(asked.url, data=dict(parse_qsl(asked.content.decode())))
        called = await thief.post(call.url, content=call.content, headers=call.headers)
    refused("a token in the robot's name, with another certificate", outcome_of(posted), 401, "invalid_client")
    refused("the robot's token, with another certificate", outcome_of(called), 401, "invalid_token")
