"""fapi-as resource: the protected MCP servers that tokens are for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fapi_as.commands.operator import desk, read_members
from fapi_as.commands.options import AS_JSON, CONFIG
from fapi_as.commands.printing import confirm, print_members, print_rows
from fapi_as.commands.refusals import refusals


@click.group()
def resource() -> None:
    """Register and show protected MCP servers."""


@resource.command()
@click.argument("file", metavar="FILE.json|-")
@AS_JSON
@CONFIG
def add(*, file: str, as_json: bool, config: Path) -> None:
    """Register the MCP server that FILE.json describes; `-` reads stdin.

    Prints the registered resource. Its URI is what tokens carry as audience, so the MCP server must use the same.
    """
    members = read_members(file)
    with desk(config) as work, refusals("stdin" if file == "-" else file):
        _refuse_the_issuer(members, work.settings.server.issuer)
        stored = work.operators.add_resource(members, work.stamp)
    print_members(stored.members, as_json=as_json)


def _refuse_the_issuer(members: Mapping[str, Any], issuer: str) -> None:
    """Tokens for it are those of the userinfo endpoint; nobody else may be their audience (OIDC-55)."""
    from fapi_as.protocol.resource_registration import InvalidResourceMetadata, parse_resource

    if parse_resource(members, version=0).resource == issuer:
        sentence = "resource is the issuer, which is a resource of its own"
        raise InvalidResourceMetadata(sentence, sentence)


@resource.command("list")
@AS_JSON
@CONFIG
def list_(*, as_json: bool, config: Path) -> None:
    """Show every protected MCP server."""
    with desk(config) as work:
        rows = [stored.members for stored in work.operators.resources()]
    print_rows(rows, ("resource", "resource_name", "scopes", "refresh_tokens"), as_json=as_json)


@resource.command()
@click.argument("uri", metavar="URI")
@AS_JSON
@CONFIG
def show(*, uri: str, as_json: bool, config: Path) -> None:
    """Show one protected MCP server."""
    with desk(config) as work:
        stored = work.operators.resource(uri)
        if stored is None:
            raise click.ClickException(f"there is no resource {uri}")
    print_members(stored.members, as_json=as_json)


@resource.command()
@click.argument("uri", metavar="URI")
@AS_JSON
@CONFIG
def remove(*, uri: str, as_json: bool, config: Path) -> None:
    """Remove a protected MCP server: no token for it is issued any more."""
    with desk(config) as work:
        work.operators.remove_resource(uri, work.stamp)
    confirm({"resource": uri, "removed": True}, f"resource {uri} is removed", as_json=as_json)
