"""An agent that has a certificate instead of a key, and a thief who has a certificate of the same authority."""

from __future__ import annotations

from urllib.parse import parse_qsl

import httpx2
from agent import session
from place import ALLOWED, ROBOT_ID, Place, StepFailed, done
from thief import Outcome, Wiretap, outcome_of

from fapi_as.agent import AgentSettings, AuthMethod, GrantType, Identity


async def show_robot(place: Place) -> None:
    """Its certificate is all that the robot needs, and nobody else's will do.

    Raises:
        StepFailed: it was not enough, or another one was.
    """
    certificate = place.robot_certificate
    identity = Identity(
        issuer=place.issuer,
        client_id=ROBOT_ID,
        token_endpoint_auth_method=AuthMethod.TLS_CLIENT_AUTH,
        certificate=certificate,
        tls_client_certificate_bound_access_tokens=True,
    )
    settings = AgentSettings(
        resource=place.resource,
        identities=(identity,),
        scope=(ALLOWED,),
        grant_type=GrantType.CLIENT_CREDENTIALS,
    )
    wiretap = Wiretap()
    async with session(settings, trust=certificate.context) as robot:
        wiretap.listen_to(robot.http, robot.back_channel)
        balance = await robot.call_tool("get_balance", {"account": "savings"})
    if "8000 EUR" not in balance:
        raise StepFailed(f"get_balance said {balance!r}")
    asked, call = wiretap.last(b"grant_type=client_credentials"), wiretap.last(b"tools/call")
    done(f"{ROBOT_ID} showed its certificate at {asked.url.netloc.decode()} and got a token that is bound to it")
    done(f"the robot called get_balance with that token and certificate: {balance}")
    async with httpx2.AsyncClient(verify=place.other_certificate.context, timeout=10.0) as thief:
        posted = await thief.post(asked.url, data=dict(parse_qsl(asked.content.decode())))
        called = await thief.post(call.url, content=call.content, headers=call.headers)
    _refused("a token in the robot's name, with another certificate", outcome_of(posted), "invalid_client")
    _refused("the robot's token, with another certificate", outcome_of(called), "invalid_token")


def _refused(what: str, outcome: Outcome, error: str) -> None:
    if (outcome.status, outcome.error) != (401, error):
        raise StepFailed(f"{what}: expected 401 {error}, got {outcome.status} {outcome.error}")
    done(f"refused with 401 {error}: {what}")
