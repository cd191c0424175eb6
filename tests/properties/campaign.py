"""`make fuzz`: the state machine for very many steps, tool calls of every shape, and each parser under atheris.

python -m tests.properties.campaign [--seconds 60] [--steps 200000] [--calls 10000] [--seed N] [--only machine|tools|…]

The machine prints a seed for each round; `--only machine --steps 1 --seed N` is that round again.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Final

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from fapi_as.adapters.store import migrate
from tests.properties.authorization_machine import AuthorizationMachine
from tests.properties.openid_machine import OpenidMachine
from tests.properties.operated_stores import OperatedMemory, OperatedSqlite
from tests.properties.parser_seeds import SEEDS
from tests.properties.tools_that_run import Trial
from tests.support.tool_servers import KINDS

FOLDER: Final = Path("build/fuzz")
ROUND: Final = 200  # runs of the machine between two lines of the report
ON_SQLITE: Final = 10  # every tenth seed, for a tenth of the runs
WITH_OPENID: Final = 3  # one round in so many has a client of OpenID Connect
MACHINE: Final = "machine"
TOOLS: Final = "tools"
GRACE: Final = 60  # seconds that a parser's process may take beside its fuzzing


def drive(steps: int, first_seed: int) -> None:
    """The machine, round after round with a seed each, until so many requests were answered.

    Raises:
        Exception: what the machine found, with the steps that lead there.
    """
    answered: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        migrated = Path(folder, "migrated.db")
        migrate(f"sqlite:///{migrated}")
        for drawn in itertools.count(first_seed):
            on_sqlite = drawn % ON_SQLITE == 0
            print(
                f"{MACHINE}: {answered.total()} answers, seed {drawn}{', on SQLite' if on_sqlite else ''}", flush=True
            )
            stores = partial(_on_sqlite, migrated) if on_sqlite else OperatedMemory
            members = {"make_store": staticmethod(stores), "answered": answered}
            kind = AuthorizationMachine if drawn % WITH_OPENID else OpenidMachine
            machine = type("Machine", (kind,), members)
            run_state_machine_as_test(
                seed(drawn)(machine),
                settings=settings(
                    max_examples=ROUND // ON_SQLITE if on_sqlite else ROUND,
                    stateful_step_count=50,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
            if answered.total() >= steps:
                break
    print(f"{MACHINE}: {answered.total()} answers as the model says: {dict(answered.most_common())}", flush=True)


def _on_sqlite(migrated: Path) -> OperatedSqlite:
    for old in migrated.parent.glob("run.db*"):
        old.unlink()
    return OperatedSqlite(migrated, migrated.with_name("run.db"))


def call_tools(number: int, drawn: int) -> None:
    """So many generated calls to each kind of server: the kit and the server never disagree on which tool runs.

    Raises:
        Exception: what was found, with the case.
    """

    async def play(kind: str) -> None:
        async with Trial(kind, drawn).running() as trial:
            await trial.run(number)
        print(f"{TOOLS}: {kind}: {dict(trial.counts.most_common())}", flush=True)

    for kind in KINDS:
        print(f"{TOOLS}: {number} calls to the {kind}, seed {drawn}", flush=True)
        asyncio.run(play(kind))


def fuzz(name: str, seconds: int) -> str | None:
    """One parser in a process of its own; what it found, or None."""
    command = [sys.executable, "-m", "tests.properties.fuzz_parser", name, str(seconds), str(FOLDER)]
    log = FOLDER / f"{name}.log"
    with log.open("wb") as output:
        code = subprocess.run(
            command, stdout=output, stderr=output, timeout=seconds + GRACE, env=os.environ, check=False
        ).returncode
    lines = log.read_text(errors="replace").splitlines()
    done = next((line for line in lines if line.startswith("Done")), "stopped early")
    print(f"{name}: {done}", flush=True)
    return None if code == 0 else f"{name}: see {log}, and the input beside it"


def main() -> int:
    """Run what is asked for; 0 only if nothing was found."""
    parser = argparse.ArgumentParser(prog="campaign")
    parser.add_argument("--seconds", type=int, default=60, help="for each parser")
    parser.add_argument("--steps", type=int, default=200_000, help="answers of the state machine")
    parser.add_argument("--calls", type=int, default=10_000, help="generated tool calls for each kind of server")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32), help="of both")
    parser.add_argument("--only", choices=[MACHINE, TOOLS, *SEEDS])
    asked = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    names = [name for name in SEEDS if asked.only in {None, name}]
    with ThreadPoolExecutor(max_workers=1) as beside:  # the machine has the other core
        fuzzed = [beside.submit(fuzz, name, asked.seconds) for name in names]
        if asked.only in {None, MACHINE}:
            drive(asked.steps, asked.seed)
        if asked.only in {None, TOOLS}:
            call_tools(asked.calls, asked.seed)
        found = [one for future in fuzzed if (one := future.result()) is not None]
    print("\n".join(found) or f"nothing found in {time.monotonic() - started:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
