"""Errors named after their wire code; each carries a public sentence and a private reason."""

from __future__ import annotations

from typing import ClassVar, Final

from rs_kit.protocol.errors import InvalidDpopProof, InvalidRequest, ProtocolError, UseDpopNonce

__all__ = [
    "AccessDenied",
    "ConsentRequired",
    "Forbidden",
    "InvalidAuthorizationDetails",
    "InvalidClient",
    "InvalidDpopProof",
    "InvalidGrant",
    "InvalidRequest",
    "InvalidRequestObject",
    "InvalidRequestUri",
    "InvalidScope",
    "InvalidSoftwareStatement",
    "InvalidTarget",
    "LoginRequired",
    "MethodNotAllowed",
    "MisdirectedRequest",
    "NotFound",
    "PayloadTooLarge",
    "ProtocolError",
    "RegistrationForbidden",
    "RegistrationNotSupported",
    "RequestNotSupported",
    "RequestTimeout",
    "RequestUriNotSupported",
    "ResourceRefused",
    "StorageUnavailable",
    "TooManyAtOnce",
    "TooManyRequests",
    "UnapprovedSoftwareStatement",
    "UnauthorizedClient",
    "UnmetAuthenticationRequirements",
    "UnsupportedContentEncoding",
    "UnsupportedGrantType",
    "UnsupportedMediaType",
    "UnsupportedResponseType",
    "UseDpopNonce",
    "status_of",
]


class InvalidClient(ProtocolError):
    """RFC 6749 §5.2: one sentence for an unknown client, a disabled one and a wrong key (CA-3)."""

    error: ClassVar[str] = "invalid_client"
    public: ClassVar[str] = "client authentication failed"


class InvalidGrant(ProtocolError):
    """RFC 6749 §5.2: the code or refresh token is not valid for this request."""

    error: ClassVar[str] = "invalid_grant"
    public: ClassVar[str] = "the grant is not valid"


class UnauthorizedClient(ProtocolError):
    """RFC 6749 §5.2: this client is not registered for what it asks."""

    error: ClassVar[str] = "unauthorized_client"
    public: ClassVar[str] = "the client is not registered for this grant type"


class UnsupportedGrantType(ProtocolError):
    """RFC 6749 §5.2."""

    error: ClassVar[str] = "unsupported_grant_type"
    public: ClassVar[str] = "grant_type is not supported, see grant_types_supported in the metadata"


class UnsupportedResponseType(ProtocolError):
    """RFC 6749 §4.1.2.1: only `code` exists (FAPI2-AZ-1)."""

    error: ClassVar[str] = "unsupported_response_type"
    public: ClassVar[str] = "response_type must be code"


class InvalidScope(ProtocolError):
    """RFC 6749 §5.2."""

    error: ClassVar[str] = "invalid_scope"
    public: ClassVar[str] = "a requested scope is unknown or not allowed for this client and resource"


class InvalidTarget(ProtocolError):
    """RFC 8707 §2."""

    error: ClassVar[str] = "invalid_target"
    public: ClassVar[str] = "resource is missing, unknown or not allowed"


class InvalidRequestUri(ProtocolError):
    """RFC 9101 §7: unknown, expired, used, or of another client; always answered with a local page."""

    error: ClassVar[str] = "invalid_request_uri"
    public: ClassVar[str] = "request_uri is not valid, start again from the application"


class InvalidRequestObject(ProtocolError):
    """RFC 9101 §7."""

    error: ClassVar[str] = "invalid_request_object"
    public: ClassVar[str] = "the request object is not valid"


class RequestNotSupported(ProtocolError):
    """RFC 9101 §7: signed request objects are pushed and never in the query."""

    error: ClassVar[str] = "request_not_supported"
    public: ClassVar[str] = "the request parameter is not supported here, request objects must be pushed, see RFC 9126"


class RequestUriNotSupported(ProtocolError):
    """RFC 9101 §7: request objects are never fetched (JAR-6)."""

    error: ClassVar[str] = "request_uri_not_supported"
    public: ClassVar[str] = "request_uri must come from the pushed request endpoint"


class InvalidAuthorizationDetails(ProtocolError):
    """RFC 9396 §5: refused rather than ignored, so that nobody believes in a limit that is not there."""

    error: ClassVar[str] = "invalid_authorization_details"
    public: ClassVar[str] = "authorization_details are not supported"


class AccessDenied(ProtocolError):
    """RFC 6749 §4.1.2.1: the user said no."""

    error: ClassVar[str] = "access_denied"
    public: ClassVar[str] = "the request was denied"


class LoginRequired(ProtocolError):
    """OpenID Connect Core §3.1.2.6: the person would have to sign in, or is another one than was asked for."""

    error: ClassVar[str] = "login_required"
    public: ClassVar[str] = "the user has to sign in"


class ConsentRequired(ProtocolError):
    """OpenID Connect Core §3.1.2.6: the person would have to be asked, and no page may be shown."""

    error: ClassVar[str] = "consent_required"
    public: ClassVar[str] = "the user has to allow it"


