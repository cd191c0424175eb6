"""What FAPI and OpenID add to RFC 7591: read by its type, and registered, or refused where it would be a promise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.client_metadata import InvalidRedirectUri, parse_client, to_metadata
from fapi_as.protocol.metadata_members import MEMBERS, InvalidClientMetadata, boolean
from tests.support.client_members import client_members, ec_jwk, refused

KEYS = {"keys": [ec_jwk(kid="one", alg="ES256")]}  # a key is always told with its algorithm
REGISTERED: dict[str, Any] = {
    "use_mtls_endpoint_aliases": True,
    "response_modes": ["jwt", "query"],
    "dpop_bound_access_tokens": True,
    "tls_client_certificate_bound_access_tokens": True,
    "require_pushed_authorization_requests": True,
    "require_signed_request_object": True,
    "authorization_signed_response_alg": "PS256",
    "introspection_signed_response_alg": "PS256",
    "id_token_signed_response_alg": "EdDSA",
    "userinfo_signed_response_alg": "ES256",
    "request_object_signing_alg": "ES256",
    "token_endpoint_auth_signing_alg": "ES256",
    "application_type": "native",
    "sector_identifier_uri": "https://agent.example/sector.json",
    "subject_type": "pairwise",
    "default_max_age": 300,
    "require_auth_time": True,
    "default_acr_values": ["urn:example:aal2", "1"],
    "post_logout_redirect_uris": ["https://agent.example/bye"],
}
# what may be said without a promise, and what would be one
HARMLESS: dict[str, tuple[Any, Any]] = {
    "authorization_details_types": ([], ["payment_initiation"]),
    "backchannel_user_code_parameter": (False, True),
    "backchannel_logout_session_required": (False, True),
    "frontchannel_logout_session_required": (False, True),
}


@pytest.mark.requirement("DCR-18", proves="holds")
@pytest.mark.parametrize("name", REGISTERED)
def test_an_addition_is_registered_as_it_was_asked_for(name: str) -> None:
    client = parse_client(client_members(jwks=KEYS, **{name: REGISTERED[name]}), client_id="c", version=1)
    told = to_metadata(client)
    assert told[name] == REGISTERED[name]
    assert parse_client(json.loads(json.dumps(told)), client_id="c", version=1) == client


def test_all_of_them_together_are_registered() -> None:
    told = to_metadata(parse_client(client_members(**REGISTERED), client_id="c", version=1))
    assert told.items() >= REGISTERED.items()


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("tls_client_auth_subject_dn", "CN=agent,O=Bank"),
        ("tls_client_auth_san_dns", "agent.example"),
        ("tls_client_auth_san_uri", "urn:example:agent"),
        ("tls_client_auth_san_ip", "192.0.2.1"),
        ("tls_client_auth_san_email", "agent@agent.example"),
    ],
)
def test_a_subject_of_certificates_is_registered(member: str, value: str) -> None:
    members = client_members(token_endpoint_auth_method="tls_client_auth", jwks=..., **{member: value})
    assert to_metadata(parse_client(members, client_id="c", version=1))[member] == value


@pytest.mark.requirement("DCR-18", proves="refused")
@pytest.mark.parametrize("name", [*REGISTERED, *HARMLESS, "backchannel_logout_uri", "tls_client_auth_san_dns"])
def test_an_addition_of_another_type_is_refused(name: str) -> None:
    right = REGISTERED.get(name, HARMLESS.get(name, ("x",))[0])
    for value in ([7], {"a": 1}, 7.5, "x", True, 7, []):
        if type(value) is not type(right) or value == [7]:
            assert refused(**{name: value}).startswith(name)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_not_offered_may_be_said_to_be_unwanted(name: str) -> None:
    harmless, promise = HARMLESS[name]
    assert name not in to_metadata(parse_client(client_members(**{name: harmless}), client_id="c", version=1))
    assert refused(**{name: promise}) == f"{name} is not offered here with this value"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backchannel_logout_uri", "https://agent.example/logout"),
        ("frontchannel_logout_uri", "https://agent.example/logout"),
        ("backchannel_token_delivery_mode", "poll"),
        ("backchannel_client_notification_endpoint", "https://agent.example/ciba"),
        ("backchannel_authentication_request_signing_alg", "ES256"),
        ("require_pushed_authorization_requests", False),
        ("client_secret", "s3cret"),
    ],
)
def test_what_would_promise_more_than_is_done_is_refused(name: str, value: object) -> None:
    assert refused(**{name: value}) == f"{name} is not offered here with this value"


@pytest.mark.parametrize("values", [[""], ["a b"], ["é"], ["x" * 1025], ["x" * 600, "y" * 600]])
def test_default_acr_values_are_names_that_fit_the_parameter(values: list[str]) -> None:
    assert refused(default_acr_values=values).startswith("default_acr_values")


@pytest.mark.parametrize("alg", ["RS256", "none", "HS256", ""])
def test_introspection_responses_are_signed_with_what_is_offered(alg: str) -> None:
    assert refused(introspection_signed_response_alg=alg).startswith("introspection_signed_response_alg")


def test_the_word_true_is_no_boolean_for_whoever_reads_one_by_itself() -> None:
    with pytest.raises(InvalidClientMetadata):
        boolean({"require_auth_time": "true"}, "require_auth_time")


def test_addresses_after_a_sign_out_are_a_few() -> None:
    many = [f"https://agent.example/{number}" for number in range(17)]
    assert refused(post_logout_redirect_uris=many) == "post_logout_redirect_uris must have at most 16 entries"


def test_signed_requests_need_a_key_and_assertions_their_method() -> None:
    certified = {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "a.example", "jwks": ...}
    assert "needs jwks" in refused(**certified, require_signed_request_object=True)
    assert "private_key_jwt only" in refused(**certified, token_endpoint_auth_signing_alg="ES256")


def test_a_key_for_something_else_beside_a_signature_key_is_not_registered() -> None:
    keys = {"keys": [ec_jwk(kid="one"), ec_jwk(kid="two", use="enc")]}
    assert [key.kid for key in parse_client(client_members(jwks=keys), client_id="c", version=1).keys] == ["one"]


def test_an_initiate_login_uri_is_read_and_nothing_is_made_of_it() -> None:
    members = client_members(initiate_login_uri="https://agent.example/start")
    assert "initiate_login_uri" not in to_metadata(parse_client(members, client_id="c", version=1))


_VALUES = {
    list: st.lists(
        st.sampled_from(["code", "authorization_code", "refresh_token", "jwt", "query", "https://a.example/b", "x"]),
        max_size=3,
    ),
    bool: st.booleans(),
    int: st.integers(0, 2**31),
    str: st.sampled_from(
        ["ES256", "PS256", "EdDSA", "https://agent.example/x", "native", "web", "pairwise", "a b", "CN=a"]
    ),
    dict: st.just({"keys": [ec_jwk(kid="two", alg="ES256")]}),
}


@given(
    st.dictionaries(
        st.sampled_from(sorted({*MEMBERS, "client_name#fr", "tos_uri#de"})), st.one_of(*_VALUES.values()), max_size=6
    )
)
def test_every_registered_client_reads_back_as_itself(changes: dict[str, Any]) -> None:
    try:
        client = parse_client(client_members(**{"jwks": KEYS, **changes}), client_id="c", version=1)
    except (InvalidClientMetadata, InvalidRedirectUri):
        return
    assert parse_client(json.loads(json.dumps(to_metadata(client))), client_id="c", version=1) == client
