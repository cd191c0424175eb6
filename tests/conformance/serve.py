"""The everything-server on a port: bare, or behind rs_kit with the shim in front of it that signs what the suite sends.

suite -- http --> shim (signs) -- https --> rs_kit's listener -> rs_kit -> the official SDK, unmodified
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trustme
import uvicorn
from starlette.types import ASGIApp

from rs_kit.adapters.hypercorn import ListenerConfig, serve
from rs_kit.adapters.mcp import protect
from rs_kit.adapters.observer import LoggingObserver
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.guard import Guard
from rs_kit.protocol.tool_policy import ToolPolicy
from rs_kit.testing import NONCE_KEY, TestIssuer
from tests.conformance.events import RememberedEvents
from tests.conformance.everything import everything
from tests.conformance.signing_proxy import SigningProxy
from tests.support.processes import free_port

SCOPE: Final = "conformance"
_NEEDED: Final = (SCOPE,)
METHODS: Final = ("prompts/get", "resources/read", "subscriptions/listen", "completion/complete")
OF_SESSIONS: Final = ("resources/subscribe", "resources/unsubscribe")  # gone in 2026-07-28
_RETRY_MILLISECONDS: Final = 100


def application() -> tuple[Any, list[str]]:
    """The unmodified application, and the names of its tools."""
    server = everything()
    app = server.streamable_http_app(event_store=RememberedEvents(), retry_interval=_RETRY_MILLISECONDS)
    return app, [tool.name for tool in server._tool_manager.list_tools()]


@asynccontextmanager
async def protected(public_port: int, directory: Path, *, sessions: bool) -> AsyncIterator[ASGIApp]:
    """The same application behind the kit on a port of its own; gives the shim."""
    port, authority = free_port(), trustme.CA()
    app, tools = application()
    issuer = TestIssuer(resource=f"https://localhost:{port}/mcp")
    methods = METHODS + OF_SESSIONS if sessions else METHODS
    guard = Guard(
        resource=issuer.resource,
        issuer=issuer.issuer,
        keys=issuer.keys(),
        used_once=MemoryUsedOnce(),
        tools=ToolPolicy(tools=dict.fromkeys(tools, _NEEDED), base=_NEEDED, methods=dict.fromkeys(methods, _NEEDED)),
        nonce_key=NONCE_KEY,
        clock=issuer.clock,
        observer=LoggingObserver(),
        legacy_streams=sessions,
    )
    guarded = protect(app, guard, allowed_origins=[f"http://localhost:{public_port}"])
    ready, shutdown = asyncio.Event(), asyncio.Event()
    both = directory / "both.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(both)
    config = ListenerConfig(port=port, certfile=str(both), keyfile=str(both))
    serving = asyncio.create_task(serve(guarded, config, shutdown, ready=lambda _: ready.set()))
    try:
        await ready.wait()
        yield SigningProxy(issuer.agent(scope=SCOPE, exp=issuer.clock.now() + 3600), authority)
    finally:
        shutdown.set()
        await serving


async def _listen(app: ASGIApp, port: int) -> None:
    config = uvicorn.Config(app, host="localhost", port=port, log_level="warning", timeout_graceful_shutdown=1)
    await _Telling(config).serve()


class _Telling(uvicorn.Server):
    """Says where it serves as soon as it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"serving http://localhost:{self.config.port}/mcp", flush=True)


async def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bare", action="store_true", help="without rs_kit, for comparison")
    parser.add_argument("--sessions", action="store_true", help="as revisions up to 2025-11-25 need it")
    port, options = free_port(), parser.parse_args()
    if options.bare:
        await _listen(application()[0], port)
        return
    with tempfile.TemporaryDirectory() as directory:
        async with protected(port, Path(directory), sessions=options.sessions) as shim:
            await _listen(shim, port)


if __name__ == "__main__":
    asyncio.run(main())
