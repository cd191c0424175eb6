"""What every campaign is: a fault, a load, and the verdict once everything has come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.faults.faulty_server import FaultyServer
from tests.faults.peers import Ledger, Peer, keep_asking, look_again
from tests.support.history import Finding, Outcome, check
from tests.support.stored_state import facts, half_states

BUILD = Path("build") / "faults"


@dataclass(slots=True, kw_only=True)
class Verdict:
    """One line of the table."""

    name: str
    rounds: int = 0
    findings: list[Finding] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    recovered_seconds: float = 0.0
    seconds: float = 0.0
    note: str = ""

    def broken(self, promise: str, text: str) -> None:
        self.findings.append(Finding(promise=promise, text=text))

    def line(self) -> str:
        counted = " ".join(f"{self.outcomes.get(outcome, 0):6}" for outcome in Outcome)
        verdict = "held" if not self.findings else f"{len(self.findings)} BROKEN"
        return (
            f"{self.name:26} {self.rounds:6} {counted} {self.recovered_seconds:9.2f} {self.seconds:7.1f}  {verdict}"
            f"{'  ' + self.note if self.note else ''}"
        )


HEADER = (
    f"{'campaign':26} {'rounds':>6} {'ok':>6} {'refus.':>6} {'503':>6} {'unknwn':>6} {'recovery':>9} {'seconds':>7}"
)


async def under_load(server: FaultyServer, ledger: Ledger, fault: Callable[[], Awaitable[None]], *, seed: int) -> None:
    """Keep asking while the fault happens; the load ends with it."""
    stop = asyncio.Event()
    load = asyncio.create_task(keep_asking(server.site, ledger, stop, seed=seed))
    try:
        await fault()
    finally:
        stop.set()
        await load


async def recovery_seconds(server: FaultyServer, ledger: Ledger, limit: float) -> float:
    """How long it takes until a whole flow is granted again; `inf` when the limit passes before."""
    began = time.monotonic()
    while time.monotonic() - began < limit:
        if await _whole_flow(server, ledger):
            return time.monotonic() - began
        await asyncio.sleep(0.1)
    return float("inf")


async def _whole_flow(server: FaultyServer, ledger: Ledger) -> bool:
    async with server.site.http() as http:
        peer = Peer(http, server.site, next(iter(server.site.client_keys)), ledger)
        request = await peer.push()
        code = request and await peer.complete(request)
        return bool(code and await peer.redeem(code))


async def watch_reads(server: FaultyServer, stop: asyncio.Event) -> list[tuple[int, float]]:
    """Status and duration of a document that needs no write, again and again; 0 is no answer."""
    seen = []
    url = f"{server.registered.issuer}/.well-known/oauth-authorization-server"
    async with server.site.http() as http:
        await http.get(url)
        while not stop.is_set():
            began = time.monotonic()
            try:
                status = (await http.get(url)).status_code
            except httpx2.TransportError:
                status = 0
            seen.append((status, time.monotonic() - began))
            await asyncio.sleep(0.01)
    return seen


async def judge(server: FaultyServer, ledger: Ledger, verdict: Verdict, *, unavailable_may_be_kept: bool) -> None:
    """Look at everything again and let the checker compare."""
    await look_again(server.site, ledger, limit=30)
    judge_stored(server, ledger, verdict, unavailable_may_be_kept=unavailable_may_be_kept)


def judge_stored(server: FaultyServer, ledger: Ledger, verdict: Verdict, *, unavailable_may_be_kept: bool) -> None:
    """Compare the history with what is stored."""
    operations = ledger.history.operations
    recorded = facts(server.database)
    verdict.findings += check(operations, recorded, unavailable_may_be_kept=unavailable_may_be_kept)
    verdict.findings += half_states(server.database)
    verdict.outcomes = {str(outcome): count for outcome, count in ledger.history.outcomes().items()}
    if "Traceback" in server.log():
        verdict.broken("P8", f"a traceback in the log: {server.log()[-600:]}")
    ledger.history.write(BUILD / f"{verdict.name.replace(' ', '-')}.jsonl")
