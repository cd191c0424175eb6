"""Signed authorization responses, row by row (JARM, FAPI 2.0 Message Signing §5.4.1, §5.3.3)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from tests.support.browser import Callback
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD, RESOURCE, House, callback
from tests.support.push_scene import validated_of
from tests.support.signed_responses import SignedCallback, response_of
from tests.support.signing_client import SigningClient, signing_client
from tests.support.standing_still import everything, refused_push
from tests.support.token_scene import header_of, warm

REQUEST: Final = (400, "invalid_request")
ALGORITHMS: Final = ("ES256", "PS256", "Ed25519")
DOCUMENT: Final = f"{ISSUER}/.well-known/openid-configuration"


@pytest.fixture
async def house() -> House:
    return House()


def reader(house: House, *, mode: Any = "jwt", **registration: Any) -> SigningClient:
    """A client that wants its responses signed; it need not sign its requests."""
    client = signing_client(house, "reader", **registration)
    client.response_mode = mode
    return client


async def told(client: SigningClient, *, approve: bool = True, **said: Any) -> SignedCallback:
    """What a response says, once its signature and everything around it was checked."""
    with client.saying(**said):
        pushed = await client.push()
    place = await client.visit(pushed, username="alice", password=PASSWORD, approve=approve)
    return await client.opened(callback(place))


async def refused(house: House, client: SigningClient, **said: Any) -> tuple[int, str]:
    """A push that is refused and leaves everything as it was."""
    await warm(client)
    with client.saying(**said):
        return await refused_push(house, client=client)


async def after_a_change(house: House, client: SigningClient) -> Callback:
    """Where the browser goes when the resource is gone between the push and the visit."""
    pushed = await client.push()
    house.store.remove_resource(RESOURCE)
    return callback(await client.browser.open(client.authorization_url(pushed)))


# --- the ordinary work: what holds when it succeeds


@pytest.mark.requirement("JARM-8", proves="holds")
@pytest.mark.requirement("JARM-11", proves="holds")
@pytest.mark.requirement("JARM-12", proves="holds")
@pytest.mark.parametrize("signs", [True, False])
async def test_a_signed_response_is_opened_and_its_code_redeemed(house: House, signs: bool) -> None:
    client = reader(house)
    with client.saying(**({} if signs else {"object": ...})):
        pushed = await client.push()
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    assert (await client.redeem(done, pushed)).scope == "accounts:read"


# --- JARM-1, JARM-2, MSG-RSP-3: what is inside


@pytest.mark.requirement("JARM-1", proves="holds")
async def test_a_success_holds_the_code_and_the_state(house: House) -> None:
    client = reader(house)
    done = await told(client, claims={"state": "the state"})
    assert set(done.claims) == {"iss", "aud", "exp", "code", "state"}
    assert (done.claims["iss"], done.claims["aud"], done.claims["state"]) == (ISSUER, "reader", "the state")


@pytest.mark.requirement("JARM-1", proves="refused")
async def test_an_error_holds_its_code_and_the_state_and_no_authorization_code(house: House) -> None:
    done = await told(reader(house), approve=False)
    assert set(done.claims) == {"iss", "aud", "exp", "error", "error_description", "state"}
    assert done.claims["error"] == "access_denied"


async def test_without_a_state_there_is_none_inside(house: House) -> None:
    assert "state" not in (await told(reader(house), claims={"state": ...})).claims


@pytest.mark.requirement("MSG-RSP-3", proves="holds")
async def test_it_is_for_this_client_and_for_two_minutes(house: House) -> None:
    done = await told(reader(house))
    assert done.claims["aud"] == "reader"
    assert 60 <= done.claims["exp"] - house.clock.now() <= 300


@pytest.mark.requirement("MSG-RSP-3", proves="refused")
async def test_what_is_for_one_client_is_nothing_to_another(house: House) -> None:
    done, other = await told(reader(house)), house.client("other")
    with pytest.raises(Refused) as refused:
        await other.tokens(
            lambda: other.token_request("authorization_code", code=done.claims["code"], code_verifier="v" * 43)
        )
    assert refused.value.error == "invalid_grant"
    assert done.claims["aud"] != other.client_id
    assert isinstance(done.claims["aud"], str)


@pytest.mark.requirement("JARM-2", proves="holds")
async def test_its_end_is_within_ten_minutes(house: House) -> None:
    assert 0 < (await told(reader(house))).claims["exp"] - house.clock.now() <= 600


@pytest.mark.requirement("JARM-2", proves="refused")
async def test_an_error_has_its_end_too_and_nothing_lasts_longer(house: House) -> None:
    for approve in (True, False):
        done = await told(reader(house), approve=approve)
        assert done.claims["exp"] == house.clock.now() + 120


# --- JARM-3, JARM-8, MSG-RSP-4, MSG-RSP-5: how it is signed


@pytest.mark.requirement("JARM-3", proves="holds")
async def test_it_is_signed_by_a_published_key_that_it_names(house: House) -> None:
    done = await told(reader(house))
    published = (await house.http.get(f"{ISSUER}/jwks")).json()["keys"]
    assert [key["kid"] for key in published].count(done.header["kid"]) == 1


@pytest.mark.requirement("JARM-3", proves="refused")
async def test_what_cannot_be_signed_is_not_sent_and_nothing_is_spent(house: House) -> None:
    client = reader(house)
    pushed = await client.push()
    consent = await house.asked(pushed, client=client)
    house.signer.unable, before = True, everything(house)
    for button in ("consent-deny", "consent-approve"):
        place = await client.browser.submit(consent, button)
        assert (getattr(place, "status", None), getattr(place, "error", None)) == (503, "temporarily_unavailable")
        assert everything(house) == before
    house.signer.unable = False
    assert callback(await client.browser.submit(consent, "consent-approve")).status == 303


async def test_an_error_that_cannot_be_signed_leaves_the_request_as_it_was(house: House) -> None:
    client = reader(house)
    pushed = await client.push()
    house.store.remove_resource(RESOURCE)
    house.signer.unable = True
    response = await house.http.get(client.authorization_url(pushed))
    assert (response.status_code, house.store.rows.spent) == (503, set())
    house.signer.unable = False
    assert callback(await client.browser.open(client.authorization_url(pushed))).status == 303


@pytest.mark.requirement("MSG-RSP-4", proves="holds")
@pytest.mark.parametrize("alg", [*ALGORITHMS, "EdDSA", None])
async def test_the_client_chooses_the_algorithm_and_es256_is_the_default(house: House, alg: str | None) -> None:
    registration = {} if alg is None else {"authorization_signed_response_alg": alg}
    done = await told(reader(house, **registration))
    assert done.header["alg"] == (alg or "ES256")


@pytest.mark.requirement("MSG-RSP-4", proves="refused")
@pytest.mark.parametrize("alg", ["RS256", "HS256", "ES384"])
async def test_no_other_algorithm_is_registered(house: House, alg: str) -> None:
    with pytest.raises(InvalidClientMetadata):
        reader(house, authorization_signed_response_alg=alg)


@pytest.mark.requirement("JARM-8", proves="refused")
@pytest.mark.parametrize(
    "members",
    [
        {"authorization_signed_response_alg": "none"},
        {"authorization_signed_response_alg": 1},
        {"authorization_encrypted_response_alg": "ECDH-ES"},
        {"authorization_encrypted_response_enc": "A128GCM"},
    ],
)
async def test_neither_none_nor_encryption_is_registered(house: House, members: dict[str, Any]) -> None:
    with pytest.raises(InvalidClientMetadata):
        reader(house, **members)


@pytest.mark.requirement("MSG-RSP-5", proves="holds")
async def test_a_response_is_a_signature_and_no_more(house: House) -> None:
    client = reader(house)
    place = await client.visit(await client.push(), username="alice", password=PASSWORD)
    assert response_of(callback(place)).count(".") == 2


@pytest.mark.requirement("MSG-RSP-5", proves="refused")
async def test_encryption_is_refused_where_it_is_asked_for(house: House) -> None:
    registration = house.agent.registration(authorization_encrypted_response_alg="RSA-OAEP-256")
    with pytest.raises(InvalidClientMetadata):
        parse_client(registration, client_id="agent", version=2)


# --- JARM-4, JARM-6, JARM-9, MSG-RSP-1, MSG-MD-1: which modes there are, and for whom


@pytest.mark.requirement("JARM-4", proves="holds")
@pytest.mark.parametrize("mode", ["jwt", "query.jwt"])
async def test_both_names_of_the_signed_mode_are_the_same_for_a_code(house: House, mode: str) -> None:
    assert "code" in (await told(reader(house, mode=mode))).claims


@pytest.mark.requirement("JARM-4", proves="refused")
@pytest.mark.parametrize("mode", ["fragment.jwt", "unknown.jwt", "JWT", "query.JWT", "jwt jwt", ".jwt"])
async def test_there_is_no_other_signed_mode(house: House, mode: str) -> None:
    client = reader(house, mode=mode)
    for said in ({}, {"object": ...}):
        assert await refused(house, client, **said) == REQUEST


@pytest.mark.requirement("JARM-6", proves="refused")
@pytest.mark.parametrize("mode", ["form_post.jwt", "form_post"])
async def test_nothing_is_ever_posted_by_a_page(house: House, mode: str) -> None:
    assert await refused(house, reader(house, mode=mode)) == REQUEST
    assert mode not in (await house.http.get(DOCUMENT)).json()["response_modes_supported"]


@pytest.mark.requirement("JARM-9", proves="holds")
async def test_the_metadata_says_which_modes_and_algorithms_there_are(house: House) -> None:
    document = (await house.http.get(DOCUMENT)).json()
    assert document["response_modes_supported"] == ["query", "jwt", "query.jwt"]
    assert document["authorization_signing_alg_values_supported"] == ["PS256", "ES256", "EdDSA", "Ed25519"]


@pytest.mark.requirement("JARM-9", proves="refused")
async def test_it_says_nothing_of_encryption_and_of_rs256(house: House) -> None:
    document = (await house.http.get(DOCUMENT)).json()
    assert not [member for member in document if "encryption" in member]
    assert "RS256" not in document["authorization_signing_alg_values_supported"]
    assert "none" not in document["authorization_signing_alg_values_supported"]


@pytest.mark.requirement("MSG-RSP-1", proves="holds")
@pytest.mark.parametrize("mode", ["jwt", "query.jwt"])
async def test_a_client_of_signed_modes_only_gets_signed_responses(house: House, mode: str) -> None:
    client = reader(house, mode=mode, response_modes=["jwt", "query.jwt"])
    assert "code" in (await told(client)).claims


@pytest.mark.requirement("MSG-RSP-1", proves="refused")
@pytest.mark.parametrize("mode", [..., "query", ""])
async def test_a_client_of_signed_modes_only_may_ask_for_nothing_else(house: House, mode: Any) -> None:
    client = reader(house, mode=mode, response_modes=["jwt", "query.jwt"])
    for said in ({}, {"object": ...}):
        assert await refused(house, client, **said) == REQUEST
        assert house.last_detail == "response_mode of others"


@pytest.mark.requirement("MSG-MD-1", proves="holds")
@pytest.mark.parametrize(
    ("registered", "mode"),
    [(None, ...), (None, "jwt"), (["jwt"], "jwt"), (["query"], ...), (["query"], "query"), (["query", "jwt"], "jwt")],
)
async def test_what_is_registered_may_be_asked_for(house: House, registered: Any, mode: Any) -> None:
    client = reader(house, **({} if registered is None else {"response_modes": registered}))
    client.response_mode = mode
    kept = validated_of(house, await client.push())
    assert kept.signed_response_alg == ("ES256" if mode == "jwt" else None)


@pytest.mark.requirement("MSG-MD-1", proves="refused")
@pytest.mark.parametrize(
    ("registered", "mode"),
    [(["jwt"], "query"), (["jwt"], "query.jwt"), (["query.jwt"], "jwt"), (["query"], "jwt"), (["jwt"], ...)],
)
async def test_what_is_not_registered_may_not(house: House, registered: Any, mode: Any) -> None:
    assert await refused(house, reader(house, mode=mode, response_modes=registered)) == REQUEST


# --- JARM-10, MSG-RSP-2: nothing is outside


@pytest.mark.requirement("MSG-RSP-2", proves="holds")
async def test_the_redirect_has_one_parameter(house: House) -> None:
    client = reader(house)
    place = callback(await client.visit(await client.push(), username="alice", password=PASSWORD))
    assert set(place.parameters) == {"response"}
    assert place.location.startswith(f"{client.redirect_uri}?response=")


@pytest.mark.requirement("MSG-RSP-2", proves="refused")
@pytest.mark.parametrize("what", ["a denial", "a resource that is gone"])
async def test_so_has_the_redirect_of_an_error(house: House, what: str) -> None:
    client = reader(house)
    if what == "a denial":
        place = callback(await client.visit(await client.push(), username="alice", password=PASSWORD, approve=False))
    else:
        place = await after_a_change(house, client)
    assert set(place.parameters) == {"response"}


@pytest.mark.requirement("JARM-10", proves="holds")
async def test_a_denial_is_told_in_a_signed_response(house: House) -> None:
    assert (await told(reader(house), approve=False)).claims["error"] == "access_denied"
    (fact,) = house.store.facts_of(AuditEvent.CONSENT_DENIED)
    assert fact.client_id == "reader"


@pytest.mark.requirement("JARM-10", proves="refused")
async def test_an_error_between_the_push_and_the_page_is_told_in_one_too_and_ends_the_request(house: House) -> None:
    client = reader(house, alg="ES256", authorization_signed_response_alg="PS256")
    done = await client.opened(await after_a_change(house, client))
    assert (done.claims["error"], done.header["alg"]) == ("invalid_target", "PS256")
    assert {kind for kind, _ in house.store.rows.spent} == {HandleKind.REQUEST_URI}


async def test_a_registered_query_is_kept_in_front_of_it(house: House) -> None:
    client = reader(house, redirect_uris=["https://client.example/cb?registered=1"])
    client.redirect_uri = "https://client.example/cb?registered=1"
    place = callback(await client.visit(await client.push(), username="alice", password=PASSWORD))
    assert place.location.startswith("https://client.example/cb?registered=1&response=")
    assert "code" in (await client.opened(place)).claims


async def test_the_longest_state_of_any_characters_comes_back_inside(house: House) -> None:
    state = "ä☃ &=%" * 682
    assert (await told(reader(house), claims={"state": state})).claims["state"] == state


# --- JARM-11, JARM-12: what it could be taken for


@pytest.mark.requirement("JARM-11", proves="refused")
async def test_a_response_is_no_id_token_and_no_access_token(house: House) -> None:
    done = await told(reader(house))
    assert header_of(response_of(done))["typ"] == "JWT"
    assert {"sub", "nonce", "client_id", "scope", "cnf", "jti", "iat"}.isdisjoint(done.claims)


@pytest.mark.requirement("JARM-12", proves="refused")
async def test_a_code_that_leaked_out_of_a_response_is_worth_nothing_without_its_verifier_or_twice(
    house: House,
) -> None:
    client = reader(house)
    pushed = await client.push()
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    with pytest.raises(Refused) as without:
        await client.redeem(done, pushed, code_verifier="v" * 43)
    await client.redeem(done, pushed)
    with pytest.raises(Refused) as twice:
        await client.redeem(done, pushed)
    assert (without.value.error, twice.value.error) == ("invalid_grant", "invalid_grant")


async def test_a_signed_response_is_what_an_error_page_is_not(house: House) -> None:
    client = reader(house)
    pushed = await client.push()
    house.change_client("reader", redirect_uris=("https://client.example/other",))
    query = urlencode({"client_id": "reader", "request_uri": pushed.request_uri})
    response = await house.http.get(f"{ISSUER}/authorize?{query}")
    assert (response.status_code, "location" in response.headers) == (400, False)


async def test_what_a_person_would_be_needed_for_is_told_in_a_signed_response_too(house: House) -> None:
    client = reader(house, scope="openid")
    with client.saying(claims={"scope": "openid", "resource": ..., "prompt": "none"}):
        pushed = await client.push()
    done = await client.opened(callback(await client.browser.open(client.authorization_url(pushed))))
    assert (done.claims["error"], done.claims["state"]) == ("login_required", pushed.state)
