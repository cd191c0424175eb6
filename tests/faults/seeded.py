"""Servers with one defect each, put into a copy of the tree: a checker that misses them proves nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.campaign import Verdict
from tests.faults.kill import kill_under_load
from tests.faults.power import power_lost
from tests.faults.storage import EIO, database_locked, injected
from tests.support.processes import ROOT

_WRITER = "rs_kit/adapters/sqlite_writer.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """One defect: where, what instead of what, which campaign sees it, and which promises it must be seen to break."""

    name: str
    path: str
    old: str
    new: str
    campaign: Callable[[Path], Awaitable[Verdict]]
    promises: frozenset[str]
    needs: str | None = None  # a program without which the campaign cannot run
    as_root: bool = False

    def missing(self) -> str | None:
        """What is not here, and without which it cannot run."""
        if self.as_root and os.geteuid() != 0:
            return "root"
        return self.needs if self.needs is not None and shutil.which(self.needs) is None else None

    def planted(self, copy: Path) -> None:
        """Copy the two packages and put the defect in; it must still fit."""
        for package in ("fapi_as", "rs_kit"):
            shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / self.path
        text = file.read_text(encoding="utf-8")
        assert text.count(self.old) == 1, f"{self.name} does not fit {self.path} any more"
        file.write_text(text.replace(self.old, self.new), encoding="utf-8")

    async def run(self) -> Verdict:
        """The verdict over the defective server; without findings it was missed."""
        with tempfile.TemporaryDirectory(prefix="faults-seeded-") as scratch:
            self.planted(Path(scratch))
            verdict = await self.campaign(Path(scratch))
        verdict.name = f"seeded: {self.name}"
        return verdict


SEEDED = (
    Seeded(
        name="spends twice",  # M01
        path="fapi_as/adapters/store/statements.py",
        old='"digest"), handle.c.spent_at.is_(None), ~_has_ended(handle))',
        new='"digest"), ~_has_ended(handle))',
        campaign=lambda tree: kill_under_load(2, tree=tree, patience=2.0),
        promises=frozenset({"I1"}),
    ),
    Seeded(
        name="answers first",  # M06
        path=_WRITER,
        old='            connection.execute("COMMIT")\n',
        new=(
            "            self._answer(outcomes)\n"
            "            threading.Event().wait(0.004)\n"
            '            connection.execute("COMMIT")\n'
            "            outcomes = []\n"
        ),
        campaign=lambda tree: kill_under_load(2, tree=tree, patience=2.0),
        promises=frozenset({"I2", "I6"}),
    ),
    Seeded(
        name="swallows failure",  # M07
        path=_WRITER,
        old="return [(future, None, WriterUnavailable(detail)) for _, future in batch]",
        # a unit of the store is partial(_settle, decision, stamp): its decision, as if it had come true
        new=(
            "came_true = lambda unit: next((one for one in getattr(unit, 'args', ()) if hasattr(one, 'effects')), 1)\n"
            "        return [(future, came_true(unit), None) for unit, future in batch]"
        ),
        campaign=lambda tree: database_locked(1, held_seconds=6.5, tree=tree),
        promises=frozenset({"I2", "I6"}),
    ),
    Seeded(
        name="is not durable",  # M02
        path=_WRITER,
        old='connection.execute("PRAGMA synchronous=FULL")',
        new='connection.execute("PRAGMA synchronous=OFF")',
        campaign=lambda tree: injected(EIO, 1, tree=tree),
        promises=frozenset({"FAULT"}),
        needs="strace",
    ),
    Seeded(
        name="writes later",
        path=_WRITER,
        old='connection.execute("PRAGMA synchronous=FULL")',
        # NORMAL is seen most times, and not when a checkpoint has just come
        new='connection.execute("PRAGMA synchronous=OFF")',
        campaign=lambda tree: power_lost("ext4", 2, tree=tree),
        promises=frozenset({"I2", "I6"}),
        needs="mkfs.ext4",
        as_root=True,
    ),
)
