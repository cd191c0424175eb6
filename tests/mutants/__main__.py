"""`make mutants`: every mutant, the test that caught it, and the time that took; 1 when one was not caught."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.campaign import CAUGHT, Outcome, baseline, copy_tree, judge_all
from tests.mutants.mutants import Mutant, load_later, load_mutants

_TREES = 2  # as many as there are cores on the smallest machine that builds


def main(names: Sequence[str]) -> int:
    """Run the mutants of these names, or all of them."""
    known = load_mutants()
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no such mutant: {', '.join(unknown)}")
        return 2
    chosen = [known[name] for name in names] or list(known.values())
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        trees = [copy_tree(Path(directory) / str(number)) for number in range(_TREES)]
        problem = baseline(chosen, trees[0])
        if problem is not None:
            print(f"with every guard in its place the tests already fail:\n{problem}")
            return 1
        uncaught = _printed(chosen, trees)
    print(f"{len(chosen) - uncaught} of {len(chosen)} caught in {time.monotonic() - begun:.0f} s")
    if not names:
        for case, reason in load_later().items():
            print(f"not yet: {case}: {reason}")
    return 1 if uncaught else 0


def _printed(chosen: Sequence[Mutant], trees: Sequence[Path]) -> int:
    """Print a line for each; how many were not caught."""
    width = max(len(_label(mutant)) for mutant in chosen)
    uncaught = 0
    for outcome in judge_all(chosen, trees):
        print(_line(outcome, width), flush=True)
        uncaught += outcome.verdict != CAUGHT
    return uncaught


def _line(outcome: Outcome, width: int) -> str:
    by = outcome.by if outcome.verdict == CAUGHT else f"{outcome.verdict}: {outcome.by} ({outcome.mutant.why})"
    return f"{_label(outcome.mutant):{width}} {outcome.seconds:5.1f} s  {by}"


def _label(mutant: Mutant) -> str:
    return mutant.name if mutant.case is None else f"{mutant.name} ({mutant.case})"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
