"""fapi-as trust: the authorities whose software statements let clients in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from fapi_as.commands.approver_policy import refuse_what_is_not_offered
from fapi_as.commands.operator import desk, read_members
from fapi_as.commands.options import AS_JSON, CONFIG
from fapi_as.commands.printing import confirm, print_members, print_rows
from fapi_as.commands.refusals import refusals

if TYPE_CHECKING:
    from fapi_as.adapters.store import StoredApprover

_ISSUER: Final = click.argument("issuer", metavar="ISSUER")


@click.group()
def trust() -> None:
    """Say which authorities may approve clients, and what their clients may do."""


@trust.command()
@click.argument("file", metavar="FILE.json|-")
@click.option("--replace", is_flag=True, help="Put the file in the place of what is known of this authority.")
@AS_JSON
@CONFIG
def add(*, file: str, replace: bool, as_json: bool, config: Path) -> None:
    """Trust the authority that FILE.json describes; `-` reads stdin.

    Prints what is kept, defaults included. With --replace its clients are under the new policy at once; one that was
    suspended stays so.
    """
    members = read_members(file)
    with desk(config) as work, refusals("stdin" if file == "-" else file):
        _refuse_urls_inside(members, work.settings.fetch.allowed_private_hosts)
        policy = members.get("policy")
        if isinstance(policy, Mapping):
            refuse_what_is_not_offered(policy, work.settings)
        _refuse_ourselves(members, {work.settings.server.issuer, work.settings.mutual_tls_url})
        stored = work.approvals.add_authority(members, work.stamp, replace=replace)
    print_members(_shown(stored), as_json=as_json)


@trust.command("list")
@AS_JSON
@CONFIG
def list_(*, as_json: bool, config: Path) -> None:
    """Show every authority, suspended ones too."""
    with desk(config) as work:
        rows = [_shown(stored) for stored in work.approvals.authorities()]
    print_rows(rows, ("issuer", "enabled", "clients", "changed_at"), as_json=as_json)


@trust.command()
@_ISSUER
@AS_JSON
@CONFIG
def show(*, issuer: str, as_json: bool, config: Path) -> None:
    """Show one authority."""
    with desk(config) as work:
        stored = work.approvals.authority(issuer)
        if stored is None:
            raise click.ClickException(f"there is no authority {issuer}")
    print_members(_shown(stored), as_json=as_json)


@trust.command()
@_ISSUER
@AS_JSON
@CONFIG
def suspend(*, issuer: str, as_json: bool, config: Path) -> None:
    """Believe an authority no more, for now: nobody registers with it, and its clients are out at once.

    What its clients were allowed ends and does not come back when the authority does.
    """
    _switch(issuer, config, as_json=as_json, enabled=False)


@trust.command()
@_ISSUER
@AS_JSON
@CONFIG
def resume(*, issuer: str, as_json: bool, config: Path) -> None:
    """Believe a suspended authority again: its clients are back, and ask their people anew."""
    _switch(issuer, config, as_json=as_json, enabled=True)


@trust.command()
@_ISSUER
@AS_JSON
@CONFIG
def remove(*, issuer: str, as_json: bool, config: Path) -> None:
    """Forget an authority: its clients are out at once and end when their time is over."""
    with desk(config) as work:
        work.approvals.remove_authority(issuer, work.stamp)
    confirm({"issuer": issuer, "removed": True}, f"authority {issuer} is removed", as_json=as_json)


def _switch(issuer: str, config: Path, *, as_json: bool, enabled: bool) -> None:
    with desk(config) as work:
        work.approvals.set_authority_enabled(issuer, work.stamp, enabled=enabled)
    said = "trusted again" if enabled else "suspended"
    confirm({"issuer": issuer, "enabled": enabled}, f"authority {issuer} is {said}", as_json=as_json)


def _refuse_urls_inside(members: Mapping[str, Any], allowed_private_hosts: tuple[str, ...]) -> None:
    """A name that is never looked up is refused now, and not at the first statement."""
    from fapi_as.protocol.metadata_members import fetched_uri, wrong
    from fapi_as.protocol.outbound_url import InvalidOutboundUrl, parse_outbound_url, require_name

    for name in ("jwks_uri", "status_uri"):
        uri = fetched_uri(members, name)
        try:
            if uri is not None:
                require_name(parse_outbound_url(uri), frozenset(allowed_private_hosts))
        except InvalidOutboundUrl as error:
            raise wrong(f"{name}: {error}; fetch.allowed_private_hosts may name it") from None


def _refuse_ourselves(members: Mapping[str, Any], own: set[str | None]) -> None:
    """Nobody who gets a token signed by us may pass it for a statement: no authority has our name (RFC 8725 §3.8)."""
    from fapi_as.protocol.metadata_members import wrong

    issuer = members.get("issuer")
    if isinstance(issuer, str) and issuer in own:
        raise wrong("issuer is this server, which approves no clients")


def _shown(stored: StoredApprover) -> dict[str, object]:
    return {
        **stored.members,
        "enabled": stored.enabled,
        "clients": stored.clients,
        "registered_at": stored.registered_at,
        "changed_at": stored.changed_at,
    }
