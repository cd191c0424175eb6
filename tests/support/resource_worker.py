"""One worker process of a protected resource, as a load balancer sees it: plain HTTP behind a public https URL.

The application notes each call that reached it, by process, in the file `ran` of the directory that it is started in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rs_kit import (
    Guard,
    LoggingObserver,
    MemoryUsedOnce,
    RsKit,
    SqliteUsedOnce,
    StaticIssuerKeys,
    SystemClock,
    ToolPolicy,
    read_nonce_key,
)
from rs_kit.adapters.hypercorn import ListenerConfig, runner, serve
from rs_kit.testing import NONCE_KEY, TestAgent, TestIssuer
from tests.support.load import Prepared, prepare
from tests.support.processes import Server, await_ready, start

RESOURCE: Final = "https://mcp.bank.example/mcp"
SCOPE: Final = "mcp:use accounts:read"
TOOLS: Final = ToolPolicy(tools={"get_balance": ["accounts:read"]}, base=["mcp:use"])
BODY: Final = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_balance"}}'
_PROGRAM: Final = "import sys; from tests.support.resource_worker import main; main(sys.argv[1], sys.argv[2])"


async def application(scope: Any, receive: Any, send: Any) -> None:
    """A tool whose every run leaves a line."""
    if scope["type"] == "http":
        note = os.open("ran", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(note, b"%d\n" % os.getpid())
        os.close(note)
        body = b'{"jsonrpc":"2.0","id":1,"result":{}}'
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def main(kind: str, shared: str) -> None:
    """Serve until SIGTERM; `kind` is the replay store, `shared` the directory of what the workers share."""
    place = Path(shared)
    known = json.loads((place / "issuer.json").read_text(encoding="utf-8"))
    guard = Guard(
        resource=RESOURCE,
        issuer=known["issuer"],
        keys=StaticIssuerKeys(known["issuer"], known["jwks"]),
        used_once=SqliteUsedOnce(place / "used-once.db") if kind == "sqlite" else MemoryUsedOnce(),
        tools=TOOLS,
        nonce_key=read_nonce_key(place / "nonce.key"),
        clock=SystemClock(),
        observer=LoggingObserver(),
    )

    async def serving() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        config = ListenerConfig(lame_duck_seconds=0.0)
        await serve(
            RsKit(application, guard),
            config,
            stop,
            ready=lambda port: print(f"serving http://127.0.0.1:{port}", flush=True),
        )

    with runner() as loop:
        loop.run(serving())


class Workers:
    """Some workers of one resource, and an issuer whose tokens they take."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.directory = directory
        self.kind = kind
        self.issuer = TestIssuer(resource=RESOURCE)
        self.servers: list[Server] = []
        self.shared = directory / "shared"
        self.shared.mkdir()
        self._give(self.shared, NONCE_KEY)

    def _give(self, place: Path, nonce_key: bytes) -> None:
        known = {"issuer": self.issuer.issuer, "jwks": {"keys": [self.issuer.key.public_jwk()]}}
        (place / "issuer.json").write_text(json.dumps(known), encoding="utf-8")
        (place / "nonce.key").touch(mode=0o600)
        (place / "nonce.key").write_bytes(nonce_key)

    def start(self, *, nonce_key: bytes | None = None) -> Server:
        """One more worker; with a nonce key of its own it shares nothing with the others."""
        place = self.shared
        own = self.directory / f"worker-{len(self.servers)}"
        own.mkdir()
        if nonce_key is not None:
            place = own
            self._give(place, nonce_key)
        server = start([sys.executable, "-c", _PROGRAM, self.kind, str(place)], own)
        self.servers.append(server)
        return server

    def ready(self) -> None:
        """Wait for those that are still alive."""
        for server in self.servers:
            if server.process.poll() is None:
                await_ready(server)

    def agent(self) -> TestAgent:
        """An agent that may call the tool."""
        return self.issuer.agent(scope=SCOPE)

    def runs(self) -> Counter[str]:
        """How often each worker ran the tool, by the name of its directory."""
        ran: Counter[str] = Counter()
        for server in self.servers:
            file = server.directory / "ran"
            if file.exists():
                ran[server.directory.name] += len(file.read_text(encoding="ascii").splitlines())
        return ran


def call(agent: TestAgent, *, nonce: str | None = None) -> Prepared:
    """One call with a fresh proof; it may be sent to any worker, and as often as a thief likes."""
    headers = {"content-type": "application/json", **agent.headers(nonce=nonce)}
    return prepare(RESOURCE, headers.items(), BODY)


@contextlib.contextmanager
def two_workers(directory: Path, kind: str = "sqlite") -> Iterator[Workers]:
    """Two workers that share what workers share."""
    workers = Workers(directory, kind)
    try:
        workers.start()
        workers.start()
        workers.ready()
        yield workers
    finally:
        for server in workers.servers:
            server.stop()
