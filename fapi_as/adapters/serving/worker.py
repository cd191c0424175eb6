"""One worker process: it builds the application, listens on its own SO_REUSEPORT sockets and drains when told to.

It talks with its supervisor over one socket: the plan comes in, "ready" goes out, and the end of the stream means
stop, so that a worker never outlives its supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import resource
import signal
import socket
import sys
from typing import Final, cast

from fapi_as.adapters.serving.plan import ServePlan
from rs_kit.adapters.hypercorn import Application, ListenerConfig, runner, serve

READY: Final = b"ready\n"
_LINE_LIMIT: Final = 64 * 1024
_BODY_SECONDS: Final = 16.0  # a second after the application's own limit, whose answer has a code and a sentence
_FAILED: Final = 1
_YOUNG_OBJECTS: Final = 10_000  # between two passes of the garbage collector

_logger: Final = logging.getLogger("fapi_as.worker")


def main(descriptor: int) -> int:
    """Serve until the supervisor closes its end or SIGTERM comes; the exit code is 0 after a graceful stop."""
    # Ctrl-C reaches the whole group: the supervisor alone decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold keys in clear (LOG-14)
    _raise_descriptor_limit()
    with socket.socket(fileno=descriptor) as control:
        plan = ServePlan.from_line(_first_line(control))
        try:
            application = _load(plan)
            _settle_garbage_collector()
            with runner() as loop_runner:
                loop_runner.run(_serve(application, plan, control))
        except Exception:
            _logger.exception("the worker cannot serve")
            return _FAILED
    return 0


def _load(plan: ServePlan) -> Application:
    module, _, function = plan.application.partition(":")
    return cast(Application, getattr(importlib.import_module(module), function)(plan.argument))


def _settle_garbage_collector() -> None:
    # what start has made stays for good; requests make short-lived objects without cycles
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])


async def _serve(application: Application, plan: ServePlan, control: socket.socket) -> None:
    shutdown = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, shutdown.set)
    control.settimeout(0)
    loop.add_reader(control, _stop_at_end, control, shutdown)
    configs = [
        ListenerConfig(
            host=address.host,
            port=address.port,
            certfile=address.certfile,
            keyfile=address.keyfile,
            client_certificates=address.client_certificates,
            reuse_port=True,
            body_bytes=plan.body_bytes,
            body_seconds=_BODY_SECONDS,
            graceful_seconds=plan.graceful_seconds,
        )
        for address in plan.addresses
    ]
    try:
        await serve(application, configs, shutdown, ready=lambda *_: control.sendall(READY))
    finally:
        loop.remove_reader(control)


def _stop_at_end(control: socket.socket, shutdown: asyncio.Event) -> None:
    with contextlib.suppress(BlockingIOError):
        if not control.recv(_LINE_LIMIT):
            asyncio.get_running_loop().remove_reader(control)
            shutdown.set()


def _first_line(control: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < _LINE_LIMIT and (more := control.recv(_LINE_LIMIT)):
        line += more
    return line


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
