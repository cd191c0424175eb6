"""What a client says of itself to people: names in several languages, pages, contacts, software (RFC 7591 §2, §2.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from fapi_as.protocol.client import ClientDescription
from fapi_as.protocol.display_text import is_displayable
from fapi_as.protocol.metadata_members import LOCALIZED, base_name, fetched_uri, strings, wrong

NAME_LIMIT: Final = 100  # characters, shown on the consent page
_NAME: Final = "client_name"
_PAGES: Final = ("client_uri", "logo_uri", "policy_uri", "tos_uri")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*\Z")  # RFC 5646 §2.1, without a look at the registry
_LANGUAGE_LIMIT: Final = 35  # characters, RFC 5646 §4.4.1
_LANGUAGES_LIMIT: Final = 16
_CONTACT_LIMIT: Final = 254  # characters, RFC 5321 §4.5.3.1.3
_CONTACTS_LIMIT: Final = 10
_SOFTWARE_LIMIT: Final = 255  # characters


def parse_description(members: Mapping[str, object]) -> ClientDescription:
    """Read it; whatever is shown can neither hide nor reorder its neighbours, and no page of it is ever fetched.

    Raises:
        InvalidClientMetadata: the first member that is wrong, by name.
    """
    tagged = sorted(name for name in members if base_name(name) != name)
    _require_languages(tagged)
    return ClientDescription(
        names=tuple((name.partition("#")[2], _name(members, name)) for name in tagged if base_name(name) == _NAME),
        client_uri=fetched_uri(members, "client_uri"),
        logo_uri=fetched_uri(members, "logo_uri"),
        policy_uri=fetched_uri(members, "policy_uri"),
        tos_uri=fetched_uri(members, "tos_uri"),
        contacts=_contacts(members),
        software_id=_software(members, "software_id"),
        software_version=_software(members, "software_version"),
        localized_uris=tuple(_pages(members, (name for name in tagged if base_name(name) != _NAME))),
    )


def description_members(description: ClientDescription) -> dict[str, object]:
    """The description as `parse_description` reads it."""
    members: dict[str, object] = {name: getattr(description, name) for name in _PAGES}
    members |= {
        "contacts": list(description.contacts) or None,
        "software_id": description.software_id,
        "software_version": description.software_version,
    }
    members |= {f"{_NAME}#{language}": name for language, name in description.names}
    members |= dict(description.localized_uris)
    return {name: value for name, value in members.items() if value is not None}


def _require_languages(tagged: Iterable[str]) -> None:
    seen: dict[str, set[str]] = {name: set() for name in LOCALIZED}
    for name in tagged:
        base, _, language = name.partition("#")
        if len(language) > _LANGUAGE_LIMIT or _LANGUAGE.match(language) is None:
            raise wrong(f"{base}: what stands behind # must be a language tag of BCP 47")
        if language.lower() in seen[base]:
            raise wrong(f"{base}: one language must not stand there twice")
        seen[base].add(language.lower())
        if len(seen[base]) > _LANGUAGES_LIMIT:
            raise wrong(f"{base} must have at most {_LANGUAGES_LIMIT} languages")


def _name(members: Mapping[str, object], name: str) -> str:
    value = members[name]
    if not isinstance(value, str) or not is_displayable(value, NAME_LIMIT):
        raise wrong(f"{_NAME} must be one line of at most {NAME_LIMIT} visible characters in every language")
    return value


def _pages(members: Mapping[str, object], tagged: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in tagged:
        base = base_name(name)
        fetched_uri({base: members[name]}, base)
        yield name, str(members[name])


def _contacts(members: Mapping[str, object]) -> tuple[str, ...]:
    contacts = strings(members, "contacts", [])
    if len(contacts) > _CONTACTS_LIMIT or not all(is_displayable(contact, _CONTACT_LIMIT) for contact in contacts):
        raise wrong(f"contacts must be at most {_CONTACTS_LIMIT} lines of visible characters")
    return tuple(contacts)


def _software(members: Mapping[str, object], name: str) -> str | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not is_displayable(value, _SOFTWARE_LIMIT):
        raise wrong(f"{name} must be one line of at most {_SOFTWARE_LIMIT} visible characters")
    return value
