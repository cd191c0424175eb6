"""The whole server as processes that are killed, started again, wrapped by a tracer or given another clock."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.peers import Site
from tests.support.authorization_server import Registered, register
from tests.support.processes import Server, await_ready, descendants, start, wait_until

CLIENTS = 4


@dataclass(kw_only=True)
class FaultyServer:
    """One installation; `wrapper` stands before the command, `environment` goes around it."""

    registered: Registered
    database: Path
    workers: int
    wrapper: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    server: Server | None = None
    starts: int = 0

    @property
    def site(self) -> Site:
        return Site(
            issuer=self.registered.issuer,
            authority=self.registered.directory / "certs" / "ca.pem",
            client_keys=self.registered.client_keys,
        )

    @property
    def running(self) -> Server:
        assert self.server is not None, "not started"
        return self.server

    def start(self, *, wrapped: bool = True) -> None:
        """Start it and wait until it serves."""
        command = [*(self.wrapper if wrapped else ()), *self.registered.serving(self.workers)]
        self.starts += 1
        self.server = start(command, self.registered.directory, environment=self.environment)
        await_ready(self.server)

    def kill(self, target: str) -> None:
        """SIGKILL one worker, the supervisor alone, or the whole group."""
        server = self.running
        if target == "worker":
            workers = server.workers()
            if workers:
                # the oldest: a supervisor whose young workers end one after the other is right to give up
                os.kill(min(workers), signal.SIGKILL)
            return
        below = descendants(server.process.pid)
        if target == "supervisor":
            server.signal(signal.SIGKILL)
        else:
            server.signal_group(signal.SIGKILL)
        server.wait()
        wait_until(lambda: not any(_lives(pid) for pid in below), 25.0, "the end of the workers")
        self.server = None

    def stop(self) -> None:
        """Stop it as an operator does; afterwards nothing of it lives."""
        if self.server is not None:
            with contextlib.suppress(Exception):
                self.server.stop(25.0)
            self.server = None

    def log(self) -> str:
        return self.running.errors


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def installed(*, workers: int = 2, data: Path | None = None, tree: Path | None = None) -> Iterator[FaultyServer]:
    """A fresh installation in a scratch directory; whatever happens, its processes end.

    Args:
        workers: how many worker processes.
        data: where the database lies, if not in the scratch directory.
        tree: a copy of the packages that runs instead of ours.
    """
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        directory = Path(scratch)
        database = (data or directory) / "fapi-as.db"
        registered = register(directory, clients=CLIENTS, database=database)
        server = FaultyServer(registered=registered, database=database, workers=workers)
        if tree is not None:
            server.environment = {"PYTHONPATH": str(tree)}
        try:
            yield server
        finally:
            server.stop()
