"""Tokens as an agent holds them, and which token answer may be used at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fapi_as.agent.errors import TokenRejected
from rs_kit.protocol.jws import SigningKey
from rs_kit.protocol.secret import Secret

TOKEN68: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z")  # RFC 9110 §11.2: what may stand behind a scheme
_REFRESH: Final = re.compile(r"[ -~]+\Z")  # RFC 6749 appendix A.17
_LONGEST: Final = 366 * 86_400  # seconds; a server that promises more is not believed, and the first 401 tells
_STALE_SECONDS: Final = 10  # renewed this long before the end, so that no call starts with a dying token


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSet:
    """The tokens for one resource from one issuer, with the key and the certificate that the access token is bound to.

    `certificate` is its `x5t#S256`; `subject` whom an ID token named as the person, if there was one.
    """

    resource: str
    issuer: str
    client_id: str
    access_token: Secret
    refresh_token: Secret | None
    scope: tuple[str, ...]
    expires_at: int | None
    proof_key: SigningKey | None
    certificate: str | None = None
    subject: str | None = None

    @property
    def token_type(self) -> str:
        """Under which scheme the access token is presented (RFC 9449 §7.1, RFC 6750 §2.1)."""
        return token_type(self.proof_key)

    @property
    def authorization(self) -> str:
        """The field value that presents it."""
        return f"{self.token_type} {self.access_token.reveal()}"

    def is_stale(self, now: int) -> bool:
        """Whether a call that starts now might meet an expired token."""
        return self.expires_at is not None and now >= self.expires_at - _STALE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A token answer that passed every check."""

    access_token: Secret
    refresh_token: Secret | None
    scope: tuple[str, ...]
    expires_in: int | None
    id_token: Secret | None = None
    subject: str | None = None


def token_type(proof_key: SigningKey | None) -> str:
    """The type of a token that is bound to a proof key, or only to a certificate (RFC 8705 §3)."""
    return "Bearer" if proof_key is None else "DPoP"


def granted(document: Mapping[str, object], *, asked: tuple[str, ...], wanted: str) -> Granted:
    """Judge a successful token answer (RFC 6749 §5.1, RFC 9449 §5).

    Args:
        document: the JSON object.
        asked: the scopes of the request, which are granted when the answer names none.
        wanted: the only type of token that will do, `token_type(proof_key)`.

    Raises:
        TokenRejected: the token is not bound to a key, or a member is not what it must be.
    """
    sent_type = document.get("token_type")
    # FAPI2-CL-1, DPOP-CL-1: a token that works in anybody's hands is thrown away; the name's case does not matter
    if not isinstance(sent_type, str) or sent_type.lower() != wanted.lower():
        bound = "our certificate alone" if wanted == "Bearer" else "our key"
        raise TokenRejected(f"the authorization server sent a token that is not bound to {bound}; it was thrown away")
    access_token = document.get("access_token")
    if not isinstance(access_token, str) or not TOKEN68.match(access_token):
        raise TokenRejected("the token answer has no usable access_token")
    refresh_token = document.get("refresh_token")
    if refresh_token is not None and (not isinstance(refresh_token, str) or not _REFRESH.match(refresh_token)):
        raise TokenRejected("the token answer has an unusable refresh_token")
    scope = document.get("scope")
    if scope is not None and not isinstance(scope, str):
        raise TokenRejected("the token answer has a scope that is no string")
    id_token = document.get("id_token")
    if id_token is not None and not isinstance(id_token, str):
        raise TokenRejected("the token answer has an id_token that is no string")
    return Granted(
        access_token=Secret(access_token),
        refresh_token=Secret(refresh_token) if refresh_token is not None else None,
        scope=tuple(scope.split()) if scope is not None else asked,
        expires_in=_lifetime(document.get("expires_in")),
        id_token=Secret(id_token) if id_token is not None else None,
    )


def _lifetime(expires_in: object) -> int | None:
    if expires_in is None:  # FAPI2-CL-16: tolerated; the first 401 tells
        return None
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float) or expires_in < 0:
        raise TokenRejected("the token answer has an expires_in that is no number of seconds")
    return min(int(expires_in), _LONGEST)
