"""Somebody whom nobody approved wants to be a client: no approval, a bent one, somebody else's, one that is over."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.fapi_client import error_of
from tests.support.fapi_messages import ASSERTION_TYPE
from tests.support.house import PASSWORD
from tests.support.peer_keys import PeerKey
from tests.support.registration_attack import (
    METADATA,
    NO_STATEMENT,
    NO_TOKEN,
    AttackedHouse,
    posted,
    refused,
    unmoved,
)
from tests.support.registration_house import ISSUER

SECOND: Final = 31_556_952 * 10  # ten years


@pytest.fixture
def house() -> AttackedHouse:
    return AttackedHouse()


# --- DCR-01, DCR-16: no approval, or none of ours


@pytest.mark.attack("DCR-01")
async def test_without_any_approval_there_is_a_bare_challenge(house: AttackedHouse) -> None:
    agent = house.registrant()
    response = await refused(house, agent.register(statement=None, **agent.described()), NO_TOKEN, "neither")
    challenges = response.headers.get_list("www-authenticate")
    assert challenges
    assert not [challenge for challenge in challenges if "error=" in challenge]


@pytest.mark.attack("DCR-01")
@pytest.mark.parametrize("scheme", ["Bearer", "DPoP", "bearer", "dPoP"])
@pytest.mark.parametrize("token", ["x" * 43, "invitation-", "token.invitation", "0", "a.b.c"])
async def test_a_token_that_nobody_issued_is_told_so(house: AttackedHouse, scheme: str, token: str) -> None:
    house.token()
    agent = house.registrant()
    with agent.lying(authorization=f"{scheme} {token}"):
        response = await refused(house, agent.register(statement=None, **agent.described()), NO_TOKEN, "unknown")
    assert "error=" in " ".join(response.headers.get_list("www-authenticate"))


@pytest.mark.attack("DCR-01")
async def test_an_initial_access_token_may_stand_nowhere_but_in_its_field(house: AttackedHouse) -> None:
    token, agent = house.token(), house.registrant()
    for place in ("access_token", "initial_access_token", "registration_access_token", "authorization"):
        await refused(house, agent.register(statement=None, **agent.described(**{place: token})), NO_TOKEN, "neither")
        with agent.lying(headers=[(f"x-{place}".replace("_", "-"), token)]):
            await refused(house, agent.register(statement=None, **agent.described()), NO_TOKEN, "neither")
    await refused(house, agent.register(statement=token), NO_STATEMENT)
    await agent.registered(statement=None, token=token, **agent.described())


MALFORMED: Final = {
    "nothing": "",
    "a scheme": "Bearer",
    "a scheme and a space": "Bearer ",
    "only spaces": "     ",
    "three parts": "Bearer {token} {token}",
    "a comma": "Bearer {token},Bearer {token}",
    "a tab": "Bearer\t{token}",
    "two spaces": "Bearer  {token}",
    "quoted": 'Bearer "{token}"',
    "no space": "Bearer{token}",
    "an equals sign": "Bearer={token}",
    "a NUL": "Bearer {token}\x00",
    "the token alone": "{token}",
    "Basic": "Basic {token}",
    "very long": "Bearer " + "x" * 100_000,
}


@pytest.mark.attack("DCR-16")
@pytest.mark.parametrize("said", MALFORMED)
async def test_an_authorization_field_that_is_none_is_refused_and_no_defect(house: AttackedHouse, said: str) -> None:
    agent, token = house.registrant(), house.token()
    with unmoved(house), agent.lying(authorization=MALFORMED[said].format(token=token)):
        response = await agent.register(statement=None, **agent.described())
        assert (response.status_code, error_of(response)) in {(400, "invalid_request"), NO_TOKEN}


@pytest.mark.attack("DCR-16")
@pytest.mark.parametrize("second", ["Bearer {token}", "Bearer " + "x" * 43, "Basic YTpi", ""])
async def test_two_authorization_fields_are_one_too_many(house: AttackedHouse, second: str) -> None:
    agent, token = house.registrant(), house.token()
    with agent.lying(headers=[("authorization", second.format(token=token))]):
        asked = agent.register(statement=None, token=token, **agent.described())
        await refused(house, asked, (400, "invalid_request"))


@pytest.mark.attack("DCR-01")
@pytest.mark.parametrize("other", ["statement", "bad statement", "null statement"])
async def test_a_bad_approval_is_not_made_up_for_by_another(house: AttackedHouse, other: str) -> None:
    """Neither may a thief hide behind one that is right, nor is one spent that came beside another."""
    token, agent = house.token(), house.registrant()
    good, bad = agent.statement(), agent.authority.signed(agent.claims(), key=PeerKey.es256())
    statement = {"statement": good, "bad statement": bad, "null statement": None}[other]
    if statement is None:
        response = await posted(agent, {**agent.described(), "software_statement": None}, token=token)
        assert response.status_code == 201  # a null says nothing
        return
    await refused(house, agent.register(statement=statement, token=token), METADATA)
    await refused(house, agent.register(statement=statement, token="x" * 43), METADATA)
    await agent.registered(statement=good)
    other_agent = house.registrant(seed=2)
    await other_agent.registered(statement=None, token=token, **other_agent.described())


@pytest.mark.attack("DCR-01")
async def test_tokens_of_other_kinds_approve_nobody(house: AttackedHouse) -> None:
    agent, thief = house.registrant(), house.registrant(seed=666)
    known = await agent.registered()
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    stolen = (known["registration_access_token"], tokens.access_token, tokens.refresh_token, agent.statement())
    for token in map(str, stolen):
        for scheme in ("Bearer", "DPoP"):
            with thief.lying(authorization=f"{scheme} {token}"):
                await refused(house, thief.register(statement=None, **thief.described()), NO_TOKEN)


@pytest.mark.attack("DCR-01")
async def test_an_initial_access_token_opens_nothing_else(house: AttackedHouse) -> None:
    agent = house.registrant()
    known, token = await agent.registered(), house.token()
    for method in ("GET", "PUT", "DELETE"):
        body = agent.replacement() if method == "PUT" else None
        await refused(house, agent.manage(method, body, token=token), NO_TOKEN)
    for scheme in ("Bearer", "DPoP"):
        with unmoved(house):
            response = await house.http.get(f"{ISSUER}/userinfo", headers={"authorization": f"{scheme} {token}"})
            assert response.status_code == 401
    forms: list[dict[str, Any]] = [
        {"client_assertion": token, "client_assertion_type": ASSERTION_TYPE},
        {"client_secret": token, "client_assertion": ..., "client_assertion_type": ...},
    ]
    for form in forms:
        with unmoved(house), agent.lying(form=form):
            response = await agent.attempt(agent.credentials_request)
            assert response.status_code in {400, 401}
    for value in (token, known["registration_access_token"], agent.statement()):
        with unmoved(house):
            response = await agent.attempt(lambda value=value: agent.refresh_request(value))
            assert (response.status_code, error_of(response)) == (400, "invalid_grant")
    assert (await agent.manage("GET")).status_code == 200


@pytest.mark.attack("LOG-10")
@pytest.mark.attack("DCR-01")
async def test_why_a_token_does_not_count_is_told_to_nobody(house: AttackedHouse) -> None:
    """Unknown, revoked, over and used up are one answer: whoever guesses or finds one learns nothing from it."""
    tokens = {
        name: house.token(name, seconds=60 if name == "over" else 3600) for name in ("revoked", "over", "used-up")
    }
    agent = house.registrant()
    await agent.registered(statement=None, token=tokens["used-up"], **agent.described())
    house.store.suspend("token:revoked")
    house.clock.advance(60)
    answers = set()
    for token in ("x" * 43, *tokens.values()):
        thief = house.registrant(seed=2)
        response = await refused(house, thief.register(statement=None, token=token, **thief.described()), NO_TOKEN)
        answers.add((response.content, *response.headers.get_list("www-authenticate")))
    assert len(answers) == 1
