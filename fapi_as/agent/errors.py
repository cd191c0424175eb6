"""Why the agent's side stopped: one class per cause, each with a sentence a person can act on."""

from __future__ import annotations


class AgentError(Exception):
    """The agent could not get, or would not take, what it needs for a call."""


class Misconfigured(AgentError):
    """The settings of this agent contradict each other."""


class InsecureAddress(AgentError):
    """An address that must be https is not, or carries what an address of a server may not."""


class RedirectRefused(AgentError):
    """A server answered with a redirect; none is followed, so that no credential reaches another place."""


class Unreachable(AgentError):
    """A server did not answer in time, or the connection could not be made."""


class AnswerRejected(AgentError):
    """An answer was too large, of the wrong kind, or without a member that it must have."""


class MetadataRejected(AgentError):
    """A metadata document does not speak for the server it was asked from, or lacks what FAPI 2.0 needs."""


class IssuerNotAllowed(AgentError):
    """The protected resource names no authorization server at which this agent is registered."""


class RegistrationNeeded(AgentError):
    """The agent cannot make itself known at this issuer; a person has to have it registered there."""


class RegistrationRejected(AgentError):
    """A registration that is not what was asked for, or that cannot be managed safely; it is not used."""


class BrowserNeeded(AgentError):
    """A person has to allow this, and the agent was given no way to send one to a browser."""


class ResponseRejected(AgentError):
    """The authorization response is not the answer to our request; nothing in it was used or shown."""


class AuthorizationDenied(AgentError):
    """The person, or the authorization server on their behalf, said no."""

    def __init__(self, error: str, sentence: str) -> None:
        super().__init__(sentence)
        self.error = error


class TooManyPrompts(AgentError):
    """The resource wanted a person's consent again and again; this agent asks no more for a while."""


class NonceLoop(AgentError):
    """A server asked for another nonce right after it had been given the one it sent (RFC 9449 §8)."""


class TokenRejected(AgentError):
    """A token answer that must not be used, for example a token that is not bound to our key."""


class CertificateNotShown(AgentError):
    """A connection would not show the certificate that the request needs; the request was not sent."""


class ServerRefused(AgentError):
    """The authorization server refused a request of ours; `correlation_id` is for its operator's `explain`.

    `clock_ahead` is by how many seconds this machine's clock is ahead of the server's, when that may be the reason.
    """

    def __init__(
        self,
        *,
        status: int,
        error: str,
        description: str | None,
        correlation_id: str | None,
        clock_ahead: int | None = None,
    ) -> None:
        reason = f"{error}: {description}" if description else error
        known = f" (correlation id {correlation_id})" if correlation_id else ""
        clock = f"; {_clock(clock_ahead)}" if clock_ahead is not None else ""
        super().__init__(f"the authorization server refused with {status} {reason}{known}{clock}")
        self.status = status
        self.error = error
        self.description = description
        self.correlation_id = correlation_id
        self.clock_ahead = clock_ahead


def _clock(ahead: int) -> str:
    direction = "ahead of" if ahead > 0 else "behind"
    return f"this machine's clock is {abs(ahead)} s {direction} the server's, and should be set"
