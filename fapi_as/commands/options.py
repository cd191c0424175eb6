"""Options that every command has, spelt the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

CONFIG: Final = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("fapi-as.toml"),
    show_default=True,
    help="The configuration file.",
)
AS_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
