"""fapi-as audit and fapi-as explain: the evidence, and the private reason behind an error that a client reported."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from fapi_as.commands.operator import desk
from fapi_as.commands.options import AS_JSON, CONFIG
from fapi_as.commands.printing import print_members, print_rows

if TYPE_CHECKING:
    from fapi_as.adapters.store import StoredFact

_LAST_ID: Final = 2**63 - 1  # of SQLite


@click.group()
def audit() -> None:
    """Read what happened."""


@audit.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many facts.")
@click.option(
    "--after", type=click.IntRange(0, _LAST_ID), help="The facts after this id, oldest first, instead of the last ones."
)
@AS_JSON
@CONFIG
def tail(*, limit: int, after: int | None, as_json: bool, config: Path) -> None:
    """Show the last facts, oldest first."""
    with desk(config) as work:
        facts = work.operators.audit_tail(limit) if after is None else work.operators.audit(after, limit)
    rows = [_shown(fact) for fact in facts]
    columns = ("id", "at", "event", "error", "client_id", "subject", "detail", "endpoint", "correlation_id")
    print_rows(rows, columns, as_json=as_json)


@click.command()
@click.argument("correlation_id")
@AS_JSON
@CONFIG
def explain(*, correlation_id: str, as_json: bool, config: Path) -> None:
    """Tell the private reason behind an error, by the X-Correlation-ID of the answer."""
    with desk(config) as work:
        facts = work.operators.explain(correlation_id)
        if not facts:
            raise click.ClickException("nothing is recorded under this correlation id")
    rows = [_shown(fact) for fact in facts]
    if as_json:
        print_rows(rows, (), as_json=True)
        return
    for number, row in enumerate(rows):
        if number:
            click.echo()
        print_members({name: value for name, value in row.items() if value is not None}, as_json=False)


def _shown(stored: StoredFact) -> dict[str, object]:
    return {"id": stored.id, **asdict(stored.stamp), **asdict(stored.fact)}
