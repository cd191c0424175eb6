"""kill -9 under load: one worker, the supervisor alone, the whole group, in turn (R4, STO-05, LOG-07)."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from tests.faults.campaign import Verdict, judge_stored, recovery_seconds, under_load
from tests.faults.faulty_server import installed
from tests.faults.peers import Ledger, look_again, sign_in

TARGETS = ("worker", "group", "supervisor")
RECOVERY_SECONDS = 10.0
SHORTEST, LONGEST = 0.2, 1.2


async def kill_under_load(
    rounds: int, *, seed: int = 1, tree: Path | None = None, patience: float = RECOVERY_SECONDS
) -> Verdict:
    """Kill, start again where a service manager would, and look at everything that was handed out in that round."""
    began, verdict, ledger, dice = time.monotonic(), Verdict(name="kill -9"), Ledger(), random.Random(seed)
    with installed(workers=2, tree=tree) as server:
        server.start()
        await sign_in(server.site, ledger)
        for number in range(rounds):
            target, held = TARGETS[number % len(TARGETS)], len(ledger.held)

            async def fault(target: str = target) -> None:
                await asyncio.sleep(dice.uniform(SHORTEST, LONGEST))
                await asyncio.to_thread(server.kill, target)

            await under_load(server, ledger, fault, seed=seed + number)
            if target != "worker":
                server.start()
            seconds = await recovery_seconds(server, ledger, patience)
            if seconds == float("inf"):
                verdict.broken("R10", f"no service {patience} s after the end of the {target}")
            verdict.recovered_seconds = max(verdict.recovered_seconds, seconds)
            await look_again(server.site, ledger, after=held, limit=6)
            verdict.rounds += 1
            print(
                f"  kill -9 {target:10} round {number + 1:2}: {len(ledger.history.operations)} operations,"
                f" back after {seconds:.2f} s (at {time.monotonic() - began:.0f} s)",
                flush=True,
            )
        judge_stored(server, ledger, verdict, unavailable_may_be_kept=False)
    verdict.seconds = time.monotonic() - began
    return verdict
