"""What the FAPI 2.0 Security Profile and OAuth 2.1 recommend, and what they leave to operators."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fapi_as.adapters.web.application import build_application
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.resource_registration import InvalidResourceMetadata, parse_resource
from tests.support.browser import Browser
from tests.support.command_line import CLIENT, PASSWORD, CommandLine
from tests.support.consent_scene import codes, fields, post
from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD as ALICES
from tests.support.house import RESOURCE, SCOPES, House, callback, page
from tests.support.requirement_rows import ROOT
from tests.support.standing_still import a_code, everything, ready, refused_tokens, visited

OPERATE = ROOT / "docs" / "operate.md"


@pytest.fixture
async def house() -> House:
    return await ready(House())


@pytest.mark.requirement("FAPI2-JWKS-2", proves="holds")
@pytest.mark.requirement("FAPI2-SEC-4", proves="holds")
@pytest.mark.requirement("FAPI2-SEC-6", proves="holds")
async def test_the_ordinary_work_succeeds_with_what_is_recommended(house: House) -> None:
    tokens = await house.agent.obtain(username="alice", password=ALICES)
    assert tokens.scope == "accounts:read"


@pytest.mark.requirement("FAPI2-SEC-6", proves="refused")
def test_an_id_that_is_a_persons_subject_is_refused(tmp_path: Path) -> None:
    place = CommandLine(directory=tmp_path)
    assert place.run("init").code == 0
    subject = place.json("user", "add", "alice", "--password-stdin", stdin=PASSWORD)["subject"]
    place.refused("client", "add", "-", stdin=json.dumps({**CLIENT, "client_id": subject}))
    assert place.json("client", "list") == []


@pytest.mark.requirement("FAPI2-AZ-14", proves="refused")
@pytest.mark.parametrize("path", ["/login", "/consent"])
async def test_a_form_is_never_answered_by_another_redirect(house: House, path: str) -> None:
    asked = await house.asked()
    if path == "/consent":
        response = await post(house, fields(asked), house.agent.browser)
        assert response.status_code == 303
    posts = [status for method, place, status in house.log if (method, place) == ("POST", path)]
    assert posts == [303]


@pytest.mark.requirement("FAPI2-AZ-16", proves="refused")
@pytest.mark.parametrize("what", ["the client's name", "the words of a scope"])
async def test_other_words_than_those_shown_grant_nothing(house: House, what: str) -> None:
    asked = await house.asked()
    if what == "the client's name":
        house.change_client(client_name="Somebody else")
    else:
        house.resource(version=2, scopes={**SCOPES, "accounts:read": "See everything"})
    again = page(await house.agent.browser.submit(asked, "consent-approve"))
    assert again.has("consent-approve")
    assert codes(house) == 0


@pytest.mark.requirement("FAPI2-SEC-1", proves="refused")
@pytest.mark.parametrize("lifetime", [601, 3600, 86_400])
def test_no_resource_gets_tokens_that_live_for_long(lifetime: int) -> None:
    members = {"resource": RESOURCE, "resource_name": "Bank", "scopes": SCOPES, "access_token_lifetime": lifetime}
    with pytest.raises(InvalidResourceMetadata):
        parse_resource(members, version=1)


@pytest.mark.requirement("FAPI2-SEC-5", proves="holds")
async def test_an_answer_is_told_to_the_client_and_to_no_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    application = build_application({"": house.context}, clock=house.clock)
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=application))
    house.agent.http, house.agent.browser = http, Browser(http)
    with caplog.at_level(logging.DEBUG):
        done = callback(await visited(house, await house.agent.push()))
    told = "\n".join(
        f"{record.getMessage()} {record.__dict__}" for record in caplog.records if "fapi_as" in record.name
    )
    assert done.code is not None
    assert done.code not in told
    assert done.parameters["state"] not in told
    assert done.code not in repr(house.store.facts)


@pytest.mark.requirement("FAPI2-SEC-7", proves="refused")
async def test_when_one_credential_of_a_consent_is_suspected_all_of_them_end(house: House) -> None:
    done, pushed = await a_code(house)
    first = await house.agent.redeem(done, pushed)
    other = await house.agent.obtain(username="alice", password=ALICES)
    with pytest.raises(Refused):
        await house.agent.redeem(done, pushed)
    ended = first.refresh_token or ""
    assert await refused_tokens(house, lambda: house.agent.refresh_request(ended)) == (400, "invalid_grant")
    assert (await house.agent.refresh(other.refresh_token or "")).scope == "accounts:read"


@pytest.mark.requirement("FAPI2-PRIV-1", proves="holds")
async def test_the_evidence_names_ids_and_no_person(house: House) -> None:
    await house.agent.obtain(username="alice", password=ALICES)
    evidence = repr(house.store.facts)
    assert "sub-alice" in evidence
    assert "'alice'" not in evidence
    assert ALICES not in evidence


@pytest.mark.requirement("FAPI2-PRIV-1", proves="refused")
@pytest.mark.parametrize("name", ["Bank\u202ekcabyap", "Bank\u200b", "Two\nlines", "", "x" * 101])
def test_a_name_that_would_mislead_whoever_reads_it_is_not_registered(name: str) -> None:
    with pytest.raises(InvalidClientMetadata):
        parse_client(House().agent.registration(client_name=name), client_id="agent", version=1)


@pytest.mark.requirement("OA-AC-12", proves="holds")
async def test_each_code_follows_a_decision_of_a_person(house: House) -> None:
    for number in (1, 2):
        asked = await house.asked()  # the second time the session is alive, and the question is asked all the same
        assert codes(house) == number - 1
        assert callback(await house.agent.browser.submit(asked, "consent-approve")).code


@pytest.mark.requirement("OA-AC-12", proves="refused")
@pytest.mark.parametrize("changes", [{"decision": "yes"}, {"decision": None}, {"csrf_token": None}, {"shown": "x"}])
async def test_no_code_without_one(house: House, changes: Any) -> None:
    asked = await house.asked()
    before = everything(house).handles
    response = await post(house, fields(asked, **changes), house.agent.browser)
    assert response.status_code in (200, 400, 403)
    assert "location" not in response.headers
    assert house.store.handles_of(HandleKind.CODE) == ()
    assert set(everything(house).handles) == set(before)


PARTS = [
    pytest.param(["CAA", "DNSSEC"], marks=pytest.mark.requirement("FAPI2-NET-7", proves="holds")),
    pytest.param(
        ["**TLS**", "**Browsers and devices**", "**Sign-in**", "**Metadata and keys**", "**Names**"],
        marks=pytest.mark.requirement("ATT-G-4", proves="holds"),
    ),
]


@pytest.mark.parametrize("parts", PARTS)
def test_operators_are_told_what_no_protocol_gives_them(parts: list[str]) -> None:
    text = OPERATE.read_text(encoding="utf-8").partition("## Before real people use it")[2]
    assert [part for part in parts if part not in text] == []


@pytest.mark.requirement("ATT-G-4", proves="refused")
@pytest.mark.parametrize(
    "left_out", ["a device that somebody else uses", "a password that is known", "a misleading name"]
)
async def test_what_the_model_leaves_out_meets_a_control_of_its_own(house: House, left_out: str) -> None:
    asked = await house.asked()
    match left_out:
        case "a device that somebody else uses":
            house.clock.advance(house.context.policy.session_idle)
        case "a password that is known":
            house.change_user(password_hash="plain:another passphrase")  # the person has another now
        case _:
            house.change_client(client_name="Your bank itself")  # after the person has read who asks
    after = page(await house.agent.browser.submit(asked, "consent-approve"))
    assert after.error == "invalid_request_uri" or after.has("login-submit") or "Your bank itself" in after.text
    assert codes(house) == 0
