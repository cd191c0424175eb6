"""What a call still needs once it has seen what others, who share its token store, got in the meantime."""

from __future__ import annotations

from dataclasses import replace

from fapi_as.agent.steps import Need, Reason
from fapi_as.agent.tokens import TokenSet


def still_needed(need: Need, stored: TokenSet, *, stale: bool) -> Need | None:
    """None when the stored tokens, which are others than this call used, will do; else what they leave to be done.

    So that a renewal is one process's work and the result everybody's; what the call was refused with is not renewed
    again, since its refresh token may be an older one.
    """
    enough = not stale
    if need.reason is Reason.SCOPE:
        demanded = need.challenge.scope if need.challenge is not None else ()
        enough = enough and frozenset(demanded) <= frozenset(stored.scope)
    if need.reason is Reason.SIGN_IN:  # a mere refresh leaves the person's sign-in as old as it was
        enough = enough and (need.used is None or stored.refresh_token != need.used.refresh_token)
    return None if enough else replace(need, used=stored)
