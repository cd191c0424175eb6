"""Names that are read as another one: letters of several scripts in one word, and what looks like a name that is taken.

This is the part of UTS #39 that a client's name needs: it is judged when somebody else registers it, never when it is
shown, so a letter that only looks like another is refused rather than explained (DCR-13).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

_WORD: Final = re.compile(r"[^\W\d_]+")
_SPACES: Final = re.compile(r"[\W_]+")
_LONG: Final = 5  # characters: what is shorter stands in many words by chance
# scripts with letters that look like Latin ones, by the first word of a character's name
_ALIKE: Final = frozenset(
    {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "DESERET", "OSAGE", "WARANG", "GOTHIC"}
)
_SHOWN_AS: Final = str.maketrans(
    {
        **dict(zip("авекмнорстухѕіјһӏԁԛԝпгьё", "abekmhopctyxsijhldqwnrbe", strict=True)),
        **dict(zip("αβεικνορτυχγηω", "abeikvoptuxynw", strict=True)),
        **dict(zip("օսոռհց", "ounnhg", strict=True)),  # noqa: RUF001 - Armenian, as it is shown
        **dict(zip("0135$@|!", "oiessail", strict=True)),
        "ı": "i",  # noqa: RUF001 - a letter that only looks like i
        "ł": "l",
        "ø": "o",
        "đ": "d",
        "ß": "ss",
        "æ": "ae",
        "œ": "oe",
    }
)
# capitals that do not look like what their small letters look like
_CAPITALS: Final = str.maketrans("ΗΝΡΥΒΜΖΤΚ", "HNPYBMZTK")  # noqa: RUF001 - Greek, that only looks Latin
_PAIRS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_UPRIGHT: Final = str.maketrans({"l": "i", "j": "i"})  # I, l, 1 and | are one stroke


def confusing(name: str) -> str | None:
    """Why people would read this name as another one, or None; in words that may be told."""
    for character in unicodedata.normalize("NFC", name):
        if character.isalpha() and unicodedata.normalize("NFKC", character) != character:
            return "has letters that are another one in disguise"
    if any(len(_scripts(word)) > 1 for word in _WORD.findall(name)):
        return "mixes letters of several scripts in one word"
    return None


def resembles(name: str, taken: Iterable[str]) -> bool:
    """Whether somebody could read one of these names in this one: a short one as a word, a longer one anywhere."""
    whole, words = skeleton(name), set(map(skeleton, _SPACES.split(name)))
    return any(
        other in words or other == whole or (len(other) >= _LONG and other in whole) for other in map(skeleton, taken)
    )


def skeleton(name: str) -> str:
    """What is left of a name when everything that looks alike is the same; two names with one skeleton are one."""
    decomposed = unicodedata.normalize("NFKD", name).translate(_CAPITALS).casefold()
    letters = "".join(character for character in decomposed if not unicodedata.combining(character))
    shown = letters.translate(_SHOWN_AS)
    for pair, letter in _PAIRS:
        shown = shown.replace(pair, letter)
    return "".join(character for character in shown.translate(_UPRIGHT) if character.isalnum())


def _scripts(word: str) -> set[str]:
    named = (unicodedata.name(character, "").partition(" ")[0] for character in word)
    return set(named) & _ALIKE
