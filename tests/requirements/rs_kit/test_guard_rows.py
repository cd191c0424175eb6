"""Rows of OAuth 2.1, FAPI 2.0 and MCP that the guard answers to, over HTTP, at both kinds of site."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.guarded_bank import ABSENT, RESOURCE, Bank, tool_call
from tests.support.guarded_refusals import challenge_of, refused
from tests.support.kit_over_http import SITES, Site
from tests.support.peer_keys import PeerKey

pytestmark = pytest.mark.parametrize("site", SITES, ids=str)


def holds(row: str, *values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.requirement(row, proves="holds"), id=f"{row} {values[0]}")


def refuses(row: str, *values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.requirement(row, proves="refused"), id=f"{row} {values[0]}")


@pytest.mark.parametrize("scheme", [holds("FAPI2-RS-1", "dpop"), holds("FAPI2-RS-1", "DPOP"), holds("OA-RS-1", "DPoP")])
async def test_the_token_is_taken_from_the_authorization_field(site: Site, scheme: str) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        assert (await line.send(bank.peer.headers(scheme=scheme))).status_code == 200
    assert bank.done == ["get_balance"]


@pytest.mark.parametrize(
    ("value", "status", "error"),
    [
        refuses("FAPI2-RS-1", "Bearer {}", 401, "invalid_token"),
        refuses("FAPI2-RS-1", "bearer {}", 401, "invalid_token"),
        refuses("OA-RS-1", "DPoP  {}", 400, None),
        refuses("OA-RS-1", "DPoP {},{}", 400, None),
        refuses("OA-RS-1", "DPoP {} x", 400, None),
        refuses("OA-RS-1", 'DPoP "{}"', 400, None),
    ],
)
async def test_a_bound_token_has_one_scheme_and_one_syntax(
    site: Site, value: str, status: int, error: str | None
) -> None:
    bank = Bank()
    token = bank.peer.token()
    rest = [pair for pair in bank.peer.headers(token) if pair[0] != "authorization"]
    headers = [("authorization", value.replace("{}", token)), *rest]
    async with site.serving(bank) as line:
        await refused(bank, line, headers, error, status=status)


@pytest.mark.parametrize("query", [holds("FAPI2-RS-2", "page=1"), holds("OA-RS-2", "token_type=DPoP")])
async def test_a_query_without_a_token_does_no_harm(site: Site, query: str) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        assert (await line.send(path=f"/mcp?{query}")).status_code == 200


@pytest.mark.parametrize(
    ("place", "status"),
    [
        refuses("FAPI2-RS-2", "access_token={}", 400),
        refuses("FAPI2-RS-2", "form", 415),
        refuses("OA-RS-2", "a=b&access%5Ftoken={}", 400),
        refuses("OA-RS-2", "access_token=", 400),
    ],
)
@pytest.mark.parametrize("beside", [False, True], ids=["instead", "beside"])
async def test_a_token_in_the_query_or_a_form_is_never_taken(site: Site, place: str, status: int, beside: bool) -> None:
    bank = Bank()
    token = bank.peer.token()
    headers = bank.peer.headers(token)
    if not beside and place != "form":
        headers = [pair for pair in headers if pair[0] != "authorization"]
    async with site.serving(bank) as line:
        if place == "form":
            headers = [
                (name, "application/x-www-form-urlencoded" if name == "content-type" else value)
                for name, value in headers
            ]
            response = await line.send(headers, f"access_token={token}".encode())
        else:
            response = await line.send(headers, path=f"/mcp?{place.replace('{}', token)}")
    assert response.status_code == status
    assert bank.done == []


@pytest.mark.parametrize("method", [holds("OA-RS-3", "POST"), holds("OA-RS-3", "GET")])
async def test_who_brings_nothing_is_told_how_and_accused_of_nothing(site: Site, method: str) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        response = await line.send([], method=method)
    scheme, told = challenge_of(response)
    assert (response.status_code, scheme) == (401, "DPoP")
    assert {"error", "error_description"}.isdisjoint(told)
    assert told["scope"] == "mcp:use"


@pytest.mark.parametrize("kind", [refuses("OA-RS-3", "expired"), refuses("OA-RS-3", "no token at all")])
async def test_who_brings_something_bad_is_told_what_is_wrong(site: Site, kind: str) -> None:
    bank = Bank()
    token = bank.peer.token(exp=1) if kind == "expired" else "x"
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(token, "x"), "invalid_token")


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        holds("OA-RS-4", "malformed", 400, None),
        holds("OA-RS-4", "expired", 401, "invalid_token"),
        holds("OA-RS-4", "scope", 403, "insufficient_scope"),
        refuses("FAPI2-RS-4", "scope", 403, "insufficient_scope"),
        refuses("FAPI2-RS-4", "audience", 401, "invalid_token"),
        refuses("OA-RS-5", "audience", 401, "invalid_token"),
        refuses("OA-RS-5", "sibling path", 401, "invalid_token"),
        refuses("FAPI2-RS-5", "unbound", 401, "invalid_token"),
        refuses("FAPI2-RS-5", "another key", 401, "invalid_token"),
        refuses("FAPI2-RS-5", "another signature", 401, "invalid_dpop_proof"),
    ],
)
async def test_each_fault_has_its_status_and_its_code(site: Site, kind: str, status: int, error: str | None) -> None:
    bank = Bank()
    peer, message, headers = bank.peer, tool_call(), None
    token = peer.token()
    if kind == "malformed":
        headers = [*peer.headers(), ("authorization", "DPoP x")]
    elif kind == "expired":
        headers = peer.headers(peer.token(exp=1))
    elif kind == "scope":
        message = tool_call("transfer")
    elif kind in {"audience", "sibling path"}:
        headers = peer.headers(peer.token(aud={"audience": "https://other.example/mcp"}.get(kind, RESOURCE + "/x")))
    elif kind == "unbound":
        headers = peer.headers(peer.token(cnf=ABSENT))
    elif kind == "another key":
        headers = peer.headers(token, peer.proof(token, key=PeerKey.es256(seed=71)))
    else:
        headers = peer.headers(token, peer.proof(token)[:-20] + "A" * 20)
    async with site.serving(bank) as line:
        response = await refused(bank, line, headers, error, status=status, message=message)
    if status == 403:
        assert challenge_of(response)[1]["scope"] == "payments:write"


@pytest.mark.requirement("OA-RS-4", proves="refused")
@pytest.mark.parametrize("evil", ['x", scope="admin', "x\\", "x=y"])
async def test_nothing_that_a_caller_says_stands_in_a_challenge(site: Site, evil: str) -> None:
    bank = Bank()
    token = bank.peer.token(scope="mcp:use")
    async with site.serving(bank) as line:
        response = await line.send(bank.peer.headers(token, mcp_method="tools/call"), tool_call(evil))
    (challenge,) = response.headers.get_list("www-authenticate")
    assert response.status_code == 403
    assert evil not in challenge
    assert challenge.isascii()
    assert challenge.isprintable()
    assert challenge.count('"') % 2 == 0


@pytest.mark.parametrize("row", [holds(row, row) for row in ("FAPI2-RS-4", "FAPI2-RS-5", "OA-RS-5")])
async def test_a_token_for_here_held_by_its_owner_and_covering_the_call_passes(site: Site, row: str) -> None:
    bank = Bank()
    token = bank.peer.token(
        scope="accounts:read", aud=RESOURCE if row == "FAPI2-RS-4" else ["https://x.example", RESOURCE]
    )
    async with site.serving(bank) as line:
        assert (await line.send(bank.peer.headers(token))).status_code == 200
    assert bank.done == ["get_balance"]


@pytest.mark.requirement("FAPI2-RS-3", proves="holds")
@pytest.mark.parametrize(("seconds", "bound"), [(3600, 3600), (60, 60), (7200, 7200)])
async def test_a_token_counts_for_as_long_as_the_resource_lets_tokens_live(
    site: Site, seconds: int, bound: int
) -> None:
    bank = Bank(token_seconds=bound)
    token = bank.peer.token(exp=bank.clock.now() + seconds)
    async with site.serving(bank) as line:
        assert (await line.send(bank.peer.headers(token))).status_code == 200
        bank.clock.advance(seconds - 1)
        assert (await line.send(bank.peer.headers(token))).status_code == 200


@pytest.mark.requirement("FAPI2-RS-3", proves="refused")
@pytest.mark.parametrize("kind", ["too long a life", "over", "another signature", "unreadable"])
async def test_a_token_that_could_outlive_its_revocation_or_is_not_good_is_refused(site: Site, kind: str) -> None:
    bank = Bank()
    token = {
        "too long a life": bank.peer.token(exp=bank.clock.now() + 3601),
        "over": bank.peer.token(exp=bank.clock.now() - 11),
        "another signature": bank.peer.token(key=PeerKey.es256(seed=72)),
        "unreadable": bank.peer.token()[:-1],
    }[kind]
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(token), "invalid_token")
