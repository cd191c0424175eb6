"""A copy that SQLite's own tool makes while the server is busy is whole, and a server started on it serves."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.campaign import recovery_seconds, under_load
from tests.faults.faulty_server import FaultyServer, installed
from tests.faults.peers import Ledger, sign_in
from tests.support.authorization_server import arguments, ready
from tests.support.fapi_client import FapiClient
from tests.support.history import Fact
from tests.support.load import connections
from tests.support.stored_state import facts, half_states

SECONDS = 3.0
RATE = 200  # commits a second, of the catalogue
MANUAL = Path("docs/operate.md")
pytestmark = pytest.mark.xdist_group("races")


def _backup(source: Path, copy: Path) -> None:
    with contextlib.closing(sqlite3.connect(source)) as connection, contextlib.closing(sqlite3.connect(copy)) as into:
        connection.backup(into, pages=64)


def _vacuum(source: Path, copy: Path) -> None:
    with contextlib.closing(sqlite3.connect(source, timeout=10.0)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))


async def _tokens(server: FaultyServer, stop: asyncio.Event) -> None:
    """Beside the peers that do everything: one token after the other, on a few connections."""
    issuer, keys = server.registered.issuer, server.registered.client_keys
    trust = ssl.create_default_context(cafile=str(server.site.authority))
    async with server.site.http() as http:
        clients = [FapiClient(http, **arguments(issuer, client_id, key)) for client_id, key in keys.items()]
        lines = await connections(len(clients), "localhost", int(issuer.rsplit(":", 1)[1]), trust)
        for client in clients:
            await client.client_credentials()

        async def one(number: int) -> None:
            while not stop.is_set():
                await lines[number].send(ready(clients[number].credentials_request()))

        await asyncio.gather(*(one(number) for number in range(len(lines))))
        for line in lines:
            await line.close()


def _begins(whole: list[Fact], part: list[Fact]) -> bool:
    return whole[: len(part)] == part


def _restore(copy: Path, database: Path) -> None:
    for name in ("-wal", "-shm"):
        database.with_name(database.name + name).unlink(missing_ok=True)
    database.write_bytes(copy.read_bytes())


@pytest.mark.attack("STO-11")
@pytest.mark.parametrize("copying", [_backup, _vacuum])
async def test_a_copy_made_under_load_is_whole_and_serves(
    tmp_path: Path, copying: Callable[[Path, Path], None]
) -> None:
    ledger, copies, counted = Ledger(), [tmp_path / f"{number}.db" for number in range(3)], 0
    with installed(workers=2) as server:
        server.start()
        await sign_in(server.site, ledger)

        async def fault() -> None:
            nonlocal counted
            stop = asyncio.Event()
            flood = asyncio.create_task(_tokens(server, stop))
            before, began = len(facts(server.database)), time.monotonic()
            for copy in copies:
                await asyncio.sleep(SECONDS / len(copies))
                await asyncio.to_thread(copying, server.database, copy)
            counted = int((len(facts(server.database)) - before) / (time.monotonic() - began))
            stop.set()
            await flood

        await under_load(server, ledger, fault, seed=11)
        server.stop()
        whole = facts(server.database)
        assert [half_states(copy) for copy in copies] == [[]] * len(copies)
        assert all(_begins(whole, facts(copy)) for copy in copies)
        assert len(facts(copies[0])) < len(facts(copies[-1])) < len(whole)
        assert counted >= RATE / 2, f"{counted} commits a second"  # half on a busy machine
        _restore(copies[-1], server.database)
        server.start()
        assert await recovery_seconds(server, ledger, 10.0) < 10.0
        assert (half_states(server.database), _begins(facts(server.database), facts(copies[-1]))) == ([], True)


def test_the_manual_warns_of_what_an_older_copy_forgets() -> None:
    said = " ".join(MANUAL.read_text(encoding="utf-8").split())
    assert "forgets which codes and proofs were used since" in said
    assert "a refresh token of what was revoked since is good again" in said
