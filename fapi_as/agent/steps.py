"""The steps of the sans-IO core: what it asks its driver to do, and what it is told back.

The core is made of generators. Each yields a step, and the driver (auth.py, or a test) sends the reply in.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeVar

from fapi_as.agent.challenge import Challenge
from fapi_as.agent.ports import Certificate
from fapi_as.agent.registered import Registration
from fapi_as.agent.registrant import Registrant
from fapi_as.agent.tokens import TokenSet

ANSWER_LIMIT: Final = 65_536  # bytes of one answer, P7; a driver need not read further than one more

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that is all ours: to a metadata document or to an authorization server; shows no secret of it.

    With a `certificate`, it leaves on a connection that shows it or not at all.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    certificate: Certificate | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: header names in lower case, in order, nothing merged.

    `former_certificate` says that the connection shows a certificate that was renewed in the meantime.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    former_certificate: bool = False

    def every(self, name: str) -> tuple[str, ...]:
        """All values of one header."""
        return tuple(value for present, value in self.headers if present == name)

    def one(self, name: str) -> str | None:
        """The value of a header that stands there exactly once."""
        values = self.every(name)
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send this request, follow no redirect, and reply with the Answer."""

    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Let the person open this address, and reply with the Callback that their browser made: that with this `state`."""

    url: str
    state: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """The address that the browser was sent to in the end, with its query and the code in it."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduce:
    """Make the agent known at the issuer of this registrant, unless it is, and reply with the Registration."""

    registrant: Registrant


class Reason(Enum):
    """Why a call needs other tokens."""

    STALE = "the access token is about to expire"
    UNAUTHORIZED = "the resource answered 401"
    SCOPE = "the resource answered 403 insufficient_scope"
    SIGN_IN = "the resource answered 401 insufficient_user_authentication"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a call needs, and the tokens (if any) with which it was refused."""

    reason: Reason
    used: TokenSet | None
    challenge: Challenge | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Send the caller's own request with these headers, or without them; reply with the Answer (no body needed).

    With a `certificate`, it leaves on a connection that shows it or not at all.
    """

    authorization: str | None = field(repr=False)
    proof: str | None = field(repr=False)
    certificate: Certificate | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """Run `Agent.renew(need)` to its end, one at a time for this agent; reply with None."""

    need: Need


Exchange = Generator[Send | Visit | Introduce, Answer | Callback | Registration, Result]
CallSteps = Generator[Call | Renew, Answer | None, None]
