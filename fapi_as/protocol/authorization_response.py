"""The answer that leaves for the client through the browser: only a validated request can redirect."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from fapi_as.protocol import redirect_uri
from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.errors import ProtocolError


class AuthorizationFailed(ProtocolError):
    """RFC 6749 §4.1.2.1: an error that the client may hear of, because its request and redirect URI were validated."""

    def __init__(self, validated: ValidatedAuthorizationRequest, error: ProtocolError) -> None:
        super().__init__(error.detail, error.description)
        self.error = error.error  # type: ignore[misc]  # it speaks with the code of the error that it carries
        self.validated = validated

    def location(self, issuer: str) -> str:
        """Where the browser goes, with `state` and `iss` (AUZ-14, FAPI2-AZ-10)."""
        return _location(self.validated, issuer, (("error", self.error), ("error_description", self.description)))


def success_location(validated: ValidatedAuthorizationRequest, issuer: str, code: str) -> str:
    """RFC 6749 §4.1.2 with RFC 9207 §2: code, state exactly as it was pushed, and iss."""
    return _location(validated, issuer, (("code", code),))


def _location(validated: ValidatedAuthorizationRequest, issuer: str, parameters: tuple[tuple[str, str], ...]) -> str:
    state = () if validated.state is None else (("state", validated.state),)  # OA-AC-10: returned iff sent
    encoded = urlencode((*parameters, *state, ("iss", issuer)), quote_via=quote)
    return redirect_uri.with_parameters(validated.redirect_uri, encoded)
