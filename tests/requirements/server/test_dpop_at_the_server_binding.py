"""DPoP at the server: every token is bound to the key that was proved, and to no other (RFC 9449 §5, §10)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.settings import ConfigurationError, load
from tests.support.fapi_client import TRUTH
from tests.support.house import PASSWORD, House
from tests.support.peer_keys import PeerKey
from tests.support.token_scene import ALGORITHMS, KEYS, claims_of, keyed, obtained, refresh_token_of, refused, warm

OTHER = PeerKey.es256(seed=666)
BAD_PROOFS: dict[str, dict[str, Any]] = {
    "no JWS": {"proof": "x"},
    "two": {"proof": ["a.b.c", "a.b.c"]},
    "another method": {"htm": "GET"},
    "another address": {"htu": "https://as.example/par"},
    "another key": {"proof_key": OTHER},
    "too old": {"iat": 1},
    "without jti": {"jti": ...},
    "another type": {"proof_header": {"typ": "JWT"}},
}
GRANTS = ("code", "refresh", "credentials")


async def prepared(house: House, grant: str) -> Callable[[], Awaitable[Any]]:
    """A token request of one grant type that would succeed."""
    agent = house.agent
    await warm(agent)
    if grant == "credentials":
        return agent.client_credentials
    if grant == "refresh":
        value = refresh_token_of(await obtained(house))
        return lambda: agent.refresh(value)
    with agent.lying(proof=...):
        pushed = await agent.push()
    done = await agent.authorize(pushed, username="alice", password=PASSWORD)
    return lambda: agent.redeem(done, pushed)


@pytest.mark.requirement("DPOP-AS-1", proves="holds")
@pytest.mark.parametrize("grant", GRANTS)
async def test_every_grant_is_bound_by_a_proof(house: House, grant: str) -> None:
    tokens = await (await prepared(house, grant))()
    assert claims_of(tokens.access_token)["cnf"] == {"jkt": house.agent.dpop_key.thumbprint}


@pytest.mark.requirement("DPOP-AS-1", proves="refused")
@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("lie", BAD_PROOFS.values(), ids=BAD_PROOFS)
async def test_no_grant_takes_a_wrong_proof(house: House, grant: str, lie: dict[str, Any]) -> None:
    ask = await prepared(house, grant)
    with house.agent.lying(**lie):
        await refused(house, ask, 400, "invalid_dpop_proof")
    assert (await ask()).access_token


@pytest.mark.requirement("DPOP-AS-2", proves="holds")
@pytest.mark.parametrize("name", ALGORITHMS)
async def test_a_bound_token_says_so_in_the_answer_and_in_itself(house: House, name: str) -> None:
    tokens = await obtained(house, keyed(house, name))
    assert tokens.token_type == "DPoP"
    assert claims_of(tokens.access_token)["cnf"] == {"jkt": KEYS[name]().thumbprint}


@pytest.mark.requirement("DPOP-AS-2", proves="refused")
@pytest.mark.attack("CNF-08")
@pytest.mark.parametrize("grant", GRANTS)
async def test_asking_for_a_bearer_token_brings_none(house: House, grant: str) -> None:
    ask = await prepared(house, grant)
    with house.agent.lying(proof=..., form={"token_type": "Bearer"}):
        await refused(house, ask, 400, "invalid_dpop_proof")


@pytest.mark.requirement("DPOP-AS-3", proves="holds")
async def test_with_a_proof_there_is_a_token(house: House) -> None:
    assert (await house.agent.client_credentials()).token_type == "DPoP"


@pytest.mark.requirement("DPOP-AS-3", proves="refused")
@pytest.mark.parametrize("grant", GRANTS)
async def test_without_a_proof_there_is_no_token_of_any_kind(house: House, grant: str) -> None:
    ask = await prepared(house, grant)
    with house.agent.lying(proof=...):
        answer = await refused(house, ask, 400, "invalid_dpop_proof", reason="no proof")
    assert "access_token" not in answer.json()


@pytest.mark.requirement("DPOP-AS-4", proves="holds")
async def test_a_refresh_token_of_a_confidential_client_goes_with_any_of_its_keys(house: House) -> None:
    value = refresh_token_of(await obtained(house))
    for key in (PeerKey.es256(), PeerKey.ed25519(), PeerKey.ps256()):
        tokens = await house.agent.refresh(value, key=key)
        assert claims_of(tokens.access_token)["cnf"] == {"jkt": key.thumbprint}


@pytest.mark.requirement("DPOP-AS-4", proves="refused")
def test_there_are_no_public_clients_whose_refresh_tokens_would_need_a_key(house: House) -> None:
    registration = house.agent.registration(token_endpoint_auth_method="none")
    with pytest.raises(InvalidClientMetadata):
        parse_client(registration, client_id="public", version=1)


@pytest.mark.requirement("DPOP-AS-5", proves="holds")
async def test_a_refresh_with_a_fresh_proof_succeeds_each_time(house: House) -> None:
    value = refresh_token_of(await obtained(house))
    assert [bool((await house.agent.refresh(value)).access_token) for _ in range(3)] == [True] * 3


@pytest.mark.requirement("DPOP-AS-5", proves="refused")
@pytest.mark.parametrize(("proof", "unsent"), [("none", 0), ("used", 1)])
async def test_a_refresh_without_a_fresh_proof_is_refused(house: House, proof: str, unsent: int) -> None:
    value = refresh_token_of(await obtained(house))
    used = house.agent.proof("POST", house.agent.metadata["token_endpoint"])
    with house.agent.lying(proof=used):
        await house.agent.refresh(value)
    with house.agent.lying(proof=... if proof == "none" else used):
        await refused(house, lambda: house.agent.refresh(value), 400, "invalid_dpop_proof", unsent=unsent)


@pytest.mark.requirement("DPOP-AS-7", proves="holds")
def test_every_client_is_registered_for_bound_tokens(house: House) -> None:
    assert house.store.clients["agent"].dpop_bound_access_tokens is True
    for said in (True, None):  # null says nothing, and silence is a binding
        registration = house.agent.registration(dpop_bound_access_tokens=said)
        assert parse_client(registration, client_id="agent", version=1).dpop_bound_access_tokens is True


@pytest.mark.requirement("DPOP-AS-7", proves="refused")
@pytest.mark.parametrize("value", [False, "true", 1, [], {}])
def test_no_client_is_registered_for_anything_else(house: House, value: Any) -> None:
    registration = house.agent.registration(dpop_bound_access_tokens=value)
    with pytest.raises(InvalidClientMetadata, match="dpop_bound_access_tokens"):
        parse_client(registration, client_id="agent", version=1)


# --- the key of a push


async def pushed_code(house: House, *, key: PeerKey | None = None, proof: Any = TRUTH, **form: Any) -> Any:
    agent = house.agent
    await warm(agent)
    with agent.lying(proof=proof, form=form):
        pushed = await agent.push(key=key)
    return await agent.authorize(pushed, username="alice", password=PASSWORD), pushed


@pytest.mark.requirement("DPOP-AS-11", proves="holds")
@pytest.mark.parametrize("name", ALGORITHMS)
async def test_a_code_for_a_thumbprint_is_redeemed_with_that_key(house: House, name: str) -> None:
    key = KEYS[name]()
    done, pushed = await pushed_code(house, proof=..., dpop_jkt=key.thumbprint)
    tokens = await house.agent.redeem(done, pushed, key=key)
    assert claims_of(tokens.access_token)["cnf"] == {"jkt": key.thumbprint}


@pytest.mark.requirement("DPOP-AS-11", proves="refused")
async def test_a_code_for_a_thumbprint_is_not_redeemed_with_another_key(house: House) -> None:
    done, pushed = await pushed_code(house, proof=..., dpop_jkt=OTHER.thumbprint)
    await refused(house, lambda: house.agent.redeem(done, pushed), 400, "invalid_dpop_proof")
    assert not house.store.is_spent(HandleKind.CODE, digest_of(done.code or ""))
    assert (await house.agent.redeem(done, pushed, key=OTHER)).access_token


@pytest.mark.parametrize(
    "jkt", [OTHER.thumbprint + "=", OTHER.thumbprint[:-1], OTHER.thumbprint + "A", "+" + OTHER.thumbprint[1:], "x"]
)
async def test_a_thumbprint_that_is_none_is_refused_at_the_push(house: House, jkt: str) -> None:
    await warm(house.agent)
    with house.agent.lying(proof=..., form={"dpop_jkt": jkt}):
        await refused(house, house.agent.push, 400, "invalid_request")


@pytest.mark.requirement("DPOP-AS-12", proves="holds")
@pytest.mark.parametrize("both", [True, False])
async def test_a_push_takes_a_proof_and_a_thumbprint_that_agree(house: House, both: bool) -> None:
    thumbprint = house.agent.dpop_key.thumbprint
    done, pushed = await pushed_code(house, **({"dpop_jkt": thumbprint} if both else {}))
    assert claims_of((await house.agent.redeem(done, pushed)).access_token)["cnf"] == {"jkt": thumbprint}


@pytest.mark.requirement("DPOP-AS-12", proves="refused")
@pytest.mark.parametrize(
    "lie",
    [{"form": {"dpop_jkt": OTHER.thumbprint}}, *BAD_PROOFS.values(), {"htu": "https://as.example/token"}],
    ids=["another thumbprint", *BAD_PROOFS, "for the token endpoint"],
)
async def test_a_push_validates_its_proof_whole(house: House, lie: dict[str, Any]) -> None:
    await warm(house.agent)
    lie = lie | ({"htu": "https://as.example/token"} if lie.get("htu") else {})
    with house.agent.lying(**lie):
        await refused(house, house.agent.push, 400, "invalid_dpop_proof")


@pytest.mark.requirement("DPOP-AS-13", proves="holds")
async def test_the_key_that_was_proved_at_the_push_redeems(house: House) -> None:
    key = PeerKey.ed25519()
    done, pushed = await pushed_code(house, key=key)
    assert claims_of((await house.agent.redeem(done, pushed, key=key)).access_token)["cnf"] == {"jkt": key.thumbprint}


@pytest.mark.requirement("DPOP-AS-13", proves="refused")
async def test_no_other_key_redeems_what_was_pushed_with_a_proof(house: House) -> None:
    key = PeerKey.ed25519()
    done, pushed = await pushed_code(house, key=key)
    await refused(house, lambda: house.agent.redeem(done, pushed), 400, "invalid_dpop_proof")
    assert (await house.agent.redeem(done, pushed, key=key)).access_token


# --- what DPoP is not


@pytest.mark.requirement("DPOP-AS-17", proves="holds")
def test_ten_minutes_are_the_longest_life_that_can_be_set(tmp_path: Path) -> None:
    assert load(configuration(tmp_path, 600), {}).policy().access_token_lifetime.total_seconds() == 600


@pytest.mark.requirement("DPOP-AS-17", proves="refused")
@pytest.mark.parametrize("lifetime", [601, 3600, 86_400])
def test_a_longer_life_stops_the_start(tmp_path: Path, lifetime: int) -> None:
    with pytest.raises(ConfigurationError, match="access_token"):
        load(configuration(tmp_path, lifetime), {})


def configuration(directory: Path, access_token: int) -> Path:
    path = directory / "fapi-as.toml"
    text = f'[server]\nissuer = "https://as.example"\n[lifetimes]\naccess_token = {access_token}\n'
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.requirement("DPOP-AS-18", proves="holds")
async def test_the_client_with_its_assertion_and_a_proof_gets_through(house: House) -> None:
    assert (await house.agent.client_credentials()).access_token


@pytest.mark.requirement("DPOP-AS-18", proves="refused")
@pytest.mark.parametrize("grant", GRANTS)
async def test_a_proof_alone_does_not_say_who_the_client_is(house: House, grant: str) -> None:
    ask = await prepared(house, grant)
    with house.agent.lying(form={"client_assertion": ..., "client_assertion_type": ...}):
        await refused(house, ask, 401, "invalid_client", reason="no assertion and no certificate")
    assert (await ask()).access_token
