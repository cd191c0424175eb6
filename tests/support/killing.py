"""A process that dies by kill -9 at its n-th step: each statement of SQLite, and each place that waits."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sqlite3
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from fapi_as.adapters.store import database

Step = Callable[[], None]


@types.coroutine
def stepping(coroutine: Coroutine[Any, None, Any], step: Step) -> Generator[Any, None, Any]:
    """Run it, with a step at each place that waits."""
    while True:
        step()
        try:
            waited_for = coroutine.send(None)
        except StopIteration as ended:
            step()
            return ended.value
        yield waited_for


def killed_at(number: int, act: Callable[[Step], Coroutine[Any, None, bool]]) -> bool | None:
    """What an act answers in a child that dies at its n-th step; None when it died before it had its answer."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        seen = itertools.count(1)

        def step(_: object = None) -> None:
            if next(seen) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        connect = database.connect

        def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **options)
            connection.set_trace_callback(step)
            return connection

        database.connect = traced  # in the child only
        os.write(writing, str(int(asyncio.run(act(step)))).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answers:
        answered = answers.read()
    os.waitpid(child, 0)
    return bool(int(answered)) if answered else None
