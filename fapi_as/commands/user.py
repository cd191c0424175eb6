"""fapi-as user: the local people who sign in."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from fapi_as.commands.operator import desk
from fapi_as.commands.options import AS_JSON, CONFIG
from fapi_as.commands.printing import confirm, print_members, print_rows

_PASSWORD: Final = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of stdin; else it is asked for."
)
_LINE_LIMIT: Final = 4096  # characters


@click.group()
def user() -> None:
    """Add local users, set their passwords, switch them off."""


@user.command()
@click.argument("name")
@click.option("--name", "full_name", help="The name that clients with the scope profile are told.")
@click.option("--email", help="The address that clients with the scope email are told.")
@_PASSWORD
@AS_JSON
@CONFIG
def add(  # noqa: PLR0913 - one argument for each option
    *, name: str, full_name: str | None, email: str | None, password_stdin: bool, as_json: bool, config: Path
) -> None:
    """Add a user."""
    from fapi_as.adapters.entropy import SystemEntropy
    from fapi_as.protocol.local_user import require_personal_data, require_username

    with desk(config) as work:
        require_username(name)
        personal = require_personal_data(full_name, email)
        hashed = _hashed(_password(from_stdin=password_stdin), name)
        stored = work.operators.add_user(name, SystemEntropy().identifier(), hashed, work.stamp, personal)
    print_members(asdict(stored), as_json=as_json)


@user.command()
@click.argument("name")
@_PASSWORD
@AS_JSON
@CONFIG
def passwd(*, name: str, password_stdin: bool, as_json: bool, config: Path) -> None:
    """Set another password; what the user allowed before ends."""
    with desk(config) as work:
        hashed = _hashed(_password(from_stdin=password_stdin), name)
        work.operators.set_password(name, hashed, work.stamp)
    confirm({"username": name, "password_changed": True}, f"the password of {name} is changed", as_json=as_json)


@user.command("list")
@AS_JSON
@CONFIG
def list_(*, as_json: bool, config: Path) -> None:
    """Show every user, disabled ones too."""
    with desk(config) as work:
        rows = [asdict(stored) for stored in work.operators.users()]
    print_rows(rows, ("username", "subject", "enabled", "changed_at"), as_json=as_json)


@user.command()
@click.argument("name")
@AS_JSON
@CONFIG
def disable(*, name: str, as_json: bool, config: Path) -> None:
    """Keep a user out, at once and in every worker; what the user allowed before ends."""
    _switch(name, config, as_json=as_json, enabled=False)


@user.command()
@click.argument("name")
@AS_JSON
@CONFIG
def enable(*, name: str, as_json: bool, config: Path) -> None:
    """Let a disabled user in again."""
    _switch(name, config, as_json=as_json, enabled=True)


@user.command()
@click.argument("name")
@AS_JSON
@CONFIG
def remove(*, name: str, as_json: bool, config: Path) -> None:
    """Remove a user and with it everything that the user allowed."""
    with desk(config) as work:
        work.operators.remove_user(name, work.stamp)
    confirm({"username": name, "removed": True}, f"user {name} is removed", as_json=as_json)


def _switch(name: str, config: Path, *, as_json: bool, enabled: bool) -> None:
    with desk(config) as work:
        work.operators.set_user_enabled(name, work.stamp, enabled=enabled)
    said = "enabled" if enabled else "disabled"
    confirm({"username": name, "enabled": enabled}, f"user {name} is {said}", as_json=as_json)


def _password(*, from_stdin: bool) -> str:
    if not from_stdin:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask at, give the password with --password-stdin")
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    try:
        line = sys.stdin.readline(_LINE_LIMIT)
    except UnicodeDecodeError:
        raise click.ClickException("the password on stdin is no UTF-8 text") from None
    return line.removesuffix("\n").removesuffix("\r")


def _hashed(password: str, name: str) -> str:
    from fapi_as.adapters.passwords import Argon2Passwords
    from fapi_as.protocol.local_user import require_password

    require_password(password, name)
    return Argon2Passwords().hash(password)
