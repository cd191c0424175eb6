"""What may be registered as a client, and the sentence that a refused registration gets."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.client_metadata import (
    InvalidClientMetadata,
    InvalidRedirectUri,
    parse_client,
    require_client_id,
    to_metadata,
)
from rs_kit.protocol.errors import ProtocolError


def _b64(number: int, size: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(size, "big")).rstrip(b"=").decode()


def _ec_jwk(**more: object) -> dict[str, object]:
    numbers = ec.derive_private_key(0x1234567, ec.SECP256R1()).public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "x": _b64(numbers.x, 32), "y": _b64(numbers.y, 32), **more}


def _ed_jwk(**more: object) -> dict[str, object]:
    raw = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
    return {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), **more}


def _rsa_jwk(bits: int) -> dict[str, object]:
    numbers = rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key().public_numbers()
    return {"kty": "RSA", "n": _b64(numbers.n, bits // 8), "e": "AQAB"}


def _members(**changes: object) -> dict[str, object]:
    members: dict[str, object] = {
        "client_name": "Ledger agent",
        "token_endpoint_auth_method": "private_key_jwt",
        "redirect_uris": ["https://agent.example/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "scope": "accounts:read transfers:write",
        "jwks": {"keys": [_ec_jwk(kid="one")]},
    }
    members.update(changes)
    return {name: value for name, value in members.items() if value is not ...}


def _refused(error: type[ProtocolError] = InvalidClientMetadata, **changes: object) -> str:
    with pytest.raises(error) as caught:
        parse_client(_members(**changes), client_id="c", version=1)
    description = caught.value.description
    assert description.isascii()
    assert not set(description) & {'"', "\\"}
    return description


def test_a_registration_is_echoed_with_every_effective_value() -> None:
    client = parse_client(_members(), client_id="agent-1", version=7)
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
        "jwks": {"keys": [_ec_jwk(kid="one", use="sig", alg="ES256")]},
        "dpop_bound_access_tokens": True,
    }


def test_registered_metadata_reads_back_to_the_same_registration() -> None:
    members = _members(
        application_type="native",
        redirect_uris=["http://127.0.0.1/callback", "https://agent.example/callback"],
        token_endpoint_auth_signing_alg="EdDSA",
        default_resource="https://mcp.example/mcp",
        jwks={"keys": [_ed_jwk()]},
    )
    metadata = to_metadata(parse_client(members, client_id="c", version=1))
    again = to_metadata(parse_client(json.loads(json.dumps(metadata)), client_id="c", version=2))
    assert again == metadata


def test_unknown_metadata_is_neither_kept_nor_shown() -> None:
    client = parse_client(_members(foo="bar", is_admin=True, tenant="other"), client_id="c", version=1)
    assert not {"foo", "is_admin", "tenant"} & set(to_metadata(client))


def test_a_client_id_in_the_metadata_does_not_choose_the_client_id() -> None:
    assert parse_client(_members(client_id="somebody-else"), client_id="c", version=1).client_id == "c"


def test_a_client_that_says_nothing_gets_dpop_bound_tokens() -> None:
    assert parse_client(_members(), client_id="c", version=1).dpop_bound_access_tokens is True


@pytest.mark.parametrize("certificate_bound", [..., False])
def test_a_client_that_wants_unbound_tokens_is_refused(certificate_bound: object) -> None:
    described = _refused(dpop_bound_access_tokens=False, tls_client_certificate_bound_access_tokens=certificate_bound)
    assert "dpop_bound_access_tokens" in described


@pytest.mark.parametrize(
    "method",
    [..., None, "none", "client_secret_basic", "client_secret_post", "client_secret_jwt", "tls_client_auth", 1],
)
def test_any_authentication_method_but_private_key_jwt_is_refused(method: object) -> None:
    assert "token_endpoint_auth_method" in _refused(token_endpoint_auth_method=method)


def test_the_authentication_method_is_explicit() -> None:
    client = parse_client(_members(), client_id="c", version=1)
    assert client.token_endpoint_auth_method == "private_key_jwt"


@pytest.mark.parametrize(
    "uri", ["https://agent.example/cb", "https://agent.example:8443/cb?x=1", "https://[2001:db8::1]/cb"]
)
def test_an_https_redirect_uri_may_be_registered(uri: str) -> None:
    assert parse_client(_members(redirect_uris=[uri]), client_id="c", version=1).redirect_uris == (uri,)


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
    assert _refused(InvalidRedirectUri, redirect_uris=uris).startswith("redirect_uri")


@pytest.mark.parametrize("uris", ["https://agent.example/cb", [1], {"0": "https://agent.example/cb"}])
def test_redirect_uris_of_another_type_are_refused(uris: object) -> None:
    assert _refused(redirect_uris=uris) == "redirect_uris must be a list of strings"


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
    assert "localhost" in _refused(InvalidRedirectUri, redirect_uris=[uri])


def test_a_client_is_a_web_client_unless_it_says_otherwise() -> None:
    assert parse_client(_members(), client_id="c", version=1).application_type == "web"


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1/cb", "http://127.0.0.1:51000/cb", "http://[::1]/cb", "https://localhost/cb"]
)
def test_a_native_client_may_use_loopback(uri: str) -> None:
    client = parse_client(_members(application_type="native", redirect_uris=[uri]), client_id="c", version=1)
    assert client.redirect_uris == (uri,)


@pytest.mark.parametrize(
    "uri", ["http://example.com/native", "http://127.0.0.1.evil.example/cb", "app:/cb", "http://0.0.0.0/cb"]
)
def test_a_native_client_elsewhere_over_http_is_refused(uri: str) -> None:
    _refused(InvalidRedirectUri, application_type="native", redirect_uris=[uri])


def test_a_client_without_people_needs_no_redirect_uri_and_no_name() -> None:
    client = parse_client(
        _members(grant_types=["client_credentials"], redirect_uris=..., client_name=...), client_id="robot", version=1
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
    assert "_types" in _refused(grant_types=grant_types, response_types=response_types)


def test_a_grant_type_that_a_feature_may_bring_is_kept() -> None:
    client = parse_client(_members(grant_types=["urn:example:ping"]), client_id="c", version=1)
    assert client.grant_types == {"urn:example:ping"}


def test_public_keys_of_the_three_algorithms_are_registered() -> None:
    keys = [_ec_jwk(kid="a"), _ed_jwk(kid="b"), {**_rsa_jwk(2048), "kid": "c"}]
    client = parse_client(_members(jwks={"keys": keys}), client_id="c", version=1)
    assert [key.algorithm for key in client.keys] == ["ES256", "Ed25519", "PS256"]


@pytest.mark.parametrize(
    "jwks",
    [
        ...,
        {"keys": []},
        {"keys": "none"},
        [],
        {"keys": [_ec_jwk(d="AQAB")]},
        {"keys": [_ec_jwk(), _ec_jwk(use="enc", d="AQAB")]},
        {"keys": [{"kty": "oct", "k": "AQAB"}]},
        {"keys": [_ec_jwk(crv="P-521")]},
        {"keys": [_ec_jwk(x="AQAB")]},
        {"keys": [_ec_jwk(alg="RS256")]},
        {"keys": [_ec_jwk(use="enc")]},
        {"keys": [_ec_jwk(kid="a"), _ec_jwk(kid="a")]},
        {"keys": [_ec_jwk(kid=str(number)) for number in range(11)]},
        {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]},
        {"keys": [{"kty": "RSA", "n": _b64(2**2047 + 1, 256), "e": "AQ"}]},
        {"keys": ["no object"]},
    ],
)
def test_a_key_set_that_is_not_public_strong_and_clear_is_refused(jwks: object) -> None:
    assert "jwks" in _refused(jwks=jwks)


@pytest.mark.requirement("FAPI2-CR-4", proves="holds")
@pytest.mark.parametrize("bits", [2048, 3072])
def test_an_rsa_key_of_2048_bits_and_more_may_be_registered(bits: int) -> None:
    assert len(parse_client(_members(jwks={"keys": [_rsa_jwk(bits)]}), client_id="c", version=1).keys) == 1


@pytest.mark.requirement("FAPI2-CR-4", proves="refused")
@pytest.mark.parametrize(("bits", "e"), [(1024, "AQAB"), (2040, "AQAB"), (4104, "AQAB"), (2048, "AQ"), (2048, "AQAA")])
def test_an_rsa_key_that_is_too_short_too_long_or_has_a_bad_exponent_is_refused(bits: int, e: str) -> None:
    key = {"kty": "RSA", "n": _b64(2 ** (bits - 1) + 1, bits // 8), "e": e}
    assert "2048 to 4096" in _refused(jwks={"keys": [key]})


@pytest.mark.requirement("FAPI2-CR-5", proves="holds")
@pytest.mark.parametrize("key", [_ec_jwk(), _ed_jwk()])
def test_p_256_and_ed25519_keys_may_be_registered(key: dict[str, object]) -> None:
    assert len(parse_client(_members(jwks={"keys": [key]}), client_id="c", version=1).keys) == 1


@pytest.mark.requirement("FAPI2-CR-5", proves="refused")
@pytest.mark.parametrize("curve", ["P-192", "P-384", "P-521", "secp256k1", "Ed25519"])
def test_an_elliptic_curve_key_of_another_curve_is_refused(curve: str) -> None:
    assert "P-256" in _refused(jwks={"keys": [_ec_jwk(crv=curve)]})


@pytest.mark.requirement("OA-REG-4", proves="refused")
@pytest.mark.parametrize("uri", ["https://agent.example/cb#f", "https://agent.example/cb#", "/cb", "agent.example/cb"])
def test_a_redirect_uri_with_a_fragment_or_without_a_scheme_is_refused(uri: str) -> None:
    _refused(InvalidRedirectUri, redirect_uris=[uri])


@pytest.mark.requirement("FAPI2-CR-7", proves="refused")
def test_jwks_and_jwks_uri_exclude_each_other() -> None:
    assert _refused(jwks_uri="https://agent.example/jwks") == "jwks and jwks_uri exclude each other"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("token_endpoint_auth_signing_alg", "RS256"),
        ("token_endpoint_auth_signing_alg", "none"),
        ("token_endpoint_auth_signing_alg", "PS256"),
        ("id_token_signed_response_alg", "RS256"),
        ("require_signed_request_object", True),
        ("tls_client_certificate_bound_access_tokens", True),
        ("require_pushed_authorization_requests", False),
        ("authorization_signed_response_alg", "ES256"),
        ("subject_type", "pairwise"),
        ("software_statement", "e30.e30.e30"),
        ("client_secret", "s3cret"),
        ("subject_type", ["public"]),
    ],
)
def test_what_would_silently_become_weaker_is_refused_by_name(member: str, value: object) -> None:
    assert member in _refused(**{member: value})


def test_a_signing_algorithm_that_the_keys_can_do_is_registered_as_asked() -> None:
    members = _members(jwks={"keys": [_ed_jwk()]}, token_endpoint_auth_signing_alg="EdDSA")
    assert parse_client(members, client_id="c", version=1).token_endpoint_auth_signing_alg == "EdDSA"


def test_request_uris_are_refused() -> None:
    assert "request_uris" in _refused(request_uris=["https://agent.example/request.jwt"])


def test_a_registration_without_request_uris_is_accepted() -> None:
    assert "request_uris" not in to_metadata(parse_client(_members(), client_id="c", version=1))


@pytest.mark.parametrize("name", ["Ledger agent", "Été & Söhne", "代理", "<b>Bank</b>"])
def test_a_name_that_people_can_read_is_kept_as_it_is(name: str) -> None:
    assert parse_client(_members(client_name=name), client_id="c", version=1).client_name == name


@pytest.mark.parametrize(
    "name", [..., "", "   ", " Bank", "Bank\r\nX", "Bank\x1b[31m", "kna\u202eB", "Ba\u200bnk", "B" * 101, 7, "\ud800"]
)
def test_a_name_that_could_hide_or_reorder_words_is_refused(name: object) -> None:
    assert "client_name" in _refused(client_name=name)


@pytest.mark.parametrize("scope", [..., "", " ", "a  b", 'a"b', "a\\b", ["a"], "é", " ".join("abc" for _ in range(65))])
def test_a_scope_that_is_missing_or_malformed_is_refused(scope: object) -> None:
    assert "scope" in _refused(scope=scope)


@pytest.mark.parametrize("resource", ["http://mcp.example", "mcp", "https://mcp.example/#x", 3])
def test_a_default_resource_that_is_no_resource_uri_is_refused(resource: object) -> None:
    assert "default_resource" in _refused(default_resource=resource)


def test_an_unknown_application_type_is_refused() -> None:
    assert "application_type" in _refused(application_type="service")
    assert "application_type" in _refused(application_type=["web"])


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


@given(name=st.sampled_from(sorted({*_members(), "default_resource", "application_type", "jwks_uri"})), value=_JSON)
def test_any_json_in_any_member_is_a_registration_or_its_one_error(name: str, value: object) -> None:
    try:
        client = parse_client(_members(**{name: value}), client_id="c", version=1)
    except (InvalidClientMetadata, InvalidRedirectUri):
        return
    assert to_metadata(parse_client(to_metadata(client), client_id="c", version=1)) == to_metadata(client)
