"""Real servers as subprocesses: start in a scratch directory, wait until they say they are ready, stop, measure."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
READY: Final = re.compile(r"^serving (\S+)$", re.MULTILINE)  # what `fapi-as serve` prints per address
_POLL_SECONDS: Final = 0.02
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class NotReady(AssertionError):
    """The process ended, or did not say in time that it is ready."""


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at this moment, nor on the next one, where `init` puts the second address."""
    while True:
        with socket.socket() as probe, socket.socket() as next_probe, contextlib.suppress(OSError, OverflowError):
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
            next_probe.bind((host, port + 1))
            return port


def wait_until(happened: Callable[[], object], seconds: float = 10.0, what: str = "it") -> None:
    """Real processes need real time: look again and again, and fail by name."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(_POLL_SECONDS)


@dataclass(kw_only=True)
class Server:
    """One running server (with its children) and what it wrote."""

    process: subprocess.Popen[bytes]
    directory: Path
    addresses: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The first address that it printed."""
        return self.addresses[0]

    @property
    def port(self) -> int:
        """The port of that address."""
        return int(self.address.rsplit(":", 1)[1].partition("/")[0])

    @property
    def output(self) -> str:
        return (self.directory / "stdout.txt").read_text(encoding="utf-8")

    @property
    def errors(self) -> str:
        return (self.directory / "stderr.txt").read_text(encoding="utf-8")

    def workers(self) -> list[int]:
        """The process ids of its children."""
        return children(self.process.pid)

    def cpu_seconds(self) -> float:
        """What the whole process tree has used so far."""
        return sum(cpu_seconds(pid) for pid in (self.process.pid, *descendants(self.process.pid)))

    def signal(self, number: int) -> None:
        """Tell the parent alone."""
        self.process.send_signal(number)

    def signal_group(self, number: int) -> None:
        """Tell the whole group, as a service manager or a terminal does."""
        os.killpg(self.process.pid, number)

    def wait(self, seconds: float = 20.0) -> int:
        """The exit code."""
        return self.process.wait(seconds)

    def stop(self, seconds: float = 20.0) -> int:
        """Ask it to end and give its exit code; the group is killed when it does not."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                self.signal_group(signal.SIGKILL)
            self.process.wait()


@contextlib.contextmanager
def running(
    command: Sequence[str],
    directory: Path,
    *,
    environment: Mapping[str, str] | None = None,
    ready: re.Pattern[str] = READY,
    seconds: float = 30.0,
) -> Iterator[Server]:
    """Start a server in its own process group and scratch directory, give it once it is ready, stop it afterwards."""
    server = start(command, directory, environment=environment)
    try:
        await_ready(server, ready=ready, seconds=seconds)
        yield server
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.stop()


def start(command: Sequence[str], directory: Path, *, environment: Mapping[str, str] | None = None) -> Server:
    """Start without waiting; whoever calls this stops it."""
    with (directory / "stdout.txt").open("wb") as out, (directory / "stderr.txt").open("wb") as err:
        process = subprocess.Popen(
            list(command),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            start_new_session=True,
        )
    return Server(process=process, directory=directory)


def await_ready(server: Server, *, ready: re.Pattern[str] = READY, seconds: float = 30.0) -> None:
    """Wait for the lines that tell its addresses."""
    end = time.monotonic() + seconds
    while not (found := ready.findall(server.output)):
        if server.process.poll() is not None:
            raise NotReady(f"ended with {server.process.returncode}: {server.errors}")
        if time.monotonic() > end:
            raise NotReady(f"not ready after {seconds} s: {server.output} {server.errors}")
        time.sleep(_POLL_SECONDS)
    server.addresses = found


def supervised(
    application: str,
    argument: str,
    *,
    workers: int = 1,
    host: str = "127.0.0.1",
    port: int = 0,
    certfile: str | None = None,
    keyfile: str | None = None,
    mutual_tls: bool = False,
    mutual_tls_port: int = 0,
    graceful_seconds: float = 15.0,
) -> list[str]:
    """The command that serves one application under our supervisor, as `fapi-as serve` does.

    With `mutual_tls` also on a second port, where peers are asked for certificates.
    """
    address = {"host": host, "port": port, "certfile": certfile, "keyfile": keyfile}
    asking = [{**address, "port": mutual_tls_port, "client_certificates": True}] if mutual_tls else []
    members = {"application": application, "argument": argument, "graceful_seconds": graceful_seconds}
    code = (
        "import sys; from fapi_as.adapters.serving.plan import Address, ServePlan; "
        "from fapi_as.adapters.serving.supervisor import supervise; "
        f"addresses = tuple(Address(**members) for members in {[address, *asking]!r}); "
        f"sys.exit(supervise(ServePlan(addresses=addresses, **{members!r}), {workers}))"
    )
    return [sys.executable, "-c", code]


def children(pid: int) -> list[int]:
    """The direct children of a process, in no order."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def descendants(pid: int) -> list[int]:
    """All processes below a process."""
    return [below for child in children(pid) for below in (child, *descendants(child))]


def cpu_seconds(pid: int) -> float:
    """Own time, to the nanosecond, and that of children which ended and were waited for, in ticks."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        own = time.clock_gettime(~pid << 3 | 2)  # the CPU clock of another process, as clock_getcpuclockid(3) makes it
    except OSError:
        return 0.0
    return own + sum(int(ticks) for ticks in fields[13:15]) / _TICKS
