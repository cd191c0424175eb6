"""Storage that fails under load: a full disk, errors from the kernel, a lock that somebody else holds."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.campaign import Verdict, judge, judge_stored, recovery_seconds, under_load, watch_reads
from tests.faults.faulty_server import FaultyServer, installed
from tests.faults.peers import Ledger, look_again, sign_in
from tests.support.history import Outcome

_DISK = "4m"
_FILE_SIZE = 64 * 1024
_BEFORE_SECONDS = 1.0
_AFTER_SECONDS = 0.5
_LOCK_ANSWER_SECONDS = 6.5  # STO-04: within 6 s, and half a second for a busy machine
_READ_SECONDS = 0.2  # p99
_RECOVERY_SECONDS = 5.0


async def disk_full(rounds: int, *, full_seconds: float = 3.0) -> Verdict:
    """A 4 MB tmpfs is filled to the last byte and freed again (STO-01, R7)."""
    began, verdict, ledger = time.monotonic(), Verdict(name="disk full"), Ledger()
    with _small_disk() as disk, installed(workers=2, data=disk) as server:
        server.start()
        await sign_in(server.site, ledger)
        for number in range(rounds):

            async def fault() -> None:
                await asyncio.sleep(_BEFORE_SECONDS)
                filler = disk / "filler"
                await asyncio.to_thread(_fill, filler)
                await asyncio.sleep(full_seconds)
                filler.unlink()

            await under_load(server, ledger, fault, seed=number)
            await _recovered(server, ledger, verdict)
            _progress("disk full", number, ledger)
        _has_bitten(ledger, verdict)
        await judge(server, ledger, verdict, unavailable_may_be_kept=False)
    verdict.rounds, verdict.seconds = rounds, time.monotonic() - began
    return verdict


async def database_locked(rounds: int, *, held_seconds: float = 30.0, tree: Path | None = None) -> Verdict:
    """Another process holds the writer lock (STO-04, R9): writes are turned away in time, reads do not notice."""
    began, verdict, ledger = time.monotonic(), Verdict(name="database locked"), Ledger()
    with installed(workers=2, tree=tree) as server:
        server.start()
        await sign_in(server.site, ledger)
        seen: list[tuple[int, float]] = []
        for number in range(rounds):

            async def fault() -> None:
                await asyncio.sleep(_BEFORE_SECONDS)
                stop = asyncio.Event()
                reading = asyncio.create_task(watch_reads(server, stop))
                with contextlib.closing(sqlite3.connect(server.database, isolation_level=None)) as holder:
                    holder.execute("BEGIN EXCLUSIVE")
                    await asyncio.sleep(held_seconds)
                    holder.execute("ROLLBACK")
                stop.set()
                seen.extend(await reading)

            await under_load(server, ledger, fault, seed=number)
            await _recovered(server, ledger, verdict)
            _progress("database locked", number, ledger)
        _judge_lock(ledger, seen, verdict)
        _has_bitten(ledger, verdict)
        await judge(server, ledger, verdict, unavailable_may_be_kept=False)
    verdict.rounds, verdict.seconds = rounds, time.monotonic() - began
    return verdict


def _judge_lock(ledger: Ledger, seen: Sequence[tuple[int, float]], verdict: Verdict) -> None:
    durations = sorted(seconds for _, seconds in seen)
    p99 = durations[len(durations) * 99 // 100]
    verdict.note = f"reads meanwhile: {len(seen)}, p99 {1000 * p99:.0f} ms"
    if p99 > _READ_SECONDS or any(status != 200 for status, _ in seen):
        verdict.broken("R9", f"reads were disturbed: {verdict.note}")
    for operation in ledger.history.operations:
        if operation.outcome is Outcome.UNAVAILABLE and operation.waited > _LOCK_ANSWER_SECONDS:
            verdict.broken("R9", f"{operation.kind} was turned away after {operation.waited:.1f} s only")


async def file_size_limited(rounds: int, *, limited_seconds: float = 2.0) -> Verdict:
    """No file may grow beyond 64 KiB for a while (STO-03, RLIMIT_FSIZE): as a full disk, and needs no root."""
    began, verdict, ledger = time.monotonic(), Verdict(name="file size limited"), Ledger()
    with installed(workers=2) as server:
        server.start()
        await sign_in(server.site, ledger)
        for number in range(rounds):

            async def fault() -> None:
                await asyncio.sleep(_BEFORE_SECONDS)
                before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in server.running.workers()}
                for pid, (_, hard) in before.items():
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, (_FILE_SIZE, hard))
                await asyncio.sleep(limited_seconds)
                for pid, limits in before.items():
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)

            await under_load(server, ledger, fault, seed=number)
            await _recovered(server, ledger, verdict)
            _progress("file size limited", number, ledger)
        _has_bitten(ledger, verdict)
        await judge(server, ledger, verdict, unavailable_may_be_kept=False)
    verdict.rounds, verdict.seconds = rounds, time.monotonic() - began
    return verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """System calls that fail, and whether what they carried may have been kept all the same."""

    name: str
    calls: str
    error: str
    when: str
    may_be_kept: bool

    def wrapper(self) -> list[str]:
        rule = f"inject={self.calls}:error={self.error}:when={self.when}"
        return [
            "strace",
            "-D",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"trace={self.calls}",
            "-e",
            rule,
        ]


# `when` counts for each process: its start may open the database as often as it likes, what serves must fail
EIO = Injection(name="EIO on fsync", calls="fdatasync,fsync", error="EIO", when="20+5", may_be_kept=True)
ENOSPC = Injection(name="ENOSPC on pwrite64", calls="pwrite64", error="ENOSPC", when="150+7", may_be_kept=False)


async def injected(injection: Injection, rounds: int, *, seconds: float = 4.0, tree: Path | None = None) -> Verdict:
    """Every few calls fail in all processes of the server (STO-02, STO-03, R8); then it runs without the tracer."""
    began, verdict, ledger = time.monotonic(), Verdict(name=injection.name), Ledger()
    with installed(workers=2, tree=tree) as server:
        server.start()  # the database is made before anything fails
        await sign_in(server.site, ledger)
        server.stop()
        server.wrapper = injection.wrapper()
        for number in range(rounds):
            server.start()
            await under_load(server, ledger, lambda: asyncio.sleep(seconds), seed=number)
            code = server.running.process.poll()
            if code == 0:
                verdict.broken("R8", "the server ended with code 0 in the middle of its work")
            server.kill("group")
            server.start(wrapped=False)
            await _recovered(server, ledger, verdict)
            await look_again(server.site, ledger, limit=20)
            _progress(injection.name, number, ledger)
            if number + 1 < rounds:
                server.stop()
        _has_bitten(ledger, verdict)
        judge_stored(server, ledger, verdict, unavailable_may_be_kept=injection.may_be_kept)
    verdict.rounds, verdict.seconds = rounds, time.monotonic() - began
    return verdict


async def _recovered(server: FaultyServer, ledger: Ledger, verdict: Verdict) -> None:
    seconds = await recovery_seconds(server, ledger, 2 * _RECOVERY_SECONDS)
    verdict.recovered_seconds = max(verdict.recovered_seconds, seconds)
    if seconds > _RECOVERY_SECONDS:
        verdict.broken("R7", f"service came back after {seconds} s, not within {_RECOVERY_SECONDS} s")


def _has_bitten(ledger: Ledger, verdict: Verdict) -> None:
    # a fault that nobody notices proves nothing; or it shows that durability is not asked for
    if not ledger.history.outcomes()[Outcome.UNAVAILABLE]:
        verdict.broken("FAULT", "nothing was turned away: the fault did not reach the server")


@contextlib.contextmanager
def _small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="faults-disk-") as scratch:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=0700", "tmpfs", scratch], check=True)
        try:
            yield Path(scratch)
        finally:
            # lazily: also when a process of the server still holds a file there
            subprocess.run(["umount", "--lazy", scratch], check=True)


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        size = 65536
        while size:
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                pass
            size //= 2


def _progress(name: str, number: int, ledger: Ledger) -> None:
    counted = ledger.history.outcomes()
    print(
        f"  {name} round {number + 1}: {counted[Outcome.OK]} ok, {counted[Outcome.UNAVAILABLE]} times 503", flush=True
    )
