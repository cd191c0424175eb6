"""An authority withdraws software on its own pages, and a real server of two workers hears of it over real TLS."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.support.authorization_server import (
    PASSWORD,
    RESOURCE,
    SCOPE,
    USERNAME,
    AuthorizationServer,
    Registered,
    register,
)
from tests.support.document_host import DocumentHost, document, document_host
from tests.support.fapi_client import Refused
from tests.support.peer_keys import PeerKey
from tests.support.processes import running, wait_until
from tests.support.registration_scene import AUTHORITY, SOFTWARE, Registrant, SoftwareAuthority

WORKERS: Final = 2
DIRECTORY: Final = SoftwareAuthority()


def says(host: DocumentHost, *software: str) -> None:
    host.answers["/withdrawn"] = document(json.dumps({"withdrawn_software": software}).encode())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[DocumentHost]:
    with document_host(tmp_path) as host:
        says(host)
        yield host


@pytest.fixture
def place(tmp_path: Path, host: DocumentHost) -> Registered:
    made = register(tmp_path)
    made.commands.change("#allowed_private_hosts = []", 'allowed_private_hosts = ["localhost"]')
    made.commands.change('# ca_file = "authorities.pem"', f'ca_file = "{host.ca_file}"')
    authority = DIRECTORY.members(status_uri=host.url("/withdrawn"))
    made.commands.json("trust", "add", "-", stdin=json.dumps(authority))
    return made


@contextlib.contextmanager
def served(place: Registered) -> Iterator[AuthorizationServer]:
    with running(place.serving(WORKERS), place.directory) as server:
        yield place.running(server)


def another_may_lead(place: Registered) -> None:
    """As two minutes after the workers of before are gone."""
    with contextlib.closing(sqlite3.connect(place.directory / "fapi-as.db")) as database:
        database.execute("DELETE FROM lease")
        database.commit()


def agent(server: AuthorizationServer, http: httpx2.AsyncClient) -> Registrant:
    key = PeerKey.es256(seed=61)
    return Registrant(http, authority=DIRECTORY, issuer=server.issuer, resource=RESOURCE, scope=SCOPE, client_key=key)


async def test_what_is_withdrawn_elsewhere_is_out_here_at_both_workers(place: Registered, host: DocumentHost) -> None:
    with served(place) as server:
        async with server.http() as http:
            instance = agent(server, http)
            information = await instance.registered()
            tokens = await instance.obtain(username=USERNAME, password=PASSWORD)
            assert (await instance.refresh(tokens.refresh_token or "")).access_token
        wait_until(lambda: host.asked("/withdrawn"), 20, "the first look of the worker that leads")
    says(host, SOFTWARE)
    another_may_lead(place)
    with served(place) as server:
        commands = place.commands
        wait_until(lambda: commands.json("statement", "list", "--issuer", AUTHORITY), 20, "the withdrawal")
        async with server.http() as http:
            again = agent(server, http)
            again.learn(information)
            for _ in range(8):  # on connections of their own, at both workers
                async with server.http() as other:
                    again.http = other
                    with pytest.raises(Refused) as raised:
                        await again.refresh(tokens.refresh_token or "")
                    assert (raised.value.status, raised.value.error) == (401, "invalid_client")
    assert host.asked("/withdrawn") == 2  # each time by one worker
    told = [fact for fact in place.commands.json("audit", "tail") if fact["event"] == "statement.changed"]
    assert [(fact["endpoint"], fact["source"]) for fact in told] == [("authority status", "fapi-as serve")]
