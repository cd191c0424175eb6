"""The parameters that OpenID Connect adds to an authorization request, judged and bounded (Core §3.1.2.1, §5.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.errors import InvalidRequest, RegistrationNotSupported
from fapi_as.protocol.openid_claims import IDENTITY_CLAIMS, registered_claims
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.profile import (
    ACR_VALUES_LIMIT,
    CLAIMS_PARAMETER_LIMIT,
    LOGIN_HINT_LIMIT,
    SUBJECT_LIMIT,
)
from fapi_as.protocol.userinfo_resource import OFFLINE_ACCESS, OPENID, identity_scope
from rs_kit.protocol.strict_json import InvalidJson, parse_object

PROMPTS: Final = ("none", "login", "consent", "select_account")
_SECONDS: Final = re.compile(r"[0-9]{1,9}\Z")
_DEPTH: Final = 5  # of the claims parameter: {"id_token": {"acr": {"values": […]}}}
_ACR_VALUES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenidRequest:
    """What a client asks of a sign-in; `subject` and `acr` are what it must be, else there is no success.

    `scope` is the part of the asked scope that concerns the identity, the claims are names of those that exist.
    """

    scope: tuple[str, ...]
    prompt: tuple[str, ...] = ()
    max_age: int | None = None
    login_hint: str | None = None
    subject: str | None = None
    acr: tuple[str, ...] | None = None
    id_token_claims: tuple[str, ...] = ()
    userinfo_claims: tuple[str, ...] = ()

    @property
    def wants_no_page(self) -> bool:
        """OIDC-5: an answer at once, whatever it is."""
        return "none" in self.prompt

    @property
    def wants_sign_in(self) -> bool:
        """OIDC-6, OIDC-8: a sign-in for this very request; an account is chosen by signing in to it."""
        return "login" in self.prompt or "select_account" in self.prompt or self.max_age == 0

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Read back what `dataclasses.asdict` and JSON made of it."""
        read: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in members.items()
        }
        return cls(**read)


def parse_openid(
    parameters: Parameters, client: RegisteredClient, scope: tuple[str, ...], hinted_subject: str | None
) -> OpenidRequest | None:
    """Read the parameters; a wrong one is refused whatever the scope is, the right ones count with `openid` (OIDC-1).

    `display`, `ui_locales` and `claims_locales` are wishes that nobody here can fulfil, and never an error (OIDC-16).
    `acr_values` is a wish, too (§5.5.1.1).

    Raises:
        InvalidRequest: one of them is malformed, too long, or contradicts another.
        RegistrationNotSupported: clients are registered beforehand (§7.2.1).
    """
    if parameters.get("registration") is not None:
        raise RegistrationNotSupported("registration")
    prompt, max_age = asked_prompt(parameters), _max_age(parameters)
    bounded(parameters, "acr_values", ACR_VALUES_LIMIT)
    login_hint = bounded(parameters, "login_hint", LOGIN_HINT_LIMIT)
    claims = _claims(parameters)
    if OPENID not in scope:
        return None
    subjects = {_subject(claims, "id_token"), _subject(claims, "userinfo"), hinted_subject} - {None}
    if len(subjects) > 1:
        raise InvalidRequest("claims and id_token_hint are of different subjects", "the request asks for two subjects")
    return OpenidRequest(
        scope=identity_scope(scope),
        prompt=prompt,
        max_age=client.default_max_age if max_age is None else max_age,
        login_hint=login_hint,
        subject=next(iter(subjects), None),
        acr=_essential_acr(claims),
        id_token_claims=registered_claims(_names(claims, "id_token"), client.scope),
        userinfo_claims=registered_claims(_names(claims, "userinfo"), client.scope),
    )


def asked_prompt(parameters: Parameters) -> tuple[str, ...]:
    """`prompt` as a list.

    Raises:
        InvalidRequest: an unknown value, or `none` beside another one (OIDC-4).
    """
    asked = parameters.get("prompt")
    values = () if asked is None else tuple(dict.fromkeys(asked.split(" ")))
    if any(value not in PROMPTS for value in values):
        raise InvalidRequest("prompt", "prompt has an unknown value")
    if "none" in values and len(values) > 1:
        raise InvalidRequest("prompt none and others", "prompt none stands alone")
    return values


