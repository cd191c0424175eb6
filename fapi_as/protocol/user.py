"""Users as rules see them: a pairwise-free subject and whether the account is live."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredUser:
    """A local user; `subject` is random and never reused, so it cannot look like a client_id (FAPI2-SEC-6)."""

    subject: str
    username: str
    version: int
    password_hash: str
    disabled: bool = False
    name: str | None = None
    email: str | None = None
