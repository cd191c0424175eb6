"""POST /par, row by row (RFC 9126)."""

from __future__ import annotations

from typing import Any, Final

import pytest

from fapi_as.adapters.web.application import build_application
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import REQUEST_URI_PREFIX
from fapi_as.protocol.profile import PUSHED_REQUESTS_LIMIT, REQUEST_BODY_LIMIT
from tests.support.asgi_peer import call
from tests.support.fakes import ISSUER, FrozenClock
from tests.support.fapi_client import Message
from tests.support.house import RESOURCE, House
from tests.support.peer_keys import PeerKey
from tests.support.push_scene import kept
from tests.support.standing_still import ready, refused_message, refused_page, refused_push, visited

FORM: Final = "application/x-www-form-urlencoded"
PAR: Final = f"{ISSUER}/par"


@pytest.fixture
async def house() -> House:
    return await ready(House())


def pushing(house: House, *, content_type: str | None = FORM, more: bytes = b"") -> Message:
    url, headers, body = house.agent.push_request(code_verifier="v" * 43, state="s")
    others = tuple(line for line in headers if line[0] != "content-type")
    return Message(url, (*others, *((("content-type", content_type),) if content_type else ())), body + more)


# --- PAR-1, PAR-2, PAR-6: how it is called and by whom


@pytest.mark.requirement("PAR-1", proves="holds")
@pytest.mark.parametrize("content_type", [FORM, f"{FORM}; charset=UTF-8", FORM.upper()])
async def test_a_form_in_utf_8_is_read(house: House, content_type: str) -> None:
    response = await house.agent.send(pushing(house, content_type=content_type))
    assert response.status_code == 201
    assert (await kept(house, state="café ≥ 5 €")).state == "café ≥ 5 €"


@pytest.mark.requirement("PAR-1", proves="refused")
@pytest.mark.parametrize(
    "content_type",
    [None, "application/json", "multipart/form-data; boundary=x", "text/plain", f"{FORM}; charset=iso-8859-1"],
)
async def test_another_content_type_is_refused(house: House, content_type: str | None) -> None:
    response = await refused_message(house, pushing(house, content_type=content_type))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.requirement("PAR-2", proves="holds")
@pytest.mark.parametrize("alg", ["PS256", "ES256", "Ed25519"])
async def test_what_authenticates_at_the_token_endpoint_does_so_here(house: House, alg: str) -> None:
    peer = house.client("of another alg")
    peer.client_key = PeerKey.of(alg)
    peer.client_id = f"agent-{alg.lower()}"
    house.client(peer.client_id, jwks=peer.jwks())
    assert (await peer.push()).response.status_code == 201
    assert (await peer.client_credentials()).scope == "accounts:read"


@pytest.mark.requirement("PAR-6", proves="holds")
async def test_an_assertion_for_the_issuer_is_good_here(house: House) -> None:
    with house.agent.lying(aud=ISSUER):
        assert (await house.agent.push()).response.status_code == 201


@pytest.mark.requirement("PAR-6", proves="refused")
@pytest.mark.parametrize("aud", [PAR, f"{ISSUER}/token", [ISSUER], [ISSUER, PAR], f"{ISSUER}/", "https://evil.example"])
async def test_an_assertion_for_an_endpoint_is_not(house: House, aud: Any) -> None:
    assert await refused_push(house, aud=aud) == (401, "invalid_client")


# --- PAR-3, PAR-4, PAR-9, PAR-11: what may be pushed


@pytest.mark.requirement("PAR-3", proves="refused")
@pytest.mark.parametrize("whose", ["nobody's", "its own"])
async def test_a_request_uri_is_never_input(house: House, whose: str) -> None:
    known = (await house.agent.push()).request_uri
    form = {"request_uri": known if whose == "its own" else REQUEST_URI_PREFIX + "A" * 43}
    assert await refused_push(house, form=form) == (400, "invalid_request")


