"""Agent processes that share one token store at a real authorization server; any of them may be killed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.agent_desk import NATIVE, Desk
from tests.support.processes import ROOT


@dataclass(kw_only=True)
class Member:
    """One agent process and what it printed."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    killed: bool = False

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Status and token of each call, whole lines only."""
        lines = self.out.read_text(encoding="ascii").splitlines(keepends=True)
        return [(line.split()[0], line.split()[1]) for line in lines if line.endswith("\n")]


@dataclass(kw_only=True)
class Crowd:
    """The processes of one run."""

    desk: Desk
    directory: Path
    members: list[Member] = field(default_factory=list)

    @property
    def until(self) -> Path:
        return self.directory / "stop"

    def join(self, **more: Any) -> Member:
        """Start one more process."""
        told = {
            "issuer": self.desk.server.issuer,
            "resource": self.desk.resource,
            "client_id": NATIVE,
            "key": str(self.desk.directory / "key.pem"),
            "kid": "desk",
            "ca": str(self.desk.authorities),
            "store": str(self.desk.store),
            "until": str(self.until),
            **more,
        }
        number = len(self.members)
        out, err = self.directory / f"{number}.out", self.directory / f"{number}.err"
        with out.open("wb") as to_out, err.open("wb") as to_err:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.agent_process", json.dumps(told)],
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=to_out,
                stderr=to_err,
            )
        member = Member(process=process, out=out, err=err)
        self.members.append(member)
        return member

    def tokens(self) -> set[str]:
        """Every access token that some call went through with."""
        return {token for member in self.members for _, token in member.calls}

    def running(self) -> list[Member]:
        """Those that nobody killed and that did not end."""
        return [member for member in self.members if member.process.poll() is None and not member.killed]

    def kill(self, member: Member) -> None:
        """As the kernel does when memory ends."""
        member.killed = True
        member.process.kill()
        member.process.wait(20)

    def end(self) -> None:
        """Let all end by themselves; each must have gone well to the last call."""
        self.until.touch()
        for member in self.members:
            code = member.process.wait(30)
            assert member.killed or code == 0, f"{code}: {member.err.read_text(encoding='utf-8')}"
            assert {status for status, _ in member.calls} <= {"200"}


@contextlib.contextmanager
def crowd(desk: Desk, directory: Path) -> Iterator[Crowd]:
    """Nobody yet; whoever joins is gone at the end."""
    together = Crowd(desk=desk, directory=directory)
    try:
        yield together
    finally:
        for member in together.members:
            member.process.kill()
            member.process.wait(20)
