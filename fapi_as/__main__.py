"""The console script `fapi-as`, the same as `python -m fapi_as`."""

from __future__ import annotations

import sys
from typing import Final

_OURS: Final = frozenset({"fapi_as", "rs_kit"})
_AGENT: Final = "agent"  # the only group of commands that is not the server's


def main() -> None:
    """Run one command; exits with 0, 1 (refused) or 2 (usage)."""
    try:
        from fapi_as.commands.group import cli  # noqa: PLC0415 - even this needs an extra

        cli(prog_name="fapi-as")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing in _OURS:
            raise
        extra = _AGENT if _AGENT in sys.argv[1:2] else "server"
        sys.exit(f"Error: {missing} is not installed: this command needs the extra, pip install 'fapi-as[{extra}]'")


if __name__ == "__main__":
    main()
