"""Distinguished names: the text of RFC 4514 and the subject of a certificate, as one form that is compared (MTLS-5).

Two names are equal when they have the same RDNs in the same order. An RDN is a set of types and values, and a value is
equal by caseIgnoreMatch (RFC 4517 §4.2.11, RFC 4518), whichever string type carries it. Of a type that is not known
here, and of a value that is no text, the octets are compared. Whatever a reader could take for something else is no
name at all: control characters, formatting characters, and what UTF-8 cannot say (attack MTL-10).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final

from cryptography import x509

Value = tuple[str, int, bytes]  # the type as a dotted OID, 0 for text or the tag of the value, the compared octets
Name = tuple[tuple[Value, ...], ...]  # in the order of a certificate, which is the reverse of the text's

_TEXT: Final = 0
# RFC 4514 §3, RFC 4519, and what certificates of banks have; all of them match by caseIgnoreMatch
_TYPES: Final = {
    "cn": "2.5.4.3",
    "commonname": "2.5.4.3",
    "sn": "2.5.4.4",
    "surname": "2.5.4.4",
    "serialnumber": "2.5.4.5",
    "c": "2.5.4.6",
    "countryname": "2.5.4.6",
    "l": "2.5.4.7",
    "localityname": "2.5.4.7",
    "st": "2.5.4.8",
    "stateorprovincename": "2.5.4.8",
    "street": "2.5.4.9",
    "o": "2.5.4.10",
    "organizationname": "2.5.4.10",
    "ou": "2.5.4.11",
    "organizationalunitname": "2.5.4.11",
    "title": "2.5.4.12",
    "businesscategory": "2.5.4.15",
    "postalcode": "2.5.4.17",
    "gn": "2.5.4.42",
    "givenname": "2.5.4.42",
    "initials": "2.5.4.43",
    "generationqualifier": "2.5.4.44",
    "dnqualifier": "2.5.4.46",
    "pseudonym": "2.5.4.65",
    "organizationidentifier": "2.5.4.97",
    "dc": "0.9.2342.19200300.100.1.25",
    "uid": "0.9.2342.19200300.100.1.1",
    "emailaddress": "1.2.840.113549.1.9.1",
    "domaincomponent": "0.9.2342.19200300.100.1.25",
    "userid": "0.9.2342.19200300.100.1.1",
    "streetaddress": "2.5.4.9",
    "jurisdictionl": "1.3.6.1.4.1.311.60.2.1.1",
    "jurisdictionst": "1.3.6.1.4.1.311.60.2.1.2",
    "jurisdictionc": "1.3.6.1.4.1.311.60.2.1.3",
    "jurisdictionlocalityname": "1.3.6.1.4.1.311.60.2.1.1",
    "jurisdictionstateorprovincename": "1.3.6.1.4.1.311.60.2.1.2",
    "jurisdictioncountryname": "1.3.6.1.4.1.311.60.2.1.3",
}
_FOLDED: Final = frozenset(_TYPES.values())
_ESCAPED: Final = frozenset(' "#+,;<=>\\')  # RFC 4514 §2.4, §3
_NEVER_BARE: Final = frozenset('";<>')
_CHARSETS: Final = {  # the string types of X.520 by their tags
    12: "utf-8",
    18: "ascii",  # NumericString
    19: "ascii",  # PrintableString
    22: "ascii",  # IA5String
    26: "ascii",  # VisibleString
    28: "utf-32-be",
    30: "utf-16-be",
}
_BIT_STRING: Final = 3  # the one tag whose value cryptography gives as octets
_LONG_FORM: Final = 0x80
_MULTI_BYTE_TAG: Final = 0x1F


class InvalidName(ValueError):
    """The text or the subject is no name that could be compared; the message says why."""


def parse(text: str) -> Name:
    """Read the RFC 4514 form of a name.

    Raises:
        InvalidName: it has another form, or says what no certificate could.
    """
    rdns = [tuple(sorted(_attribute(pair) for pair in _split(rdn, "+"))) for rdn in _split(text, ",")]
    return tuple(reversed(rdns))


def of_subject(name: x509.Name) -> Name:
    """The same form of a certificate's name.

    Raises:
        InvalidName: a value that could be taken for another one.
    """
    return tuple(tuple(sorted(_shown(attribute) for attribute in rdn)) for rdn in name.rdns)


def _shown(attribute: x509.NameAttribute[str | bytes]) -> Value:
    oid, value = attribute.oid.dotted_string, attribute.value
    if isinstance(value, bytes):
        return oid, _BIT_STRING, value
    return _text_value(oid, value)


def _split(text: str, separator: str) -> Iterator[str]:
    """The parts between separators that no backslash escapes; the escapes stay."""
    start, position = 0, 0
    while position < len(text):
        if text[position] == "\\":
            position += 2
            continue
        if text[position] == separator:
            yield text[start:position]
            start = position + 1
        position += 1
    yield text[start:]


def _attribute(pair: str) -> Value:
    name, equals, written = pair.partition("=")
    if not equals:
        raise InvalidName("an attribute has no value")
    oid = _oid(name.strip(" "))
    written = written.lstrip(" ")
    if written.startswith("#"):
        return _der_value(oid, written.rstrip(" "))
    return _text_value(oid, _unescaped(written))


def _oid(name: str) -> str:
    known = _TYPES.get(name.lower())
    if known is not None and name.isascii():
        return known
    arcs = name[4:] if name[:4].lower() == "oid." else name  # RFC 2253 §4
    parts = arcs.split(".")
    if len(parts) < 2 or not all(_is_arc(part) for part in parts):  # noqa: PLR2004 - an OID has two arcs at least
        raise InvalidName("an attribute type must be a known name or an OID")
    return arcs


def _is_arc(part: str) -> bool:
    return part.isascii() and part.isdigit() and (part == "0" or part[0] != "0")


def _unescaped(written: str) -> str:
    """The characters of a value: hex pairs are octets of UTF-8 (RFC 4514 §2.4)."""
    octets = bytearray()
    position = 0
    while position < len(written):
        character = written[position]
        if character in _NEVER_BARE:
            raise InvalidName("a special character without its backslash")
        if character != "\\":
            octets += character.encode("utf-8", "surrogatepass")
            position += 1
            continue
        escaped = written[position + 1 : position + 2]
        if escaped in _ESCAPED and escaped:
            octets += escaped.encode("ascii")
            position += 2
            continue
        octets += _hex(written[position + 1 : position + 3])
        position += 3
    return _decoded(bytes(octets), "utf-8")


def _der_value(oid: str, written: str) -> Value:
    """The hex form: `#` and the DER of the value."""
    der = _hex(written[1:])
    if len(der) < 2 or der[0] & _MULTI_BYTE_TAG == _MULTI_BYTE_TAG:  # noqa: PLR2004 - a tag and a length
        raise InvalidName("a value in hex is no DER")
    tag, length, start = der[0], der[1], 2
    if length >= _LONG_FORM:
        start += length - _LONG_FORM
        size = der[2:start]
        length = int.from_bytes(size, "big")
        if not size or size[0] == 0 or length < _LONG_FORM or start > len(der):
            raise InvalidName("a value in hex is no DER")
    content = der[start:]
    if len(content) != length:
        raise InvalidName("a value in hex is no DER")
    charset = _CHARSETS.get(tag)
    return (oid, tag, content) if charset is None else _text_value(oid, _decoded(content, charset))


def _hex(digits: str) -> bytes:
    try:
        octets = bytes.fromhex(digits)
    except ValueError:
        octets = b""
    if not octets or " " in digits:
        raise InvalidName("a backslash or # must be followed by pairs of hex digits")
    return octets


def _decoded(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(charset)
    except UnicodeDecodeError:
        raise InvalidName("a value is no text in its encoding") from None


def _text_value(oid: str, text: str) -> Value:
    prepared = _prepared(text) if oid in _FOLDED else text
    if not prepared.strip(" "):
        raise InvalidName("an attribute has no value")
    if any(_is_hidden(character) for character in prepared):
        raise InvalidName("a value has control or formatting characters")
    return oid, _TEXT, prepared.encode()


def _prepared(text: str) -> str:
    """RFC 4518: compatibility forms and letter case are folded, and spaces count once and between words only."""
    if any(_is_hidden(character) for character in text):
        raise InvalidName("a value has control or formatting characters")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def _is_hidden(character: str) -> bool:
    """What RFC 4518 maps to nothing or to a space, or prohibits: refused, so that nothing hides in a name."""
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
