"""Signed requests at POST /par: for whom, when and by whom (RFC 9101, RFC 9126 §3, FAPI 2.0 Message Signing §5.3.1)."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any, Final

import pytest

from fapi_as.features.authorization_code.signed_request import asked
from fapi_as.protocol.client import ClientKeySet, KeysUnavailable, RegisteredClient
from fapi_as.protocol.errors import InvalidRequestObject
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.profile import REQUEST_OBJECT_LIFETIME
from tests.support.fakes import ISSUER
from tests.support.house import House
from tests.support.peer_keys import PeerKey, b64
from tests.support.signed_push_scene import OBJECT, REQUEST, completed, pushed, refused
from tests.support.signing_client import SigningClient, signing_client
from tests.support.standing_still import ready, refused_page

HOUR: Final = int(REQUEST_OBJECT_LIFETIME.total_seconds())


@pytest.fixture
async def house() -> House:
    return House()


@pytest.fixture
async def signer(house: House) -> SigningClient:
    signer = signing_client(house, require_signed_request_object=True)
    await ready(house, signer)
    return signer


# --- the ordinary work, signed: what holds when it succeeds


@pytest.mark.requirement("JAR-2", proves="holds")
@pytest.mark.requirement("JAR-6", proves="holds")
@pytest.mark.requirement("JAR-7", proves="holds")
@pytest.mark.requirement("JAR-8", proves="holds")
@pytest.mark.requirement("JAR-9", proves="holds")
@pytest.mark.requirement("JAR-10", proves="holds")
@pytest.mark.requirement("JAR-12", proves="holds")
@pytest.mark.requirement("JAR-13", proves="holds")
@pytest.mark.requirement("MSG-REQ-6", proves="holds")
@pytest.mark.requirement("MSG-REQ-7", proves="holds")
@pytest.mark.requirement("MSG-REQ-8", proves="holds")
@pytest.mark.requirement("MSG-REQ-9", proves="holds")
@pytest.mark.requirement("MSG-REQ-10", proves="holds")
@pytest.mark.requirement("MSG-REQ-13", proves="holds")
@pytest.mark.requirement("MSG-REQ-14", proves="holds")
@pytest.mark.requirement("MSG-REQ-16", proves="holds")
@pytest.mark.requirement("PAR-14", proves="holds")
@pytest.mark.parametrize("alg", ["ES256", "PS256", "Ed25519"])
async def test_a_signed_request_is_pushed_allowed_and_redeemed(house: House, alg: str) -> None:
    signer = signing_client(house, alg=alg, request_object_signing_alg=alg, require_signed_request_object=True)
    assert (await completed(signer)).parameters["iss"] == ISSUER


# --- MSG-REQ-1, JAR-11, PAR-15: when a signature is required


@pytest.mark.requirement("MSG-REQ-1", proves="holds")
@pytest.mark.requirement("JAR-11", proves="holds")
@pytest.mark.requirement("PAR-15", proves="holds")
async def test_a_client_that_must_sign_may_push_what_it_signed(signer: SigningClient) -> None:
    assert await pushed(signer) == 201


@pytest.mark.requirement("MSG-REQ-1", proves="refused")
@pytest.mark.requirement("PAR-15", proves="refused")
@pytest.mark.attack("JAR-01")
@pytest.mark.parametrize("outside", [{}, {"request": ""}])
async def test_a_client_that_must_sign_may_not_push_plain_parameters(
    house: House, signer: SigningClient, outside: dict[str, str]
) -> None:
    assert await refused(house, signer, object=..., outside=outside) == REQUEST
    assert house.last_detail == "push without a signature"


@pytest.mark.requirement("JAR-11", proves="refused")
@pytest.mark.parametrize("alg", ["none", "None", ""])
async def test_nor_may_it_push_what_only_looks_signed(house: House, signer: SigningClient, alg: str) -> None:
    assert await refused(house, signer, header={"alg": alg}) == OBJECT


async def test_whoever_need_not_sign_may(house: House) -> None:
    signer = signing_client(house)
    assert (await pushed(signer), await pushed(signer, object=...)) == (201, 201)


# --- MSG-REQ-2, JAR-14: for whom


@pytest.mark.requirement("MSG-REQ-2", proves="holds")
@pytest.mark.attack("JAR-07")
@pytest.mark.parametrize("aud", [ISSUER, [ISSUER], ["https://other.example", ISSUER], [ISSUER, f"{ISSUER}/par"]])
async def test_the_issuer_may_be_one_of_several_audiences(signer: SigningClient, aud: Any) -> None:
    assert await pushed(signer, claims={"aud": aud}) == 201


@pytest.mark.requirement("MSG-REQ-2", proves="refused")
@pytest.mark.attack("JAR-06")
@pytest.mark.parametrize(
    "aud", [..., f"{ISSUER}/par", f"{ISSUER}/token", "https://other.example", f"{ISSUER}/", [f"{ISSUER}/token"], []]
)
async def test_an_object_for_somebody_else_is_refused(house: House, signer: SigningClient, aud: Any) -> None:
    assert await refused(house, signer, claims={"aud": aud}) == OBJECT


@pytest.mark.requirement("JAR-14", proves="holds")
async def test_an_object_from_this_client_to_this_issuer_is_accepted(signer: SigningClient) -> None:
    assert await pushed(signer, claims={"iss": "signer", "aud": [ISSUER]}) == 201


@pytest.mark.requirement("JAR-14", proves="refused")
@pytest.mark.parametrize(
    "claims", [{"iss": "agent"}, {"iss": ISSUER}, {"aud": "agent"}, {"iss": ISSUER, "aud": "signer"}]
)
async def test_from_somebody_else_or_to_somebody_else_it_is_not(
    house: House, signer: SigningClient, claims: dict[str, Any]
) -> None:
    assert await refused(house, signer, claims=claims) == OBJECT


# --- MSG-REQ-3, MSG-REQ-4: when


@pytest.mark.requirement("MSG-REQ-3", proves="holds")
@pytest.mark.parametrize("ago", [59 * 60, 0])
async def test_it_may_have_begun_within_the_hour(house: House, signer: SigningClient, ago: int) -> None:
    now = house.clock.now()
    assert await pushed(signer, claims={"nbf": now - ago, "exp": now - ago + HOUR}) == 201


@pytest.mark.attack("JAR-10")
async def test_it_may_begin_in_eight_seconds(house: House, signer: SigningClient) -> None:
    assert await pushed(signer, claims={"nbf": house.clock.now() + 8}) == 201


@pytest.mark.requirement("MSG-REQ-3", proves="refused")
@pytest.mark.attack("JAR-09")
@pytest.mark.parametrize(
    ("not_before", "expires_in"),
    [(None, 60), (-61 * 60, 60), (-70 * 60, 300), (61, 120), (90, 120)],
)
async def test_it_may_not_have_begun_before_that_or_never_or_begin_later(
    house: House, signer: SigningClient, not_before: int | None, expires_in: int
) -> None:
    now = house.clock.now()
    begins: Any = ... if not_before is None else now + not_before
    assert await refused(house, signer, claims={"nbf": begins, "exp": now + expires_in}) == OBJECT


@pytest.mark.requirement("MSG-REQ-4", proves="holds")
async def test_it_may_last_an_hour_and_holds_until_then(house: House, signer: SigningClient) -> None:
    now = house.clock.now()
    house.clock.advance(HOUR - 1)
    assert await pushed(signer, claims={"nbf": now, "exp": now + HOUR}) == 201


@pytest.mark.requirement("MSG-REQ-4", proves="refused")
@pytest.mark.attack("JAR-08")
@pytest.mark.parametrize("expires_in", [None, -11, -3600, 61 * 60, 70 * 60])
async def test_it_may_not_last_for_ever_or_longer_or_be_over(
    house: House, signer: SigningClient, expires_in: int | None
) -> None:
    now = house.clock.now()
    ends: Any = ... if expires_in is None else now + expires_in
    assert (
        await refused(house, signer, claims={"nbf": now - 30 if (expires_in or 0) < 0 else now, "exp": ends}) == OBJECT
    )


# --- MSG-REQ-5, JAR-15: its type


@pytest.mark.requirement("MSG-REQ-5", proves="holds")
@pytest.mark.requirement("JAR-15", proves="holds")
@pytest.mark.parametrize(
    "typ", [..., "oauth-authz-req+jwt", "JWT", "OAUTH-authz-REQ+jwt", "application/oauth-authz-req+jwt", "jwt"]
)
async def test_it_says_its_type_or_none(signer: SigningClient, typ: Any) -> None:
    assert await pushed(signer, header={"typ": typ}) == 201


@pytest.mark.requirement("MSG-REQ-5", proves="refused")
@pytest.mark.attack("JAR-13")
@pytest.mark.parametrize("typ", ["client-authentication+jwt", "dpop+jwt", "at+jwt", 1])
async def test_another_type_is_refused(house: House, signer: SigningClient, typ: Any) -> None:
    assert await refused(house, signer, header={"typ": typ}) == OBJECT


@pytest.mark.requirement("JAR-15", proves="refused")
@pytest.mark.parametrize(
    "typ",
    [
        "application/oauth-authz-req+jwt; charset=utf-8",
        "text/oauth-authz-req+jwt",
        "application/application/oauth-authz-req+jwt",
        "oauth-authz-req",
        " JWT",
    ],
)
async def test_what_only_resembles_the_media_type_is_another(house: House, signer: SigningClient, typ: str) -> None:
    assert await refused(house, signer, header={"typ": typ}) == OBJECT


# --- MSG-REQ-6, MSG-REQ-7, JAR-8: by which key


@pytest.mark.requirement("MSG-REQ-6", proves="refused")
@pytest.mark.attack("JAR-03")
@pytest.mark.parametrize("alg", ["RS256", "HS256", "ES384", "PS512", "none"])
async def test_another_algorithm_is_refused(house: House, signer: SigningClient, alg: str) -> None:
    assert await refused(house, signer, header={"alg": alg}) == OBJECT


@pytest.mark.requirement("MSG-REQ-6", proves="refused")
async def test_another_algorithm_than_the_registered_one_is_refused(house: House) -> None:
    other = PeerKey.ps256()
    signer = signing_client(house)
    keys = [*signer.jwks()["keys"], other.jwk(alg="PS256", use="sig", kid="other-key")]
    house.client("signer", jwks={"keys": keys}, request_object_signing_alg="PS256")
    await ready(house, house.agent)
    with signer.saying(key=other, header={"kid": "other-key"}):
        await signer.push()
    assert await refused(house, signer) == OBJECT
    assert house.last_detail == "request object: not the registered algorithm"


@pytest.mark.requirement("MSG-REQ-7", proves="refused")
@pytest.mark.attack("JAR-05")
async def test_a_changed_byte_is_refused(house: House, signer: SigningClient) -> None:
    whole = signer.request_object({"response_type": "code", "redirect_uri": signer.redirect_uri})
    header, payload, signature = whole.split(".")
    claims = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).replace(b"signer", b"signeR", 1)
    assert await refused(house, signer, object=f"{header}.{b64(claims)}.{signature}") == OBJECT
    assert house.last_detail == "request object: signature"


@pytest.mark.requirement("JAR-8", proves="refused")
@pytest.mark.attack("JAR-04")
@pytest.mark.parametrize("kid", ["client-key", "other-key", ...])
async def test_the_key_of_another_client_is_refused(house: House, signer: SigningClient, kid: Any) -> None:
    other = house.client("other")
    assert await refused(house, signer, key=other.client_key, header={"kid": kid}) == OBJECT


class _Behind:
    """The ClientKeys port: keys that lie behind a jwks_uri."""

    def __init__(self, keys: ClientKeySet | None) -> None:
        self.known = keys
        self.asked: list[str | None] = []

    async def keys(self, client: RegisteredClient, kid: str | None) -> ClientKeySet:
        self.asked.append(kid)
        if self.known is None:
            raise KeysUnavailable("nothing good came from there")
        return self.known


async def test_the_keys_are_asked_for_by_name_wherever_they_are(house: House, signer: SigningClient) -> None:
    client = house.store.clients["signer"]
    behind = _Behind(ClientKeySet(keys=client.keys))
    form = Parameters(values={"request": signer.request_object({"scope": "accounts:read"})})
    context = replace(house.context, client_keys=behind)
    inside, once = await asked(context, client, form, house.clock.now())
    assert (behind.asked, inside.get("scope"), once is None) == (["client-key"], "accounts:read", False)


async def test_without_the_keys_nothing_is_verified(house: House, signer: SigningClient) -> None:
    context = replace(house.context, client_keys=_Behind(None))
    form = Parameters(values={"request": signer.request_object({"scope": "accounts:read"})})
    with pytest.raises(InvalidRequestObject) as refused_:
        await asked(context, house.store.clients["signer"], form, house.clock.now())
    assert refused_.value.detail == "request object: nothing good came from there"


# --- MSG-REQ-8, PAR-14: from whom


@pytest.mark.requirement("MSG-REQ-8", proves="refused")
@pytest.mark.attack("JAR-11")
@pytest.mark.parametrize("client_id", ["agent", ..., "", ["signer"]])
async def test_an_object_that_names_another_client_is_refused(
    house: House, signer: SigningClient, client_id: Any
) -> None:
    assert await refused(house, signer, claims={"client_id": client_id}) == OBJECT


@pytest.mark.requirement("MSG-REQ-8", proves="refused")
@pytest.mark.attack("JAR-12")
@pytest.mark.parametrize("issuer", ["agent", ISSUER, ..., 1])
async def test_an_object_of_another_issuer_is_refused(house: House, signer: SigningClient, issuer: Any) -> None:
    assert await refused(house, signer, claims={"iss": issuer}) == OBJECT


@pytest.mark.requirement("PAR-14", proves="refused")
async def test_the_object_of_another_client_is_refused_however_well_it_is_signed(
    house: House, signer: SigningClient
) -> None:
    other = signing_client(house, "other")
    theirs = other.request_object({"response_type": "code", "redirect_uri": other.redirect_uri})
    assert await refused(house, signer, object=theirs) == OBJECT


@pytest.mark.requirement("JAR-3", proves="holds")
async def test_the_client_on_the_url_is_the_one_inside(signer: SigningClient) -> None:
    assert (await completed(signer, claims={"client_id": "signer"})).status == 303


@pytest.mark.requirement("JAR-3", proves="refused")
@pytest.mark.parametrize(
    ("client_id", "error"), [("agent", "invalid_request_uri"), ("", "invalid_request"), (None, "invalid_request")]
)
async def test_another_client_on_the_url_gets_a_page(
    house: House, signer: SigningClient, client_id: str | None, error: str
) -> None:
    request = await signer.push()
    query = {"request_uri": request.request_uri} | ({} if client_id is None else {"client_id": client_id})
    assert await refused_page(house, query) == (400, error)
