"""Keeps the workers: starts them, replaces one that dies, and stops all without dropping a request in flight.

Hypercorn's own supervision shares one listening socket, loses requests on SIGTERM and ends with exit code 0 when a
worker is killed. Here each worker has its own SO_REUSEPORT socket, so that the kernel spreads the connections, and the
supervisor only holds the ports.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Final, cast

from fapi_as.adapters.serving.plan import Address, ServePlan
from rs_kit.adapters.listener.sockets import bind

_STABLE_SECONDS: Final = 5.0  # a worker that lived so long did not fail because of its start
_CRASH_LIMIT: Final = 5
_BACK_OFF_SECONDS: Final = 0.05  # doubled with every crash that follows another
_DOUBLINGS: Final = 6  # 3 s: while others serve, a start that fails is tried again and again
_KILL_AFTER_SECONDS: Final = 5.0  # after the graceful time, which the worker itself keeps
_STOPPED: Final = 0
_FAILED: Final = 1
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_logger: Final = logging.getLogger("fapi_as.supervisor")


@dataclass(slots=True, kw_only=True)
class Worker:
    """One process and our end of the socket to it."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    started: float
    ready: bool = False


def supervise(plan: ServePlan, workers: int) -> int:
    """Run that many workers until SIGTERM or SIGINT; gives the exit code.

    The addresses are printed once every worker accepts connections. A second SIGINT ends everything at once.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold keys in clear (LOG-14)
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        for address in plan.addresses:
            try:
                sockets = _hold_port(address)
            except OSError as error:
                sys.stderr.write(f"cannot listen on {address.host} port {address.port}: {error.strerror or error}\n")
                return _FAILED
            for bound in sockets:
                held.enter_context(bound)
            ports.append(sockets[0].getsockname()[1])
        selector = held.enter_context(selectors.DefaultSelector())
        supervisor = Supervisor(plan.on(ports), workers, selector)
        held.enter_context(supervisor.signals())
        return supervisor.run()


def _hold_port(address: Address) -> list[socket.socket]:
    # SO_REUSEPORT would let a second server share the port of the first in silence: without it, the port must be free
    if address.port:
        for bound in bind(address.host, address.port):
            bound.close()
    # bound and not listening: the port stays ours while workers come and go
    return bind(address.host, address.port, reuse_port=True)


class Supervisor:
    """The loop of the parent process; it loads no application and serves nothing itself."""

    def __init__(self, plan: ServePlan, wanted: int, selector: selectors.BaseSelector) -> None:
        self._plan = plan
        self._wanted = wanted
        self._selector = selector
        self._workers: list[Worker] = []
        self._due = [0.0] * wanted  # when workers that are missing start
        self._crashes = 0
        self._announced = False
        self._stop_signals: list[int] = []
        self._failed = False

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Note stop signals and wake the loop."""
        ours, woken = socket.socketpair()
        for end in (ours, woken):
            end.settimeout(0)

        def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
            self._stop_signals.append(number)

        before = {number: signal.signal(number, note) for number in _SIGNALS}
        wakeup = signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
        self._selector.register(woken, selectors.EVENT_READ)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            ours.close()
            woken.close()

    def run(self) -> int:
        """Keep the workers until a signal, then stop them."""
        while not self._stop_signals and not self._failed:
            now = time.monotonic()
            for moment in [moment for moment in self._due if moment <= now]:
                self._due.remove(moment)
                self._start()
            for worker in self._heard(min(self._due) - now if self._due else None):
                if worker.ready:
                    self._announce()
                else:
                    self._replace(worker)
        return self._stop()

    def _start(self) -> None:
        worker = _spawn(self._plan)
        self._workers.append(worker)
        self._selector.register(worker.control, selectors.EVENT_READ, worker)

    def _heard(self, seconds: float | None) -> list[Worker]:
        """Workers that said they are ready, and workers that ended (those are off the list, and not ready)."""
        heard: list[Worker] = []
        for key, _ in self._selector.select(None if seconds is None else max(0.0, seconds)):
            said = _received(cast(socket.socket, key.fileobj))
            if not isinstance(key.data, Worker):
                continue  # a signal woke us
            worker = key.data
            if not said:
                self._selector.unregister(worker.control)
                worker.control.close()
                self._workers.remove(worker)
            worker.ready = bool(said)
            heard.append(worker)
        return heard

    def _announce(self) -> None:
        if not self._announced and sum(worker.ready for worker in self._workers) == self._wanted:
            self._announced = True
            for url in self._plan.told or [address.url for address in self._plan.addresses]:
                sys.stdout.write(f"serving {url}\n")
            sys.stdout.flush()

    def _replace(self, worker: Worker) -> None:
        """Decide when another takes the place of one that ended, or that it is no use."""
        code = worker.process.wait()
        if self._stop_signals:
            return
        if not self._announced:
            # what fails before the first request fails again: a person must look
            sys.stderr.write(f"a worker ended with code {code} before it was ready\n")
            self._failed = True
            return
        stable = time.monotonic() - worker.started >= _STABLE_SECONDS
        self._crashes = 0 if code == 0 else 1 if stable else self._crashes + 1
        # whoever serves goes on serving: a file that is wrong for the next start is right for those who have read it
        if self._crashes > _CRASH_LIMIT and not any(left.ready for left in self._workers):
            sys.stderr.write(f"{self._crashes} workers ended one after the other, the last with code {code}\n")
            self._failed = True
            return
        _logger.warning("worker %d ended with code %d and is replaced", worker.process.pid, code)
        back_off = _BACK_OFF_SECONDS * 2 ** min(self._crashes, _DOUBLINGS) if self._crashes > 1 else 0.0
        self._due.append(time.monotonic() + back_off)

    def _stop(self) -> int:
        """Let every worker answer what it has, then end; whoever overstays is killed."""
        end = time.monotonic() + self._plan.graceful_seconds + _KILL_AFTER_SECONDS
        stopped = [(worker, worker.ready) for worker in self._workers]
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.control.shutdown(socket.SHUT_WR)  # the worker reads the end of the stream and drains
        while self._workers:
            left = end - time.monotonic()
            if left <= 0 or self._stop_signals.count(signal.SIGINT) > 1:
                for worker in self._workers:
                    worker.process.kill()
                left = _KILL_AFTER_SECONDS
            self._heard(left)
        # one that was still starting may die of the signal itself; it had nothing to finish
        codes = [worker.process.wait() for worker, ready in stopped if worker.process.wait() != 0 and ready]
        return _FAILED if codes or self._failed else _STOPPED


def _spawn(plan: ServePlan) -> Worker:
    ours, theirs = socket.socketpair()
    with theirs:
        # -P: what lies in the directory where a command was typed is no module of ours
        command = [sys.executable, "-P", "-m", "fapi_as.adapters.serving.worker", str(theirs.fileno())]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, env=environment
        )
    with contextlib.suppress(OSError):  # one that died already is seen as such
        ours.sendall(plan.to_line())
    return Worker(process=process, control=ours, started=time.monotonic())


def _received(control: socket.socket) -> bytes:
    try:
        return control.recv(4096)
    except OSError:
        return b""
