"""The agent at servers that lie, over real TLS: it stops soon, says why, and nothing that works elsewhere was sent.

`place.agent()` judges all that arrived anywhere when it ends (tests/support/hostile_place.py).
"""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from fapi_as.agent.errors import (
    AgentError,
    AnswerRejected,
    InsecureAddress,
    IssuerNotAllowed,
    MetadataRejected,
    RedirectRefused,
    ResponseRejected,
    ServerRefused,
    TokenRejected,
    Unreachable,
)
from fapi_as.agent.steps import ANSWER_LIMIT, Answer
from tests.support.agent_peer import as_json
from tests.support.hostile_calls import METADATA, RESOURCE_METADATA, signed_in, stopped
from tests.support.hostile_place import (
    BANK,
    PATIENCE,
    SERVER,
    STRANGER,
    Place,
    Received,
    endless,
    hostile_place,
    reply,
    silence,
)

JSON = ("content-type", "application/json")
SHORT = timedelta(seconds=1)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with hostile_place() as found:
        yield found


async def test_among_honest_servers_a_call_is_answered_and_nothing_leaks(place: Place) -> None:
    place.peer.server_nonce, place.peer.resource_nonce = "nonce-of-the-server", "nonce-of-the-bank"
    async with place.agent() as client:
        await signed_in(place, client)
    assert [one.path for one in place.at(SERVER)] == [METADATA, "/par", "/par", "/token"]
    assert len(place.keys_at(SERVER)) == 1
    assert place.at(STRANGER) == []


@pytest.mark.parametrize("secret", ["access_token", "refresh_token", "code", "code_verifier", "assertion", "proof"])
async def test_the_judge_of_these_tests_sees_a_secret_in_the_wrong_place(place: Place, secret: str) -> None:
    async with place.agent() as client:
        await signed_in(place, client)
    token_request, (tokens,) = place.at(SERVER, "/token")[0], place.peer.issued
    body, headers = b"", {}
    if secret == "assertion":
        body = urlencode({"client_assertion": token_request.form["client_assertion"]}).encode()
    elif secret == "proof":
        headers = {"dpop": token_request.headers["dpop"]}
    else:
        body = next(iter({**place.secrets(), "access_token": {tokens}}[secret])).encode()
    place.seen.append(Received(party=STRANGER, method="POST", url=place.stranger, headers=headers, body=body))
    with pytest.raises(AssertionError):
        place.judge()


# --- who speaks for whom


async def test_1_metadata_that_names_another_issuer(place: Place) -> None:
    place.peer.metadata["issuer"] = place.stranger
    await stopped(place, MetadataRejected)


@pytest.mark.parametrize("member", ["token_endpoint", "pushed_authorization_request_endpoint"])
async def test_2_metadata_that_sends_credentials_to_a_stranger(place: Place, member: str) -> None:
    place.peer.metadata[member] = f"{place.stranger}/token"
    await stopped(place, MetadataRejected)


async def test_3_metadata_that_changes_between_two_fetches(place: Place) -> None:
    async with place.agent() as client:
        await signed_in(place, client)
        place.peer.expire()
        place.peer.metadata["token_endpoint"] = f"{place.stranger}/token"
        with pytest.raises(MetadataRejected, match="another server than the issuer"):
            await client.post(place.resource)
    assert place.at(STRANGER) == []
    assert len(place.at(SERVER, "/token")) == 1


@pytest.mark.parametrize(
    "member", ["token_endpoint", "pushed_authorization_request_endpoint", "authorization_endpoint"]
)
async def test_4_an_endpoint_without_tls(place: Place, member: str) -> None:
    place.peer.metadata[member] = place.peer.metadata[member].replace("https://", "http://")
    await stopped(place, InsecureAddress)


async def test_5_metadata_of_another_resource(place: Place) -> None:
    place.peer.resource_document["resource"] = f"{place.stranger}/mcp"
    await stopped(place, MetadataRejected)


async def test_6_a_resource_that_names_only_the_authorization_server_of_a_stranger(place: Place) -> None:
    place.peer.resource_document["authorization_servers"] = [place.stranger]
    await stopped(place, IssuerNotAllowed)


async def test_7_a_stranger_who_stands_first_in_the_list_is_passed_over(place: Place) -> None:
    place.peer.resource_document["authorization_servers"].insert(0, place.stranger)
    async with place.agent() as client:
        await signed_in(place, client)
    assert place.at(STRANGER) == []


