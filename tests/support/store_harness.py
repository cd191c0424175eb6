"""Both stores behind one face: the contract suite does not know which one it judges."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from typing import Any, Final, Protocol

from fapi_as.adapters.store import Approvals, Database, Operators
from fapi_as.ports import Store
from fapi_as.protocol.audit_events import AuditFact, Stamp
from fapi_as.protocol.authority_registration import parse_authority
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.decisions import Issue, Refuse
from fapi_as.protocol.effects import Attempt, Effect, Open, Register, ReplaceRegistration
from fapi_as.protocol.errors import InvalidGrant
from fapi_as.protocol.registration import InitialAccessToken, KeptRegistration
from fapi_as.protocol.registration_policy import parse_policy
from fapi_as.protocol.resource_registration import parse_resource
from fapi_as.protocol.user import RegisteredUser
from tests.support.memory_store import MemoryStore

NOW: Final = 1_800_000_000
STAMP: Final = Stamp(at=NOW, correlation_id="correlation", endpoint="/token", source="203.0.113.7")
OPEN: Final = Open(
    authorization_id="family",
    client_id="agent",
    subject="alice",
    resources=("https://bank.example/mcp",),
    scope=("accounts:read",),
    expires_at=NOW + 3600,
)
REFUSAL: Final = Refuse(error=InvalidGrant("lost"))
METADATA: Final[dict[str, Any]] = {
    "client_name": "Agent",
    "token_endpoint_auth_method": "private_key_jwt",
    "grant_types": ["client_credentials"],
    "scope": "accounts:read",
    "jwks": {
        "keys": [
            {
                "kty": "EC",
                "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",  # RFC 7515 appendix A.3
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }
        ]
    },
}


AUTHORITY: Final = "https://authority.example"
POLICY: Final[dict[str, Any]] = {"grant_types": METADATA["grant_types"]}


FIRST: Final = b"1" * 32  # digests of registration access tokens
SECOND: Final = b"2" * 32
THIRD: Final = b"3" * 32
REGISTER: Final = Register(
    client_id="agent",
    registration=json.dumps(METADATA),
    approver=AUTHORITY,
    software_id="software",
    software_limit=3,
    unfinished_before=NOW - 600,
    statement="a.software.statement",
    statement_jti="jti 1",
    token_digest=FIRST,
    token_jkt=None,
    expires_at=NOW + 86_400,
)
REPLACE: Final = ReplaceRegistration(
    client_id="agent",
    token_digest=FIRST,
    new_token_digest=SECOND,
    registration=json.dumps(METADATA | {"client_name": "Renamed"}),
    statement="another.software.statement",
    statement_jti="jti 2",
)


def authority_file(issuer: str = AUTHORITY, **policy: Any) -> dict[str, Any]:
    return {"issuer": issuer, "jwks": METADATA["jwks"], "policy": POLICY | policy}


def members(uri: str) -> dict[str, Any]:
    return {"resource": uri, "resource_name": "Bank", "scopes": {"accounts:read": "See your balances"}}


class Harness(Protocol):
    """What the suite needs of a store beside the port; registrations are told their version."""

    def store(self, tenant: str = "default") -> Store: ...
    def add_client(self, client_id: str) -> int: ...
    def disable_client(self, client_id: str) -> None: ...
    def add_user(self, username: str, subject: str) -> int: ...
    def change_password(self, username: str) -> None: ...
    def disable_user(self, username: str) -> None: ...
    def add_resource(self, uri: str) -> int: ...
    def remove_resource(self, uri: str) -> None: ...
    def put_authority(self, issuer: str = AUTHORITY, **policy: Any) -> int: ...
    def suspend_authority(self, issuer: str = AUTHORITY) -> None: ...
    def add_token(self, token_id: str, digest: bytes, *, uses: int, expires_at: int) -> int: ...
    def revoke_token(self, token_id: str) -> None: ...
    def withdraw_statement(self, jti: str, issuer: str = AUTHORITY) -> None: ...
    def withdraw_software(self, software_id: str, issuer: str = AUTHORITY) -> None: ...
    def block(self, client_id: str) -> None: ...
    def facts(self) -> tuple[tuple[AuditFact, Stamp], ...]: ...


class MemoryHarness:
    def __init__(self) -> None:
        self._stores: dict[str, MemoryStore] = defaultdict(MemoryStore)
        self._version = 0

    def store(self, tenant: str = "default") -> MemoryStore:
        return self._stores[tenant]

    def _next(self) -> int:
        self._version += 1
        return self._version

    def add_client(self, client_id: str) -> int:
        self.store().put_client(parse_client(METADATA, client_id=client_id, version=self._next()))
        return self._version

    def disable_client(self, client_id: str) -> None:
        self.store().remove_client(client_id)

    def _put_user(self, username: str, subject: str, password_hash: str, *, disabled: bool = False) -> int:
        self.store().put_user(
            RegisteredUser(
                subject=subject,
                username=username,
                version=self._next(),
                password_hash=password_hash,
                disabled=disabled,
            )
        )
        return self._version

    def _subject(self, username: str) -> str:
        return next(user.subject for user in self.store().users.values() if user.username == username)

    def add_user(self, username: str, subject: str) -> int:
        return self._put_user(username, subject, "hash")

    def change_password(self, username: str) -> None:
        self._put_user(username, self._subject(username), "other hash")

    def disable_user(self, username: str) -> None:
        self._put_user(username, self._subject(username), "hash", disabled=True)

    def add_resource(self, uri: str) -> int:
        self.store().put_resource(parse_resource(members(uri), version=self._next()))
        return self._version

    def remove_resource(self, uri: str) -> None:
        self.store().remove_resource(uri)

    def put_authority(self, issuer: str = AUTHORITY, **policy: Any) -> int:
        authority = parse_authority(authority_file(issuer, **policy), version=self._next())
        self.store().approvers.put_authority(authority)
        return self._version

    def suspend_authority(self, issuer: str = AUTHORITY) -> None:
        self.store().suspend(issuer)

    def add_token(self, token_id: str, digest: bytes, *, uses: int, expires_at: int) -> int:
        token = InitialAccessToken(
            approver=f"token:{token_id}",
            version=self._next(),
            policy=parse_policy(POLICY),
            jkt=None,
            expires_at=expires_at,
            uses_left=uses,
        )
        self.store().approvers.put_initial_token(digest, token)
        return self._version

    def revoke_token(self, token_id: str) -> None:
        self.store().suspend(f"token:{token_id}")

    def withdraw_statement(self, jti: str, issuer: str = AUTHORITY) -> None:
        self.store().withdraw("statement", issuer, jti, version=self._next())

    def withdraw_software(self, software_id: str, issuer: str = AUTHORITY) -> None:
        self.store().withdraw("software", issuer, software_id, version=self._next())

    def block(self, client_id: str) -> None:
        self.store().block(client_id)

    def facts(self) -> tuple[tuple[AuditFact, Stamp], ...]:
        return tuple((written.fact, written.stamp) for written in self.store().written)


class SqliteHarness:
    def __init__(self, database: Database, operators: Operators, approvals: Approvals) -> None:
        self.database = database
        self._operators = operators
        self._approvals = approvals

    def store(self, tenant: str = "default") -> Store:
        return self.database.store(tenant)

    def add_client(self, client_id: str) -> int:
        return self._operators.add_client(METADATA, client_id, STAMP).version

    def disable_client(self, client_id: str) -> None:
        self._operators.set_client_enabled(client_id, STAMP, enabled=False)

    def add_user(self, username: str, subject: str) -> int:
        return self._operators.add_user(username, subject, "hash", STAMP).version

    def change_password(self, username: str) -> None:
        self._operators.set_password(username, "other hash", STAMP)

    def disable_user(self, username: str) -> None:
        self._operators.set_user_enabled(username, STAMP, enabled=False)

    def add_resource(self, uri: str) -> int:
        return self._operators.add_resource(members(uri), STAMP).version

    def remove_resource(self, uri: str) -> None:
        self._operators.remove_resource(uri, STAMP)

    def put_authority(self, issuer: str = AUTHORITY, **policy: Any) -> int:
        return self._approvals.add_authority(authority_file(issuer, **policy), STAMP, replace=True).version

    def suspend_authority(self, issuer: str = AUTHORITY) -> None:
        self._approvals.set_authority_enabled(issuer, STAMP, enabled=False)

    def add_token(self, token_id: str, digest: bytes, *, uses: int, expires_at: int) -> int:
        return self._approvals.add_initial_token(
            token_id, digest, {"policy": POLICY}, STAMP, uses=uses, expires_at=expires_at
        ).version

    def revoke_token(self, token_id: str) -> None:
        self._approvals.revoke_initial_token(token_id, STAMP)

    def withdraw_statement(self, jti: str, issuer: str = AUTHORITY) -> None:
        self._approvals.withdraw_statement(issuer, jti, STAMP)

    def withdraw_software(self, software_id: str, issuer: str = AUTHORITY) -> None:
        self._approvals.withdraw_software(issuer, software_id, STAMP)

    def block(self, client_id: str) -> None:
        self._approvals.block_document(client_id, STAMP)

    def facts(self) -> tuple[tuple[AuditFact, Stamp], ...]:
        written = self._operators.audit()
        return tuple((row.fact, row.stamp) for row in written if not row.fact.event.value.endswith(".changed"))


def issue(*effects: Effect, at: Effect | None = None, lost: Refuse = REFUSAL) -> Issue:
    """A permission in which the last effect, or the one named, may lose."""
    return Issue(effects=effects, lost={at or effects[-1]: lost})


async def won(harness: Harness, *effects: Effect, at: int = NOW) -> bool:
    """Whether the last effect was won; for a single one, whether it has room was foretold rightly."""
    store, last = harness.store(), effects[-1]
    has_room = isinstance(last, Attempt | Register) and await store.reading.has_room(last, at)
    outcome = await store.commit(issue(*effects), replace(STAMP, at=at))
    is_won = isinstance(outcome, Issue)
    if len(effects) == 1 and isinstance(last, Attempt):
        assert has_room is is_won
    if len(effects) == 1 and isinstance(last, Register):
        assert has_room or not is_won
    return is_won


async def client(harness: Harness, client_id: str = "agent") -> RegisteredClient | None:
    return await harness.store().reading.client(client_id)


async def kept(harness: Harness) -> KeptRegistration:
    found = await harness.store().reading.registration("agent")
    assert found is not None
    return found


async def stands(harness: Harness, found: RegisteredClient) -> bool:
    """Whether decisions about this client, as it was read, may still come true."""
    return all([await won(harness, required) for required in found.requirements])


async def counting(harness: Harness) -> set[bytes]:
    """Which registration access tokens are accepted, without using any of them."""
    found = await harness.store().reading.registration("agent")
    return set() if found is None else {found.token_digest, found.previous_token_digest} - {None}  # type: ignore[arg-type]
