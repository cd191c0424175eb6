"""Local users: which names and which passwords an operator may set (LOG-8)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from fapi_as.protocol.display_text import is_displayable
from rs_kit.protocol.errors import ProtocolError

PASSWORD_MINIMUM: Final = 12  # characters, LOG-8
PASSWORD_MAXIMUM: Final = 256  # characters: hashing is work, and nobody types more
_DISTINCT_MINIMUM: Final = 5
_BESIDE_NAME_MINIMUM: Final = 8
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,62}[a-z0-9])?\Z")  # one spelling per person, no look-alikes
_NAME_LIMIT: Final = 128  # characters
_EMAIL_LIMIT: Final = 254  # characters, RFC 5321 §4.5.3.1.3
_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\Z")
# long enough and still the first that everybody tries; the whole list of short ones falls to the minimum length
_WELL_KNOWN: Final = frozenset(
    {
        "123456789012",
        "1234567890123",
        "0123456789012",
        "1q2w3e4r5t6y",
        "1q2w3e4r5t6y7u8i",
        "1qaz2wsx3edc",
        "1qaz2wsx3edc4rfv",
        "abcdefghijkl",
        "administrator",
        "changemechangeme",
        "changemeplease",
        "correcthorsebatterystaple",
        "iloveyouforever",
        "letmeinletmein",
        "password1234",
        "password12345",
        "password123456",
        "passwordpassword",
        "qazwsxedcrfv",
        "qwertyuiop12",
        "qwertyuiop123",
        "qwertyuiopas",
        "qwertyuiop[]",
        "trustno1trustno1",
        "unknownunknown",
        "welcome12345",
        "welcomewelcome",
        "whatever1234",
    }
)


class InvalidUser(ProtocolError):
    """A name or a password that may not be set; only the command line sees it, no clause names a code."""

    error: ClassVar[str] = "invalid_user"
    public: ClassVar[str] = "the user may not be registered as described"


def require_username(username: str) -> str:
    """The name that a person signs in with.

    Raises:
        InvalidUser: other characters than those of one lower-case spelling.
    """
    if _NAME.match(username) is None:
        raise _wrong("a user name is 1 to 64 of the characters a-z 0-9 . _ @ + - and begins and ends with a-z or 0-9")
    return username


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalData:
    """What else is known about a user, for clients that may know it."""

    name: str | None = None
    email: str | None = None


NO_PERSONAL_DATA: Final = PersonalData()


def require_personal_data(name: str | None, email: str | None) -> PersonalData:
    """A name and an address that may be shown and told.

    Raises:
        InvalidUser: more than a line, or nothing that looks like an address.
    """
    if name is not None and not is_displayable(name, _NAME_LIMIT):
        raise _wrong(f"a name is one visible line of at most {_NAME_LIMIT} characters")
    if email is not None and (len(email) > _EMAIL_LIMIT or _EMAIL.match(email) is None):
        raise _wrong("an e-mail address is of the form name@host, in ASCII")
    return PersonalData(name=name, email=email)


def require_password(password: str, username: str) -> str:
    """A password that is worth hashing; which characters it has is nobody's business (NIST SP 800-63B).

    Raises:
        InvalidUser: too short, too long, well known, or the name again.
    """
    if len(password) < PASSWORD_MINIMUM:
        raise _wrong(f"the password is too short, it must have at least {PASSWORD_MINIMUM} characters")
    if len(password) > PASSWORD_MAXIMUM:
        raise _wrong(f"the password is too long, it must have at most {PASSWORD_MAXIMUM} characters")
    if any(character in password for character in "\x00\r\n"):
        raise _wrong("the password must be one line")
    plain = password.casefold()
    if plain in _WELL_KNOWN or len(set(plain)) < _DISTINCT_MINIMUM:
        raise _wrong("the password is one of the first that everybody tries")
    if username in plain and len(plain.replace(username, "")) < _BESIDE_NAME_MINIMUM:
        raise _wrong("the password is little more than the user name")
    return password


def _wrong(sentence: str) -> InvalidUser:
    return InvalidUser(sentence, sentence)
