"""Words that a person will read on our pages: what may be registered as such (DCR-13, LOG-25)."""

from __future__ import annotations

import unicodedata
from typing import Final

# controls, format characters (bidi overrides, zero width), surrogates, private use, unassigned, line separators
_UNSHOWABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def is_displayable(text: str, limit: int) -> bool:
    """Whether this is a non-blank line of at most `limit` characters that cannot reorder or hide its neighbours."""
    if not text.strip() or text != text.strip() or len(text) > limit:
        return False
    return all(unicodedata.category(character) not in _UNSHOWABLE for character in text)
