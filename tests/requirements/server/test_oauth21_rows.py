"""OAuth 2.1 and its best practice: clients, redirect URIs, people; row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fapi_as.protocol.client_metadata import InvalidRedirectUri, parse_client
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from tests.support.command_line import CLIENT, PASSWORD, CommandLine
from tests.support.fakes import ISSUER
from tests.support.house import PASSWORD as ALICES
from tests.support.house import House, callback
from tests.support.push_scene import kept
from tests.support.requirement_rows import ROOT
from tests.support.standing_still import query_for, ready, refused_page, refused_push, refused_tokens, visited

NOBODY = (401, "invalid_client")


@pytest.fixture
async def house() -> House:
    return await ready(House())


@pytest.fixture
def place(tmp_path: Path) -> CommandLine:
    line = CommandLine(directory=tmp_path)
    assert line.run("init").code == 0
    return line


def added(place: CommandLine, **changes: Any) -> dict[str, Any]:
    members = {name: value for name, value in {**CLIENT, **changes}.items() if value is not ...}
    shown: dict[str, Any] = place.json("client", "add", "-", stdin=json.dumps(members))
    return shown


# --- OA-REG: clients


@pytest.mark.requirement("OA-REG-1", proves="holds")
def test_client_ids_are_drawn_by_the_server_and_differ(place: CommandLine) -> None:
    ids = [added(place, client_id=...)["client_id"] for _ in range(3)]
    assert len(set(ids)) == 3
    assert {client["client_id"] for client in place.json("client", "list")} == set(ids)


@pytest.mark.requirement("OA-REG-1", proves="refused")
def test_a_client_id_is_given_once(place: CommandLine) -> None:
    before = added(place)
    place.refused("client", "add", "-", stdin=json.dumps({**CLIENT, "client_name": "Another"}))
    assert place.json("client", "show", "ledger-agent") == before


@pytest.mark.requirement("OA-REG-1", proves="refused")
@pytest.mark.parametrize("spelling", ["AGENT", "agent ", " agent", "\uff41gent"])
async def test_another_spelling_of_a_client_id_is_another_client(house: House, spelling: str) -> None:
    pushed = await house.agent.push()
    assert await refused_page(house, query_for(pushed, spelling)) == (400, "invalid_request_uri")
    said = {"iss": spelling, "sub": spelling, "form": {"client_id": spelling}}
    assert await refused_push(house, **said) == NOBODY


@pytest.mark.requirement("OA-REG-2", proves="holds")
async def test_a_client_acts_under_its_id_and_a_person_under_a_subject(house: House) -> None:
    await house.agent.client_credentials()
    await house.agent.obtain(username="alice", password=ALICES)
    client, person = [claims for _, claims in house.signer.signed[-2:]]
    assert (client["sub"], client["client_id"]) == ("agent", "agent")
    assert (person["sub"], person["client_id"]) == ("sub-alice", "agent")


@pytest.mark.requirement("BCP-13", proves="holds")
async def test_a_clients_own_token_cannot_be_taken_for_a_persons(house: House) -> None:
    await house.agent.client_credentials()
    claims = house.signer.signed[-1][1]
    assert claims["sub"] == claims["client_id"]
    assert not {"auth_time", "acr"} & set(claims)


@pytest.mark.requirement("BCP-13", proves="refused")
def test_a_client_that_would_be_called_like_a_person_is_not_registered(place: CommandLine) -> None:
    subject = place.json("user", "add", "alice", "--password-stdin", stdin=PASSWORD)["subject"]
    place.refused("client", "add", "-", stdin=json.dumps({**CLIENT, "client_id": subject}))
    assert place.json("client", "list") == []


@pytest.mark.requirement("OA-REG-5", proves="holds")
async def test_one_of_several_redirect_uris_is_named_by_the_request(house: House) -> None:
    house.change_client(redirect_uris=("https://client.example/one", "https://client.example/two"))
    done = callback(await visited(house, await house.agent.push(redirect_uri="https://client.example/two")))
    assert done.location.startswith("https://client.example/two?code=")


@pytest.mark.requirement("OA-REG-5", proves="refused")
@pytest.mark.parametrize("registered", [1, 2])
async def test_none_is_chosen_for_a_request_that_names_none(house: House, registered: int) -> None:
    house.change_client(redirect_uris=tuple(f"https://client.example/{number}" for number in range(registered)))
    assert await refused_push(house, form={"redirect_uri": ...}) == (400, "invalid_request")


@pytest.mark.requirement("OA-REG-7", proves="holds")
@pytest.mark.parametrize("uri", ["https://client.example/cb", "http://127.0.0.1/cb"])
def test_an_app_is_reached_by_https_or_by_loopback(uri: str) -> None:
    members = House().agent.registration(redirect_uris=[uri], application_type="native")
    assert parse_client(members, client_id="app", version=1).redirect_uris == (uri,)


@pytest.mark.requirement("OA-REG-7", proves="refused")
@pytest.mark.parametrize("uri", ["myapp:/cb", "com.example.app:/cb", "com.example.app://cb"])
def test_no_private_scheme_is_registered_with_or_without_a_dot(uri: str) -> None:
    members = House().agent.registration(redirect_uris=[uri], application_type="native")
    with pytest.raises(InvalidRedirectUri):
        parse_client(members, client_id="app", version=1)


@pytest.mark.requirement("OA-REG-8", proves="holds")
def test_a_client_that_is_switched_off_and_on_is_as_confidential_as_before(place: CommandLine) -> None:
    before = added(place)
    place.run("client", "disable", "ledger-agent")
    place.run("client", "enable", "ledger-agent")
    assert place.json("client", "show", "ledger-agent") == before
    assert before["token_endpoint_auth_method"] == "private_key_jwt"


@pytest.mark.requirement("OA-REG-8", proves="refused")
@pytest.mark.parametrize(
    "change", [{"token_endpoint_auth_method": "none"}, {"token_endpoint_auth_method": ...}, {"jwks": ...}]
)
def test_a_confidential_client_does_not_become_a_public_one(place: CommandLine, change: dict[str, Any]) -> None:
    before = added(place)
    members = {name: value for name, value in {**CLIENT, **change}.items() if value is not ...}
    place.refused("client", "add", "-", stdin=json.dumps(members))
    assert place.json("client", "show", "ledger-agent") == before
    with pytest.raises(InvalidClientMetadata):
        parse_client(members, client_id="ledger-agent", version=2)


@pytest.mark.requirement("OA-REG-9", proves="holds")
async def test_what_a_client_needs_against_csrf_and_mix_up_comes_back(house: House) -> None:
    pushed = await house.agent.push(nonce="n" * 64)
    done = callback(await visited(house, pushed))
    assert (done.parameters["state"], done.parameters["iss"]) == (pushed.state, ISSUER)
    assert (await house.agent.redeem(done, pushed)).scope == "accounts:read"  # PKCE


@pytest.mark.requirement("OA-REG-10", proves="holds")
def test_the_docs_say_what_may_stand_behind_a_redirect_uri() -> None:
    text = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    assert "no script of a third party" in text


@pytest.mark.requirement("OA-REG-3", proves="refused")
async def test_a_registered_uri_is_compared_as_a_string(house: House) -> None:
    assert (await kept(house, redirect_uri=house.agent.redirect_uri)).redirect_uri == house.agent.redirect_uri
    form = {"redirect_uri": f"{house.agent.redirect_uri}/"}
    assert await refused_push(house, form=form) == (400, "invalid_request")


# --- best practice


@pytest.mark.requirement("BCP-16", proves="holds")
async def test_an_assertion_with_the_issuer_alone_serves_at_every_endpoint(house: House) -> None:
    with house.agent.lying(aud=ISSUER):
        await house.agent.push()
        assert (await house.agent.client_credentials()).scope == "accounts:read"


@pytest.mark.requirement("BCP-16", proves="refused")
@pytest.mark.parametrize("aud", [f"{ISSUER}/token", [ISSUER, "https://evil.example"], "https://evil.example"])
async def test_an_audience_that_an_attacker_could_have_chosen_is_refused(house: House, aud: Any) -> None:
    assert await refused_push(house, aud=aud) == NOBODY
    with house.agent.lying(aud=aud):
        assert await refused_tokens(house, house.agent.credentials_request) == NOBODY


@pytest.mark.requirement("BCP-16", proves="refused")
async def test_a_session_that_was_fixed_for_somebody_else_goes_nowhere(house: House) -> None:
    attackers = await house.asked()
    victim = await house.browser().open(attackers.url)
    assert getattr(victim, "error", None) == "invalid_request_uri"
