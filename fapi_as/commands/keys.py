"""fapi-as keys: the signing keys."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from fapi_as.commands.operator import Desk, desk
from fapi_as.commands.options import AS_JSON, CONFIG
from fapi_as.commands.printing import confirm, print_members, print_rows

if TYPE_CHECKING:
    from fapi_as.adapters.keys import Keyring


_EMERGENCY: Final = (
    "This key signs from now on. A peer that has not fetched it refuses its tokens until it fetches the keys again, "
    "after {max_age} seconds or longer. The key before it stays published until its last token has expired; "
    "when somebody else may have it, fapi-as keys remove KID ends that at once."
)
_ALG: Final = click.option(
    "--alg",
    type=click.Choice(["ES256", "PS256", "Ed25519"]),
    default="ES256",
    show_default=True,
    help="Which key: ES256 signs what no client registered another algorithm for, all access tokens among it.",
)


@click.group()
def keys() -> None:
    """Show, rotate and remove the signing keys; there is one of each algorithm."""


@keys.command("list")
@AS_JSON
@CONFIG
def list_(*, as_json: bool, config: Path) -> None:
    """Show the published signing keys: next, active and retiring."""
    from fapi_as.settings import DEFAULT_TENANT

    with desk(config) as work, _keyring(work) as keyring:
        rows = [asdict(key) for key in keyring.list(DEFAULT_TENANT)]
    print_rows(rows, ("kid", "alg", "state", "published_at", "active_from", "gone_from"), as_json=as_json)


@keys.command()
@_ALG
@click.option("--emergency", is_flag=True, help="Let another key sign at once, whether or not peers know it.")
@AS_JSON
@CONFIG
def rotate(*, alg: str, emergency: bool, as_json: bool, config: Path) -> None:
    """Publish the next signing key, or let the one that is published sign.

    The next key becomes active by itself after keys.published_before_use. Said again before that, rotate makes it
    active if peers have had keys.jwks_max_age to fetch it, and is refused if not.
    """
    from fapi_as.settings import DEFAULT_TENANT

    with desk(config) as work, _keyring(work) as keyring:
        change = keyring.rotate_at_once if emergency else keyring.rotate
        following = change(DEFAULT_TENANT, work.stamp, alg=alg)
        max_age = work.settings.keys.jwks_max_age
    if emergency:
        click.echo(_EMERGENCY.format(max_age=max_age), err=True)
    print_members(asdict(following), as_json=as_json)


@keys.command()
@click.argument("kid")
@AS_JSON
@CONFIG
def remove(*, kid: str, as_json: bool, config: Path) -> None:
    """Take a key away at once: what it signed is refused as soon as peers fetch the keys again.

    The key that signs is not taken away; keys rotate --emergency puts another in its place first.
    """
    from fapi_as.settings import DEFAULT_TENANT

    with desk(config) as work, _keyring(work) as keyring:
        keyring.remove(DEFAULT_TENANT, kid, work.stamp)
        max_age = work.settings.keys.jwks_max_age
    said = f"key {kid} is removed; peers forget it when they fetch the keys again, within {max_age} seconds or later"
    confirm({"kid": kid, "removed": True}, said, as_json=as_json)


@contextlib.contextmanager
def _keyring(work: Desk) -> Iterator[Keyring]:
    from fapi_as.adapters.clock import SystemClock
    from fapi_as.adapters.keys import Keyring, Sealing, read_sealing_key
    from fapi_as.bootstrap import rotation_times

    settings = work.settings
    sealing = Sealing(read_sealing_key(settings.keys.sealing_key_file))
    times = rotation_times(settings)
    keyring = Keyring.open(settings.database.url, sealing=sealing, clock=SystemClock(), times=times)
    with contextlib.closing(keyring):
        yield keyring
