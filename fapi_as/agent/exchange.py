"""One exchange with a server: sent, bounded, never redirected; and JSON as the only thing that is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

from fapi_as.agent.address import origin, secure
from fapi_as.agent.errors import AgentError, AnswerRejected, RedirectRefused, ServerRefused
from fapi_as.agent.steps import ANSWER_LIMIT, Answer, Callback, Exchange, Request, Send, Visit
from rs_kit.protocol import strict_json
from rs_kit.protocol.strict_json import InvalidJson

_REDIRECTS: Final = range(300, 400)
_JSON: Final = frozenset({"application/json"})
_NONCE: Final = re.compile(r"[!#-\[\]-~]{1,1024}\Z")  # RFC 9449 §8.1: NQCHAR
_ORIGIN_LIMIT: Final = 64
_TEXT_LIMIT: Final = 200
_NOT_TEXT: Final = re.compile(r"[^ !#-\[\]-~]")  # what RFC 6749 §5.2 does not let an error or its description have
_CLOCK_SECONDS: Final = 30  # of difference are nobody's reason to refuse
_SECRETS: Final = frozenset({"code", "code_verifier", "refresh_token", "state"}) | frozenset(
    {"initial_access_token", "registration_access_token", "software_statement"}
)
Found = TypeVar("Found", bound=AgentError)


def send(request: Request, what: str) -> Exchange[Answer]:
    """Send a request of ours.

    Raises:
        InsecureAddress: its address is not https.
        RedirectRefused: the server wants us elsewhere.
        AnswerRejected: the answer is too large.
    """
    secure(request.url, what)
    answer = yield Send(request=request)
    if not isinstance(answer, Answer):
        raise TypeError("the reply to Send is an Answer")
    if answer.status in _REDIRECTS:
        raise RedirectRefused(f"the {what} answered with a redirect, and this agent follows none")
    if len(answer.body) > ANSWER_LIMIT:
        raise AnswerRejected(f"the answer of the {what} is larger than {ANSWER_LIMIT} bytes")
    return answer


def visit(url: str, state: str) -> Exchange[Callback]:
    """Send a person to an address and wait until they come back, with this `state`.

    Raises:
        InsecureAddress: it is not https.
    """
    secure(url, "authorization endpoint")
    callback = yield Visit(url=url, state=state)
    if not isinstance(callback, Callback):
        raise TypeError("the reply to Visit is a Callback")
    return callback


def json_object(answer: Answer, what: str, *, media_types: frozenset[str] = _JSON) -> dict[str, Any]:
    """The JSON object in an answer.

    Raises:
        AnswerRejected: another media type, not JSON, or not an object.
    """
    media_type = (answer.one("content-type") or "").partition(";")[0].strip().lower()
    if media_type not in media_types:
        raise AnswerRejected(f"the answer of the {what} is not application/json")
    try:
        return strict_json.parse_object(answer.body)
    except InvalidJson:
        raise AnswerRejected(f"the answer of the {what} is not a JSON object") from None


def refusal(answer: Answer, what: str, sent: Mapping[str, str], *, now: int) -> ServerRefused:
    """The error of an answer that is none of the successes (RFC 6749 §5.2).

    Args:
        answer: what came back.
        what: whose answer it is, for the sentence.
        sent: the parameters of the request, of which the sentence repeats no secret.
        now: this machine's clock, which is compared with the server's `Date` (FAPI2-CL-17).

    Raises:
        AnswerRejected: it is not an OAuth error either.
    """
    try:
        document = json_object(answer, what)
    except AnswerRejected:
        raise AnswerRejected(f"the {what} answered with status {answer.status} and no OAuth error") from None
    error, description = document.get("error"), document.get("error_description")
    if not isinstance(error, str):
        raise AnswerRejected(f"the {what} answered with status {answer.status} and no OAuth error")
    return ServerRefused(
        status=answer.status,
        error=plain(_without_secrets(error, sent)),
        description=plain(_without_secrets(description, sent)) if isinstance(description, str) else None,
        correlation_id=plain(answer.one("x-correlation-id") or "") or None,
        clock_ahead=_clock_ahead(answer, now),
    )


def _clock_ahead(answer: Answer, now: int) -> int | None:
    """By how much our clock is ahead, when it is by enough to matter; only told, never believed."""
    try:
        date = parsedate_to_datetime(answer.one("date") or "")
        ahead = now - int(date.timestamp())
    except (ValueError, OverflowError, OSError):
        return None
    return ahead if abs(ahead) > _CLOCK_SECONDS else None


def _without_secrets(text: str, sent: Mapping[str, str]) -> str:
    for name in _SECRETS & sent.keys():
        text = text.replace(sent[name], "***") if sent[name] else text
    return text


def plain(text: str) -> str:
    """Somebody else's text made fit to be shown or logged."""
    return _NOT_TEXT.sub("?", text[:_TEXT_LIMIT])


class Nonces:
    """The newest DPoP nonce of each origin: what one server gave is never shown to another (RFC 9449 §8.2)."""

    def __init__(self) -> None:
        self._newest: dict[str, str] = {}

    def of(self, url: str) -> str | None:
        """The newest nonce of the server at this address."""
        return self._newest.get(origin(url))

    def learn(self, url: str, answer: Answer) -> bool:
        """Remember what this answer brought, success or not; tells whether there was a usable one."""
        nonce = answer.one("dpop-nonce")
        if nonce is None or not _NONCE.match(nonce):
            return False
        server = origin(url)
        if server not in self._newest and len(self._newest) >= _ORIGIN_LIMIT:
            self._newest.clear()  # they are only a saving: the next answer brings one again
        self._newest[server] = nonce
        return True
