"""HTTP exchanges of an agent as they may be shown: what proves or grants anything is blanked.

Values are shown by name, and everything without a name here is blanked. What was blanked once is blanked wherever it
appears again, in the answer of a tool that repeats its headers for example.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

from rs_kit.protocol import base64url, strict_json
from rs_kit.protocol.strict_json import InvalidJson

BLANK: Final = "***"
_SHORTEST: Final = 8  # characters of a value that is looked for elsewhere; a shorter one protects nothing
_JWT: Final = "application/jwt"
_FORM: Final = "application/x-www-form-urlencoded"
_HEXADECIMAL: Final = re.compile("%[0-9A-F]{2}")
_TEXT_LIMIT: Final = 4000  # characters of a body
_REQUEST_HEADERS: Final = frozenset(
    {"accept", "authorization", "content-type", "dpop", "mcp-method", "mcp-name", "mcp-protocol-version"}
)
_ANSWER_HEADERS: Final = frozenset(
    {"cache-control", "content-type", "date", "dpop-nonce", "location", "retry-after", "www-authenticate"}
    | {"x-correlation-id"}
)
_PARAMETERS: Final = frozenset(
    {"acr_values", "client_assertion_type", "client_id", "code_challenge", "code_challenge_method", "dpop_jkt"}
    | {"error", "error_description", "grant_type", "iss", "max_age", "redirect_uri", "resource", "response_type"}
    | {"response_mode", "scope"}
)
_CLAIMS: Final = _PARAMETERS | {"aud", "exp", "iat", "jti", "nbf"}  # of a request object
_OF_A_REGISTRATION: Final = frozenset({"client_secret", "registration_access_token", "software_statement"})
_MEMBERS: Final = frozenset({"error", "error_description", "error_uri", "expires_in", "scope", "token_type"})


class Blanking:
    """One run's view of what was sent and came back; remembers what it must not show."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()  # in each of their spellings

    def url(self, url: str) -> str:
        """An address, with the values in its query that are nobody's business blanked."""
        address, fragment, _ = url.partition("#")
        base, question, query = address.partition("?")
        shown = base + (f"?{self._form(query)}" if question else "") + (f"#{BLANK}" if fragment else "")
        return self._everywhere(shown)

    def everywhere(self, value: Any) -> Any:
        """Text or a JSON document, in which what was blanked before is blanked again."""
        if isinstance(value, str):
            return self._everywhere(value)
        if isinstance(value, list):
            return [self.everywhere(item) for item in value]
        if isinstance(value, dict):
            return {self.everywhere(name): self.everywhere(item) for name, item in value.items()}
        return value

    def request(self, headers: Iterable[tuple[str, str]], body: bytes) -> list[str]:
        """The lines of a request: some headers, then the body."""
        lines, media_type = [], ""
        for name, value in headers:
            if name == "content-type":
                media_type = value.partition(";")[0].strip().lower()
            if name == "authorization":
                scheme, _, credential = value.partition(" ")
                self._learn(credential or scheme)
                lines.append(f"{name}: {scheme} {BLANK}" if credential else f"{name}: {BLANK}")
            elif name == "dpop":
                lines.append(f"{name}: {self._token(value)}")
            elif name in _REQUEST_HEADERS:
                lines.append(f"{name}: {value}")
        if media_type == _FORM:
            text = body.decode("ascii", "replace")
            lines += [f"  {name}={value}" for name, value in self._parameters(text)]
        elif media_type == _JWT:
            lines.append(self._token(body.decode("ascii", "replace"), _CLAIMS))
        elif body:
            self._learn_registration(body)
            lines.append(body.decode("utf-8", "replace"))
        return self._lines(lines)

    def answer(self, headers: Iterable[tuple[str, str]], body: bytes | None, *, of_form: bool) -> list[str]:
        """The lines of an answer.

        Args:
            headers: with names in lower case.
            body: None when it was not read, as with a stream.
            of_form: it answers a form, so its body may be tokens and is shown by name.
        """
        shown = [(name, value) for name, value in headers if name in _ANSWER_HEADERS]
        lines = [f"{name}: {self.url(value) if name == 'location' else value}" for name, value in shown]
        if of_form and body:
            lines.append(self._document(body))
        elif body:
            self._learn_registration(body)
            lines.append(body.decode("utf-8", "replace"))
        return self._lines(lines)

    def _learn_registration(self, body: bytes) -> None:
        """What opens a registration, or could bring another one, in a document that is shown otherwise (RFC 7591)."""
        try:
            document = strict_json.parse_object(body)
        except InvalidJson:
            return
        for name in _OF_A_REGISTRATION & document.keys():
            if isinstance(value := document[name], str):
                self._learn(value)

    def _document(self, body: bytes) -> str:
        try:
            document = strict_json.parse_object(body)
        except InvalidJson:
            return f"{BLANK} (no JSON object)"
        return json.dumps({name: self._member(name, value) for name, value in document.items()})

    def _member(self, name: str, value: object) -> object:
        if name in _MEMBERS or value is None:
            return value
        if isinstance(value, str):
            self._learn(value)
        return BLANK

    def _form(self, query: str) -> str:
        return urlencode(list(self._parameters(query)), safe=":/*")

    def _parameters(self, text: str) -> Iterable[tuple[str, str]]:
        for name, value in parse_qsl(text, keep_blank_values=True):
            if name == "client_assertion":
                yield name, self._token(value)
            elif name == "request":
                yield name, self._token(value, _CLAIMS)
            elif name in _PARAMETERS:
                yield name, value
            elif not value:  # it may be no name at all
                self._learn(name)
                yield BLANK, ""
            else:
                self._learn(value)
                yield name, BLANK

    def _token(self, token: str, shown: frozenset[str] | None = None) -> str:
        """What a JWS of ours says, without the signature that makes it worth something; of some only these claims."""
        self._learn(token)
        self._learn(token.rpartition(".")[2])
        head, _, rest = token.partition(".")
        try:
            header, claims = _object(head), _object(rest.partition(".")[0])
        except ValueError:
            return BLANK
        header.pop("jwk", None)
        for name in claims.keys() - (claims.keys() if shown is None else shown):
            self._learn(str(claims[name]))
            claims[name] = BLANK
        return f"{json.dumps(header)} {json.dumps(claims)} {BLANK}"

    def _learn(self, value: str) -> None:
        if len(value) >= _SHORTEST:
            self._secrets |= _spellings(value)

    def _lines(self, lines: Iterable[str]) -> list[str]:
        # cut last: half a secret would not be found
        return [_shortened(self._everywhere(line)) for line in lines]

    def _everywhere(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):  # one may be how another begins
            text = text.replace(secret, BLANK)
        return text


def is_form(headers: Mapping[str, str]) -> bool:
    """Whether a request carries a form, as all requests of the back channel do."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM


def _spellings(value: str) -> set[str]:
    """A value as it is, and as JSON or an address may spell it; no patterns, since whoever sent it chose its length."""
    in_json = json.dumps(value)[1:-1]
    slashed = in_json.replace("/", r"\/")
    of_json = {text.replace("+", plus) for text in (in_json, slashed) for plus in ("+", r"\u002B", r"\u002b")}
    in_address = quote(value, safe="", errors="replace")
    return {value, in_address, _HEXADECIMAL.sub(lambda found: found[0].lower(), in_address)} | of_json


def _object(segment: str) -> dict[str, Any]:
    return strict_json.parse_object(base64url.decode(segment.encode("ascii")))


def _shortened(text: str) -> str:
    return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]} ... ({len(text)} characters)"
