"""A resource that trusts several authorization servers: each with its own keys, and none in another's name."""

from __future__ import annotations

from typing import Any

import pytest

from rs_kit.adapters.assembly import assemble_guard
from rs_kit.adapters.issuer_keys import HttpsIssuerKeys, StaticIssuerKeys
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.guard import Guard
from rs_kit.protocol.errors import InvalidToken
from rs_kit.testing import RecordingObserver
from tests.support.fakes import NONCE_KEY
from tests.support.guarded_bank import ISSUER, ISSUER_KEY, RESOURCE, TOOLS, Bank
from tests.support.peer_keys import PeerKey

SECOND = "https://as.second.example"
SECOND_KEY = PeerKey.es256(seed=15)


class SwitchableKeys:
    """An IssuerKeys whose set can be replaced, and which counts who asked for what."""

    def __init__(self, issuer: str, key: PeerKey) -> None:
        self.issuer = issuer
        self.asked: list[str | None] = []
        self.put(key)

    def put(self, key: PeerKey) -> None:
        self._set = StaticIssuerKeys(self.issuer, {"keys": [key.jwk(kid="as-1")]})

    def current(self) -> Any:
        return self._set.current()

    async def keys(self, kid: str | None) -> Any:
        self.asked.append(kid)
        return self._set.current()


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
def keys() -> list[SwitchableKeys]:
    return [SwitchableKeys(ISSUER, ISSUER_KEY), SwitchableKeys(SECOND, SECOND_KEY)]


@pytest.fixture
def guard(bank: Bank, keys: list[SwitchableKeys]) -> Guard:
    return Guard(
        resource=RESOURCE,
        issuer=[ISSUER, SECOND],
        keys=keys,
        used_once=MemoryUsedOnce(),
        tools=TOOLS,
        nonce_key=NONCE_KEY,
        clock=bank.clock,
        observer=RecordingObserver(),
    )


async def test_each_issuer_is_believed_under_its_own_name(bank: Bank, guard: Guard) -> None:
    for _ in range(2):  # seen for the first time, and remembered
        for issuer, key in ((ISSUER, ISSUER_KEY), (SECOND, SECOND_KEY)):
            token = bank.peer.token(iss=issuer, key=key, jti="same", sub="alice")
            call = await guard.admit(bank.request(bank.peer.headers(token)))
            assert (call.token.issuer, call.token.subject) == (issuer, "alice")
    assert guard.metadata.document()["authorization_servers"] == [ISSUER, SECOND]


@pytest.mark.attack("XPA-07")
async def test_a_token_that_was_injected_by_a_second_server_still_says_whose_it_is(bank: Bank, guard: Guard) -> None:
    """A client that uses one key at two servers proves whatever token it is given: the issuer must tell them apart."""
    stolen = bank.peer.token(sub="victim")  # of the first server; the second one hands it to the client as its own
    call = await guard.admit(bank.request(bank.peer.headers(stolen)))
    assert (call.token.issuer, call.token.subject) == (ISSUER, "victim")
    only_second = Guard(
        resource=RESOURCE,
        issuer=SECOND,
        keys=SwitchableKeys(SECOND, SECOND_KEY),
        used_once=MemoryUsedOnce(),
        tools=TOOLS,
        nonce_key=NONCE_KEY,
        clock=bank.clock,
        observer=RecordingObserver(),
    )
    with pytest.raises(InvalidToken):
        await only_second.admit(bank.request(bank.peer.headers(stolen)))


@pytest.mark.parametrize(("says", "signs"), [(ISSUER, SECOND_KEY), (SECOND, ISSUER_KEY)])
async def test_no_issuer_signs_in_the_name_of_another(bank: Bank, guard: Guard, says: str, signs: PeerKey) -> None:
    honest = bank.peer.token(iss=says, key={ISSUER: ISSUER_KEY, SECOND: SECOND_KEY}[says])
    assert (await guard.admit(bank.request(bank.peer.headers(honest)))).token.issuer == says
    forged = bank.peer.token(iss=says, key=signs)
    with pytest.raises(InvalidToken):
        await guard.admit(bank.request(bank.peer.headers(forged)))


@pytest.mark.parametrize("iss", ["https://as.third.example", SECOND + "/", SECOND.upper(), None, 7, [SECOND], {}])
async def test_an_issuer_that_is_not_configured_makes_nobody_ask_for_keys(
    bank: Bank, guard: Guard, keys: list[SwitchableKeys], iss: Any
) -> None:
    with pytest.raises(InvalidToken):
        await guard.admit(bank.request(bank.peer.headers(bank.peer.token(iss=iss, key=SECOND_KEY))))
    assert [of_one.asked for of_one in keys] == [[], []]


async def test_a_key_that_one_issuer_took_back_ends_its_tokens_and_no_others(
    bank: Bank, guard: Guard, keys: list[SwitchableKeys]
) -> None:
    first, second = bank.peer.token(), bank.peer.token(iss=SECOND, key=SECOND_KEY)
    for token in (first, second):
        await guard.admit(bank.request(bank.peer.headers(token)))
    keys[1].put(PeerKey.es256(seed=16))
    await guard.admit(bank.request(bank.peer.headers(first)))
    with pytest.raises(InvalidToken):
        await guard.admit(bank.request(bank.peer.headers(second)))


async def test_the_claims_that_calls_share_cannot_be_changed_by_one_of_them(bank: Bank, guard: Guard) -> None:
    token = bank.peer.token(roles=["reader"])
    first = await guard.admit(bank.request(bank.peer.headers(token)))
    claims: Any = first.token.claims
    with pytest.raises(TypeError):
        claims["sub"] = "mallory"
    with pytest.raises(AttributeError):
        claims["roles"].append("admin")
    second = await guard.admit(bank.request(bank.peer.headers(token)))
    assert second.token is first.token
    assert (second.token.claims["sub"], second.token.claims["roles"]) == ("alice", ("reader",))


@pytest.mark.parametrize(
    ("issuers", "of"),
    [
        ([], []),
        ([ISSUER, SECOND], [ISSUER]),
        ([ISSUER], [ISSUER, SECOND]),
        ([ISSUER, ISSUER], [ISSUER, ISSUER]),
        ([ISSUER, SECOND], [ISSUER, ISSUER]),
        (ISSUER, [SECOND]),
    ],
)
def test_issuers_and_keys_that_do_not_belong_together_stop_the_start(
    bank: Bank, issuers: list[str] | str, of: list[str]
) -> None:
    with pytest.raises(ValueError, match="another issuer"):
        Guard(
            resource=RESOURCE,
            issuer=issuers,
            keys=[SwitchableKeys(name, ISSUER_KEY) for name in of],
            used_once=MemoryUsedOnce(),
            tools=TOOLS,
            nonce_key=NONCE_KEY,
            clock=bank.clock,
            observer=RecordingObserver(),
        )


def test_an_assembled_guard_fetches_the_keys_of_each_issuer() -> None:
    guard = assemble_guard(
        resource=RESOURCE, issuer=[ISSUER, SECOND], tools=TOOLS, used_once=MemoryUsedOnce(), nonce_key=NONCE_KEY
    )
    assert {name: type(keys) for name, keys in guard._issuers.items()} == dict.fromkeys(
        [ISSUER, SECOND], HttpsIssuerKeys
    )
