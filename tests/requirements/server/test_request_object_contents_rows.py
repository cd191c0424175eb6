"""Signed requests at POST /par: what is inside, and what is not read (RFC 9101, RFC 9126 §3)."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from fapi_as.protocol.effects import HandleKind
from tests.support.fakes import ISSUER
from tests.support.house import PASSWORD, RESOURCE, House
from tests.support.peer_keys import PeerKey, b64
from tests.support.push_scene import validated_of
from tests.support.signed_push_scene import OBJECT, REQUEST, completed, pushed, refused
from tests.support.signing_client import SigningClient, signing_client
from tests.support.standing_still import ready, refused_page, refused_push


@pytest.fixture
async def house() -> House:
    return House()


@pytest.fixture
async def signer(house: House) -> SigningClient:
    signer = signing_client(house, require_signed_request_object=True)
    await ready(house, signer)
    return signer


# --- MSG-REQ-9, JAR-4, JAR-12, PAR-13: what counts is inside


@pytest.mark.requirement("JAR-4", proves="holds")
@pytest.mark.requirement("PAR-13", proves="holds")
async def test_what_is_inside_and_again_outside_is_what_is_inside(house: House, signer: SigningClient) -> None:
    outside = {"scope": "accounts:read", "redirect_uri": signer.redirect_uri, "response_type": "code"}
    with signer.saying(outside=outside):
        kept = validated_of(house, await signer.push())
    assert (kept.scope, kept.redirect_uri) == (("accounts:read",), signer.redirect_uri)


@pytest.mark.requirement("MSG-REQ-9", proves="refused")
@pytest.mark.attack("PAR-25")
async def test_what_contradicts_it_outside_has_no_effect(house: House, signer: SigningClient) -> None:
    outside = {"scope": "transfers:write", "state": "outside", "nonce": "outside", "resource": "https://evil.example"}
    with signer.saying(claims={"state": "inside", "nonce": "inside"}, outside=outside):
        kept = validated_of(house, await signer.push())
    assert (kept.scope, kept.state, kept.nonce, kept.resources) == (
        ("accounts:read",),
        "inside",
        "inside",
        (RESOURCE,),
    )


@pytest.mark.requirement("JAR-4", proves="refused")
async def test_what_is_only_outside_is_not_there(house: House, signer: SigningClient) -> None:
    outside = {"state": "outside", "nonce": "outside", "dpop_jkt": "j" * 43, "response_mode": "jwt", "prompt": "none"}
    with signer.saying(claims={"state": ...}, outside=outside), signer.lying(proof=...):
        kept = validated_of(house, await signer.push())
    assert (kept.state, kept.nonce, kept.dpop_jkt, kept.signed_response_alg) == (None, None, None, None)


@pytest.mark.requirement("PAR-13", proves="refused")
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("response_type", "invalid_request"),
        ("code_challenge", "invalid_request"),
        ("scope", "invalid_scope"),
    ],
)
async def test_what_is_missing_inside_is_not_taken_from_outside(
    house: House, signer: SigningClient, name: str, error: str
) -> None:
    outside = {"response_type": "code", "code_challenge": "c" * 43, "scope": "accounts:read"}
    assert await refused(house, signer, claims={name: ...}, outside=outside) == (400, error)


@pytest.mark.requirement("JAR-12", proves="refused")
async def test_another_redirect_uri_outside_leads_nowhere(house: House, signer: SigningClient) -> None:
    done = await completed(signer, outside={"redirect_uri": "https://evil.example/cb"})
    assert done.location.startswith(f"{signer.redirect_uri}?")


@pytest.mark.requirement("MSG-REQ-14", proves="refused")
@pytest.mark.parametrize("outside", [{}, {"redirect_uri": "https://client.example/callback"}])
async def test_without_a_redirect_uri_inside_there_is_none(
    house: House, signer: SigningClient, outside: dict[str, str]
) -> None:
    assert await refused(house, signer, claims={"redirect_uri": ...}, outside=outside) == REQUEST


# --- MSG-REQ-10, MSG-REQ-11, MSG-REQ-12, JAR-1, JAR-13: what it must not be


@pytest.mark.requirement("JAR-1", proves="holds")
async def test_an_object_is_one_jwt_whose_claims_are_the_parameters(house: House, signer: SigningClient) -> None:
    with signer.saying(claims={"state": "s", "resource": [RESOURCE]}):
        kept = validated_of(house, await signer.push())
    assert (kept.state, kept.resources) == ("s", (RESOURCE,))


@pytest.mark.requirement("JAR-1", proves="refused")
@pytest.mark.attack("JAR-19")
@pytest.mark.parametrize("name", ["request", "request_uri"])
async def test_an_object_within_the_object_is_refused(house: House, signer: SigningClient, name: str) -> None:
    inner = signer.request_object({}) if name == "request" else "https://evil.example/object"
    assert await refused(house, signer, claims={name: inner}) == OBJECT


@pytest.mark.requirement("MSG-REQ-10", proves="refused")
@pytest.mark.attack("PAR-04")
async def test_our_own_request_uri_within_the_object_is_refused(house: House, signer: SigningClient) -> None:
    request = await signer.push()
    assert await refused(house, signer, claims={"request_uri": request.request_uri}) == OBJECT


@pytest.mark.requirement("MSG-REQ-11", proves="holds")
async def test_an_object_has_no_subject(signer: SigningClient) -> None:
    assert await pushed(signer, claims={"sub": ...}) == 201


@pytest.mark.requirement("MSG-REQ-11", proves="refused")
@pytest.mark.parametrize("subject", ["signer", "sub-alice", "", None])
async def test_an_object_with_a_subject_is_another_kind_of_jwt(
    house: House, signer: SigningClient, subject: Any
) -> None:
    assert await refused(house, signer, claims={"sub": subject}) == OBJECT


@pytest.mark.requirement("JAR-13", proves="refused")
@pytest.mark.attack("JAR-15")
async def test_an_object_authenticates_nobody(house: House, signer: SigningClient) -> None:
    stolen = signer.request_object({"response_type": "code"})
    with signer.lying(assertion=stolen):
        assert await refused_push(house, client=signer) == (401, "invalid_client")


@pytest.mark.requirement("MSG-REQ-12", proves="holds")
@pytest.mark.parametrize("claims", [{"jti": "j"}, {"jti": ...}])
async def test_objects_that_are_different_or_have_no_name_may_follow_each_other(
    signer: SigningClient, claims: dict[str, Any]
) -> None:
    assert await pushed(signer, claims=claims) == 201
    assert await pushed(signer, claims={**claims, "jti": "another"} if claims["jti"] is not ... else claims) == 201


@pytest.mark.requirement("MSG-REQ-12", proves="refused")
@pytest.mark.attack("JAR-21")
async def test_an_object_that_comes_again_is_refused_and_the_first_push_stands(
    house: House, signer: SigningClient
) -> None:
    with signer.saying(claims={"jti": "j"}):
        first = await signer.push()
        assert await refused_push(house, client=signer) == OBJECT
    assert house.last_detail == "request object: pushed before"
    assert (await signer.visit(first, username="alice", password=PASSWORD)).status == 303


async def test_a_push_that_is_refused_spends_no_object(house: House, signer: SigningClient) -> None:
    assert await refused(house, signer, claims={"jti": "j", "scope": "admin"}) == (400, "invalid_scope")
    assert await pushed(signer, claims={"jti": "j"}) == 201


# --- JAR-2, JAR-6, JAR-7, JAR-9, JAR-10, MSG-REQ-13, MSG-REQ-16, MSG-REQ-17, JAR-16


@pytest.mark.requirement("JAR-2", proves="refused")
async def test_an_object_and_a_reference_at_once_are_refused(house: House, signer: SigningClient) -> None:
    known = (await signer.push()).request_uri
    assert await refused(house, signer, outside={"request_uri": known}) == REQUEST


@pytest.mark.requirement("JAR-6", proves="refused")
@pytest.mark.parametrize("uri", ["https://client.example/object.jwt", "http://169.254.169.254/", "data:,e30.e30."])
async def test_an_object_is_never_fetched(house: House, uri: str) -> None:
    assert await refused_page(house, {"client_id": "signer", "request_uri": uri}) == (400, "request_uri_not_supported")


JWE_HEADERS: Final = [
    {"alg": "RSA-OAEP-256", "enc": "A256GCM"},
    {"alg": "dir", "enc": "A128GCM", "cty": "JWT"},
    {"alg": "ECDH-ES", "enc": "A128CBC-HS256", "typ": "oauth-authz-req+jwt"},
]


def jwe(header: dict[str, Any], *, size: int = 64) -> str:
    parts = (b"k" * 32, b"i" * 12, b"c" * size, b"t" * 16)
    return ".".join([PeerKey.es256(seed=5).sign(header, {}).partition(".")[0], *map(b64, parts)])


@pytest.mark.requirement("JAR-7", proves="refused")
@pytest.mark.parametrize("header", JWE_HEADERS)
async def test_an_encrypted_object_is_refused(house: House, signer: SigningClient, header: dict[str, Any]) -> None:
    assert await refused(house, signer, object=jwe(header)) == OBJECT


@pytest.mark.requirement("MSG-REQ-13", proves="refused")
async def test_a_signed_object_within_an_encrypted_one_is_refused(house: House, signer: SigningClient) -> None:
    nested = jwe({"alg": "RSA-OAEP", "enc": "A256GCM", "cty": "JWT"}, size=2000)
    assert await refused(house, signer, object=nested) == OBJECT
    document = (await house.http.get(f"{ISSUER}/.well-known/openid-configuration")).json()
    assert not [member for member in document if "encryption" in member]


@pytest.mark.requirement("JAR-9", proves="refused")
@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"scope": "admin"}, "invalid_scope"),
        ({"resource": "https://unknown.example"}, "invalid_target"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"redirect_uri": "https://evil.example/cb"}, "invalid_request"),
        ({"code_challenge": ...}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ...}, "invalid_request"),
        ({"response_mode": "form_post.jwt"}, "invalid_request"),
        ({"authorization_details": [{"type": "mcp_tool"}]}, "invalid_authorization_details"),
        ({"state": "s" * 4097}, "invalid_request"),
    ],
)
async def test_what_is_inside_is_validated_as_if_it_had_been_pushed_plainly(
    house: House, signer: SigningClient, claims: dict[str, Any], error: str
) -> None:
    assert await refused(house, signer, claims=claims) == (400, error)


@pytest.mark.requirement("JAR-10", proves="refused")
async def test_every_code_of_its_own_is_heard_somewhere(house: House, signer: SigningClient) -> None:
    assert await refused(house, signer, object="a.b.c") == OBJECT
    for query, error in (
        ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, "invalid_request_uri"),
        ({"request": "a.b.c"}, "request_not_supported"),
        ({"request_uri": "https://client.example/object.jwt"}, "request_uri_not_supported"),
    ):
        assert await refused_page(house, {"client_id": "signer", **query}) == (400, error)


@pytest.mark.requirement("MSG-REQ-16", proves="refused")
@pytest.mark.attack("JAR-20")
@pytest.mark.parametrize(
    "claims",
    [
        {"scope": ["accounts:read"]},
        {"redirect_uri": {"uri": "https://client.example/callback"}},
        {"max_age": "10"},
        {"max_age": "abc"},
        {"code_challenge": 1},
        {"claims": "{}"},
        {"authorization_details": "[]"},
        {"resource": {"0": RESOURCE}},
        {"resource": [1]},
        {"state": None},
        {"nonce": True},
    ],
)
async def test_nothing_is_made_to_fit(house: House, signer: SigningClient, claims: dict[str, Any]) -> None:
    assert await refused(house, signer, claims=claims) == OBJECT


@pytest.mark.requirement("MSG-REQ-17", proves="holds")
async def test_the_metadata_says_what_may_be_signed(house: House) -> None:
    document = (await house.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert document["request_parameter_supported"] is True
    assert document["request_uri_parameter_supported"] is False
    assert document["require_signed_request_object"] is False
    assert document["request_object_signing_alg_values_supported"] == ["PS256", "ES256", "EdDSA", "Ed25519"]


@pytest.mark.requirement("MSG-REQ-17", proves="refused")
@pytest.mark.parametrize("alg", ["RS256", "none", "ES384"])
async def test_what_the_metadata_does_not_say_is_refused(house: House, signer: SigningClient, alg: str) -> None:
    document = (await house.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert alg not in document["request_object_signing_alg_values_supported"]
    assert await refused(house, signer, header={"alg": alg}) == OBJECT


@pytest.mark.requirement("JAR-16", proves="holds")
async def test_the_object_itself_is_not_kept(house: House, signer: SigningClient) -> None:
    whole = signer.request_object(
        {
            "response_type": "code",
            "redirect_uri": signer.redirect_uri,
            "scope": "accounts:read",
            "resource": RESOURCE,
            "code_challenge": "c" * 43,
            "code_challenge_method": "S256",
            "login_hint": "alice@home.example",
        }
    )
    assert await pushed(signer, object=whole) == 201
    assert whole.split(".")[1] not in repr(house.store.rows)
    assert "alice@home.example" not in repr(house.store.facts)


@pytest.mark.requirement("JAR-16", proves="refused")
async def test_what_was_pushed_is_gone_soon_after_its_end(house: House, signer: SigningClient) -> None:
    request = await signer.push()
    house.clock.advance(91)
    query = {"client_id": "signer", "request_uri": request.request_uri}
    assert await refused_page(house, query) == (400, "invalid_request_uri")
    (handle,) = [kept for (kind, _), kept in house.store.rows.handles.items() if kind is HandleKind.REQUEST_URI][-1:]
    assert handle.delete_after <= house.clock.now() + 600


async def test_what_openid_connect_asks_for_may_be_asked_in_an_object_with_its_own_types(house: House) -> None:
    signer = signing_client(house, "rp", scope="openid profile")
    asked = {
        "scope": "openid profile",
        "resource": ...,
        "max_age": 60,
        "claims": {"id_token": {"name": None}},
        "prompt": "login",
        "login_hint": "alice",
    }
    with signer.saying(claims=asked):
        kept = validated_of(house, await signer.push())
    assert kept.openid is not None
    assert (kept.openid.max_age, kept.openid.login_hint, kept.openid.id_token_claims) == (60, "alice", ("name",))
    assert await refused(house, signer, claims={**asked, "max_age": "60"}) == OBJECT
    assert await refused(house, signer, claims={**asked, "registration": {"client_name": "x"}}) == (
        400,
        "registration_not_supported",
    )


async def test_of_twenty_pushes_of_one_object_at_once_one_is_kept(house: House, signer: SigningClient) -> None:
    kept = len(house.store.handles_of(HandleKind.REQUEST_URI))
    with signer.saying(claims={"jti": "j"}):
        pushes = [signer.push_request(code_verifier="v" * 43, state="s") for _ in range(20)]
    responses = await asyncio.gather(*(signer.send(push) for push in pushes))
    assert sorted(response.status_code for response in responses) == [201] + [400] * 19
    errors = {response.json()["error"] for response in responses if response.status_code == 400}
    assert errors == {"invalid_request_object"}
    assert len(house.store.handles_of(HandleKind.REQUEST_URI)) == kept + 1
