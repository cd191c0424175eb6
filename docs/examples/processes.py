"""The demo's processes: started on free ports with their output in files, and stopped whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.error import URLError
from urllib.request import urlopen

_STOP_SECONDS: Final = 20.0
_COMMAND_SECONDS: Final = 60.0
_START_SECONDS: Final = 60.0
_LOG_TAIL: Final = 4000


class ProcessFailed(Exception):
    """A process did not do its part; what it said last is in the message."""


def free_port() -> int:
    """A port that nobody listens on at the moment, nor on the next one, where clients show certificates."""
    while True:
        with socket.socket() as probe, socket.socket() as next_one, contextlib.suppress(OSError, OverflowError):
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            next_one.bind(("127.0.0.1", port + 1))
            return port


class Processes:
    """Runs commands in one directory; use as a context manager, so that nothing outlives it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def command(self, *arguments: str, stdin: str | None = None) -> str:
        """Run `fapi-as ARGUMENTS` and give what it printed.

        Raises:
            ProcessFailed: it said no.
        """
        done = subprocess.run(  # noqa: S603 - our own program with our own arguments
            [sys.executable, "-m", "fapi_as", *arguments],
            cwd=self._directory,
            env=_environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise ProcessFailed(f"fapi-as {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def command_json(self, *arguments: str, stdin: str | None = None) -> object:
        """Run `fapi-as ARGUMENTS --json` and give the document it printed.

        Raises:
            ProcessFailed: it said no, or printed no JSON.
        """
        printed = self.command(*arguments, "--json", stdin=stdin)
        try:
            return json.loads(printed)
        except ValueError:
            raise ProcessFailed(f"fapi-as {' '.join(arguments)} printed no JSON: {printed[:200]!r}") from None

    def start(self, name: str, *arguments: str) -> None:
        """Start `python ARGUMENTS` and leave it running."""
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 - our own program with our own arguments
                [sys.executable, *arguments],
                cwd=self._directory,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops them in order
            )

    def wait_until_ready(self, addresses: dict[str, str], trust: ssl.SSLContext) -> None:
        """Wait until each process answers at its address with 200.

        Raises:
            ProcessFailed: one ended, or took too long.
        """
        deadline = time.monotonic() + _START_SECONDS
        for name, address in addresses.items():
            while not _answers(address, trust):
                if self._running[name].poll() is not None:
                    raise ProcessFailed(f"{name} ended with {self._running[name].returncode} at start")
                if time.monotonic() > deadline:
                    raise ProcessFailed(f"{name} did not answer at {address} in {_START_SECONDS:.0f} s")
                time.sleep(0.02)

    def stop(self) -> None:
        """Ask every process to stop, and make those that do not."""
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self._running.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def logs(self) -> str:
        """The end of what each process said, for a person who wants to know why it went wrong."""
        parts = []
        for name in self._running:
            said = self._log(name).read_text("utf-8", "replace")[-_LOG_TAIL:]
            parts.append(f"--- {name}\n{said}")
        return "\n".join(parts)

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"


def _environment() -> dict[str, str]:
    """Ours without settings that would change what the demo shows."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FAPI_AS__")}


def _answers(address: str, trust: ssl.SSLContext) -> bool:
    try:
        with urlopen(address, timeout=2.0, context=trust) as response:  # noqa: S310 - https, chosen by the demo
            return bool(response.status == 200)  # noqa: PLR2004 - the status itself
    except (URLError, OSError):
        return False
