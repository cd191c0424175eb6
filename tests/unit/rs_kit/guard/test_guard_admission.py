"""The guard by itself: the order of its checks, what it spends, what it remembers and what it tells."""

from __future__ import annotations

from typing import Any

import pytest

from rs_kit.adapters.issuer_keys import StaticIssuerKeys
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.guard import Guard, TokenCache, UnknownPath, Verified
from rs_kit.ports import AuthorizedCall, Refusal
from rs_kit.protocol.confirmation import Confirmation
from rs_kit.protocol.errors import (
    InsufficientScope,
    InvalidDpopProof,
    InvalidRequest,
    InvalidToken,
    MissingToken,
    ProtocolError,
    Unavailable,
    UnknownMethod,
    UseDpopNonce,
)
from rs_kit.protocol.http import HttpRequest
from rs_kit.protocol.routing_headers import HeaderMismatch
from rs_kit.protocol.tool_policy import ToolPolicy
from rs_kit.testing import RecordingObserver
from tests.support.fakes import NONCE_KEY, NOW, FrozenClock
from tests.support.guarded_bank import (
    ABSENT,
    ISSUER,
    ISSUER_KEY,
    RESOURCE,
    TOOLS,
    Bank,
    Peer,
    as_body,
    rpc,
    tool_call,
)
from tests.support.peer_keys import PeerKey


class CountingStore:
    """A replay store that says what it was asked."""

    def __init__(self, answer: bool = True) -> None:
        self.asked: list[tuple[str, bytes, int, int]] = []
        self.answer = answer

    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        self.asked.append((namespace, digest, until, now))
        return self.answer


def broken_requests(bank: Bank) -> dict[str, tuple[HttpRequest, type[ProtocolError]]]:
    """One call per check, each right in everything else."""
    peer = bank.peer
    token = peer.token()
    unknown = [pair for pair in peer.headers() if pair[0] != "authorization"]
    return {
        "no credentials": (bank.request(unknown), MissingToken),
        "scheme": (bank.request(peer.headers(scheme="Bearer")), InvalidToken),
        "token": (bank.request(peer.headers(peer.token(exp=NOW - 60))), InvalidToken),
        "binding": (bank.request(peer.headers(peer.token(cnf=ABSENT))), InvalidToken),
        "proof": (bank.request(peer.headers(token, peer.proof(token, htm="GET"))), InvalidDpopProof),
        "ath": (bank.request(peer.headers(token, peer.proof(token, ath="x"))), InvalidDpopProof),
        "nonce": (bank.request(peer.headers(token, peer.proof(token, nonce=ABSENT))), UseDpopNonce),
        "key": (bank.request(Peer(bank.clock, PeerKey.es256(seed=9)).headers(token)), InvalidToken),
        "body": (bank.request(message=b"{"), InvalidRequest),
        "scope": (bank.request(message=tool_call("transfer")), InsufficientScope),
        "method": (bank.request(message=rpc("x")), UnknownMethod),
        "header": (bank.request(peer.headers(mcp_name="whoami")), HeaderMismatch),
    }


@pytest.mark.requirement("RSV-1", proves="refused")
@pytest.mark.parametrize("kind", list(broken_requests(Bank())))
async def test_a_call_that_fails_any_check_spends_nothing_and_is_told_once(kind: str) -> None:
    store = CountingStore()
    bank = Bank(used_once=store)
    request, error = broken_requests(bank)[kind]
    with pytest.raises(error) as caught:
        await bank.guard.admit(request)
    assert store.asked == []
    assert [refusal.error for refusal in bank.observer.refusals] == [caught.value]
    assert bank.observer.admissions == []


async def test_a_good_call_spends_its_proof_for_as_long_as_it_would_be_accepted() -> None:
    store = CountingStore()
    bank = Bank(used_once=store)
    token = bank.peer.token()
    await bank.guard.admit(bank.request(bank.peer.headers(token, bank.peer.proof(token, iat=NOW - 20))))
    ((namespace, digest, until, now),) = store.asked
    assert (namespace, len(digest), now) == (RESOURCE, 32, NOW)
    assert until >= NOW - 20 + 60
    assert len(bank.observer.admissions) == 1


async def test_a_proof_that_was_used_is_refused_with_the_token_named_to_the_observer() -> None:
    bank = Bank(used_once=CountingStore(answer=False))
    with pytest.raises(InvalidDpopProof):
        await bank.guard.admit(bank.request())
    (refusal,) = bank.observer.refusals
    assert refusal.token is not None
    assert refusal.token.client_id == "agent-1"
    assert (refusal.http_method, refusal.path, refusal.error.detail) == ("POST", "/mcp", "replayed")