@pytest.mark.parametrize("address", ["{stranger}/metadata", "https://169.254.169.254/latest", "https://[::1]/x"])
async def test_8_a_challenge_that_points_to_metadata_elsewhere(place: Place, address: str) -> None:
    place.peer.challenge = f'DPoP resource_metadata="{address.format(stranger=place.stranger)}"'
    await stopped(place, MetadataRejected)


# --- redirects


@pytest.mark.parametrize("path", [METADATA, RESOURCE_METADATA, "/par", "/token"])
@pytest.mark.parametrize("status", [302, 307])
async def test_9_a_redirect_of_a_request_of_ours_to_a_stranger(place: Place, path: str, status: int) -> None:
    place.replies[path] = reply(status, ("location", f"{place.stranger}/token"))
    await stopped(place, RedirectRefused)


@pytest.mark.parametrize("where", ["{stranger}/mcp", "{bank}/another-tenant"])
@pytest.mark.parametrize("status", [302, 307])
async def test_10_a_redirect_of_a_call_takes_no_header_of_ours_along(place: Place, where: str, status: int) -> None:
    location = where.format(stranger=place.stranger, bank=place.addresses[BANK])

    def redirecting(one: Received) -> Answer:
        if "authorization" not in one.headers:
            return Answer(status=401, headers=(("www-authenticate", place.peer.challenge),))
        return Answer(status=status, headers=(("location", location),))

    place.replies[place.resource] = redirecting
    place.replies[f"{place.addresses[BANK]}/another-tenant"] = reply(200)
    async with place.agent(follow_redirects=True) as client:
        with pytest.raises(RedirectRefused):
            await client.post(place.resource)
    (copied,) = [one for one in place.seen if one.url == location]
    assert not {"authorization", "dpop"} & set(copied.headers)


async def test_11_a_redirect_of_a_call_that_is_not_followed_shows_no_header_of_ours(place: Place) -> None:
    async with place.agent() as client:
        await signed_in(place, client)
        place.peer.resource_answers = [Answer(status=307, headers=(("location", f"{place.stranger}/mcp"),))]
        response = await client.post(place.resource)
        assert response.next_request is not None
        assert not {"authorization", "dpop"} & set(response.next_request.headers)
        await client.send(response.next_request)
    assert not {"authorization", "dpop"} & set(place.at(STRANGER)[0].headers)


# --- the response of the browser


@pytest.mark.attack("XPA-03")
@pytest.mark.requirement("ATT-T-4", proves="refused")
async def test_12_a_response_of_another_issuer(place: Place) -> None:
    place.peer.response["iss"] = place.stranger
    await stopped(place, ResponseRejected)
    assert place.at(SERVER, "/token") == []


@pytest.mark.requirement("ATT-T-4", proves="holds")
async def test_a_response_of_the_issuer_that_was_asked_is_redeemed_there(place: Place) -> None:
    async with place.agent() as client:
        await signed_in(place, client)
    assert len(place.at(SERVER, "/token")) == 1


@pytest.mark.parametrize(
    "response", [{"iss": None}, {"state": "of-another-request"}, {"state": None}, {"code": None}, {"code": ""}]
)
async def test_13_a_response_of_another_request(place: Place, response: dict[str, str | None]) -> None:
    place.peer.response.update(response)
    await stopped(place, ResponseRejected)
    assert place.at(SERVER, "/token") == []


async def test_14_a_code_that_was_planted_brings_no_token(place: Place) -> None:
    place.peer.pushed["code-of-the-thief"] = {"code_challenge": "of-the-thief", "state": "x"}
    place.peer.response["code"] = "code-of-the-thief"
    assert "invalid_grant" in await stopped(place, ServerRefused)
    assert len(place.at(SERVER, "/token")) == 1


@pytest.mark.parametrize(
    "document",
    [
        *({"request_uri": odd} for odd in ("", "two words", "urn:\r\nx", "u" * 513, "urn:\u00e4", 7, None)),
        *({"request_uri": "urn:x", "expires_in": odd} for odd in (-1, 0, True, "90", 1.5)),
    ],
)
async def test_15_a_pushed_request_with_an_odd_answer(place: Place, document: dict[str, object]) -> None:
    place.replies["/par"] = lambda _: as_json(201, document)
    await stopped(place, AnswerRejected)
    assert place.peer.visited == []