def honoured(parameters: Parameters, client: RegisteredClient, scope: tuple[str, ...]) -> tuple[str, ...]:
    """§11: `offline_access` counts where the person is asked for it and the client may have it; else it is ignored."""
    counts = (
        OPENID in scope
        and OFFLINE_ACCESS in client.scope
        and "refresh_token" in client.grant_types
        and "consent" in asked_prompt(parameters)
    )
    return scope if counts else tuple(value for value in scope if value != OFFLINE_ACCESS)


def bounded(parameters: Parameters, name: str, limit: int) -> str | None:
    """A parameter of at most so many characters.

    Raises:
        InvalidRequest: it is longer.
    """
    value = parameters.get(name)
    if value is not None and len(value) > limit:
        raise InvalidRequest(f"{name} is too long", f"{name} must have at most {limit} characters")
    return value


def _max_age(parameters: Parameters) -> int | None:
    value = parameters.get("max_age")
    if value is None:
        return None
    if _SECONDS.match(value) is None:
        raise InvalidRequest("max_age", "max_age must be a number of seconds")
    return int(value)


def _claims(parameters: Parameters) -> Mapping[str, Mapping[str, Mapping[str, object]]]:
    """§5.5: the two places where claims go, each claim with its members; what is not known is ignored (OIDC-10)."""
    text = bounded(parameters, "claims", CLAIMS_PARAMETER_LIMIT)
    if text is None:
        return {}
    try:
        asked = parse_object(text.encode("utf-8", "surrogatepass"), max_depth=_DEPTH)
    except InvalidJson:
        raise InvalidRequest("claims is no JSON object", "claims must be a JSON object") from None
    return {place: _requests(asked.get(place)) for place in ("userinfo", "id_token")}


def _requests(asked: object) -> Mapping[str, Mapping[str, object]]:
    if asked is None:
        return {}
    if not isinstance(asked, dict) or not all(value is None or isinstance(value, dict) for value in asked.values()):
        raise InvalidRequest("claims of another shape", "claims must hold objects or null")
    requests: dict[str, Mapping[str, object]] = {name: value or {} for name, value in asked.items()}
    if not all(isinstance(request.get("essential", False), bool) for request in requests.values()):
        raise InvalidRequest("essential is no boolean", "essential must be true or false")
    return requests


def _names(claims: Mapping[str, Mapping[str, Mapping[str, object]]], place: str) -> tuple[str, ...]:
    return tuple(name for name in IDENTITY_CLAIMS if name in claims.get(place, {}))


def _subject(claims: Mapping[str, Mapping[str, Mapping[str, object]]], place: str) -> str | None:
    """§5.5.1: the one person for whom the request may succeed (OIDC-13)."""
    values = _values(claims.get(place, {}).get("sub", {}))
    if values is not None and (len(values) != 1 or len(values[0]) > SUBJECT_LIMIT):
        raise InvalidRequest("claims asks for no subject or several", "claims must ask for one subject")
    return None if values is None else values[0]


def _essential_acr(claims: Mapping[str, Mapping[str, Mapping[str, object]]]) -> tuple[str, ...] | None:
    """§5.5.1.1: the only acr values with which the request may succeed; None is any."""
    request = claims.get("id_token", {}).get("acr", {})
    values = _values(request)
    return values if request.get("essential") is True else None


def _values(request: Mapping[str, object]) -> tuple[str, ...] | None:
    if "value" not in request and "values" not in request:
        return None
    listed = request.get("values", [])
    values = [*(listed if isinstance(listed, list) else [None]), *([request["value"]] if "value" in request else [])]
    if len(values) > _ACR_VALUES or not all(isinstance(value, str) for value in values):
        raise InvalidRequest("values of a claim", "the values of a claim must be strings")
    return tuple(str(value) for value in values)
