"""Client authentication, row by row, at every endpoint where a client authenticates."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest

from fapi_as.adapters.store import Operators, migrate
from fapi_as.adapters.store.tables import Client
from fapi_as.protocol import client_assertion
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.errors import InvalidClient
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.profile import FAILED_AUTHENTICATIONS_LIMIT
from tests.support.assertion_judge import AGENT, peer, registered
from tests.support.back_channel import BACK_CHANNEL, SUCCESS, asked, authenticating, seen
from tests.support.fakes import ISSUER, NOW
from tests.support.house import House
from tests.support.peer_keys import PeerKey
from tests.support.standing_still import everything, ready, unchanged
from tests.support.store_harness import METADATA, STAMP

SAML: Final = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
BASIC: Final = [("authorization", "Basic YWdlbnQ6c2VjcmV0")]
STRANGER: Final = PeerKey.es256(seed=666)
everywhere = pytest.mark.parametrize("path", BACK_CHANNEL)

LIES: Final[dict[str, dict[str, Any]]] = {
    "no assertion": {"form": {"client_assertion": ..., "client_assertion_type": ...}},
    "no type": {"form": {"client_assertion_type": ...}},
    "another type": {"form": {"client_assertion_type": SAML}},
    "no JWS": {"assertion": "x"},
    "JSON serialization": {"assertion": '{"payload":"e30","signatures":[]}'},
    "too long": {"assertion": "e30." + "A" * 9000 + ".AAAA"},
    "alg none": {"assertion_header": {"alg": "none"}},
    "RS256": {"assertion_header": {"alg": "RS256"}},
    "wrong key": {"assertion_key": STRANGER},
    "unknown kid": {"assertion_header": {"kid": "unknown"}},
    "key in the header": {"assertion_header": {"jwk": STRANGER.jwk()}, "assertion_key": STRANGER},
    "typ of a proof": {"assertion_header": {"typ": "dpop+jwt"}},
    "another sub": {"sub": "nobody", "iss": "nobody"},
    "another iss": {"iss": "nobody"},
    "aud of the endpoint": {"aud": f"{ISSUER}/token"},
    "aud of the push": {"aud": f"{ISSUER}/par"},
    "aud as a list": {"aud": [ISSUER]},
    "expired": {"exp": NOW - 300},
    "too long-lived": {"exp": NOW + 86_400},
    "no jti": {"assertion_jti": ...},
    "another client_id": {"form": {"client_id": "nobody"}},
}


@pytest.fixture
async def house() -> House:
    return await ready(House())


# --- CA-1, CA-2: one method, one way, everywhere


@pytest.mark.requirement("CA-1", proves="holds")
@everywhere
async def test_the_registered_method_alone_authenticates(house: House, path: str) -> None:
    assert (await asked(house, path)).status_code == SUCCESS[path]


@pytest.mark.requirement("CA-1", proves="refused")
@everywhere
@pytest.mark.parametrize("other", [{"headers": BASIC}, {"form": {"client_secret": "s"}}], ids=["basic", "secret"])
async def test_two_methods_at_once_are_no_method(house: House, path: str, other: dict[str, Any]) -> None:
    with unchanged(house, "invalid_request"):
        assert (await asked(house, path, **other)).status_code == 400


@pytest.mark.requirement("CA-1", proves="refused")
@everywhere
async def test_a_method_that_is_not_the_registered_one_does_not_authenticate(house: House, path: str) -> None:
    house.change_client(token_endpoint_auth_method="tls_client_auth")
    with unchanged(house, "invalid_client"):
        assert (await asked(house, path)).status_code == 401


@pytest.mark.requirement("CA-2", proves="holds")
@pytest.mark.parametrize("key", [PeerKey.es256, PeerKey.ed25519, PeerKey.ps256], ids=["ES256", "Ed25519", "PS256"])
async def test_what_one_endpoint_accepts_every_endpoint_accepts(house: House, key: Any) -> None:
    assert authenticating(house) == set(BACK_CHANNEL)  # a new endpoint has to stand in this table
    client = house.client("another", seed=7)
    client.client_key = key()
    house.change_client("another", keys=registered(client.client_key).keys)
    await client.push()
    found = {path: (await asked(house, path, client=client)).status_code for path in BACK_CHANNEL}
    assert found == SUCCESS


@pytest.mark.requirement("CA-2", proves="refused")
@pytest.mark.parametrize("lie", LIES)
async def test_what_one_endpoint_refuses_every_endpoint_refuses_alike(house: House, lie: str) -> None:
    answers = set()
    for path in BACK_CHANNEL:
        with unchanged(house, "invalid_client"):
            answers.add(seen(await asked(house, path, **LIES[lie])))
    ((status, _, _),) = answers
    assert status == 401


# --- CA-3: nobody learns which clients there are


@pytest.mark.requirement("CA-3", proves="holds")
@everywhere
async def test_a_live_client_with_its_key_is_let_in(house: House, path: str) -> None:
    assert (await asked(house, path)).status_code == SUCCESS[path]


@pytest.mark.requirement("CA-3", proves="refused")
@everywhere
async def test_unknown_disabled_and_wrong_key_are_one_answer(house: House, path: str) -> None:
    house.client("disabled")
    gone = house.client("gone")
    house.store.remove_client("gone")
    answers = {
        seen(await asked(house, path, client=gone)),
        seen(await asked(house, path, assertion_key=STRANGER)),
        seen(await asked(house, path, sub="nobody", iss="nobody", form={"client_id": "nobody"})),
        seen(await asked(house, path, assertion_header={"kid": "unknown"})),
    }
    house.change_client(token_endpoint_auth_method="tls_client_auth")
    answers.add(seen(await asked(house, path)))
    ((status, headers, body),) = answers
    assert status == 401
    assert dict(headers)["cache-control"] == "no-cache, no-store"
    assert b"client authentication failed" in body


@pytest.mark.requirement("CA-3", proves="refused")
@pytest.mark.parametrize(
    ("honest", "thief"),
    [
        (PeerKey.es256(seed=1), PeerKey.es256(seed=2)),
        (PeerKey.ed25519(seed=1), PeerKey.ed25519(seed=2)),
        (PeerKey.ps256(), PeerKey.ps256(index=1)),
    ],
    ids=["ES256", "Ed25519", "PS256"],
)
def test_whether_there_is_a_client_or_a_key_costs_the_same(honest: PeerKey, thief: PeerKey) -> None:
    client = registered(honest)
    unknown_kid = peer(thief, kid="unknown")
    cases: dict[str, tuple[RegisteredClient | None, Any]] = {
        "wrong key": (client, peer(thief)),
        "unknown client": (None, peer(thief)),
        "unknown kid": (client, unknown_kid),
        "another method": (replace(client, token_endpoint_auth_method="tls_client_auth"), peer(thief)),
    }
    presented = {
        name: (found, client_assertion.present(who.assertion(), client_id=AGENT))
        for name, (found, who) in cases.items()
    }
    times: dict[str, list[int]] = {name: [] for name in cases}
    for _ in range(150):
        for name, (found, assertion) in presented.items():  # in turns, so that a busy machine slows all of them
            begun = time.perf_counter_ns()
            with pytest.raises(InvalidClient):
                client_assertion.authenticate(assertion, found, client.keys, issuer=ISSUER, now=NOW)
            times[name].append(time.perf_counter_ns() - begun)
    typical = {name: median(measured) for name, measured in times.items()}
    assert max(typical.values()) < 1.5 * min(typical.values()), typical


# --- CA-4, CA-5


@pytest.mark.requirement("CA-4", proves="holds")
@everywhere
async def test_who_tried_the_authorization_header_is_told_a_scheme(house: House, path: str) -> None:
    nothing = {"client_assertion": ..., "client_assertion_type": ...}
    response = await asked(house, path, headers=BASIC, form=nothing)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.requirement("CA-4", proves="refused")
@everywhere
async def test_a_failed_assertion_is_401_in_json_that_nobody_keeps(house: House, path: str) -> None:
    with unchanged(house, "invalid_client"):
        response = await asked(house, path, assertion_key=STRANGER)
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.headers["content-type"] == "application/json"
    assert "no-store" in response.headers["cache-control"]
    assert "www-authenticate" not in response.headers


@pytest.fixture
def operators(tmp_path: Path) -> Operators:
    url = f"sqlite:///{tmp_path}/store.db"
    migrate(url)
    return Operators.open(url, "default")


@pytest.mark.requirement("CA-5", proves="holds")
def test_what_is_stored_of_a_client_has_no_place_for_a_secret(operators: Operators) -> None:
    assert not [column for column in Client.model_fields if "secret" in column]
    stored = operators.add_client(METADATA, "agent", STAMP)
    assert "secret" not in repr(stored)


@pytest.mark.requirement("CA-5", proves="refused")
@pytest.mark.parametrize(
    "asking",
    [{"token_endpoint_auth_method": f"client_secret_{how}"} for how in ("basic", "post", "jwt")]
    + [{"client_secret": "s"}, {"token_endpoint_auth_method": "none"}],
    ids=["basic", "post", "jwt", "brings one", "public"],
)
def test_a_client_with_a_secret_is_not_registered(operators: Operators, asking: dict[str, Any]) -> None:
    with pytest.raises(InvalidClientMetadata):
        operators.add_client(METADATA | asking, "agent", STAMP)
    assert operators.clients() == ()


# --- CA-6: how often somebody may fail


async def failing(house: House, path: str, times: int) -> list[int]:
    return [(await asked(house, path, assertion_key=STRANGER)).status_code for _ in range(times)]


@pytest.mark.requirement("CA-6", proves="holds")
@everywhere
async def test_as_many_failures_as_the_limit_do_not_keep_the_client_out(house: House, path: str) -> None:
    assert set(await failing(house, path, FAILED_AUTHENTICATIONS_LIMIT)) == {401}
    assert (await asked(house, path)).status_code == SUCCESS[path]


@pytest.mark.requirement("CA-6", proves="refused")
@everywhere
async def test_one_failure_more_is_too_many_whatever_comes_then(house: House, path: str) -> None:
    await failing(house, path, FAILED_AUTHENTICATIONS_LIMIT)
    before = everything(house)
    response = await asked(house, path, assertion_key=STRANGER)
    assert (response.status_code, response.headers["retry-after"]) == (429, "60")
    told = [fact.detail for fact in house.store.facts_of(AuditEvent.REFUSED)]
    assert told[-1] == "failed client authentications"
    for elsewhere in BACK_CHANNEL:
        assert (await asked(house, elsewhere)).status_code == 429  # the right key, too: nothing is verified any more
    assert len(house.store.facts_of(AuditEvent.REFUSED)) == len(told)  # one event; the rest is counted
    assert everything(house) == before


@pytest.mark.requirement("CA-6", proves="refused")
async def test_a_stranger_locks_the_client_out_of_nowhere_else_and_for_a_minute(house: House) -> None:
    house.source = "198.51.100.66"
    assert (await failing(house, "/token", FAILED_AUTHENTICATIONS_LIMIT + 5))[-5:] == [429] * 5
    house.source = "192.0.2.1"
    assert (await asked(house, "/token")).status_code == 200
    house.source = "198.51.100.66"
    house.clock.advance(59)
    assert (await asked(house, "/token")).status_code == 429
    house.clock.advance(1)
    assert (await asked(house, "/token")).status_code == 200


@pytest.mark.requirement("CA-6", proves="refused")
@pytest.mark.parametrize(
    "lies",
    [{"sub": "nobody", "iss": "nobody", "form": {"client_id": "nobody"}}, {"assertion": "x"}, LIES["no assertion"]],
)
async def test_names_that_are_nobodys_and_broken_assertions_count_alike(house: House, lies: dict[str, Any]) -> None:
    statuses = [(await asked(house, "/token", **lies)).status_code for _ in range(FAILED_AUTHENTICATIONS_LIMIT + 2)]
    assert statuses == [401] * FAILED_AUTHENTICATIONS_LIMIT + [429] * 2


# --- PKJ-1, PKJ-6, PKJ-11


@pytest.mark.requirement("PKJ-1", proves="holds")
@everywhere
async def test_the_right_type_with_one_assertion_authenticates(house: House, path: str) -> None:
    with_both = await asked(house, path, form={"client_assertion_type": client_assertion.ASSERTION_TYPE})
    assert with_both.status_code == SUCCESS[path]


@pytest.mark.requirement("PKJ-1", proves="refused")
@everywhere
@pytest.mark.parametrize("kind", [..., "", SAML, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer "])
async def test_without_the_right_type_an_assertion_is_none(house: House, path: str, kind: Any) -> None:
    with unchanged(house, "invalid_client"):
        assert (await asked(house, path, form={"client_assertion_type": kind})).status_code == 401


@pytest.mark.requirement("PKJ-1", proves="refused")
@everywhere
@pytest.mark.parametrize("name", ["client_assertion", "client_assertion_type"])
async def test_two_assertions_or_types_are_one_too_many(house: House, path: str, name: str) -> None:
    twice = [client_assertion.ASSERTION_TYPE] * 2 if name.endswith("type") else [house.agent.assertion()] * 2
    with unchanged(house, "invalid_request"):
        assert (await asked(house, path, form={name: twice})).status_code == 400


@pytest.mark.requirement("PKJ-6", proves="holds")
@everywhere
async def test_two_assertions_with_their_own_jti_are_both_good(house: House, path: str) -> None:
    for jti in ("one", "two"):
        assert (await asked(house, path, assertion_jti=jti)).status_code == SUCCESS[path]


@pytest.mark.requirement("PKJ-6", proves="refused")
@pytest.mark.parametrize("first", BACK_CHANNEL)
@pytest.mark.parametrize("second", BACK_CHANNEL)
async def test_a_jti_is_good_once_wherever_it_comes_again(house: House, first: str, second: str) -> None:
    assert (await asked(house, first, assertion_jti="the jti")).status_code == SUCCESS[first]
    house.clock.advance(59)
    before = everything(house)
    response = await asked(house, second, assertion_jti="the jti", exp=NOW + 60)
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert everything(house) == before
    assert house.last_detail == "assertion replayed"


@pytest.mark.requirement("PKJ-11", proves="holds")
@everywhere
async def test_an_assertion_that_is_a_jwt_is_what_is_offered(house: House, path: str) -> None:
    assert (await asked(house, path)).status_code == SUCCESS[path]


@pytest.mark.requirement("PKJ-11", proves="refused")
@everywhere
@pytest.mark.parametrize("assertion", ["PHNhbWw-", "jwt"])
async def test_saml_assertions_are_not_offered(house: House, path: str, assertion: str) -> None:
    saml = house.agent.assertion() if assertion == "jwt" else assertion
    with unchanged(house, "invalid_client"):
        response = await asked(house, path, assertion=saml, form={"client_assertion_type": SAML})
    assert response.status_code == 401
