"""What tests of the token endpoint do over and over: clients of every algorithm, and refusals that change nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx2

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.client_metadata import parse_client
from rs_kit.protocol import base64url, strict_json
from tests.support.fapi_client import FapiClient, Refused, Tokens
from tests.support.house import PASSWORD, SCOPES, House
from tests.support.peer_keys import PeerKey

KEYS: Final[dict[str, Callable[[], PeerKey]]] = {
    "ES256": lambda: PeerKey.es256(seed=77),
    "Ed25519": lambda: PeerKey.ed25519(seed=77),
    "PS256-2048": lambda: PeerKey.ps256(2048),
    "PS256-3072": lambda: PeerKey.ps256(3072),
    "PS256-4096": lambda: PeerKey.ps256(4096),
}
ALGORITHMS: Final = tuple(KEYS)


def keyed(house: House, name: str, *, client_id: str = "keyed") -> FapiClient:
    """A registered client that signs assertions and proofs with one kind of key."""
    peer = house.client(client_id)
    peer.client_key = peer.dpop_key = KEYS[name]()
    registration = peer.registration(client_name=f"The {client_id}", scope=" ".join(SCOPES))
    house.store.put_client(parse_client(registration, client_id=client_id, version=2))
    return peer


async def obtained(house: House, client: FapiClient | None = None, **form: Any) -> Tokens:
    """Tokens by the code flow, with a refresh token."""
    client = client or house.agent
    with client.lying(form=form):
        tokens = await client.obtain(username="alice", password=PASSWORD)
    assert tokens.refresh_token is not None
    return tokens


def refresh_token_of(tokens: Tokens) -> str:
    assert tokens.refresh_token is not None
    return tokens.refresh_token


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a compact token, unverified."""
    return dict(strict_json.parse_object(base64url.decode(token.split(".")[1])))


def header_of(token: str) -> dict[str, Any]:
    """The header of a compact token, unverified."""
    return dict(strict_json.parse_object(base64url.decode(token.split(".", maxsplit=1)[0])))


async def warm(client: FapiClient) -> None:
    """Learn the nonce, so that one refusal is one request."""
    await client.client_credentials()


@contextmanager
def changes_nothing(house: House, error: str, *, reason: str | None = None, unsent: int = 0) -> Iterator[None]:
    """Nothing is kept or spent by what happens here, and one fact says why (catalogue, oracles c and d).

    `unsent` tokens were signed before the commit and never left, because the commit was lost.
    """
    signed, before = len(house.signer.signed), house.store.rows.snapshot()
    yield
    after = house.store.rows.snapshot()
    facts, before.facts, after.facts = after.facts[len(before.facts) :], [], []
    assert len(house.signer.signed) == signed + unsent, "something was signed"
    assert after == before, "something was kept, spent or ended"
    assert [(written.fact.event, written.fact.error) for written in facts] == [(AuditEvent.REFUSED, error)]
    assert facts[0].fact.detail, "a refusal without a private reason"
    if reason is not None:
        assert facts[0].fact.detail == reason


async def refused(
    house: House,
    what: Callable[[], Awaitable[Any]],
    status: int,
    error: str,
    *,
    reason: str | None = None,
    unsent: int = 0,
) -> httpx2.Response:
    """The answer to a request that must fail in exactly this way; a control request works afterwards (oracle f)."""
    with changes_nothing(house, error, reason=reason, unsent=unsent):
        try:
            answer = await what()
        except Refused as refusal:
            answer = refusal.response
    assert isinstance(answer, httpx2.Response), f"it was allowed: {answer}"
    assert answer.status_code == status, answer.text
    assert answer.json()["error"] == error, answer.text
    assert "no-store" in answer.headers["cache-control"]
    control = house.client(f"control-{len(house.store.clients)}")
    assert (await control.client_credentials()).access_token
    return answer
