"""Authorities, initial access tokens and clients that register, over an estate of several workers and tenants."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

import httpx2

from fapi_as.adapters.store import Approvals
from fapi_as.protocol.handles import digest_of
from tests.support.estate import PREFIXES, ROOT, Estate, Worker
from tests.support.fakes import ISSUER
from tests.support.fapi_messages import Message
from tests.support.house import RESOURCE, SCOPES
from tests.support.peer_keys import PeerKey
from tests.support.registration_scene import WIDE, Registrant, SoftwareAuthority

_TABLES: Final = ("client", "approver", "withdrawn", "tried", "once", "handle", "authorization")


def approvals(estate: Estate, tenant: str = ROOT) -> Approvals:
    """The approvers of a tenant, as its operators change them."""
    return Approvals.open(estate.url, tenant)


def trusted(
    estate: Estate, tenant: str = ROOT, *, authority: SoftwareAuthority | None = None, **policy: Any
) -> SoftwareAuthority:
    """An authority that this tenant trusts from now on under this policy."""
    authority = authority or SoftwareAuthority()
    members = authority.members(policy=WIDE | policy)
    approvals(estate, tenant).add_authority(members, estate.stamp(), replace=True)
    return authority


def invitation(
    estate: Estate, tenant: str = ROOT, *, token_id: str = "invitation", uses: int = 1, **policy: Any
) -> str:
    """An initial access token of this tenant."""
    token = secrets.token_urlsafe(32)
    end = estate.clock.now() + 3600
    approvals(estate, tenant).add_initial_token(
        token_id, digest_of(token), {"policy": WIDE | policy}, estate.stamp(), uses=uses, expires_at=end
    )
    return token


def registrant(
    worker: Worker, authority: SoftwareAuthority, tenant: str = ROOT, *, seed: int = 7001, **what: Any
) -> Registrant:
    """A client that nobody has registered yet, talking to one worker."""
    members: dict[str, Any] = {"resource": RESOURCE, "scope": " ".join(sorted(SCOPES)), "now": worker.clock.now}
    return Registrant(
        worker.http,
        authority=authority,
        issuer=ISSUER + PREFIXES[tenant],
        client_key=PeerKey.es256(seed=seed),
        **members | what,
    )


async def sent(workers: Sequence[Worker], messages: Sequence[Message], method: str = "POST") -> list[httpx2.Response]:
    """All of them at once, each to the next worker."""

    async def send(number: int, message: Message) -> httpx2.Response:
        url, headers, body = message
        http = workers[number % len(workers)].http
        return await http.request(method, url, headers=list(headers), content=body)

    return list(await asyncio.gather(*(send(number, message) for number, message in enumerate(messages))))


def rows(estate: Estate, *, of: Sequence[str] = _TABLES) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of these tables, the audit left out unless it is asked for."""
    with closing(sqlite3.connect(estate.path, timeout=10.0)) as connection:
        return {name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for name in of}


def octets(estate: Estate) -> bytes:
    """All that lies in the files of the store."""
    return b"".join(path.read_bytes() for path in sorted(estate.path.parent.glob("store.db*")))
