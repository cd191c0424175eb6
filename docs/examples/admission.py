"""What is shown of registration: nobody gets in without an approval, and that of the agent is for it alone."""

from __future__ import annotations

from typing import Final

import httpx2
from gatecrasher import Gatecrasher
from place import StepFailed, done
from processes import Processes
from thief import refused

from fapi_as.agent import Registration

_INVALID: Final = "invalid_software_statement"
_UNAPPROVED: Final = "unapproved_software_statement"
_FACTS: Final = 200


async def before_the_agent(gatecrasher: Gatecrasher) -> dict[str, str]:
    """Attempts that come before the agent's own, with its very statement: no refusal uses it up.

    Gives the reason that each refusal has to have, which the server's operator is told.

    Raises:
        StepFailed: one of them was not refused, or with another code.
    """
    nobody = await gatecrasher.without_a_statement()
    attempts = (
        ("a forged statement", await gatecrasher.forged(), _INVALID, "signature"),
        ("an expired statement", await gatecrasher.expired(), _INVALID, "expired"),
        ("a foreign authority's statement", await gatecrasher.foreign(), _UNAPPROVED, "not trusted"),
        ("a statement for another server", await gatecrasher.for_another_server(), _INVALID, "aud is not the issuer"),
        (
            "the agent's statement, contradicted by another redirect URI",
            await gatecrasher.contradicted(),
            "invalid_redirect_uri",
            "beyond the statement",
        ),
        (
            "the agent's statement, contradicted by another key",
            await gatecrasher.contradicted_key(),
            "invalid_client_metadata",
            "jwks",
        ),
        (
            "the robot's statement, with another certificate",
            await gatecrasher.statement_of_the_robot(),
            _INVALID,
            "another certificate",
        ),
    )
    return {
        refused("a registration without a statement", nobody, 401, "invalid_token"): "neither a statement nor a token",
        **{refused(what, outcome, 400, code): reason for what, outcome, code, reason in attempts},
    }


async def after_the_agent(
    gatecrasher: Gatecrasher, request: httpx2.Request, registration: Registration | None
) -> dict[str, str]:
    """Attempts with what the agent had sent and got, as `before_the_agent`."""
    if registration is None or registration.registration_access_token is None:
        raise StepFailed(f"the registration is {registration}")
    replayed = refused("the agent's statement, replayed", await gatecrasher.replayed(request), 400, _INVALID)
    token, url = registration.registration_access_token.reveal(), str(registration.registration_client_uri)
    stolen = await gatecrasher.registration_of_the_agent(url, token)
    bound = refused("the agent's registration, with its token and without its key", stolen, 401, "invalid_token")
    return {replayed: "used before", bound: "does not go with the scheme"}


def told_why(processes: Processes, reasons: dict[str, str]) -> None:
    """Each was refused for the reason that it was meant to be refused for.

    Raises:
        StepFailed: one was refused for another one.
    """
    facts = processes.command_json("audit", "tail", "--limit", str(_FACTS))
    if not isinstance(facts, list):
        raise StepFailed("the audit trail is no list")
    told = {fact["correlation_id"]: str(fact["detail"]) for fact in facts if fact["event"] == "request.refused"}
    for correlation_id, reason in reasons.items():
        if reason not in told.get(correlation_id, ""):
            raise StepFailed(f"refused because of {told.get(correlation_id)!r}, and not because of {reason!r}")
    done(f"fapi-as audit tells the operator why each of the {len(reasons)} registrations was refused")
