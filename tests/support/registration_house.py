"""The whole server over fakes with an authority that it trusts, and clients that register there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx2

from fapi_as.protocol.audit_events import AuditEvent, Stamp
from fapi_as.protocol.authority_registration import parse_authority
from fapi_as.protocol.decisions import Decision
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.policy import Policy
from fapi_as.protocol.registration import InitialAccessToken
from fapi_as.protocol.registration_policy import parse_policy
from tests.support.fakes import ISSUER
from tests.support.fapi_client import error_of
from tests.support.house import RESOURCE, SCOPES, House
from tests.support.memory_registrations import Registration
from tests.support.memory_store import MemoryStore
from tests.support.peer_keys import PeerKey
from tests.support.registration_scene import WIDE, Registrant, SoftwareAuthority

MUTUAL_TLS_URL: Final = "https://as.example:8444"
POLICY: Final = Policy(tenant="default", issuer=ISSUER, mutual_tls_url=MUTUAL_TLS_URL)
REGISTER: Final = f"{ISSUER}/register"
NO_STORE: Final = "no-cache, no-store"
METADATA_ERROR: Final = (400, "invalid_client_metadata")
UNAUTHORIZED: Final = (401, "invalid_token")


class RegistrationHouse(House):
    """A house that trusts `authority`; `trust` changes on what conditions."""

    def __init__(self, *, policy: Policy = POLICY, **what: Any) -> None:
        super().__init__(policy=policy, **what)
        self.authority = SoftwareAuthority()
        self._version = 0
        self.trust(uses_per_statement=1)

    def trust(self, authority: SoftwareAuthority | None = None, **policy: Any) -> SoftwareAuthority:
        """Trust an authority from now on under this policy, whatever it was before."""
        authority, self._version = authority or self.authority, self._version + 1
        members = authority.members(policy=WIDE | policy)
        self.store.approvers.put_authority(parse_authority(members, version=self._version))
        return authority

    def token(self, token_id: str = "invitation", *, uses: int = 1, seconds: int = 3600, **what: Any) -> str:
        """Issue an initial access token; `jkt` binds it, everything else is its policy."""
        self._version += 1
        token, jkt = f"{token_id}-{'x' * 40}", what.pop("jkt", None)
        issued = InitialAccessToken(
            approver=f"token:{token_id}",
            version=self._version,
            policy=parse_policy(WIDE | what),
            jkt=jkt,
            expires_at=self.clock.now() + seconds,
            uses_left=uses,
        )
        self.store.approvers.put_initial_token(digest_of(token), issued)
        return token

    def registrant(self, *, seed: int = 7001, authority: SoftwareAuthority | None = None, **what: Any) -> Registrant:
        """A client that nobody has registered yet."""
        members: dict[str, Any] = {"resource": RESOURCE, "scope": " ".join(sorted(SCOPES)), "now": self.clock.now}
        return Registrant(
            self.http,
            authority=authority or self.authority,
            issuer=self.context.policy.issuer,
            client_key=PeerKey.es256(seed=seed),
            **members | what,
        )

    @property
    def kept(self) -> dict[str, Registration]:
        """What is registered, by client_id."""
        return self.store.rows.registrations.clients


@contextmanager
def nothing_kept(house: RegistrationHouse) -> Iterator[None]:
    """What is done within leaves nothing but one fact with a reason for each refusal."""
    before, told = house.store.rows.snapshot(), len(house.store.facts)
    yield
    after = house.store.rows.snapshot()
    facts = house.store.facts[told:]
    assert all(fact.event is AuditEvent.REFUSED and fact.detail for fact in facts), facts
    before.facts, after.facts = [], []
    assert after == before


async def refused(
    house: RegistrationHouse, response: httpx2.Response, expected: tuple[int, str], reason: str | None = None
) -> httpx2.Response:
    """An error as RFC 7591 §3.2.2 wants it: JSON in ASCII, never cached, readable from no other origin."""
    assert (response.status_code, error_of(response)) == expected, response.text
    assert response.headers["cache-control"] == NO_STORE
    assert response.headers["content-type"] == "application/json"
    assert response.text.isascii()
    assert not [name for name in response.headers if name.startswith("access-control")]
    if reason is not None:
        assert reason in (house.last_detail or ""), house.last_detail
    return response


async def posted(house: RegistrationHouse, body: bytes, content_type: str | None, **more: Any) -> httpx2.Response:
    headers = [] if content_type is None else [("content-type", content_type)]
    return await house.http.request(
        more.pop("method", "POST"), more.pop("url", REGISTER), content=body, headers=headers
    )


async def registered(house: RegistrationHouse, *, seed: int = 7001, binds: bool = False) -> Registrant:
    agent = house.registrant(seed=seed)
    agent.binds = binds
    await agent.registered()
    return agent


async def by_token(house: RegistrationHouse, *, seed: int = 7001, **policy: Any) -> Registrant:
    """A client without a statement, which may say of itself what its token's policy allows."""
    agent = house.registrant(seed=seed)
    await agent.registered(statement=None, token=house.token(f"for-{seed}", **policy), **agent.described())
    return agent


async def managed(agent: Registrant, method: str, **how: Any) -> httpx2.Response:
    return await agent.manage(method, agent.replacement() if method == "PUT" else None, **how)


class ChangingStore(MemoryStore):
    """Something happens between what a decision was made from and its transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] = lambda: None

    async def commit(self, decision: Decision, stamp: Stamp) -> Decision:
        happens, self.meanwhile = self.meanwhile, lambda: None
        happens()
        return await super().commit(decision, stamp)


def changing(house: RegistrationHouse) -> ChangingStore:
    assert isinstance(house.store, ChangingStore)
    return house.store
