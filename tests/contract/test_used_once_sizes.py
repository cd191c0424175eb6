"""What replay stores cost while proofs keep coming: as many entries as count, and room for no more than a fifth on top.

The stores are driven by a moved clock: 60,000 proofs in `make test`, 1,000,000 with LOAD=full (`make load`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.adapters.used_once_sqlite import SqliteUsedOnce
from rs_kit.ports import UsedOnce

FULL: Final = os.environ.get("LOAD") == "full"
PROOFS: Final = 1_000_000 if FULL else 60_000
RATE: Final = 2_000 if FULL else 300  # a second
WINDOW: Final = 61  # seconds that a proof made now is kept: 60 of age, and its last second (DPOP-12)
COUNTED: Final = RATE * WINDOW
NOW: Final = 1_790_000_000
TOGETHER: Final = 250


def digest(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


async def seconds(store: UsedOnce) -> AsyncIterator[int]:
    """RATE proofs in each second until PROOFS have come; gives how many seconds have passed."""
    for second in range(PROOFS // RATE):
        now, start = NOW + second, second * RATE
        for first in range(start, start + RATE, TOGETHER):
            numbers = range(first, min(first + TOGETHER, start + RATE))
            uses = [store.take("https://mcp.bank.example/mcp", digest(n), until=now + WINDOW, now=now) for n in numbers]
            assert all(await asyncio.gather(*uses))
        yield second


def report(name: str, least: float, most: float) -> None:
    print(f"{name}: {PROOFS} proofs, {RATE} a second: {least:.0f} to {most:.0f} bytes for each that counts")


@pytest.mark.attack("DPR-25")
async def test_the_memory_store_holds_what_counts_and_no_more() -> None:
    store = MemoryUsedOnce()
    sizes: list[int] = []
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        async for second in seconds(store):
            assert len(store) <= COUNTED * 1.2
            if second >= WINDOW - 1:  # the first: exactly the proofs that count
                sizes.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    report("memory", sizes[0] / COUNTED, max(sizes) / COUNTED)
    assert max(sizes) <= sizes[0] * 1.2
    assert max(sizes) <= COUNTED * 200 * 1.2  # bytes that an entry may cost, said in used_once_memory


async def test_the_sqlite_store_holds_what_counts_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "used-once.db"
    sizes: list[int] = []
    filled = 0
    async with contextlib.aclosing(SqliteUsedOnce(path)) as store:
        with contextlib.closing(sqlite3.connect(path)) as reader:
            async for second in seconds(store):
                if second % 10 == 9 or second == WINDOW - 1:
                    pages, held = (
                        reader.execute(f"SELECT {what}").fetchone()[0]
                        for what in ("page_count FROM pragma_page_count", "count(*) FROM used_once")
                    )
                    assert held <= COUNTED * 1.2
                    sizes.append(pages * 4096)
                    assert log_size(path) <= 8 * 1024 * 1024
                if second == WINDOW - 1:
                    filled = sizes[-1]  # exactly the proofs that count
    report("sqlite", filled / COUNTED, max(sizes) / COUNTED)
    assert file_size(path) == max(sizes) <= filled * 1.2
    assert max(sizes) <= COUNTED * 64 * 1.2  # bytes that an entry costs, said in used_once_sqlite


def file_size(path: Path) -> int:
    return path.stat().st_size


def log_size(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size
