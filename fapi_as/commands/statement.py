"""fapi-as statement: software statements, issued with a local key, and the ones that count no more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import click

from fapi_as.commands.development_authority import AUTHORITY_FILE, KEY_FILE
from fapi_as.commands.operator import Desk, desk
from fapi_as.commands.options import AS_JSON, CONFIG
from fapi_as.commands.printing import confirm, print_json, print_rows
from fapi_as.commands.refusals import refusals

_SHORTEST: Final = 60  # seconds
_LONGEST: Final = 366 * 86_400  # SSA-1
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_ISSUER: Final = click.option("--issuer", help="The authority that signed it.  [default: the only one there is]")


@click.group()
def statement() -> None:
    """Sign software statements with a local key; withdraw statements and software."""


@statement.command()
@click.option("--software-id", required=True, help="What is approved: one name for all its versions and instances.")
@click.option("--software-version", help="Which version is.")
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="Where answers go; may be given several times.")
@click.option("--claims", metavar="FILE.json|-", help="What else is asserted: RFC 7591 metadata, jwks and scope first.")
@click.option(
    "--expires-in",
    type=click.IntRange(_SHORTEST, _LONGEST),
    default=3600,
    show_default=True,
    help="For how many seconds it is good.",
)
@click.option("--certificate", type=_FILE, help="Only for requests that come with this certificate (PEM).")
@click.option("--jkt", help="Only for requests with a DPoP proof of the key with this thumbprint (RFC 7638).")
@click.option("--authority", type=_FILE, help=f"Who signs.  [default: {AUTHORITY_FILE}, beside the configuration]")
@click.option("--key", type=_FILE, help=f"The private key (PEM).  [default: {KEY_FILE}, beside the configuration]")
@AS_JSON
@CONFIG
def issue(*, as_json: bool, config: Path, **asked: Any) -> None:
    """Sign a statement for this server and print it: with it an agent registers itself.

    It brings one client, or as many as the policy of the authority allows, and none to whoever lacks the certificate or
    the key that it names. What this server would not believe is not signed.
    """
    from fapi_as.adapters.clock import SystemClock
    from fapi_as.commands.statement_signing import signed_statement
    from fapi_as.settings import load

    with refusals():
        audience = load(config, os.environ).server.issuer
        asked["authority"] = asked["authority"] or config.parent / AUTHORITY_FILE
        asked["key"] = asked["key"] or config.parent / KEY_FILE
        made = signed_statement(asked, audience, SystemClock().now())
    if as_json:
        print_json(made)
    else:
        click.echo(made["software_statement"])


@statement.command()
@click.argument("jti", metavar="[JTI]", required=False)
@click.option("--software", metavar="ID", help="All statements and all clients of this software instead.")
@_ISSUER
@AS_JSON
@CONFIG
def revoke(*, jti: str | None, software: str | None, issuer: str | None, as_json: bool, config: Path) -> None:
    """Let the statement with this jti count no more: its clients are out at once, and it brings no others.

    What its clients were allowed has ended, also when a software is reinstated later.
    """
    if (jti is None) == (software is None):
        raise click.UsageError("give either a jti or --software")
    with desk(config) as work:
        authority = _authority(work, issuer)
        if software is not None:
            counted = work.approvals.withdraw_software(authority, software, work.stamp)
        else:
            counted = work.approvals.withdraw_statement(authority, jti or "", work.stamp)
    named = {"jti": jti} if software is None else {"software_id": software}
    what = f"statement {jti}" if software is None else f"software {software}"
    said = f"{what} of {authority} counts no more" if counted else f"{what} of {authority} was withdrawn before"
    confirm({"issuer": authority, **named, "withdrawn": True, "counted_before": counted}, said, as_json=as_json)


@statement.command()
@click.argument("software", metavar="SOFTWARE_ID")
@_ISSUER
@AS_JSON
@CONFIG
def reinstate(*, software: str, issuer: str | None, as_json: bool, config: Path) -> None:
    """Let a software that was withdrawn count again: its clients are back, and ask their people anew.

    A single statement that was withdrawn stays so; the authority signs another.
    """
    with desk(config) as work:
        authority = _authority(work, issuer)
        work.approvals.reinstate_software(authority, software, work.stamp)
    confirm(
        {"issuer": authority, "software_id": software, "withdrawn": False},
        f"software {software} of {authority} counts again",
        as_json=as_json,
    )


@statement.command("list")
@_ISSUER
@AS_JSON
@CONFIG
def list_(*, issuer: str | None, as_json: bool, config: Path) -> None:
    """Show the statements and the software that count no more."""
    with desk(config) as work:
        authority = _authority(work, issuer)
        found = work.approvals.withdrawn(authority)
    rows = [{"kind": one.kind, "name": one.name, "withdrawn_at": one.withdrawn_at} for one in found]
    print_rows(rows, ("kind", "name", "withdrawn_at"), as_json=as_json)


def _authority(work: Desk, issuer: str | None) -> str:
    if issuer is not None:
        return issuer
    names = [stored.name for stored in work.approvals.authorities()]
    if len(names) != 1:
        raise click.ClickException(
            "no authority is trusted" if not names else f"--issuer must name one of {', '.join(names)}"
        )
    return names[0]