async def test_the_observer_does_not_learn_a_token_that_did_not_verify() -> None:
    bank = Bank()
    with pytest.raises(InvalidToken):
        await bank.guard.admit(bank.request(bank.peer.headers(bank.peer.token(key=PeerKey.es256(seed=9)))))
    assert bank.observer.refusals[0].token is None


class DeafObserver:
    """An observer whose own storage is gone."""

    def admitted(self, call: AuthorizedCall) -> None:
        raise OSError("disk full")

    def refused(self, refusal: Refusal) -> None:
        raise OSError("disk full")


async def test_what_cannot_be_recorded_does_not_happen(caplog: pytest.LogCaptureFixture) -> None:
    bank = Bank(observer=DeafObserver())
    with pytest.raises(Unavailable) as caught:
        await bank.guard.admit(bank.request())
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(InvalidToken):
        await bank.guard.admit(bank.request(bank.peer.headers(scheme="Bearer")))
    assert "the refusal stands" in caplog.text


class BrokenKeys(StaticIssuerKeys):
    async def keys(self, kid: str | None) -> Any:
        raise KeyError(kid)


async def test_a_token_of_another_issuer_does_not_make_us_ask_for_keys() -> None:
    bank = Bank(keys=BrokenKeys(ISSUER, {"keys": [ISSUER_KEY.jwk(kid="as-1")]}))
    with pytest.raises(InvalidToken):
        await bank.guard.admit(bank.request(bank.peer.headers(bank.peer.token(iss="https://other.example"))))


async def test_a_port_that_breaks_its_promise_closes_the_door() -> None:
    bank = Bank(keys=BrokenKeys(ISSUER, {"keys": [PeerKey.es256(seed=1).jwk(kid="other")]}))
    with pytest.raises(Unavailable):
        await bank.guard.admit(bank.request())
    assert bank.observer.refusals[0].error.detail == "unexpected KeyError"


async def test_a_token_is_verified_once_and_its_expiry_every_time() -> None:
    bank = Bank()
    token = bank.peer.token(exp=NOW + 30)
    for _ in range(3):
        await bank.guard.admit(bank.request(bank.peer.headers(token)))
    assert len(bank.guard._tokens) == 1
    bank.clock.advance(40)
    with pytest.raises(InvalidToken):
        await bank.guard.admit(bank.request(bank.peer.headers(token)))


@pytest.mark.parametrize("kind", ["signature", "audience", "unbound", "expired"])
async def test_a_token_that_did_not_verify_is_not_remembered(kind: str) -> None:
    bank = Bank()
    token = {
        "signature": lambda: bank.peer.token()[:-8] + "AAAAAAAA",
        "audience": lambda: bank.peer.token(aud="https://other.example"),
        "unbound": lambda: bank.peer.token(cnf=ABSENT),
        "expired": lambda: bank.peer.token(exp=NOW - 60),
    }[kind]()
    with pytest.raises(InvalidToken):
        await bank.guard.admit(bank.request(bank.peer.headers(token)))
    assert len(bank.guard._tokens) == 0


async def test_a_remembered_token_is_not_found_under_another_spelling_of_itself() -> None:
    bank = Bank()
    token = bank.peer.token()
    await bank.guard.admit(bank.request(bank.peer.headers(token)))
    for scheme, other in (("Bearer", token), ("DPoP", token + "."), ("DPoP", token + "=")):
        with pytest.raises(ProtocolError):
            await bank.guard.admit(bank.request(bank.peer.headers(other, scheme=scheme)))


async def test_the_token_cache_is_bounded_and_forgets_the_oldest() -> None:
    bank = Bank()
    call = await bank.guard.admit(bank.request())
    cache = TokenCache(limit=3)
    keys = object()
    for number in range(5):
        cache.remember(bytes([number]), Verified(call.token, Confirmation(jkt="x"), "ath", keys))
    cache.remember(bytes([4]), Verified(call.token, Confirmation(jkt="x"), "ath", keys))
    assert len(cache) == 3
    assert cache.get(bytes([1])) is None
    assert cache.get(bytes([4])) is not None


async def test_get_and_delete_need_the_base_scope_and_no_body() -> None:
    bank = Bank(legacy_streams=True)
    for method in ("GET", "DELETE"):
        token = bank.peer.token()
        headers = bank.peer.headers(token, bank.peer.proof(token, htm=method))
        call = await bank.guard.admit(bank.request(headers, method=method))
        assert (call.rpc_method, call.target) == (None, None)
        headers = bank.peer.headers(token, bank.peer.proof(token, htm=method))
        with pytest.raises(InvalidRequest):
            await bank.guard.admit(bank.request(headers, method=method)._replace(body=as_body(tool_call())))
        poor = bank.peer.token(scope="accounts:read")
        headers = bank.peer.headers(poor, bank.peer.proof(poor, htm=method))
        with pytest.raises(InsufficientScope):
            await bank.guard.admit(bank.request(headers, method=method))


