"""The wall clock of the whole server is stepped by -120 s and by +1 h and back, under load (TIM-02, R13)."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2

from tests.faults.campaign import Verdict, judge_stored, recovery_seconds, under_load
from tests.faults.faulty_server import FaultyServer, installed
from tests.faults.peers import Ledger, Peer, look_again, sign_in
from tests.support.history import Outcome
from tests.support.processes import wait_until

BACK, FORWARD = -120, 3600
_PYTHON = Path(__file__).parent / "stepped_clock"  # what steps the clock that Python reads
_OFFSET_BYTES = 8  # which a processor writes at once
_RECOVERY_SECONDS = 70.0
_LOAD_SECONDS = 0.7
_TELLING_SECONDS = 5.0  # within which a true clock tells the time


@dataclass(slots=True)
class _Steps:
    """Steps the clock of a server, and notes between which moments, monotonic, it did."""

    directory: Path
    ledger: Ledger
    moments: list[tuple[float, float]] = field(default_factory=list)
    file: Path = field(init=False)
    offset: Path = field(init=False)

    def __post_init__(self) -> None:
        self.file, self.offset = self.directory / "clock", self.directory / "clock-of-python"
        self.file.write_text("+0", encoding="ascii")
        self.offset.write_bytes(bytes(_OFFSET_BYTES))

    def environment(self, preload: Path) -> dict[str, str]:
        """With which a server has this clock."""
        return {
            "LD_PRELOAD": str(preload),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": str(_PYTHON),
            "FAULTS_CLOCK_OFFSET": str(self.offset),
            "FAULTS_CLOCK_EPOCH": repr(time.time() - time.monotonic()),
        }

    def __call__(self, seconds: int) -> None:
        began = time.monotonic()
        beside = self.file.with_suffix(".new")
        beside.write_text(f"{seconds:+d}", encoding="ascii")
        self.ledger.clock.offset = seconds  # first: what is asked from now on may meet either clock
        beside.replace(self.file)
        with self.offset.open("r+b") as file, mmap.mmap(file.fileno(), 0) as shared:
            shared[:] = seconds.to_bytes(_OFFSET_BYTES, sys.byteorder, signed=True)
        self.moments.append((began, time.monotonic()))


def library() -> Path | None:
    """libfaketime of this machine."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return found[0] if found else None


async def clock_stepped(rounds: int) -> Verdict:
    """What was used stays used, what expired stays expired, what a wrong clock gave out is not good for longer."""
    began, verdict, ledger = time.monotonic(), Verdict(name="clock stepped"), Ledger()
    preload = library()
    assert preload is not None, "libfaketime is missing"
    with installed(workers=2) as server:
        step = _Steps(server.registered.directory, ledger)
        server.environment = step.environment(preload)
        server.start()
        await sign_in(server.site, ledger)

        for number in range(rounds):
            for offset in (BACK, FORWARD):
                await _excursion(server, ledger, verdict, step, offset)
            _judge_answers(ledger, verdict, step.moments)
            seconds = await recovery_seconds(server, ledger, _RECOVERY_SECONDS)
            verdict.recovered_seconds = max(verdict.recovered_seconds, seconds)
            if seconds > _RECOVERY_SECONDS:
                verdict.broken("R13", f"no normal service {_RECOVERY_SECONDS} s after the clock was right")
            print(f"  clock stepped round {number + 1}: {len(ledger.history.operations)} operations", flush=True)
        await look_again(server.site, ledger, limit=50)
        judge_stored(server, ledger, verdict, unavailable_may_be_kept=False)
    verdict.rounds, verdict.seconds = rounds, time.monotonic() - began
    return verdict


async def _excursion(
    server: FaultyServer, ledger: Ledger, verdict: Verdict, step: Callable[[int], None], offset: int
) -> None:
    """Step away under load, sweep there, step back; what was used on one side is tried on the other."""

    async def fault() -> None:
        await asyncio.sleep(_LOAD_SECONDS)
        step(offset)
        await asyncio.sleep(_LOAD_SECONDS)

    async with server.site.http() as http:
        peer = Peer(http, server.site, next(iter(server.site.client_keys)), ledger)
        code, copied = await _code(peer), await _signed(peer)
        await under_load(server, ledger, fault, seed=offset)
        await _told_as(http, peer, offset, verdict)
        await _not_good(peer, code, verdict, f"a code of the true time at {offset:+d} s")
        await asyncio.to_thread(_replace_a_worker, server)
    async with server.site.http() as http:
        peer = Peer(http, server.site, peer.client_id, ledger)
        code_there, copied_there = await _code(peer), await _signed(peer)
        step(0)
        await peer.credentials()  # learns a nonce of this time
        for name in (copied, copied_there):
            await peer.send_signed(name)
        await _not_good(peer, code_there, verdict, f"a code of {offset:+d} s at the true time")


async def _told_as(http: httpx2.AsyncClient, peer: Peer, offset: int, verdict: Verdict) -> None:
    """A fault that does not bite proves nothing: the server must say the time that it was given."""
    reply = await http.get(f"{peer.client.issuer}/.well-known/oauth-authorization-server")
    told = parsedate_to_datetime(reply.headers["date"]).timestamp() - time.time()
    if abs(told - offset) > _TELLING_SECONDS:
        verdict.broken("FAULT", f"the clock of the server is {told:+.0f} s off instead of {offset:+d} s")


def _judge_answers(ledger: Ledger, verdict: Verdict, steps: Sequence[tuple[float, float]]) -> None:
    for operation in ledger.history.operations:
        # a request in flight while the clock leaps cannot be told from one that was held so long (TIM-09)
        leapt = any(operation.began <= after and before <= operation.ended for before, after in steps)
        if operation.outcome is Outcome.UNAVAILABLE and not leapt:
            verdict.broken("R13", f"a step of the clock was answered with a 503: {operation}, steps {steps}")


async def _code(peer: Peer) -> str | None:
    request = await peer.push()
    return request and await peer.complete(request)


async def _signed(peer: Peer) -> str:
    """A request that was sent once and granted, ready to be copied."""
    for _ in range(2):  # the first one may learn a nonce only
        await peer.credentials()
    return list(peer.ledger.signed)[-1]


async def _not_good(peer: Peer, code: str | None, verdict: Verdict, what: str) -> None:
    if code is None:
        verdict.broken("R13", f"there was not even {what}")
    elif await peer.redeem(code):
        verdict.broken("R13", f"{what} was good")


def _replace_a_worker(server: FaultyServer) -> None:
    """A worker that starts sweeps at once, with the clock as it is now."""
    before = set(server.running.workers())
    server.kill("worker")
    wait_until(lambda: len(set(server.running.workers()) - before) == 1, 10.0, "another worker")
    with contextlib.suppress(AssertionError):  # it may have nothing to say
        wait_until(lambda: False, 1.5)
