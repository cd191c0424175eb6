"""Protected resources: the MCP servers that tokens are for (RFC 8707, RFC 9728)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredResource:
    """One protected MCP server; `scopes` maps each scope value to the words shown on the consent page."""

    resource: str
    version: int
    resource_name: str
    scopes: Mapping[str, str]
    access_token_lifetime: timedelta | None = None
    refresh_tokens: bool = False
    refresh_token_lifetime: timedelta | None = None