@pytest.mark.parametrize("path", ["/other", "/mcp/", "/", "/a b", "/\u00e9", "/%zz", "/x/%2e%2e/mcp"])
async def test_another_path_is_never_admitted(path: str) -> None:
    bank = Bank()
    with pytest.raises((InvalidDpopProof, InvalidRequest, UnknownPath)):
        await bank.guard.admit(bank.request(path=path))
    assert bank.observer.admissions == []


async def test_a_proof_may_be_as_old_as_the_guard_is_told() -> None:
    bank = Bank()
    store = MemoryUsedOnce()
    patient = guard(clock=bank.clock, used_once=store, proof_age_seconds=300)
    token = bank.peer.token()
    for guarded, age, good in ((bank.guard, 60, True), (bank.guard, 61, False), (patient, 300, True)):
        request = bank.request(bank.peer.headers(token, bank.peer.proof(token, iat=NOW - age)))
        if good:
            await guarded.admit(request)
        else:
            with pytest.raises(InvalidDpopProof):
                await guarded.admit(request)


async def test_nonces_can_be_switched_off_and_are_then_neither_wanted_nor_sent() -> None:
    bank = Bank()
    plain = guard(clock=bank.clock, nonce_key=None)
    token = bank.peer.token()
    request = bank.request(bank.peer.headers(token, bank.peer.proof(token, nonce=ABSENT)))
    assert (await plain.admit(request)).response_headers == ()
    assert [name for name, _ in plain.challenge(MissingToken("x"))] == [b"www-authenticate"]


NO_RESOURCE = pytest.mark.requirement("PRM-2", proves="refused")


def guard(**changes: Any) -> Guard:
    settings: dict[str, Any] = {
        "resource": RESOURCE,
        "issuer": ISSUER,
        "keys": StaticIssuerKeys(ISSUER, {"keys": [ISSUER_KEY.jwk(kid="as-1")]}),
        "used_once": MemoryUsedOnce(),
        "tools": TOOLS,
        "nonce_key": NONCE_KEY,
        "clock": FrozenClock(),
        "observer": RecordingObserver(),
    }
    return Guard(**(settings | changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"resource": "http://mcp.bank.example/mcp"}, "https", marks=NO_RESOURCE),
        pytest.param({"resource": "https://mcp.bank.example/mcp#x"}, "fragment", marks=NO_RESOURCE),
        ({"resource": "https://mcp.bank.example/mcp?x=1"}, "query"),
        ({"resource": "mcp.bank.example"}, "absolute"),
        ({"issuer": "https://other.example"}, "issuer"),
        ({"nonce_key": b"short"}, "32 bytes"),
        pytest.param(
            {"tools": ToolPolicy(tools={}, base=["offline_access"])},
            "offline_access",
            marks=pytest.mark.requirement("PRM-14", proves="refused"),
        ),
        ({"proof_age_seconds": 301}, "300"),
        ({"proof_age_seconds": 0}, "300"),
    ],
    ids=["http", "fragment", "query", "relative", "issuer", "key", "scope", "age", "no age"],
)
def test_a_guard_that_would_not_be_safe_is_not_built(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        guard(**changes)


@pytest.mark.requirement("PRM-2", proves="holds")
def test_a_resource_at_the_root_has_its_metadata_at_the_root() -> None:
    root = guard(resource="https://mcp.bank.example")
    assert root.address.path == "/"
    assert root.address.metadata_path == "/.well-known/oauth-protected-resource"
    assert root.metadata.document()["resource"] == "https://mcp.bank.example"


@pytest.mark.requirement("RSE-7", proves="refused")
@pytest.mark.parametrize("kind", list(broken_requests(Bank())))
async def test_a_challenge_holds_constants_only(kind: str) -> None:
    bank = Bank()
    request, _ = broken_requests(bank)[kind]
    with pytest.raises(ProtocolError) as caught:
        await bank.guard.admit(request)
    for name, value in bank.guard.challenge(caught.value):
        assert value.isascii()
        assert name == b"dpop-nonce" or value.count(b'"') % 2 == 0
        for said in (b"transfer", b"whoami", b"alice", b"agent-1"):
            assert said not in value
