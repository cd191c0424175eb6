"""The code flow of FAPI 2.0 as a client runs it: push, send the person, check what comes back, redeem."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from fapi_as.agent.back_channel import BackChannel
from fapi_as.agent.errors import (
    AnswerRejected,
    AuthorizationDenied,
    MetadataRejected,
    ResponseRejected,
    TokenRejected,
)
from fapi_as.agent.exchange import json_object, plain, refusal, visit
from fapi_as.agent.id_token import Expected, subject_of
from fapi_as.agent.signed_messages import request_object, response_values
from fapi_as.agent.steps import Exchange
from fapi_as.agent.tokens import Granted, TokenSet, granted, token_type
from rs_kit.protocol import base64url
from rs_kit.protocol.strict_json import InvalidJson, parse_object

_CREATED: Final = 201  # RFC 9126 §2.2
_OK: Final = 200
OPENID: Final = "openid"
_RESPONSE_LIMIT: Final = 8192
_FIELD_LIMIT: Final = 32
_REQUEST_URI: Final = re.compile(r"[!#-\[\]-~]{1,512}\Z")  # RFC 9126 §2.2 leaves its form to the server


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an authorization request asks for; `acr_values` and `max_age` as a challenge had them (RFC 9470 §4).

    `subject` is who it has to be: a call that began as one person's does not go on as another's.
    """

    resource: str
    scope: tuple[str, ...]
    acr_values: str | None = None
    max_age: str | None = None
    subject: str | None = None


def by_code(channel: BackChannel, wanted: Asked, before_visit: Callable[[], None]) -> Exchange[Granted]:
    """Let a person allow what is wanted and redeem the code that brings.

    The verifier and the state live in this one run, so that a callback of another run cannot end it (FAPI2-CL-12).

    Args:
        channel: to the authorization server.
        wanted: what to ask for.
        before_visit: is called when the person is about to be sent there.

    Raises:
        ServerRefused: the authorization server refused the push or the code.
        ResponseRejected: the response is not the answer to this request.
        AuthorizationDenied: it is, and says no.
        TokenRejected: the tokens must not be used.
    """
    redirect_uri = channel.identity.redirect_uri or ""  # AgentSettings made sure that there is one
    verifier, state = channel.entropy.secret(), channel.entropy.secret()
    nonce = channel.entropy.secret() if OPENID in wanted.scope else None  # 43 characters (FAPI2-CL-15)
    asked = {
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": base64url.encode(hashlib.sha256(verifier.encode("ascii")).digest()),
        "code_challenge_method": "S256",
        "resource": wanted.resource,  # RES-5: the same in every request
        **_scoped(wanted.scope),
    }
    signed_alg = channel.identity.authorization_signed_response_alg
    perhaps = {
        "dpop_jkt": channel.proof_key.thumbprint if channel.proof_key is not None else None,
        "response_mode": "jwt" if signed_alg is not None else None,
        "nonce": nonce,
        "acr_values": wanted.acr_values,
        "max_age": wanted.max_age,
    }
    asked |= {name: value for name, value in perhaps.items() if value is not None}
    request_uri = yield from _push(channel, asked)
    before_visit()
    callback = yield from visit(_authorization_url(channel, request_uri), state)
    if signed_alg is None:
        code = checked_response(callback.url, redirect_uri=redirect_uri, state=state, issuer=channel.server.issuer)
    else:
        values = yield from response_values(channel, _parameters(callback.url, redirect_uri), signed_alg)
        code = _code_in(values, state=state, issuer=channel.server.issuer)
    redemption = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
        "resource": wanted.resource,
    }
    got = yield from _tokens(channel, redemption, wanted.scope)
    if nonce is None or (wanted.subject is None and OPENID not in got.scope and got.id_token is None):
        return got
    expected = Expected(nonce=nonce, max_age=wanted.max_age, acr_values=wanted.acr_values, subject=wanted.subject)
    return replace(got, subject=(yield from subject_of(channel, got, expected)))


def by_refresh_token(channel: BackChannel, used: TokenSet, refresh_token: str) -> Exchange[Granted]:
    """Get a new access token for what was granted before (RFC 6749 §6).

    Raises:
        ServerRefused: `invalid_grant` says that the refresh token is dead.
        TokenRejected: the tokens must not be used, or are for more than what was granted before.
    """
    scope = used.scope
    asked = {
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
        "resource": used.resource,
        **_scoped(scope),
    }
    renewed = yield from _tokens(channel, asked, scope)
    if scope and not set(renewed.scope) <= set(scope):  # RFC 6749 §6: nobody allowed that
        raise TokenRejected("the renewed token is for more than what was granted before; it was thrown away")
    if renewed.id_token is None or used.subject is None:  # a refresh may bring one (OIDC Core §12.2)
        return replace(renewed, subject=used.subject)
    return replace(renewed, subject=(yield from subject_of(channel, renewed, Expected(subject=used.subject))))


def by_client_credentials(channel: BackChannel, resource: str, scope: tuple[str, ...]) -> Exchange[Granted]:
    """Get a token for the agent itself (RFC 6749 §4.4).

    Raises:
        ServerRefused: the authorization server refused.
        TokenRejected: the token must not be used.
    """
    asked = {"grant_type": "client_credentials", "resource": resource, **_scoped(scope)}
    return (yield from _tokens(channel, asked, scope))


