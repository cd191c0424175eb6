"""What may be registered as a client, and the sentence that a refused registration gets."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.client_metadata import (
    InvalidRedirectUri,
    parse_client,
    require_client_id,
    to_metadata,
)
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from tests.support.client_members import b64, client_members, ec_jwk, ed_jwk, refused, rsa_jwk


def test_a_registration_is_echoed_with_every_effective_value() -> None:
    client = parse_client(client_members(), client_id="agent-1", version=7)
    assert client.version == 7
    assert to_metadata(client) == {
        "client_id": "agent-1",
        "client_name": "Ledger agent",
        "application_type": "web",
        "token_endpoint_auth_method": "private_key_jwt",
        "redirect_uris": ["https://agent.example/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": "accounts:read transfers:write",
        "jwks": {"keys": [ec_jwk(kid="one", use="sig", alg="ES256")]},
        "dpop_bound_access_tokens": True,
        "tls_client_certificate_bound_access_tokens": False,
        "use_mtls_endpoint_aliases": False,
        "require_pushed_authorization_requests": True,
        "require_signed_request_object": False,
        "authorization_signed_response_alg": "ES256",
        "id_token_signed_response_alg": "ES256",
        "subject_type": "public",
        "require_auth_time": False,
    }


def test_registered_metadata_reads_back_to_the_same_registration() -> None:
    members = client_members(
        application_type="native",
        redirect_uris=["http://127.0.0.1/callback", "https://agent.example/callback"],
        token_endpoint_auth_signing_alg="EdDSA",
        default_resource="https://mcp.example/mcp",
        jwks={"keys": [ed_jwk()]},
    )
    metadata = to_metadata(parse_client(members, client_id="c", version=1))
    again = to_metadata(parse_client(json.loads(json.dumps(metadata)), client_id="c", version=2))
    assert again == metadata


def test_unknown_metadata_is_neither_kept_nor_shown() -> None:
    client = parse_client(client_members(foo="bar", is_admin=True, tenant="other"), client_id="c", version=1)
    assert not {"foo", "is_admin", "tenant"} & set(to_metadata(client))


def test_a_client_id_in_the_metadata_does_not_choose_the_client_id() -> None:
    assert parse_client(client_members(client_id="somebody-else"), client_id="c", version=1).client_id == "c"


def test_a_client_that_says_nothing_gets_dpop_bound_tokens() -> None:
    assert parse_client(client_members(), client_id="c", version=1).dpop_bound_access_tokens is True


@pytest.mark.parametrize("certificate_bound", [..., False])
def test_a_client_that_wants_unbound_tokens_is_refused(certificate_bound: object) -> None:
    described = refused(dpop_bound_access_tokens=False, tls_client_certificate_bound_access_tokens=certificate_bound)
    assert "dpop_bound_access_tokens" in described


@pytest.mark.parametrize(
    "method",
    [..., None, "none", "client_secret_basic", "client_secret_post", "client_secret_jwt", "Private_Key_JWT", 1],
)
def test_an_authentication_method_without_a_key_or_a_certificate_is_refused(method: object) -> None:
    assert "token_endpoint_auth_method" in refused(token_endpoint_auth_method=method)


def test_the_authentication_method_is_explicit() -> None:
    client = parse_client(client_members(), client_id="c", version=1)
    assert client.token_endpoint_auth_method == "private_key_jwt"


@pytest.mark.parametrize(
    "uri", ["https://agent.example/cb", "https://agent.example:8443/cb?x=1", "https://[2001:db8::1]/cb"]
)
def test_an_https_redirect_uri_may_be_registered(uri: str) -> None:
    assert parse_client(client_members(redirect_uris=[uri]), client_id="c", version=1).redirect_uris == (uri,)


@pytest.mark.parametrize(
    "uris",
    [
        ...,
        [],
        ["http://agent.example/cb"],
        ["https://agent.example/cb#fragment"],
        ["https://*.example/cb"],
        ["https://agent.example/*"],
        ["javascript:alert(1)"],
        ["JaVaScript:alert(1)"],
        ["data:text/html,x"],
        ["com.example.app:/cb"],
        ["https://user@agent.example/cb"],
        ["https://agent.example\\@evil.example/cb"],
        ["https:///cb"],
        ["https://agent.example/cb", "http://127.0.0.1/cb"],
        [f"https://agent.example/{number}" for number in range(500)],
        ["https://agent.example/" + "a" * 20_000],
    ],
)
def test_a_redirect_uri_that_could_leak_is_refused(uris: object) -> None:
    assert refused(InvalidRedirectUri, redirect_uris=uris).startswith("redirect_uri")


@pytest.mark.parametrize("uris", ["https://agent.example/cb", [1], {"0": "https://agent.example/cb"}])
def test_redirect_uris_of_another_type_are_refused(uris: object) -> None:
    assert refused(redirect_uris=uris) == "redirect_uris must be a list of strings"


@pytest.mark.parametrize(
    "uri",
    [
        "https://localhost/cb",
        "https://LOCALHOST:8/cb",
        "https://a.localhost/cb",
        "https://127.0.0.1/cb",
        "https://[::1]/cb",
    ],
)
def test_a_web_client_on_this_device_is_refused(uri: str) -> None:
    assert "localhost" in refused(InvalidRedirectUri, redirect_uris=[uri])


def test_a_client_is_a_web_client_unless_it_says_otherwise() -> None:
    assert parse_client(client_members(), client_id="c", version=1).application_type == "web"


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1/cb", "http://127.0.0.1:51000/cb", "http://[::1]/cb", "https://localhost/cb"]
)
def test_a_native_client_may_use_loopback(uri: str) -> None:
    client = parse_client(client_members(application_type="native", redirect_uris=[uri]), client_id="c", version=1)
    assert client.redirect_uris == (uri,)


@pytest.mark.parametrize(
    "uri", ["http://example.com/native", "http://127.0.0.1.evil.example/cb", "app:/cb", "http://0.0.0.0/cb"]
)
def test_a_native_client_elsewhere_over_http_is_refused(uri: str) -> None:
    refused(InvalidRedirectUri, application_type="native", redirect_uris=[uri])


def test_a_client_without_people_needs_no_redirect_uri_and_no_name() -> None:
    client = parse_client(
        client_members(grant_types=["client_credentials"], redirect_uris=..., client_name=...),
        client_id="robot",
        version=1,
    )
    assert client.client_name == "robot"
    assert to_metadata(client)["response_types"] == []


@pytest.mark.parametrize(
    ("grant_types", "response_types"),
    [
        (["implicit"], ["token"]),
        (["password"], []),
        (["authorization_code", "implicit"], ["code"]),
        (["authorization_code"], []),
        (["authorization_code"], ["code", "code id_token"]),
        (["client_credentials"], ["code"]),
        ([], []),
        (["Authorization Code"], ...),
        ("authorization_code", ...),
    ],
)
def test_grant_types_and_response_types_that_do_not_fit_are_refused(
    grant_types: object, response_types: object
) -> None:
    assert "_types" in refused(grant_types=grant_types, response_types=response_types)


def test_a_grant_type_that_a_feature_may_bring_is_kept() -> None:
    client = parse_client(client_members(grant_types=["urn:example:ping"]), client_id="c", version=1)
    assert client.grant_types == {"urn:example:ping"}


def test_public_keys_of_the_three_algorithms_are_registered() -> None:
    keys = [ec_jwk(kid="a"), ed_jwk(kid="b"), {**rsa_jwk(2048), "kid": "c"}]
    client = parse_client(client_members(jwks={"keys": keys}), client_id="c", version=1)
    assert [key.algorithm for key in client.keys] == ["ES256", "Ed25519", "PS256"]


@pytest.mark.parametrize(
    "jwks",
    [
        ...,
        {"keys": []},
        {"keys": "none"},
        [],
        {"keys": [ec_jwk(d="AQAB")]},
        {"keys": [ec_jwk(), ec_jwk(use="enc", d="AQAB")]},
        {"keys": [{"kty": "oct", "k": "AQAB"}]},
        {"keys": [ec_jwk(crv="P-521")]},
        {"keys": [ec_jwk(x="AQAB")]},
        {"keys": [ec_jwk(alg="RS256")]},
        {"keys": [ec_jwk(use="enc")]},
        {"keys": [ec_jwk(kid="a"), ec_jwk(kid="a")]},
        {"keys": [ec_jwk(kid=str(number)) for number in range(11)]},
        {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]},
        {"keys": [{"kty": "RSA", "n": b64(2**2047 + 1, 256), "e": "AQ"}]},
        {"keys": ["no object"]},
    ],
)
def test_a_key_set_that_is_not_public_strong_and_clear_is_refused(jwks: object) -> None:
    assert "jwks" in refused(jwks=jwks)


@pytest.mark.requirement("FAPI2-CR-4", proves="holds")
@pytest.mark.parametrize("bits", [2048, 3072])
def test_an_rsa_key_of_2048_bits_and_more_may_be_registered(bits: int) -> None:
    assert len(parse_client(client_members(jwks={"keys": [rsa_jwk(bits)]}), client_id="c", version=1).keys) == 1


@pytest.mark.requirement("FAPI2-CR-4", proves="refused")
@pytest.mark.parametrize(("bits", "e"), [(1024, "AQAB"), (2040, "AQAB"), (4104, "AQAB"), (2048, "AQ"), (2048, "AQAA")])
def test_an_rsa_key_that_is_too_short_too_long_or_has_a_bad_exponent_is_refused(bits: int, e: str) -> None:
    key = {"kty": "RSA", "n": b64(2 ** (bits - 1) + 1, bits // 8), "e": e}
    assert "2048 to 4096" in refused(jwks={"keys": [key]})


@pytest.mark.requirement("FAPI2-CR-5", proves="holds")
@pytest.mark.parametrize("key", [ec_jwk(), ed_jwk()])
def test_p_256_and_ed25519_keys_may_be_registered(key: dict[str, object]) -> None:
    assert len(parse_client(client_members(jwks={"keys": [key]}), client_id="c", version=1).keys) == 1


@pytest.mark.requirement("FAPI2-CR-5", proves="refused")
@pytest.mark.parametrize("curve", ["P-192", "P-384", "P-521", "secp256k1", "Ed25519"])
def test_an_elliptic_curve_key_of_another_curve_is_refused(curve: str) -> None:
    assert "P-256" in refused(jwks={"keys": [ec_jwk(crv=curve)]})


@pytest.mark.requirement("OA-REG-4", proves="refused")
@pytest.mark.parametrize("uri", ["https://agent.example/cb#f", "https://agent.example/cb#", "/cb", "agent.example/cb"])
def test_a_redirect_uri_with_a_fragment_or_without_a_scheme_is_refused(uri: str) -> None:
    refused(InvalidRedirectUri, redirect_uris=[uri])


@pytest.mark.requirement("FAPI2-CR-7", proves="refused")
def test_jwks_and_jwks_uri_exclude_each_other() -> None:
    assert refused(jwks_uri="https://agent.example/jwks") == "jwks and jwks_uri exclude each other"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("token_endpoint_auth_signing_alg", "RS256"),
        ("token_endpoint_auth_signing_alg", "none"),
        ("token_endpoint_auth_signing_alg", "PS256"),
        ("id_token_signed_response_alg", "RS256"),
        ("require_signed_request_object", "true"),
        ("request_object_signing_alg", "none"),
        ("request_object_signing_alg", "PS256"),
        ("tls_client_certificate_bound_access_tokens", "true"),
        ("use_mtls_endpoint_aliases", 1),
        ("require_pushed_authorization_requests", False),
        ("authorization_signed_response_alg", "RS256"),
        ("authorization_signed_response_alg", "none"),
        ("authorization_encrypted_response_alg", "RSA-OAEP"),
        ("userinfo_signed_response_alg", "RS256"),
        ("response_modes", []),
        ("response_modes", "jwt"),
        ("response_modes", ["form_post.jwt"]),
        ("subject_type", "ephemeral"),
        ("sector_identifier_uri", "http://agent.example/sector"),
        ("default_max_age", -1),
        ("default_max_age", True),
        ("require_auth_time", "yes"),
        ("post_logout_redirect_uris", ["http://agent.example/bye"]),
        ("jwks_uri", "http://agent.example/jwks"),
        ("jwks_uri", "https://user@agent.example/jwks"),
        ("tls_client_auth_san_dns", "agent.example"),
        ("software_statement", "e30.e30.e30"),
        ("client_secret", "s3cret"),
        ("subject_type", ["public"]),
    ],
)
def test_what_would_silently_become_weaker_is_refused_by_name(member: str, value: object) -> None:
    assert member in refused(**{member: value})


def test_a_signing_algorithm_that_the_keys_can_do_is_registered_as_asked() -> None:
    members = client_members(jwks={"keys": [ed_jwk()]}, token_endpoint_auth_signing_alg="EdDSA")
    assert parse_client(members, client_id="c", version=1).token_endpoint_auth_signing_alg == "EdDSA"


def test_request_uris_are_refused() -> None:
    assert "request_uris" in refused(request_uris=["https://agent.example/request.jwt"])


def test_a_registration_without_request_uris_is_accepted() -> None:
    assert "request_uris" not in to_metadata(parse_client(client_members(), client_id="c", version=1))


@pytest.mark.parametrize("name", ["Ledger agent", "Été & Söhne", "代理", "<b>Bank</b>"])
def test_a_name_that_people_can_read_is_kept_as_it_is(name: str) -> None:
    assert parse_client(client_members(client_name=name), client_id="c", version=1).client_name == name


@pytest.mark.parametrize(
    "name", [..., "", "   ", " Bank", "Bank\r\nX", "Bank\x1b[31m", "kna\u202eB", "Ba\u200bnk", "B" * 101, 7, "\ud800"]
)
def test_a_name_that_could_hide_or_reorder_words_is_refused(name: object) -> None:
    assert "client_name" in refused(client_name=name)


@pytest.mark.parametrize("scope", [..., "", " ", "a  b", 'a"b', "a\\b", ["a"], "é", " ".join("abc" for _ in range(65))])
def test_a_scope_that_is_missing_or_malformed_is_refused(scope: object) -> None:
    assert "scope" in refused(scope=scope)


@pytest.mark.parametrize("resource", ["http://mcp.example", "mcp", "https://mcp.example/#x", 3])
def test_a_default_resource_that_is_no_resource_uri_is_refused(resource: object) -> None:
    assert "default_resource" in refused(default_resource=resource)


def test_an_unknown_application_type_is_refused() -> None:
    assert "application_type" in refused(application_type="service")
    assert "application_type" in refused(application_type=["web"])


@pytest.mark.parametrize("client_id", ["a", "agent-1", "s6BhdRkqt3", "a" * 255, "urn:example:agent"])
def test_an_operator_may_pin_a_plain_client_id(client_id: str) -> None:
    assert require_client_id(client_id) == client_id


@pytest.mark.parametrize("client_id", ["https://agent.example/client", "HTTPS://agent.example", "http://x"])
def test_a_client_id_of_the_metadata_document_name_space_is_refused(client_id: str) -> None:
    with pytest.raises(InvalidClientMetadata):
        require_client_id(client_id)


@pytest.mark.parametrize("client_id", ["", "a b", 'a"b', "a\\b", "é", "a\n", "a" * 256, 7, None])
def test_a_client_id_with_other_characters_is_refused(client_id: object) -> None:
    with pytest.raises(InvalidClientMetadata):
        require_client_id(client_id)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(
    name=st.sampled_from(sorted({*client_members(), "default_resource", "application_type", "jwks_uri"})), value=_JSON
)
def test_any_json_in_any_member_is_a_registration_or_its_one_error(name: str, value: object) -> None:
    try:
        client = parse_client(client_members(**{name: value}), client_id="c", version=1)
    except (InvalidClientMetadata, InvalidRedirectUri):
        return
    assert to_metadata(parse_client(to_metadata(client), client_id="c", version=1)) == to_metadata(client)
