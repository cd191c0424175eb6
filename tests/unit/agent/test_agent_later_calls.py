"""The agent after its first token: refresh, more scopes, tokens of an earlier life."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fapi_as import agent as agent_package
from fapi_as.agent.errors import AnswerRejected, AuthorizationDenied, ServerRefused
from fapi_as.agent.settings import GrantType
from fapi_as.agent.steps import Answer
from tests.support.agent_peer import (
    ISSUER,
    RESOURCE,
    Hands,
    Peer,
    agent_of,
    as_json,
    form,
    identity,
    run_call,
)
from tests.support.agent_scene import insufficient


@pytest.mark.requirement("FAPI2-CL-6", proves="holds")
def test_a_refused_token_is_refreshed_and_a_new_refresh_token_takes_the_place_of_the_old() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    assert agent.tokens is not None
    old = agent.tokens.refresh_token
    peer.expire()

    assert run_call(agent, peer).status == 200

    request = form(peer.requests_to("/token")[-1])
    assert request["grant_type"] == "refresh_token"
    assert request["scope"] == "accounts:read"
    assert old is not None
    assert request["refresh_token"] == old.reveal()
    assert agent.tokens.refresh_token not in {None, old}
    assert len(peer.visited) == 1


def test_a_refresh_answer_without_a_refresh_token_leaves_the_old_one_alive() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    assert agent.tokens is not None
    old = agent.tokens.refresh_token
    peer.expire()
    peer.token_document = {"refresh_token": None}
    run_call(agent, peer)

    assert agent.tokens.refresh_token == old


def test_a_token_about_to_end_is_refreshed_before_the_call() -> None:
    hands, peer = Hands(), Peer()
    agent = agent_of(hands)
    run_call(agent, peer)
    calls = len(peer.calls)
    hands.time += 295

    assert run_call(agent, peer).status == 200
    assert form(peer.requests_to("/token")[-1])["grant_type"] == "refresh_token"
    assert len(peer.calls) == calls + 1


def test_a_dead_refresh_token_means_that_the_person_is_asked_again() -> None:
    hands, peer = Hands(), Peer()
    agent = agent_of(hands)
    run_call(agent, peer)
    peer.refresh_alive = False
    peer.expire()
    hands.time += 295

    assert run_call(agent, peer).status == 200
    assert len(peer.visited) == 2


def test_a_second_refusal_is_handed_to_the_caller() -> None:
    peer, agent = Peer(), agent_of()
    refused = Answer(status=401, headers=(("www-authenticate", f'{peer.challenge}, error="invalid_token"'),))
    peer.resource_answers = [refused, refused, refused]

    assert run_call(agent, peer).status == 401
    assert len(peer.calls) == 2


def test_a_refused_proof_is_no_reason_to_get_other_tokens() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    before = len(peer.seen)
    refused = Answer(status=401, headers=(("www-authenticate", 'DPoP error="invalid_dpop_proof"'),))
    peer.resource_answers = [refused]

    assert run_call(agent, peer).status == 401
    assert len(peer.seen) == before


def test_a_missing_scope_is_asked_for_together_with_what_was_granted() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    peer.resource_answers = [insufficient("payments:write")]

    assert run_call(agent, peer).status == 200
    assert form(peer.requests_to("/par")[-1])["scope"] == "accounts:read payments:write"
    assert agent.tokens is not None
    assert agent.tokens.scope == ("accounts:read", "payments:write")


def test_a_scope_that_was_not_given_is_not_asked_for_again() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    peer.token_document = {"scope": "accounts:read"}
    for _ in range(3):
        peer.resource_answers = [insufficient("payments:write"), insufficient("payments:write")]
        assert run_call(agent, peer).status == 403
        peer.resource_answers.clear()

    assert len(peer.visited) == 2


def test_a_scope_that_the_person_denied_is_not_asked_for_again() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    held = agent.tokens
    peer.response = {"code": None, "error": "access_denied"}
    peer.resource_answers = [insufficient("payments:write")]
    with pytest.raises(AuthorizationDenied):
        run_call(agent, peer)

    peer.resource_answers = [insufficient("payments:write")]
    assert run_call(agent, peer).status == 403
    assert len(peer.visited) == 2
    assert agent.tokens is held


@pytest.mark.parametrize("status", [500, 503])
def test_a_scope_that_nobody_could_be_asked_for_is_asked_for_later(status: int) -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    peer.overrides["/par"] = lambda _: Answer(status=status)  # for a moment
    peer.resource_answers = [insufficient("payments:write")]
    with pytest.raises(AnswerRejected):
        run_call(agent, peer)

    del peer.overrides["/par"]
    peer.resource_answers = [insufficient("payments:write")]
    assert run_call(agent, peer).status == 200
    assert agent.tokens is not None
    assert agent.tokens.scope == ("accounts:read", "payments:write")


def test_a_scope_that_the_server_refuses_is_not_asked_for_again() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    peer.overrides["/par"] = lambda _: as_json(400, {"error": "invalid_scope"})
    peer.resource_answers = [insufficient("payments:write")]
    with pytest.raises(ServerRefused):
        run_call(agent, peer)

    peer.resource_answers = [insufficient("payments:write")]
    assert run_call(agent, peer).status == 403
    assert len(peer.requests_to("/par")) == 2


def test_a_scope_that_is_there_already_is_not_asked_for() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    peer.resource_answers = [insufficient("accounts:read")]

    assert run_call(agent, peer).status == 403
    assert len(peer.visited) == 1


@pytest.mark.parametrize(
    ("challenge_scope", "supported", "asked"),
    [("wanted:now", ["listed"], "wanted:now"), ("", ["listed", "more"], "listed more"), ("", [], None)],
)
def test_scopes_come_from_the_challenge_then_the_metadata_then_nowhere(
    challenge_scope: str, supported: list[str], asked: str | None
) -> None:
    peer = Peer(resource_document={"scopes_supported": supported})
    peer.challenge += f', scope="{challenge_scope}"'
    run_call(agent_of(scope=()), peer)

    assert form(peer.requests_to("/par")[0]).get("scope") == asked


def test_an_agent_that_acts_for_itself_needs_no_browser() -> None:
    bare: dict[str, Any] = {"authorization_endpoint": None, "pushed_authorization_request_endpoint": None}
    hands, peer = Hands(), Peer(metadata=bare)
    agent = agent_of(hands, grant_type=GrantType.CLIENT_CREDENTIALS, identities=(identity(redirect_uri=None),))

    assert run_call(agent, peer).status == 200
    assert form(peer.requests_to("/token")[0])["grant_type"] == "client_credentials"
    hands.time += 300
    calls = len(peer.calls)
    assert run_call(agent, peer).status == 200
    assert len(peer.calls) == calls + 1  # the new token was there before the call
    assert peer.visited == []


def test_without_an_announcement_the_well_known_places_are_tried_in_order() -> None:
    peer = Peer(challenge="DPoP")
    del peer.metadata["issuer"]
    issuer = f"{ISSUER}/tenant"
    peer.metadata["issuer"] = issuer
    peer.resource_document["authorization_servers"] = [issuer]
    peer.response["iss"] = issuer
    peer.overrides["/.well-known/oauth-protected-resource/mcp"] = lambda _: Answer(status=404)
    peer.overrides["/.well-known/oauth-protected-resource"] = lambda _: as_json(200, peer.resource_document)
    peer.overrides["/tenant/.well-known/openid-configuration"] = lambda _: as_json(200, peer.metadata)

    assert run_call(agent_of(identities=(identity(issuer=issuer),)), peer).status == 200
    assert [urlsplit(request.url).path for request in peer.seen if request.method == "GET"] == [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-authorization-server/tenant",
        "/.well-known/openid-configuration/tenant",
        "/tenant/.well-known/openid-configuration",
    ]


def test_a_call_that_waited_uses_what_the_first_one_got() -> None:
    peer, agent = Peer(), agent_of()
    steps = agent.call("POST", RESOURCE)
    next(steps)
    waiting = steps.send(Answer(status=401, headers=(("www-authenticate", peer.challenge),)))
    run_call(agent, peer)
    before = len(peer.seen)

    with pytest.raises(StopIteration):
        next(agent.renew(waiting.need))  # type: ignore[union-attr]
    call = next(steps)
    assert call.authorization in {f"DPoP {token}" for token in peer.issued}  # type: ignore[union-attr]
    assert len(peer.seen) == before


def test_tokens_of_an_earlier_life_are_taken_with_their_key() -> None:
    peer, first = Peer(), agent_of()
    run_call(first, peer)
    second = agent_of()
    second.restore(first.tokens)

    assert run_call(second, peer).status == 200
    assert len(peer.visited) == 1
    assert second.tokens is first.tokens


@pytest.mark.parametrize(
    "changes",
    [
        {"resource": "https://bank.example/other"},
        {"identities": (identity(client_id="somebody-else"),)},
        {"identities": (identity(issuer="https://other-as.example"),)},
    ],
)
def test_tokens_of_another_resource_client_or_issuer_are_left_alone(changes: dict[str, Any]) -> None:
    peer, first = Peer(), agent_of()
    run_call(first, peer)
    second = agent_of(**changes)
    second.restore(first.tokens)

    assert second.tokens is None


@pytest.mark.requirement("AT-16", proves="holds")
def test_an_access_token_is_a_string_and_nothing_more() -> None:
    peer = Peer(token_document={"access_token": "0paque~token+of/no.kind=="})
    peer.issued.add("0paque~token+of/no.kind==")

    assert run_call(agent_of(), peer).status == 200


@pytest.mark.requirement("AT-16", proves="refused")
def test_the_agents_side_has_no_code_that_opens_a_token() -> None:
    (folder,) = agent_package.__path__
    sources = {path.name: path.read_text("utf-8") for path in sorted(Path(folder).glob("*.py"))}

    assert sources
    opened_jwts = {name: text.count("parse_compact(\n") for name, text in sources.items() if "parse_compact" in text}
    # what is for the client itself: an ID token, a signed response, a signed answer of userinfo
    assert opened_jwts == {"id_token.py": 1, "signed_messages.py": 1, "userinfo.py": 1}
    assert "parse_compact(\n            granted.id_token.reveal()," in sources["id_token.py"]
    assert 'parse_compact(\n            values["response"],' in sources["signed_messages.py"]
    assert "parse_compact(\n            answer.body," in sources["userinfo.py"]
    assert not any("decode_complete" in text or "b64decode" in text for text in sources.values())


def test_tokens_do_not_show_in_what_is_printed() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)

    assert "opaque-" not in repr(agent.tokens)
    assert "refresh-" not in repr(agent.tokens)
