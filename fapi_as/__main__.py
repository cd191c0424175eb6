"""The console script `fapi-as`, the same as `python -m fapi_as`."""

from __future__ import annotations

from fapi_as.commands.group import cli


def main() -> None:
    """Run one command; exits with 0, 1 (refused) or 2 (usage)."""
    cli(prog_name="fapi-as")


if __name__ == "__main__":
    main()