async def test_15_a_pushed_request_that_is_answered_with_the_handle_of_another(place: Place) -> None:
    place.peer.pushed["urn:of-the-thief"] = {"state": "of-the-thief"}
    place.replies["/par"] = lambda _: as_json(201, {"request_uri": "urn:of-the-thief", "expires_in": 90})
    await stopped(place, ResponseRejected)
    assert place.at(SERVER, "/token") == []


# --- tokens


@pytest.mark.parametrize("token_type", ["Bearer", "N_A", "mac", None, 7])
async def test_16_a_token_that_is_not_bound(place: Place, token_type: object) -> None:
    place.peer.token_document = {"token_type": token_type}
    await stopped(place, TokenRejected)
    assert all("authorization" not in one.headers for one in place.at(BANK))


@pytest.mark.parametrize("changes", [{"token_type": "Bearer"}, {"scope": "accounts:read payments:write"}])
async def test_17_a_renewed_token_of_another_kind_or_for_more(place: Place, changes: dict[str, object]) -> None:
    async with place.agent() as client:
        await signed_in(place, client)
        place.peer.expire()
        place.peer.token_document = changes
        calls = len([one for one in place.at(BANK, "/mcp") if "authorization" in one.headers])
        with pytest.raises(TokenRejected):
            await client.post(place.resource)
    assert len([one for one in place.at(BANK, "/mcp") if "authorization" in one.headers]) == calls + 1


@pytest.mark.parametrize("expires_in", [-1, "300", True, [], "9" * 400])
async def test_18_an_impossible_lifetime(place: Place, expires_in: object) -> None:
    place.peer.token_document = {"expires_in": expires_in}
    await stopped(place, TokenRejected)


@pytest.mark.parametrize("expires_in", [0, 1, 0.5, 2**53 - 1, 1e300])
async def test_19_an_absurd_lifetime_is_lived_with(place: Place, expires_in: float) -> None:
    place.peer.token_document = {"expires_in": expires_in}
    async with place.agent() as client:
        for _ in range(3):
            await signed_in(place, client)
    assert len(place.at(SERVER, "/token")) <= 3
    assert len(place.peer.visited) == 1


# --- answers without an end


@pytest.mark.parametrize("path", [METADATA, RESOURCE_METADATA, "/par", "/token"])
async def test_20_an_oversized_answer(place: Place, path: str) -> None:
    place.replies[path] = reply(200, JSON, body=b'{"a": "' + b"x" * ANSWER_LIMIT + b'"}')
    await stopped(place, AnswerRejected)


@pytest.mark.parametrize("path", [METADATA, "/token"])
async def test_21_an_answer_that_drips_for_ever(place: Place, path: str) -> None:
    place.patience = SHORT
    place.wire[path] = endless("200 OK\r\ncontent-type: application/json", b" ", pause=0.1)
    await stopped(place, Unreachable)


@pytest.mark.parametrize("path", [METADATA, "/par"])
async def test_22_no_answer_at_all(place: Place, path: str) -> None:
    place.patience = SHORT
    place.wire[path] = silence()
    await stopped(place, Unreachable)


async def test_23_a_server_that_only_ever_promises_an_answer(place: Place) -> None:
    place.patience = SHORT
    place.wire["/token"] = endless("", b"HTTP/1.1 103 Early Hints\r\n\r\n", pause=0.01)
    await stopped(place, Unreachable)


@pytest.mark.parametrize(("pause", "expected"), [(0.1, Unreachable), (0.0, AnswerRejected)])
async def test_24_a_refusal_of_the_resource_that_does_not_end(
    place: Place, pause: float, expected: type[AgentError]
) -> None:
    place.patience = SHORT if pause else PATIENCE
    head = f"401 Unauthorized\r\nwww-authenticate: {place.peer.challenge}"
    place.wire[place.resource] = endless(head, b" " * (1 if pause else 4096), pause=pause)
    await stopped(place, expected)


async def test_25_an_answer_that_grows_when_it_is_unpacked(place: Place) -> None:
    packed = gzip.compress(b" " * 10_000_000)
    place.replies[METADATA] = reply(200, JSON, ("content-encoding", "gzip"), body=packed)
    assert "compressed" in await stopped(place, AnswerRejected)


async def test_26_a_document_with_a_member_twice(place: Place) -> None:
    place.replies["/token"] = reply(
        200, JSON, body=b'{"access_token": "a", "token_type": "DPoP", "token_type": "Bearer", "expires_in": 1}'
    )
    await stopped(place, AnswerRejected)
