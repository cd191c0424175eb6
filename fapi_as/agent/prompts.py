"""How often a person may be asked: a server that is never content gets no endless row of prompts (MCP CL15)."""

from __future__ import annotations

from typing import Final

from fapi_as.agent.errors import TooManyPrompts

_HOUR: Final = 3600  # seconds
_PROMPT_LIMIT: Final = 12  # in an hour, for whatever reason: tokens of five minutes without a refresh token
_DEMAND_LIMIT: Final = 3  # in an hour, of those that a resource asked for while it had a token that works


class Prompts:
    """The prompts of the last hour at one resource."""

    def __init__(self) -> None:
        self._shown: list[tuple[int, bool]] = []

    def allow(self, now: int, *, demanded: bool) -> None:
        """Let one more prompt happen, or stop.

        Args:
            now: seconds since the epoch.
            demanded: the resource asks for more than a token that works: another scope, another sign-in.

        Raises:
            TooManyPrompts: there were enough in the last hour.
        """
        self._shown = [(at, more) for at, more in self._shown if at > now - _HOUR]
        if len(self._shown) >= _PROMPT_LIMIT:
            raise TooManyPrompts(f"a person was asked {_PROMPT_LIMIT} times within an hour; this agent asks no more")
        if demanded and sum(more for _, more in self._shown) >= _DEMAND_LIMIT:
            raise TooManyPrompts(
                f"the resource demanded more {_DEMAND_LIMIT} times within an hour; this agent asks its person no more"
            )

    def shown(self, now: int, *, demanded: bool) -> None:
        """Count a prompt that is about to be shown."""
        self._shown.append((now, demanded))
