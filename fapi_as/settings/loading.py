"""From a file and the environment to settings, or to the one sentence that says what must change."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fapi_as.settings.sections import Settings

ENVIRONMENT_PREFIX: Final = "FAPI_AS__"


class ConfigurationError(Exception):
    """Why the start is refused, as one sentence for the person who can change it."""


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the file and what the environment overrides; nothing else is looked at.

    Raises:
        ConfigurationError: the first thing that is unreadable, misspelt, of the wrong type or unsafe.
    """
    document = _document(path)
    overridden = _override(document, environ)
    for section in Settings.model_fields:
        document.setdefault(section, {})
    directory = path.absolute().parent if path is not None else Path.cwd()
    try:
        return Settings.model_validate(document, context=directory)
    except ValidationError as error:
        raise ConfigurationError(_sentence(error.errors(include_url=False), overridden)) from None


def _document(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{path} does not exist; fapi-as init writes one") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply") from None
    except ValueError as error:  # no UTF-8, no TOML, or a number of thousands of digits
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None


def _override(document: dict[str, object], environ: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Put the values of our variables into the document and tell where they came from.

    Raises:
        ConfigurationError: a variable that looks like ours names no setting, or its value has the wrong type.
    """
    known = {
        f"{ENVIRONMENT_PREFIX}{section}__{key}".upper(): (section, key)
        for section, field in Settings.model_fields.items()
        for key in _section(field.annotation).model_fields
    }
    overridden: dict[tuple[str, ...], str] = {}
    for name, value in environ.items():
        # without the double underscore it is somebody else's: Kubernetes sets FAPI_AS_PORT for a service fapi-as
        if not name.upper().startswith("FAPI_AS_") or "__" not in name:
            continue
        if name not in known:
            raise ConfigurationError(f"the environment variable {name} names no setting{_meant(name.upper(), known)}")
        section, key = known[name]
        table = document.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigurationError(f"{section} must be a table")
        table[key] = _from_text(
            name, value, _section(Settings.model_fields[section].annotation).model_fields[key].annotation
        )
        overridden[known[name]] = name
    return overridden


def _section(annotation: object) -> type[BaseModel]:
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        raise TypeError("every setting stands in a section")
    return annotation


def _from_text(name: str, value: str, wanted: object) -> object:
    if wanted is int:
        if re.fullmatch(r"-?[0-9]{1,10}", value) is None:
            raise ConfigurationError(f"{name} must be a whole number")
        return int(value)
    if wanted is bool:
        if value not in {"true", "false"}:
            raise ConfigurationError(f"{name} must be true or false")
        return value == "true"
    if get_origin(wanted) is tuple:
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _meant(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


_EXPECTED: Final = {
    "int": "a whole number",
    "bool": "true or false",
    "string": "a text in quotes",
    "path": "a text in quotes",
    "tuple": "a list of texts in quotes",
    "model": "a table",
    "dict": "a table",
}


def _sentence(errors: list[ErrorDetails], overridden: Mapping[tuple[str, ...], str]) -> str:
    # a misspelt key comes first: it is the reason why the right one is missing
    error = min(errors, key=lambda item: item["type"] != "extra_forbidden")
    location = tuple(str(part) for part in error["loc"][:2])
    label = overridden.get(location, ".".join(location))
    if error["type"] == "extra_forbidden":
        known = {
            f"{section}.{key}"
            for section, field in Settings.model_fields.items()
            for key in _section(field.annotation).model_fields
        } | set(Settings.model_fields)
        return f"{label} is not a setting{_meant(label, dict.fromkeys(known))}"
    if error["type"] == "missing":
        return f"{label} is required"
    if error["type"] == "value_error":
        told = str(error["ctx"]["error"])
        # what several settings say together names them itself
        return told if not label or told.startswith(f"{label}.") else f"{label} {told}"
    if error["type"] == "literal_error":
        return f"{label} must be one of {error['ctx']['expected']}"
    return f"{label} must be {_EXPECTED.get(error['type'].partition('_')[0], 'of another type')}"
