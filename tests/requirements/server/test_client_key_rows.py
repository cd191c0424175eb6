"""Where the keys of a client come from: by reference over TLS, fresh enough, and asked for rarely enough."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from tests.support.command_line import CLIENT, CommandLine
from tests.support.fake_fetch import FakeFetch
from tests.support.fakes import ISSUER
from tests.support.house import House
from tests.support.peer_keys import PeerKey
from tests.support.published_client import JWKS_URI, fetching, published, publishes, uses
from tests.support.standing_still import ready, refused_tokens

NOBODY = (401, "invalid_client")
FIRST, SECOND, STRANGER = (PeerKey.es256(seed=seed) for seed in (61, 62, 63))


@pytest.fixture
def fetch() -> FakeFetch:
    return FakeFetch(documents={JWKS_URI: published(FIRST.jwk(kid="first"))})


@pytest.fixture
async def house(fetch: FakeFetch) -> House:
    house = House()
    fetching(house, fetch)
    uses(publishes(house), FIRST, "first")
    return await ready(house)


@pytest.mark.requirement("FAPI2-CR-7", proves="holds")
async def test_a_client_that_publishes_its_keys_changes_them_without_being_registered_anew(
    house: House, fetch: FakeFetch
) -> None:
    agent = house.agent
    assert (await agent.client_credentials()).access_token
    fetch.documents[JWKS_URI] = published(FIRST.jwk(kid="first"), SECOND.jwk(kid="second"))
    uses(agent, SECOND, "second")
    assert (await agent.client_credentials()).access_token
    house.clock.advance(300)
    fetch.documents[JWKS_URI] = published(SECOND.jwk(kid="second"))
    assert (await agent.client_credentials()).access_token
    uses(agent, FIRST, "first")
    assert await refused_tokens(house, agent.credentials_request) == NOBODY


@pytest.mark.requirement("PKJ-9", proves="holds")
async def test_the_kid_selects_among_the_keys_of_the_clients_own_document(house: House, fetch: FakeFetch) -> None:
    fetch.documents[JWKS_URI] = published(STRANGER.jwk(kid="first", use="enc"), FIRST.jwk(kid="first"))
    assert (await house.agent.client_credentials()).access_token


@pytest.mark.requirement("PKJ-9", proves="refused")
@pytest.mark.parametrize("named", ["jku", "x5u"])
async def test_a_key_from_where_the_assertion_says_is_neither_fetched_nor_used(
    house: House, fetch: FakeFetch, named: str
) -> None:
    elsewhere = "https://elsewhere.example/jwks.json"
    fetch.documents[elsewhere] = published(STRANGER.jwk(kid="stranger"))
    before = list(fetch.asked)
    with house.agent.lying(assertion_key=STRANGER, assertion_header={"kid": "stranger", named: elsewhere}):
        assert await refused_tokens(house, house.agent.credentials_request) == NOBODY
    assert fetch.asked == before


@pytest.mark.parametrize(
    "document",
    [
        published(STRANGER.jwk(kid="first")),
        published(FIRST.jwk(kid="first", use="enc")),
        published(FIRST.jwk(kid="first", key_ops=["sign"])),
        published(FIRST.private_jwk(kid="first")),
        published(FIRST.jwk(kid="first"), STRANGER.private_jwk(kid="other")),
        published(),
        None,
    ],
    ids=["another key", "use", "key_ops", "private", "a private one beside it", "none", "no document"],
)
async def test_a_document_that_does_not_show_the_key_makes_the_client_nobody(
    house: House, fetch: FakeFetch, document: object
) -> None:
    house.change_client()  # so that nothing is kept
    fetch.documents.clear()
    if document is not None:
        fetch.documents[JWKS_URI] = document  # type: ignore[assignment]
    assert await refused_tokens(house, house.agent.credentials_request) == NOBODY


@pytest.mark.requirement("JOSE-35", proves="holds")
async def test_what_signs_seals_and_counts_are_different_keys(house: House) -> None:
    purposes = ("seal", "dpop-nonce", "browser", "pairwise")
    derived = [Sealing(b"s" * 32).derive(purpose, tenant) for purpose in purposes for tenant in ("default", "other")]
    assert len(set(derived)) == len(derived)
    keys = (await house.http.get(f"{ISSUER}/jwks")).json()["keys"]
    assert {key["use"] for key in keys} == {"sig"}


@pytest.mark.requirement("JOSE-35", proves="refused")
async def test_a_key_for_encryption_signs_for_nobody(house: House, fetch: FakeFetch) -> None:
    fetch.documents[JWKS_URI] = published(FIRST.jwk(kid="first", use="enc"), SECOND.jwk(kid="second"))
    house.change_client()
    assert await refused_tokens(house, house.agent.credentials_request) == NOBODY
    uses(house.agent, SECOND, "second")
    assert (await house.agent.client_credentials()).access_token


async def test_the_reason_is_told_to_the_operator_and_not_to_the_client(house: House, fetch: FakeFetch) -> None:
    house.change_client()
    fetch.documents.clear()
    assert await refused_tokens(house, house.agent.credentials_request) == NOBODY
    assert house.last_detail == "keys: status 404"


@pytest.mark.requirement("FAPI2-JWKS-1", proves="refused")
@pytest.mark.parametrize(
    "jwks_uri",
    [
        *(
            "http://agent.example/jwks",
            "ftp://agent.example/jwks",
            "agent.example/jwks",
            "https://u:p@agent.example/jwks",
        ),
        *("https://127.0.0.1/jwks", "https://169.254.169.254/jwks", "https://[::1]/jwks", "https://2130706433/jwks"),
        *("https://agent.example:22/jwks", "https://agent.example./jwks", "https://agent.example/jwks#a"),
        *("https://localhost/jwks", "https://metadata.google.internal/jwks", "https://intranet/jwks"),
    ],
)
def test_a_jwks_uri_without_tls_or_to_the_inside_is_not_registered(tmp_path: Path, jwks_uri: str) -> None:
    line = CommandLine(directory=tmp_path)
    assert line.run("init").code == 0
    members = {name: value for name, value in CLIENT.items() if name != "jwks"} | {"jwks_uri": jwks_uri}
    assert "jwks_uri" in line.refused("client", "add", "-", stdin=json.dumps(members))
    assert line.json("client", "list") == []


def test_a_jwks_uri_inside_is_registered_where_an_operator_allows_its_host(tmp_path: Path) -> None:
    line = CommandLine(directory=tmp_path)
    assert line.run("init").code == 0
    line.change("#allowed_private_hosts = []", 'allowed_private_hosts = ["localhost"]')
    members = {name: value for name, value in CLIENT.items() if name != "jwks"}
    shown = line.json("client", "add", "-", stdin=json.dumps(members | {"jwks_uri": "https://localhost:9443/jwks"}))
    assert shown["jwks_uri"] == "https://localhost:9443/jwks"
    assert "jwks" not in shown
