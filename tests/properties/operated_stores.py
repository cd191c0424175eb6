"""Both stores with what an operator does to them, behind the registrations that `House` makes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database, Operators
from fapi_as.protocol.audit_events import AuditFact
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_metadata import to_metadata
from fapi_as.protocol.resource import RegisteredResource
from fapi_as.protocol.resource_registration import to_members
from fapi_as.protocol.user import RegisteredUser
from tests.support.memory_store import MemoryStore
from tests.support.store_harness import STAMP


class OperatedMemory(MemoryStore):
    """The store in dicts."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, Any] = {}

    def switch_client(self, client_id: str, *, enabled: bool) -> None:
        if enabled:
            client = self._kept.pop(client_id)
            self.put_client(replace(client, version=client.version + 1))
        else:
            self._kept[client_id] = self.clients[client_id]
            self.remove_client(client_id)

    def switch_resource(self, uri: str, *, enabled: bool) -> None:
        if enabled:
            resource = self._kept.pop(uri)
            self.put_resource(replace(resource, version=resource.version + 1))
        else:
            self._kept[uri] = self.resources[uri]
            self.remove_resource(uri)

    def change_user(self, **changes: Any) -> None:
        (user,) = self.users.values()
        self.put_user(replace(user, version=user.version + 1, **changes))
        opened = self.rows.authorizations.values()
        self.rows.revoked |= {one.authorization_id for one in opened if one.subject == user.subject}

    async def close(self) -> None:
        return


class OperatedSqlite:
    """A database of its own, copied from one that is migrated; operators use its other door."""

    def __init__(self, migrated: Path, path: Path) -> None:
        shutil.copyfile(migrated, path)
        url = f"sqlite:///{path}"
        self._database = Database.open(url, sealing=Sealing(b"s" * 32))
        self._store = self._database.store("default")
        self._operators = Operators.open(url, "default")
        self._members: dict[str, Mapping[str, object]] = {}
        self._facts: list[AuditFact] = []
        self._read = 0
        self.reading = self._store.reading
        self.commit = self._store.commit
        self.clients: dict[str, RegisteredClient] = {}

    def put_client(self, client: RegisteredClient) -> None:
        self.clients[client.client_id] = client
        self._operators.add_client(to_metadata(client), client.client_id, STAMP)

    def put_user(self, user: RegisteredUser) -> None:
        self._operators.add_user(user.username, user.subject, user.password_hash, STAMP)

    def put_resource(self, resource: RegisteredResource) -> None:
        self._members[resource.resource] = to_members(resource)
        self._operators.add_resource(to_members(resource), STAMP)

    def switch_client(self, client_id: str, *, enabled: bool) -> None:
        self._operators.set_client_enabled(client_id, STAMP, enabled=enabled)

    def switch_resource(self, uri: str, *, enabled: bool) -> None:
        if enabled:
            self._operators.add_resource(self._members[uri], STAMP)
        else:
            self._operators.remove_resource(uri, STAMP)

    def change_user(self, *, password_hash: str | None = None, disabled: bool | None = None) -> None:
        if password_hash is not None:
            self._operators.set_password("alice", password_hash, STAMP)
        if disabled is not None:
            self._operators.set_user_enabled("alice", STAMP, enabled=not disabled)

    @property
    def facts(self) -> list[AuditFact]:
        while rows := self._operators.audit(after=self._read):
            self._read = rows[-1].id
            self._facts += [row.fact for row in rows if not row.fact.event.value.endswith(".changed")]
        return self._facts

    async def close(self) -> None:
        await self._database.close()
