"""Protected resources: the MCP servers that tokens are for (RFC 8707, RFC 9728)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from fapi_as.protocol.effects import Require, Required
from fapi_as.protocol.errors import InvalidTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredResource:
    """One protected MCP server, or the issuer; `scopes` maps each value to the words shown on the consent page."""

    resource: str
    version: int
    resource_name: str
    scopes: Mapping[str, str]
    access_token_lifetime: timedelta | None = None
    refresh_tokens: bool = False
    refresh_token_lifetime: timedelta | None = None
    built_in: bool = False  # the issuer itself: never in the store

    @property
    def requirements(self) -> tuple[Require, ...]:
        """What must still be so when the transaction runs."""
        if self.built_in:
            return ()
        return (Require(required=Required.RESOURCE, identifier=self.resource, version=self.version),)


def chosen(asked: tuple[str, ...], granted: tuple[str, ...], *, beside: tuple[str, ...] = ()) -> str:
    """RFC 8707 §2.2: the one audience of a token; none named is the one that was granted (RES-3).

    What is granted `beside` has to be named.

    Raises:
        InvalidTarget: several named, one that was not granted, or none named of several.
    """
    if len(asked) > 1:
        raise InvalidTarget("several resources at the token endpoint")
    if asked:
        if asked[0] not in (*granted, *beside):
            raise InvalidTarget("resource was not granted")
        return asked[0]
    if len(granted) != 1:
        raise InvalidTarget("several resources were granted and none is named")
    return granted[0]
