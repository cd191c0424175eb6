"""`make bench-peers`: rs_kit's check of a call beside those of others, in one run on one core.

Every figure is CPU time, and stands beside the CPU time of the same signatures in the same runtime alone, slice by
slice, so that noise meets both alike. Beside it: one proof sent 16 times, and how often it was accepted.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from statistics import quantiles
from typing import Final, NamedTuple

from tests.bench.peer_contenders import BLOCK, PYTHON, ROUNDS, SLICE, TIMES, Contender, contenders
from tests.support.node_peers import NoPeers, node_with_peers
from tests.support.processes import ROOT

TRIES: Final = 6
FLOORS: Final = {"rs_kit.admit.cached_token": 0.65, "rs_kit.admit.new_token": 0.65, "rs_kit.asgi.tool_call": 0.45}


class Figure(NamedTuple):
    """Microseconds of CPU for a call and for its signatures alone, and how often the same proof was accepted."""

    call: float
    raw: float
    accepted: int

    @property
    def ratio(self) -> float:
        """The share of a call that nobody can save."""
        return self.raw / self.call


def measured(entrants: Mapping[str, Contender]) -> dict[str, Figure]:
    """Everybody in turn, and a turn slice by slice: its signatures alone, then its calls."""
    raw: dict[str, list[float]] = {name: [] for name in entrants}
    calls: dict[str, list[float]] = {name: [] for name in entrants}
    gc.collect()
    gc.freeze()  # thousands of prepared requests are no part of a server, and would be looked through again and again
    for turn in range(ROUNDS):
        for name, entrant in entrants.items():
            for number in range(turn * BLOCK, (turn + 1) * BLOCK):
                bounds = number * SLICE, (number + 1) * SLICE
                bare, whole = entrant.raw(*bounds), entrant.run(*bounds)
                if number % BLOCK:
                    raw[name].append(bare)
                    calls[name].append(whole)
    gc.unfreeze()
    return {
        name: Figure(call=_least(calls[name]), raw=_least(raw[name]), accepted=entrant.same())
        for name, entrant in entrants.items()
    }


def _least(slices: Sequence[float]) -> float:
    """Microseconds of a call in the slices that were least disturbed: whatever else a machine does only adds."""
    return 1e6 * quantiles(slices, n=10)[0] / SLICE


def one_run(node: str) -> dict[str, Figure]:
    """Everything once; every proof is fresh, so a second run needs new ones."""
    with ExitStack() as stack:
        return measured(contenders(stack, node))


def shown(figures: Mapping[str, Figure]) -> None:
    """The table, for people."""
    print(f"{'CPU microseconds':32} {'a call':>8} {'signatures alone':>17} {'ratio':>6}  the same proof x{TIMES}")
    for name, figure in figures.items():
        floor = FLOORS.get(name)
        print(
            f"{name:32} {figure.call:8.0f} {figure.raw:17.0f} {figure.ratio:6.2f}  accepted {figure.accepted}"
            f"{'' if floor is None else f'; ratio at least {floor:.2f}'}"
        )


def wrong(figures: Mapping[str, Figure]) -> list[str]:
    """What our own figures must be and are not."""
    return [
        *(f"{name} is below {floor:.2f}" for name, floor in FLOORS.items() if figures[name].ratio < floor),
        *(f"{name} accepted a proof {figures[name].accepted} times" for name in FLOORS if figures[name].accepted != 1),
    ]


def main() -> int:
    """One table; 1 when a figure of ours stays below its floor, or a peer cannot be had."""
    try:
        node = node_with_peers()
        if not PYTHON.exists():
            raise NoPeers("auth0-api-python is not installed; make bench-peers installs it")
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # children keep to it, too
        print("rs_kit and its peers on one core, everybody in turn ...", flush=True)
        figures: dict[str, Figure] = {}
        for _ in range(TRIES):
            for name, figure in one_run(node).items():  # a busy machine only ever adds
                figures[name] = min(figure, figures.get(name, figure), key=lambda one: one.call + one.raw)
            if not (told := wrong(figures)):
                break
            print(f"measured again, because {' and '.join(told)}", flush=True)
    except NoPeers as error:
        print(f"make bench-peers cannot run: {error}")
        return 1
    shown(figures)
    print(f"each runtime's own cryptography; Node {_version(node)}, Python {sys.version.split()[0]}")
    (ROOT / "build" / "bench-peers.json").write_text(
        json.dumps({name: {**figure._asdict(), "ratio": figure.ratio} for name, figure in figures.items()}, indent=2)
        + "\n",
        encoding="utf-8",
    )
    return 1 if wrong(figures) else 0


def _version(node: str) -> str:
    return subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main())
