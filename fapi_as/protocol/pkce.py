"""PKCE with S256 and nothing else (RFC 7636, FAPI2-AZ-5)."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

from rs_kit.protocol import base64url

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")  # RFC 7636 §4.2: base64url of SHA-256
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}\Z")  # RFC 7636 §4.1


def is_challenge(code_challenge: str) -> bool:
    """Whether this can be an S256 challenge (RFC 7636 §4.2)."""
    return _CHALLENGE.match(code_challenge) is not None


def verifier_matches(code_verifier: str, code_challenge: str) -> bool:
    """RFC 7636 §4.6, compared in constant time."""
    if _VERIFIER.match(code_verifier) is None or not is_challenge(code_challenge):
        return False
    computed = base64url.encode(hashlib.sha256(code_verifier.encode("ascii")).digest())
    return hmac.compare_digest(computed, code_challenge)
