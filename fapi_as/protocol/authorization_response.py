"""The answer that leaves for the client through the browser: only a validated request can redirect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from fapi_as.protocol import redirect_uri
from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.errors import ProtocolError
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import AUTHORIZATION_RESPONSE_LIFETIME


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationResponse:
    """What one client is told (RFC 6749 §4.1.2), in the query or in one JWT there (JARM §2.3.1)."""

    validated: ValidatedAuthorizationRequest
    parameters: tuple[tuple[str, str], ...]

    def plain_location(self, issuer: str) -> str:
        """Where the browser goes, with `state` and `iss` (AUZ-14, FAPI2-AZ-10, RFC 9207 §2)."""
        return self._location((*self.parameters, *self._state(), ("iss", issuer)))

    def claims(self, issuer: str, now: int) -> Mapping[str, object]:
        """JARM §2.1: every parameter is a claim, and none is left outside (MSG-RSP-2)."""
        expires_at = now + seconds(AUTHORIZATION_RESPONSE_LIFETIME)
        about = {"iss": issuer, "aud": self.validated.client_id, "exp": expires_at}
        return {**about, **dict((*self.parameters, *self._state()))}

    def signed_location(self, token: str) -> str:
        """Where the browser goes with the signed `claims`."""
        return self._location((("response", token),))

    def _state(self) -> tuple[tuple[str, str], ...]:
        state = self.validated.state  # OA-AC-10: returned iff sent, exactly as it was pushed
        return () if state is None else (("state", state),)

    def _location(self, parameters: tuple[tuple[str, str], ...]) -> str:
        return redirect_uri.with_parameters(self.validated.redirect_uri, urlencode(parameters, quote_via=quote))


class AuthorizationFailed(ProtocolError):
    """RFC 6749 §4.1.2.1: an error that the client may hear of, because its request and redirect URI were validated.

    `location` is where the browser goes with it, once that is known: a signed one is made before anything is committed.
    """

    def __init__(
        self, validated: ValidatedAuthorizationRequest, error: ProtocolError, *, location: str | None = None
    ) -> None:
        super().__init__(error.detail, error.description)
        self.error = error.error  # type: ignore[misc]  # it speaks with the code of the error that it carries
        self.validated = validated
        self.location = location

    @property
    def response(self) -> AuthorizationResponse:
        """The error as the client is told."""
        told = (("error", self.error), ("error_description", self.description))
        return AuthorizationResponse(validated=self.validated, parameters=told)

    def sent_to(self, location: str) -> AuthorizationFailed:
        """The same with the place where the browser goes."""
        return AuthorizationFailed(self.validated, self, location=location)


def success(validated: ValidatedAuthorizationRequest, code: str) -> AuthorizationResponse:
    """RFC 6749 §4.1.2."""
    return AuthorizationResponse(validated=validated, parameters=(("code", code),))