@pytest.mark.requirement("PAR-4", proves="refused")
@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": ...}, "invalid_request"),
        ({"redirect_uri": "https://evil.example/cb"}, "invalid_request"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"scope": ...}, "invalid_scope"),
        ({"resource": "https://unknown.example/mcp"}, "invalid_target"),
        ({"code_challenge": ...}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"authorization_details": "[]"}, "invalid_authorization_details"),
        ({"request": "e30.e30."}, "invalid_request_object"),
        ({"dpop_jkt": "short"}, "invalid_request"),
        ({"state": "s" * 4097}, "invalid_request"),
    ],
)
async def test_it_is_validated_like_the_whole_request_that_it_is(house: House, form: Any, error: str) -> None:
    assert await refused_push(house, form=form) == (400, error)


@pytest.mark.requirement("PAR-9", proves="refused")
@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"aud": "https://evil.example"}, (401, "invalid_client")),
        ({"form": {"scope": "a\\b"}}, (400, "invalid_scope")),
        ({"htu": "https://evil.example/par"}, (400, "invalid_dpop_proof")),
        ({"form": {"prompt": "none", "redirect_uri": "https://evil.example/"}}, (400, "invalid_request")),
    ],
)
async def test_a_refusal_speaks_the_language_of_the_token_endpoint(house: House, lie: Any, reason: Any) -> None:
    assert await refused_push(house, **lie) == reason


@pytest.mark.requirement("PAR-11", proves="refused")
@pytest.mark.parametrize(
    "form",
    [
        {"scope": ["accounts:read", "accounts:read"]},
        {"state": ["one", "two"]},
        {"state": ["", ""]},
        {"unknown": ["one", "two"]},
        {"redirect_uri": ""},
        {"code_challenge": ""},
    ],
)
async def test_what_is_repeated_is_refused_and_what_is_empty_is_missing(house: House, form: Any) -> None:
    assert await refused_push(house, form=form) == (400, "invalid_request")


@pytest.mark.requirement("PAR-3", proves="holds")
@pytest.mark.requirement("PAR-4", proves="holds")
@pytest.mark.requirement("PAR-9", proves="holds")
@pytest.mark.requirement("PAR-10", proves="holds")
@pytest.mark.requirement("PAR-11", proves="holds")
@pytest.mark.requirement("PAR-16", proves="holds")
@pytest.mark.requirement("PAR-19", proves="holds")
async def test_an_honest_request_is_pushed_opened_and_completed(house: House) -> None:
    with house.agent.lying(form={"prompt": "none", "nonce": ""}):  # no interaction happens here, and empty is omitted
        pushed = await house.agent.push()
    done = await visited(house, pushed)
    assert pushed.response.status_code == 201
    assert (await house.agent.redeem(done, pushed)).scope == "accounts:read"


# --- PAR-7, PAR-8: what is handed out


@pytest.mark.requirement("PAR-7", proves="refused")
@pytest.mark.parametrize("form", [{"scope": "admin"}, {"resource": "https://unknown.example/"}, {"client_id": "other"}])
async def test_whoever_is_refused_gets_no_request_uri_and_nothing_to_cache(house: House, form: Any) -> None:
    with house.agent.lying(form=form):
        response = await refused_message(house, house.agent.push_request(code_verifier="v" * 43, state="s"))
    assert response.status_code in (400, 401)
    assert "request_uri" not in response.text
    assert response.headers["cache-control"] == "no-cache, no-store"


@pytest.mark.requirement("PAR-8", proves="refused")
async def test_a_request_uri_is_worth_nothing_in_part_or_to_another(house: House) -> None:
    house.client("other")
    pushed = await house.agent.push()
    other_end = pushed.request_uri[:-1] + ("A" if pushed.request_uri[-1] != "A" else "B")
    for client_id, request_uri in [
        ("agent", other_end),
        ("agent", pushed.request_uri[:-1]),
        ("agent", REQUEST_URI_PREFIX + "0"),
        ("other", pushed.request_uri),
    ]:
        query = {"client_id": client_id, "request_uri": request_uri}
        assert await refused_page(house, query) == (400, "invalid_request_uri")


# --- PAR-10, PAR-24: how much


