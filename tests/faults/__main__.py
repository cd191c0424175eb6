"""`make faults`: the campaigns and every seeded defect, with a table at the end; 1 when a promise is broken.

FAULTS=required makes it a failure when what a campaign needs is missing: root, strace, libfaketime.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.faults.campaign import HEADER, Verdict
from tests.faults.kill import kill_under_load
from tests.faults.power import power_lost
from tests.faults.seeded import SEEDED
from tests.faults.storage import EIO, ENOSPC, database_locked, disk_full, file_size_limited, injected
from tests.faults.wall_clock import clock_stepped, library

_LONG = 30  # from so many rounds on, the times are those of the catalogue
_SHOWN = 10


class Planned(NamedTuple):
    """One campaign, what it needs, and how it is run."""

    name: str
    missing: str | None
    run: Callable[[], Awaitable[Verdict]]
    in_suite: bool = True  # whether a test of this folder plays it, once and short


def _without(present: object, what: str) -> str | None:
    return None if present else what


def _power(kind: str) -> str | None:
    return _without(os.geteuid() == 0 and shutil.which(f"mkfs.{kind}"), f"root or mkfs.{kind}")


def campaigns(rounds: int) -> list[Planned]:
    """What is run and how often: the kills are `rounds`, the others follow; 0 is what no test plays, once."""
    is_long = rounds >= _LONG
    few = max(1, rounds // 10)
    strace = _without(shutil.which("strace"), "strace")
    planned = [
        Planned("kill -9", None, lambda: kill_under_load(rounds)),
        Planned("database locked", None, lambda: database_locked(1, held_seconds=30.0 if is_long else 7.0)),
        Planned("file size limited", None, lambda: file_size_limited(few)),
        Planned("disk full", _without(os.geteuid() == 0, "root"), lambda: disk_full(few)),
        Planned("power lost on ext4", _power("ext4"), lambda: power_lost("ext4", few)),
        Planned("power lost on xfs", _power("xfs"), lambda: power_lost("xfs", few)),
        Planned(EIO.name, strace, lambda: injected(EIO, few)),
        Planned(ENOSPC.name, strace, lambda: injected(ENOSPC, few)),
        Planned("clock stepped", _without(library(), "libfaketime"), lambda: clock_stepped(few), in_suite=False),
    ]
    return [campaign for campaign in planned if rounds or not campaign.in_suite]


async def main(rounds: int, *, required: bool) -> int:
    """Run them one after the other."""
    began, lines, failed = time.monotonic(), [], False
    for planned in campaigns(rounds):
        if planned.missing is not None:
            lines.append(f"{planned.name:26} left out: {planned.missing} is missing")
            failed = failed or required
            continue
        print(f"{planned.name} ...", flush=True)
        verdict = await planned.run()
        lines.append(verdict.line())
        failed = failed or bool(verdict.findings)
        lines += [f"    {finding.promise}: {finding.text}" for finding in verdict.findings[:_SHOWN]]
    for seeded in SEEDED:
        if (missing := seeded.missing()) is not None:
            lines.append(f"seeded: {seeded.name:18} left out: {missing} is missing")
            failed = failed or required
            continue
        print(f"seeded: {seeded.name} ...", flush=True)
        verdict = await seeded.run()
        seen = sorted({finding.promise for finding in verdict.findings} & seeded.promises)
        lines.append(f"{verdict.line()}  {'caught as ' + ' '.join(seen) if seen else 'MISSED'}")
        failed = failed or not seen
    print(f"\n{HEADER}", *lines, sep="\n")
    print(f"{'FAILED' if failed else 'all promises held, all defects caught'} in {time.monotonic() - began:.0f} s")
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "rounds", nargs="?", type=_rounds, default=3, help="how many kills; the rest follows (3); 0: what no test plays"
    )
    return parser.parse_args()


def _rounds(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds")
    return int(text)


if __name__ == "__main__":
    asked = _arguments()
    raise SystemExit(asyncio.run(main(asked.rounds, required=os.environ.get("FAULTS") == "required")))
