"""The power is cut under load: a file system that stops between two writes, and what is found on it afterwards.

The server's data lies on a file system of its own, in an image on a loop device. The kernel is told to shut that file
system down at once and to flush nothing (the ioctl that the tests of ext4 and xfs themselves use): what had reached
the disk is there, and what was only in memory is lost, as when the machine stops. Then it is mounted anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.campaign import Verdict, judge_stored, recovery_seconds, under_load
from tests.faults.faulty_server import FaultyServer, installed
from tests.faults.peers import Ledger, look_again, sign_in
from tests.support.history import Outcome
from tests.support.processes import wait_until

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, _IOR('X', 125, __u32)
_FLUSH_NOTHING = struct.pack("I", 2)
_IMAGE_BYTES = 320 * 1024 * 1024  # xfs takes no less than 300 MiB; the image has holes, and little is written
_BEFORE_SECONDS = 1.0
_DARK_SECONDS = 0.5
_RECOVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system in an image, mounted where the database lies."""

    kind: str
    image: Path
    place: Path

    def mount(self) -> None:
        """Mount it; its own log is played back, as after a power cut."""
        subprocess.run(["mount", "-t", self.kind, "-o", "loop", self.image, self.place], check=True)

    def unmount(self) -> None:
        """Take it away; the last files of killed processes are closed a moment after their end."""
        command = ["umount", str(self.place)]
        wait_until(lambda: subprocess.run(command, check=False, capture_output=True).returncode == 0, 10.0, "umount")

    def cut_power(self) -> None:
        """From now on nothing reaches the disk."""
        folder = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, _FLUSH_NOTHING)
        finally:
            os.close(folder)


@contextlib.contextmanager
def disk(kind: str) -> Iterator[Disk]:
    """A fresh one, mounted; whatever happens, it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="faults-power-") as scratch:
        made = Disk(kind, Path(scratch, "image"), Path(scratch, "disk"))
        made.place.mkdir()
        with made.image.open("wb") as image:
            image.truncate(_IMAGE_BYTES)
        subprocess.run([f"mkfs.{kind}", "-q", made.image], check=True)
        made.mount()
        try:
            yield made
        finally:
            subprocess.run(["umount", "--lazy", made.place], check=False)


async def power_lost(kind: str, rounds: int, *, tree: Path | None = None) -> Verdict:
    """Nothing that was acknowledged before the lights went out may be missing when they are on again (STO-06)."""
    began, verdict, ledger = time.monotonic(), Verdict(name=f"power lost on {kind}"), Ledger()
    with disk(kind) as data, installed(workers=2, data=data.place, tree=tree) as server:
        server.start()
        await sign_in(server.site, ledger)
        for number in range(rounds):
            held = len(ledger.held)

            async def fault() -> None:
                await asyncio.sleep(_BEFORE_SECONDS)
                await asyncio.to_thread(data.cut_power)
                await asyncio.sleep(_DARK_SECONDS)

            await under_load(server, ledger, fault, seed=number)
            await _power_is_back(server, data, ledger, verdict)
            await look_again(server.site, ledger, after=held, limit=20)
            print(f"  {verdict.name} round {number + 1}: {len(ledger.history.operations)} operations", flush=True)
        if not ledger.history.outcomes()[Outcome.UNAVAILABLE]:
            verdict.broken("FAULT", "nothing was turned away: the power was not cut")
        # what was under way when it was cut may have been kept all the same, and the answer told of a failure
        judge_stored(server, ledger, verdict, unavailable_may_be_kept=True)
        server.stop()
    verdict.rounds, verdict.seconds = rounds, time.monotonic() - began
    return verdict


async def _power_is_back(server: FaultyServer, data: Disk, ledger: Ledger, verdict: Verdict) -> None:
    server.kill("group")
    data.unmount()
    data.mount()
    server.start()
    seconds = await recovery_seconds(server, ledger, _RECOVERY_SECONDS)
    verdict.recovered_seconds = max(verdict.recovered_seconds, seconds)
    if seconds == float("inf"):
        verdict.broken("R10", f"no service {_RECOVERY_SECONDS} s after the power was back")
