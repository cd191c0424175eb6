"""Peers that hold connections open and send as little as they can, in a process of their own.

python -m tests.support.slow_peers '{"port": 8443, "heads": 1000, "bodies": 500, "silent": 200, "seconds": 60}'
prints one line when all have begun and one JSON object at the end. A peer that is cut off comes again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import ssl
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

READY = r"^(slow peers are there)$"
HEAD_PAUSE = 3.0  # seconds between two bytes of a head, HTT-16
BODY_PAUSE = 1.0  # between two pieces of a body
BODY_PIECE = b"a" * 10
_AT_ONCE = 4  # handshakes: more would be a flood of handshakes and not a test of slowness
_PAUSE = 3.0  # at most, until a peer that was cut off comes again


@dataclass(slots=True, kw_only=True)
class Plan:
    """How many peers of each kind, for how long."""

    port: int
    heads: int = 0
    bodies: int = 0
    silent: int = 0
    seconds: float = 60.0


@dataclass(slots=True)
class Peers:
    """Everybody, and what became of them."""

    plan: Plan
    counts: Counter[str] = field(default_factory=Counter)
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    begun: int = 0
    all_there: asyncio.Event = field(default_factory=asyncio.Event)
    end: float = 0.0

    async def run(self) -> None:
        plan = self.plan
        kinds = [("heads", self.slow_head)] * plan.heads + [("bodies", self.slow_body)] * plan.bodies
        kinds += [("silent", self.silence)] * plan.silent
        tasks = [asyncio.create_task(self.peer(name, behave)) for name, behave in kinds]
        await self.all_there.wait()
        print("slow peers are there", flush=True)
        self.end = time.monotonic() + plan.seconds
        await asyncio.sleep(plan.seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        print(json.dumps(self.counts), flush=True)

    async def peer(
        self, name: str, behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> None:
        first = True
        while True:
            try:
                async with self.gate:
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", self.plan.port, ssl=_TRUST, server_hostname="localhost"
                    )
            except OSError:
                self.counts[f"{name} refused"] += 1
                await asyncio.sleep(1.0)
                continue
            self.counts[f"{name} opened"] += 1
            if first:
                first = False
                self.begun += 1
                if self.begun == self.plan.heads + self.plan.bodies + self.plan.silent:
                    self.all_there.set()
            try:
                with contextlib.suppress(OSError):
                    await behave(reader, writer)
                    self.counts[f"{name} cut off"] += 1
            finally:
                writer.transport.abort()
            await asyncio.sleep(random.uniform(0.0, _PAUSE))

    async def slow_head(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST /token HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        await self.drip(reader, writer, [b"a"], HEAD_PAUSE)

    async def slow_body(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        writer.write(f"{head}Content-Length: 60000\r\n\r\n".encode())
        await self.drip(reader, writer, [BODY_PIECE], BODY_PAUSE)

    async def silence(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def drip(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pieces: Sequence[bytes], pause: float
    ) -> None:
        """Send a piece now and then until the other side has had enough."""
        ended = asyncio.create_task(reader.read())
        try:
            while not ended.done():
                for piece in pieces:
                    writer.write(piece)
                await asyncio.wait([ended], timeout=pause)
        finally:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)


def _trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # whom an attacker talks to is not checked here
    return context


_TRUST = _trust()

if __name__ == "__main__":
    # elsewhere peers have a machine of their own: here they take what the server and the good client leave
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    asyncio.run(Peers(Plan(**json.loads(sys.argv[1]))).run())
