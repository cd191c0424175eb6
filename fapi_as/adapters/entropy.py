"""The only place of the server where randomness is drawn."""

from __future__ import annotations

import secrets  # noqa: TID251 - this file is the source of randomness
from typing import Final

_HANDLE_BYTES: Final = 32  # FAPI2-CR-6 asks for 128 bits; ours have 256
_IDENTIFIER_BYTES: Final = 16


class SystemEntropy:
    """The Entropy port on the operating system's generator."""

    __slots__ = ()

    def handle(self) -> str:
        """A fresh URL-safe string with 256 bits of entropy (FAPI2-CR-6)."""
        return secrets.token_urlsafe(_HANDLE_BYTES)

    def identifier(self) -> str:
        """A fresh URL-safe string with 128 bits of entropy, for names that are not credentials.

        It never begins with a dash: people type it behind a command, which would take it for an option.
        """
        while (name := secrets.token_urlsafe(_IDENTIFIER_BYTES)).startswith("-"):
            pass
        return name
