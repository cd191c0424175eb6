"""Words that a person will read on our pages: what may be registered as such (DCR-13, LOG-25)."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# controls, format characters (bidi overrides, zero width), surrogates, private use, unassigned, line separators
_UNSHOWABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# letters, marks and symbols that show nothing: fillers, joiners, variation selectors, the blank Braille pattern
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def is_displayable(text: str, limit: int) -> bool:
    """Whether this is a non-blank line of at most `limit` characters that cannot reorder or hide its neighbours."""
    if not text.strip() or text != text.strip() or len(text) > limit or _INVISIBLE.search(text) is not None:
        return False
    return all(unicodedata.category(character) not in _UNSHOWABLE for character in text)


def displayed(text: str) -> str:
    """What is left to show of a text that was registered under other rules, or that nobody registered (LOG-25)."""
    return "".join(
        character
        for character in text
        if unicodedata.category(character) not in _UNSHOWABLE and _INVISIBLE.match(character) is None
    )