def checked_response(url: str, *, redirect_uri: str, state: str, issuer: str) -> str:
    """The code in an authorization response, after everything that can be checked was (RFC 9207 §2.4).

    Until issuer and state are right, nothing in the response is believed, not even its error.

    Raises:
        ResponseRejected: another address, a parameter twice, or a wrong or missing `iss`, `state` or `code`.
        AuthorizationDenied: a right response that carries an error.
    """
    return _code_in(_parameters(url, redirect_uri), state=state, issuer=issuer)


def _code_in(values: Mapping[str, str], *, state: str, issuer: str) -> str:
    if values.get("iss") != issuer:  # ISS-3: simple string comparison, after form decoding
        raise ResponseRejected("the authorization response does not come from the issuer that was asked")
    if not hmac.compare_digest(values.get("state", "").encode(), state.encode()):
        raise ResponseRejected("the authorization response belongs to another request: state differs")
    if "error" in values:
        error, description = plain(values["error"]), values.get("error_description")
        sentence = f"the authorization was not given: {error}"
        raise AuthorizationDenied(error, f"{sentence}: {plain(description)}" if description else sentence)
    code = values.get("code")
    if not code:
        raise ResponseRejected("the authorization response has no code")
    return code


def is_of_this_request(url: str, state: str) -> bool:
    """Whether somebody who knows our request sent the browser here; anybody can send one to an address of this machine.

    It is no judgement of the response, which `checked_response` makes; of a signed one nothing else is looked at.
    """
    try:
        pairs = parse_qsl(urlsplit(url).query, max_num_fields=_FIELD_LIMIT)
    except ValueError:
        return False
    named = [value for name, value in pairs if name == "state"]
    named += [_unverified_state(value) for name, value in pairs if name == "response"]
    return any(hmac.compare_digest(value.encode(), state.encode()) for value in named)


def _unverified_state(response: str) -> str:
    """What a signed response says as its `state`, signed by whomever."""
    try:
        _, _, rest = response.partition(".")
        value = parse_object(base64url.decode(rest.partition(".")[0].encode("ascii"))).get("state")
    except (InvalidJson, ValueError):
        return ""
    return value if isinstance(value, str) else ""


def _parameters(url: str, redirect_uri: str) -> dict[str, str]:
    """The response parameters, each once; what the redirect URI itself carries in its query is not among them."""
    separator = "&" if urlsplit(redirect_uri).query else "?"
    prefix = redirect_uri + separator
    if len(url) > _RESPONSE_LIMIT or not url.isascii() or not url.startswith(prefix):
        raise ResponseRejected("the browser came back to another address than the redirect_uri")
    query = url[len(prefix) :].partition("#")[0]
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_FIELD_LIMIT, errors="strict")
    except ValueError:
        raise ResponseRejected("the authorization response cannot be read") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ResponseRejected("the authorization response has a parameter twice")
    return values


def _push(channel: BackChannel, parameters: Mapping[str, str]) -> Exchange[str]:
    url = channel.server.pushed_authorization_request_endpoint
    if url is None:
        raise MetadataRejected("the authorization server takes no pushed requests")
    what = "pushed authorization request endpoint"
    signing = channel.identity.request_object_signing_alg
    if signing is not None and channel.identity.key is not None:  # MSG-REQ-15: nothing is left outside
        pushed: Mapping[str, str] = {"request": request_object(channel, channel.identity.key, parameters)}
    else:
        pushed = parameters
    answer = yield from channel.post(url, pushed, what)
    if answer.status != _CREATED:
        raise refusal(answer, what, parameters, now=channel.clock.now())
    document = json_object(answer, what)
    request_uri, lifetime = document.get("request_uri"), document.get("expires_in")
    if not isinstance(request_uri, str) or not _REQUEST_URI.match(request_uri):
        raise AnswerRejected("the pushed request was answered without a usable request_uri")
    if lifetime is not None and (isinstance(lifetime, bool) or not isinstance(lifetime, int) or lifetime <= 0):
        raise AnswerRejected("the pushed request was answered with a request_uri that has no time to live")
    return request_uri


def _authorization_url(channel: BackChannel, request_uri: str) -> str:
    """FAPI2-CL-14: client_id and request_uri, and not one parameter more."""
    endpoint = channel.server.authorization_endpoint
    if endpoint is None:
        raise MetadataRejected("the authorization server has no authorization endpoint")
    query = urlencode({"client_id": channel.identity.client_id, "request_uri": request_uri})
    return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{query}"


def _tokens(channel: BackChannel, parameters: Mapping[str, str], scope: tuple[str, ...]) -> Exchange[Granted]:
    what = "token endpoint"
    answer = yield from channel.post(channel.server.token_endpoint, parameters, what)
    if answer.status != _OK:
        raise refusal(answer, what, parameters, now=channel.clock.now())
    return granted(json_object(answer, what), asked=scope, wanted=token_type(channel.proof_key))


def _scoped(scope: tuple[str, ...]) -> dict[str, str]:
    return {"scope": " ".join(scope)} if scope else {}
