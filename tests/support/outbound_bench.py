"""The outbound bench: a real server is asked, at every door, to fetch what strangers chose, and a report is written.

python -m tests.support.outbound_bench KIND DIRECTORY PLANTED VALUE…     (by tests/system/test_outbound_namespace.py)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
import ssl
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from tests.support.authorization_server import REDIRECT_URI, SCOPE, AuthorizationServer, Registered, arguments, register
from tests.support.fapi_client import FapiClient, Refused
from tests.support.outbound_host import AUTHORITY, CLIENT_ID, JWKS_URI, KEY, KID, callback, outbound_host
from tests.support.outbound_network import NAMESPACE, Sent, Watch, environment, watched
from tests.support.outbound_values import HONEST, HOSTILE, REBINDING, Hostile, is_forbidden
from tests.support.processes import running
from tests.support.registration_scene import Registrant, SoftwareAuthority

DOORS: Final = (CLIENT_ID, JWKS_URI, AUTHORITY)
AGAIN: Final = "-again"  # whoever rebinds is asked twice
_PLACE: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]*[a-z][a-z0-9-]*)+(:8[0-9]+)?\Z")
_AT_ONCE: Final = 6  # as many documents of strangers as the server asks for at once
_PER_SOURCE: Final = 40  # refusals from one address; a hundred a minute are a lock-out (CA-6)
_BY_NAME_ALONE: Final = "fetch.allowed_private_hosts may name it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one value came to at one door; `detail` is the private reason."""

    door: str
    value: str
    status: int
    error: str | None
    detail: str | None
    seconds: float


@dataclass(slots=True, kw_only=True)
class Report:
    """Everything that the tests look at."""

    kind: str
    answered: list[Answered] = field(default_factory=list)
    unregistered: dict[str, dict[str, str]] = field(default_factory=dict)  # by door: refused at the command line
    honest: dict[str, int] = field(default_factory=dict)  # the status of the honest value at each door
    meanwhile: list[float] = field(default_factory=list)  # what an honest fetch and an honest client wait for
    forbidden: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    met: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # which fields came with what was asked
    packets: int = 0
    memory: dict[str, int] = field(default_factory=dict)  # KiB


class Bench:
    """One running server and the sources that knock at it."""

    def __init__(self, server: AuthorizationServer, report: Report) -> None:
        self.server = server
        self.report = report
        self._sources = 0
        self.used: set[str] = set()

    @contextlib.asynccontextmanager
    async def source(self) -> AsyncIterator[httpx2.AsyncClient]:
        """A client at an address of its own."""
        self._sources += 1
        address = f"127.0.1.{self._sources}"
        self.used.add(address)
        trust: ssl.SSLContext = self.server.trust
        transport = httpx2.AsyncHTTPTransport(verify=trust, local_address=address, trust_env=False)
        async with httpx2.AsyncClient(transport=transport, timeout=20.0) as http:
            yield http

    async def knock(self, door: str, values: Sequence[Hostile], *, again: str = "") -> None:
        """Every value at one door, some at a time."""
        values = [value for value in values if value.name not in self.report.unregistered[door]]
        for begin in range(0, len(values), _PER_SOURCE):
            room = asyncio.Semaphore(_AT_ONCE)
            async with self.source() as http:

                async def one(value: Hostile, http: httpx2.AsyncClient = http, room: asyncio.Semaphore = room) -> None:
                    async with room:
                        self.report.answered.append(await self.ask(http, door, value, again=again))

                await asyncio.gather(*map(one, values[begin : begin + _PER_SOURCE]))

    async def ask(self, http: httpx2.AsyncClient, door: str, value: Hostile, *, again: str = "") -> Answered:
        """One request that makes the server want to fetch one URL."""
        started = time.monotonic()
        status, error, correlation = await self._asked(http, door, value, again)
        return Answered(
            door=door,
            value=value.name + again,
            status=status,
            error=error,
            detail=correlation,  # replaced by what the audit says of it
            seconds=time.monotonic() - started,
        )

    async def _asked(
        self, http: httpx2.AsyncClient, door: str, value: Hostile, again: str
    ) -> tuple[int, str | None, str]:
        client_id = value.at(door) if door == CLIENT_ID else value.name + again
        members: dict[str, Any] = arguments(self.server.issuer, client_id, KEY)
        if door == CLIENT_ID and value is HONEST:
            members["redirect_uri"] = callback(client_id)
        client = FapiClient(http, **members, kid=KID)
        try:
            if door == CLIENT_ID:
                response = (await client.push()).response
            elif door == JWKS_URI:
                response = (await client.client_credentials()).response
            else:
                authority = SoftwareAuthority(_authority(value.name + again), key=KEY, kid=KID)
                agent = Registrant(http, authority=authority, issuer=self.server.issuer, scope=SCOPE)
                response = await agent.register()
                if not response.is_success:
                    raise Refused(response)
        except Refused as refused:
            return refused.status, refused.error, refused.response.headers.get("x-correlation-id", "")
        return response.status_code, None, ""

    def memory(self) -> tuple[int, int]:
        """What the workers hold and held at most since the last question, in KiB."""
        now = most = 0
        for pid in self.server.server.workers():
            text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
            lines = dict(line.split(":", 1) for line in text.splitlines())
            now += int(lines["VmRSS"].split()[0])
            most += int(lines["VmHWM"].split()[0])
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
        return now, most

    def reasons(self) -> None:
        """Put the private reason beside every answer."""
        database = self.server.directory / "fapi-as.db"
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as rows:
            found = dict(rows.execute("SELECT correlation_id, detail FROM audit WHERE error IS NOT NULL"))
        answered = self.report.answered
        answered[:] = [Answered(**asdict(each) | {"detail": found.get(each.detail)}) for each in answered]


