"""What an application asks when it sends a person to sign out (OpenID Connect RP-Initiated Logout 1.0 §2, §3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode

from fapi_as.protocol import redirect_uri
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.errors import InvalidRequest
from fapi_as.protocol.id_token import IdTokenHint
from fapi_as.protocol.metadata_members import URI_LIMIT
from fapi_as.protocol.openid_request import bounded
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.profile import ID_TOKEN_HINT_LIMIT, LOGOUT_STATE_LIMIT

_LIMITS: Final = {
    "id_token_hint": ID_TOKEN_HINT_LIMIT,
    "client_id": 256,
    "post_logout_redirect_uri": URI_LIMIT,
    "state": LOGOUT_STATE_LIMIT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutRequest:
    """The parameters that were sent; any other is ignored, and so is `logout_hint`."""

    id_token_hint: str | None = field(default=None, repr=False)  # never logged: OIDC-40
    client_id: str | None = None
    post_logout_redirect_uri: str | None = None
    state: str | None = None

    @property
    def fields(self) -> dict[str, str]:
        """What was sent, to be sent again by a form of ours."""
        sent = {name: getattr(self, name) for name in _LIMITS}
        return {name: value for name, value in sent.items() if value is not None}


def parse_logout(parameters: Parameters) -> LogoutRequest:
    """Read the parameters.

    Raises:
        InvalidRequest: one of them is too long.
    """
    return LogoutRequest(**{name: bounded(parameters, name, limit) for name, limit in _LIMITS.items()})


def require_same_client(asked: LogoutRequest, hint: IdTokenHint | None) -> str | None:
    """Whose request it is, as far as that is known.

    Raises:
        InvalidRequest: client_id is another one than the hint was issued to (LOGO-3).
    """
    if hint is None:
        return asked.client_id
    if asked.client_id not in {None, hint.client_id}:
        raise InvalidRequest("client_id is not the one of id_token_hint", "client_id does not match id_token_hint")
    return hint.client_id


def destination(asked: LogoutRequest, hint: IdTokenHint | None, client: RegisteredClient | None) -> str | None:
    """Where the browser goes afterwards; None is a page of ours.

    Without a hint nobody has shown to be the application, and nobody is sent anywhere (LOGO-5).

    Raises:
        InvalidRequest: the application is known and the URI is not one of its own, to the letter.
    """
    uri = asked.post_logout_redirect_uri
    if uri is None or hint is None or client is None:
        return None
    if uri not in client.post_logout_redirect_uris:
        raise InvalidRequest("post_logout_redirect_uri is not registered", "post_logout_redirect_uri is not registered")
    if asked.state is None:  # LOGO-6
        return uri
    return redirect_uri.with_parameters(uri, urlencode({"state": asked.state}, quote_via=quote))