class UnmetAuthenticationRequirements(ProtocolError):
    """OpenID Connect Core Unmet Authentication Requirements §2: no sign-in here reaches an essential acr."""

    error: ClassVar[str] = "unmet_authentication_requirements"
    public: ClassVar[str] = "the requested acr cannot be reached"


class RegistrationNotSupported(ProtocolError):
    """OpenID Connect Core §7.2.1: clients are registered beforehand."""

    error: ClassVar[str] = "registration_not_supported"
    public: ClassVar[str] = "the registration parameter is not supported"


class ResourceRefused(ProtocolError):
    """A refusal of our own protected resource, with the status and the challenges that RFC 6750 §3 wants."""

    error: ClassVar[str] = "invalid_token"
    public: ClassVar[str] = "the access token is not valid"

    def __init__(self, error: ProtocolError, *, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        # who brings no token is told no code by the challenge (RFC 6750 §3.1); the body has to have one
        super().__init__(error.detail, error.description if error.error else None)
        self.error = error.error or self.error  # type: ignore[misc]  # it speaks with the code that it carries
        self.status = status
        self.headers = headers


class Forbidden(ProtocolError):
    """RFC 9110 §15.5.4: a form that our page in this browser session did not make (LOG-15, LOG-16)."""

    error: ClassVar[str] = "invalid_request"
    public: ClassVar[str] = "this form is not valid any more, go back, reload the page and try again"


class MethodNotAllowed(ProtocolError):
    """RFC 9110 §15.5.6; the door adds `Allow`."""

    error: ClassVar[str] = "invalid_request"
    public: ClassVar[str] = "this method is not allowed here"


class NotFound(ProtocolError):
    """RFC 9110 §15.5.5."""

    error: ClassVar[str] = "invalid_request"
    public: ClassVar[str] = "there is nothing at this address"


class MisdirectedRequest(ProtocolError):
    """RFC 9110 §15.5.20: the request is for another host than the issuer's (SES-17)."""

    error: ClassVar[str] = "invalid_request"
    public: ClassVar[str] = "this server does not answer for that host, see the issuer in its metadata"


class PayloadTooLarge(ProtocolError):
    """RFC 9126 §2.3: the body is larger than we read."""

    error: ClassVar[str] = "invalid_request"
    public: ClassVar[str] = "the request body is too large"


class RequestTimeout(ProtocolError):
    """RFC 9110 §15.5.9: the body came too slowly."""

    error: ClassVar[str] = "invalid_request"
    public: ClassVar[str] = "the request body came too slowly"


class UnsupportedContentEncoding(ProtocolError):
    """RFC 9110 §15.5.16: a compressed body is not opened."""

    error: ClassVar[str] = "invalid_request"
    public: ClassVar[str] = "the request body must not be compressed"


class TooManyRequests(ProtocolError):
    """RFC 6585 §4."""

    error: ClassVar[str] = "invalid_request"
    public: ClassVar[str] = "too many attempts, try again later"


class TooManyAtOnce(TooManyRequests):
    """RFC 6585 §4: in a few seconds it may be less."""


class InvalidSoftwareStatement(ProtocolError):
    """RFC 7591 §3.2.2: the software statement is not valid."""

    error: ClassVar[str] = "invalid_software_statement"
    public: ClassVar[str] = "the software statement is not valid"


class UnapprovedSoftwareStatement(ProtocolError):
    """RFC 7591 §3.2.2: it may be valid, but its issuer or its software is not approved here."""

    error: ClassVar[str] = "unapproved_software_statement"
    public: ClassVar[str] = "the software statement is not approved for use here"


class UnsupportedMediaType(ProtocolError):
    """RFC 9110 §15.5.16: a registration is JSON, or where that is allowed a signed one (DCR-1, SSA-7)."""

    error: ClassVar[str] = "invalid_client_metadata"
    public: ClassVar[str] = "the request body must be application/json"


class RegistrationForbidden(ProtocolError):
    """RFC 7592 §2: whoever asks is known and may not do this."""

    error: ClassVar[str] = "access_denied"
    public: ClassVar[str] = "this is not allowed for this registration"


class StorageUnavailable(ProtocolError):
    """RFC 6749 §4.1.2.1 `temporarily_unavailable`: the store cannot answer; nothing was decided (P8)."""

    error: ClassVar[str] = "temporarily_unavailable"
    public: ClassVar[str] = "the service is temporarily unavailable, try again"


_STATUS: Final[dict[type[ProtocolError], int]] = {
    InvalidClient: 401,  # RFC 6749 §5.2 and product.md: 401 for every method of client authentication
    Forbidden: 403,
    RegistrationForbidden: 403,
    NotFound: 404,
    MethodNotAllowed: 405,
    RequestTimeout: 408,
    PayloadTooLarge: 413,
    UnsupportedContentEncoding: 415,
    UnsupportedMediaType: 415,
    MisdirectedRequest: 421,
    TooManyRequests: 429,
    TooManyAtOnce: 429,
    StorageUnavailable: 503,
}


def status_of(error: ProtocolError) -> int:
    """The HTTP status of an error at the authorization server; 400 unless a clause says otherwise."""
    return error.status if isinstance(error, ResourceRefused) else _STATUS.get(type(error), 400)
