"""What a server may ask of a person through the client: never a credential, and pages over https alone (MCP-18)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final
from urllib.parse import urlsplit

_CREDENTIALS: Final = frozenset({
    "password", "passwd", "passphrase", "passcode", "pin", "otp", "totp", "secret", "token", "credential",
    "credentials", "apikey", "cvv", "cvc", "mnemonic",
})  # fmt: skip
_PAIRS: Final = frozenset(
    {"api key", "private key", "access key", "secret key", "one time", "security code", "card number"}
)
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def solicited_credentials(params: Mapping[str, Any]) -> tuple[str, ...]:
    """What is wrong with the parameters of an `elicitation/create`, in a sentence each; nothing if it may be sent.

    Form mode: every property of `requestedSchema` by its name, title, description and format. URL mode: the address.
    Words decide, so this is a lint for tests and reviews; it cannot know what a server does with an answer.
    """
    if params.get("mode") == "url" or "url" in params:
        return tuple(_address_findings(params.get("url")))
    schema = params.get("requestedSchema")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return tuple(_form_findings(properties if isinstance(properties, Mapping) else {}))


def _form_findings(properties: Mapping[str, Any]) -> Iterator[str]:
    for name, described in properties.items():
        said = [name]
        if isinstance(described, Mapping):
            said += [str(described[member]) for member in ("title", "description", "format") if member in described]
        if any(_names_a_credential(text) for text in said):
            yield f"the field {name!r} asks a person for a credential"


def _names_a_credential(text: str) -> bool:
    words = [word.lower() for word in _WORD.findall(text)]
    singular = [word.removesuffix("s") if word not in _CREDENTIALS else word for word in words]
    pairs = {f"{first} {second}" for first, second in pairwise(singular)}
    return not _CREDENTIALS.isdisjoint(singular) or not _PAIRS.isdisjoint(pairs)


def _address_findings(url: object) -> Iterator[str]:
    try:
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        host = parts.hostname
    except ValueError:
        yield "the address cannot be read"
        return
    if parts.scheme != "https" or not host:
        yield "the address of a page must be https and name a host"
    elif parts.username is not None or parts.password is not None:
        yield "the address of a page must not carry a user name: a person would take it for the host"
    elif not host.isascii() or any(label.startswith("xn--") for label in host.split(".")):
        yield "the host of a page must be plain letters: others may look like them"