async def play(bench: Bench, values: Sequence[Hostile]) -> None:
    """Everybody is honest once, then everything is tried at every door."""
    report = bench.report
    quick = [value for value in values if not value.slow]
    slow = [value for value in values if value.slow]
    async with bench.source() as http:
        for door in DOORS:
            report.honest[door] = (await bench.ask(http, door, HONEST)).status
        bench.memory()
        before, _ = bench.memory()
        for door in DOORS:
            await bench.knock(door, quick)
            await bench.knock(door, [value for value in values if value in REBINDING], again=AGAIN)
        for door in DOORS if slow else ():
            tried = asyncio.create_task(bench.knock(door, slow))
            await asyncio.sleep(1.0)  # until they all hang
            started = time.monotonic()
            assert (await bench.ask(http, JWKS_URI, HONEST, again=f"-beside-{door}")).status == httpx2.codes.OK
            report.meanwhile.append(time.monotonic() - started)
            await tried
    after, most = bench.memory()
    report.memory = {"before": before, "after": after, "most": most}
    bench.reasons()


def registered_for(directory: Path, ca_file: Path, values: Sequence[Hostile], report: Report) -> Registered:
    """A place that trusts the hostile host's certificates, with one client per hostile jwks_uri."""
    registered = register(directory)
    registered.commands.change('# ca_file = "authorities.pem"', f'ca_file = "{ca_file}"')
    hosts = {value.at(CLIENT_ID).partition("://")[2].partition("/")[0] for value in (*values, HONEST)}
    hosts = {host for host in hosts if _PLACE.match(host) is not None}
    allowed = f"enabled = true\nhosts = {json.dumps(sorted(hosts))}\nscopes = {json.dumps([SCOPE])}\n"
    registered.commands.change("[client_id_metadata]\n", "[client_id_metadata]\n" + allowed)
    owners = {value.name: value for value in (HONEST, *values)}
    owners |= {value.name + AGAIN: value for value in values if value in REBINDING}
    for name, value in owners.items():
        authority = SoftwareAuthority(_authority(name)).members(jwks=..., jwks_uri=value.at(AUTHORITY))
        done = registered.commands.run("trust", "add", "-", stdin=json.dumps(authority))
        if done.code != 0:
            report.unregistered[AUTHORITY][name] = done.err
    owners |= {f"{HONEST.name}-beside-{door}": HONEST for door in DOORS}
    for client_id, value in owners.items():
        _register(registered, client_id, value, report)
    return registered


def _authority(name: str) -> str:
    return f"https://{name}.authorities.example"


def _register(registered: Registered, client_id: str, value: Hostile, report: Report) -> None:
    members: dict[str, Any] = {
        "client_id": client_id,
        "client_name": "A client that publishes its keys",
        "token_endpoint_auth_method": "private_key_jwt",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "client_credentials"],
        "scope": SCOPE,
        "jwks_uri": value.at(JWKS_URI),
    }
    done = registered.commands.run("client", "add", "-", stdin=json.dumps(members))
    if done.code == 0:
        return
    if _BY_NAME_ALONE not in done.err:
        report.unregistered[JWKS_URI][client_id] = done.err
        return
    # what an operator is told at once is not what keeps the server from asking: behind its back
    database = registered.directory / "fapi-as.db"
    with contextlib.closing(sqlite3.connect(database)) as rows, rows:
        found = rows.execute("SELECT * FROM client WHERE client_id = ?", (HONEST.name,))
        columns = [column for column, *_ in found.description]
        row = dict(zip(columns, found.fetchone(), strict=True)) | {"client_id": client_id}
        kept = json.loads(row["registration"]) | {"jwks_uri": value.at(JWKS_URI)}
        row["registration"] = json.dumps(kept | ({"client_id": client_id} if "client_id" in kept else {}))
        marks = ", ".join("?" for _ in columns)
        rows.execute(f"INSERT INTO client ({', '.join(columns)}) VALUES ({marks})", list(row.values()))


def forbidden(watch: Watch, bench: Bench) -> list[Sent]:
    """What was sent where nothing may be sent; the bench itself knocks from addresses of its own."""
    ours = ("127.0.0.1", bench.server.port)

    def knocks(sent: Sent) -> bool:
        asks = (sent.to, sent.port) == ours and sent.by in bench.used
        return asks or ((sent.by, sent.by_port) == ours and sent.to in bench.used)

    return [sent for sent in watch.sent() if is_forbidden(sent.to) and not knocks(sent)]


def main(kind: str, directory: Path, planted: str | None, names: Sequence[str]) -> Report:
    """Set up, play, and look at what was sent."""
    values = [value for value in HOSTILE if not names or value.name in names]
    report = Report(kind=kind, unregistered={door: {} for door in DOORS})
    with (
        watched(kind, directory) as watch,
        outbound_host(directory, everywhere=kind == NAMESPACE) as host,
    ):
        (served := directory / "served").mkdir()
        registered = registered_for(served, host.ca_file, values, report)
        added = environment(kind, directory, host.ports, planted)
        with running(registered.serving(1), served, environment=added) as server:
            bench = Bench(registered.running(server), report)
            asyncio.run(play(bench, values))
            report.forbidden = sorted({f"{sent.to}:{sent.port}" for sent in forbidden(watch, bench)})
            report.packets = len(watch.sent())
        report.asked = sorted(watch.asked())
        report.met = sorted(host.met())
        report.said = host.said()
    return report


if __name__ == "__main__":
    told = main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] or None, sys.argv[4:])
    (Path(sys.argv[2]) / "report.json").write_text(json.dumps(asdict(told)), encoding="utf-8")
