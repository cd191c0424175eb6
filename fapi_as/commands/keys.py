"""fapi-as keys: the signing keys."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fapi_as.commands.operator import Desk, desk
from fapi_as.commands.options import AS_JSON, CONFIG
from fapi_as.commands.printing import print_members, print_rows

if TYPE_CHECKING:
    from fapi_as.adapters.keys import Keyring


@click.group()
def keys() -> None:
    """Show and rotate the signing keys."""


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
@AS_JSON
@CONFIG
def rotate(*, as_json: bool, config: Path) -> None:
    """Publish the next signing key; it becomes active by itself when every peer has had time to fetch it."""
    from fapi_as.settings import DEFAULT_TENANT

    with desk(config) as work, _keyring(work) as keyring:
        following = keyring.rotate(DEFAULT_TENANT, work.stamp)
    print_members(asdict(following), as_json=as_json)


@contextlib.contextmanager
def _keyring(work: Desk) -> Iterator[Keyring]:
    from fapi_as.adapters.clock import SystemClock
    from fapi_as.adapters.keys import Keyring, Sealing, read_sealing_key

    sealing = Sealing(read_sealing_key(work.settings.keys.sealing_key_file))
    with contextlib.closing(Keyring.open(work.settings.database.url, sealing=sealing, clock=SystemClock())) as keyring:
        yield keyring
