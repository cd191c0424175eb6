"""What a person allowed, as it is found again by the name that its tokens carry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAuthorization:
    """Whose authorization it is, and which client's; `subject` is the user as we know it."""

    client_id: str
    subject: str