@pytest.mark.requirement("PAR-10", proves="refused")
@pytest.mark.attack("PAR-05")
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
async def test_another_method_gets_405_and_hears_which(house: House, method: str) -> None:
    before = len(house.store.handles_of(HandleKind.REQUEST_URI))
    response = await house.http.request(method, PAR)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert len(house.store.handles_of(HandleKind.REQUEST_URI)) == before


@pytest.mark.attack("PAR-20")
@pytest.mark.parametrize("form", [{"state": "s" * 40_960}, {f"p{number}": "x" for number in range(65)}])
async def test_one_enormous_parameter_or_too_many_are_refused(house: House, form: Any) -> None:
    assert await refused_push(house, form=form) == (400, "invalid_request")
    assert (await house.agent.push()).expires_in == 90


@pytest.mark.requirement("PAR-10", proves="refused")
@pytest.mark.attack("PAR-20")
async def test_a_body_of_70_kib_is_too_large(house: House) -> None:
    application = build_application({"": house.context}, clock=FrozenClock(house.clock.now()))
    handles = len(house.store.handles_of(HandleKind.REQUEST_URI))
    _, headers, body = pushing(house, more=b"&x=" + b"x" * 70 * 1024)
    assert len(body) > REQUEST_BODY_LIMIT
    raw = [(name.encode(), value.encode()) for name, value in headers]
    answer = await call(application, "POST", "/par", raw, body)
    assert (answer.status, answer.body) == (
        413,
        b'{"error":"invalid_request","error_description":"the request body is too large"}',
    )
    assert len(house.store.handles_of(HandleKind.REQUEST_URI)) == handles
    _, headers, body = pushing(house)
    raw = [(name.encode(), value.encode()) for name, value in headers]
    assert (await call(application, "POST", "/par", raw, body)).status == 201


@pytest.mark.requirement("PAR-24", proves="holds")
async def test_a_client_pushes_up_to_its_quota_and_again_when_the_first_have_expired(house: House) -> None:
    (bucket,) = house.store.rows.attempts
    house.store.rows.attempts[bucket] = (house.clock.now(),) * (PUSHED_REQUESTS_LIMIT - 1)
    pushed = await house.agent.push()
    house.clock.advance(pushed.expires_in)
    assert (await house.agent.push()).response.status_code == 201


@pytest.mark.requirement("PAR-24", proves="refused")
async def test_beyond_its_quota_a_client_waits_and_others_do_not(house: House) -> None:
    other = house.client("other")
    (bucket,) = house.store.rows.attempts
    house.store.rows.attempts[bucket] = (house.clock.now(),) * PUSHED_REQUESTS_LIMIT
    assert await refused_push(house) == (429, "invalid_request")
    response = await refused_message(house, house.agent.push_request(code_verifier="v" * 43, state="s"))
    assert response.headers["retry-after"] == "60"
    assert (await other.push()).response.status_code == 201


# --- PAR-12, PAR-20, PAR-22


@pytest.mark.requirement("PAR-12", proves="holds")
async def test_every_registered_redirect_uri_may_be_named(house: House) -> None:
    uris = ("https://client.example/one", "https://client.example/two?kept=1")
    house.change_client(redirect_uris=uris)
    assert [(await kept(house, redirect_uri=uri)).redirect_uri for uri in uris] == list(uris)


@pytest.mark.requirement("PAR-20", proves="holds")
async def test_the_metadata_name_the_endpoint_and_say_that_it_is_required(house: House) -> None:
    metadata = await house.agent.discover()
    assert metadata["pushed_authorization_request_endpoint"] == PAR
    assert metadata["require_pushed_authorization_requests"] is True
    assert metadata["request_uri_parameter_supported"] is False
    assert (await visited(house, await house.agent.push())).status == 303  # ours works all the same


@pytest.mark.requirement("PAR-20", proves="refused")
async def test_what_the_metadata_require_is_enforced(house: House) -> None:
    query = {
        "client_id": "agent",
        "response_type": "code",
        "redirect_uri": house.agent.redirect_uri,
        "resource": RESOURCE,
    }
    assert await refused_page(house, query) == (400, "invalid_request")
