"""2.3: `discovery-end-point-verification`, member by member."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from tests.expectations.certification import Certification
from tests.expectations.variants import Variant

ALLOWED: Final = {"PS256", "ES256", "EdDSA", "Ed25519"}
METHODS: Final = {
    "private_key_jwt": {"private_key_jwt"},
    "mtls": {"tls_client_auth", "self_signed_tls_client_auth"},
}
Document = Mapping[str, Any]
STRINGS: Final = {"issuer", "jwks_uri", "service_documentation", "op_policy_uri", "op_tos_uri", "signed_metadata"}
BOOLEANS: Final = {
    "authorization_response_iss_parameter_supported",
    "claims_parameter_supported",
    "request_parameter_supported",
    "request_uri_parameter_supported",
    "require_pushed_authorization_requests",
    "require_request_uri_registration",
    "require_signed_request_object",
    "tls_client_certificate_bound_access_tokens",
}
# the IANA registry of authorization server metadata, as far as it is not *_endpoint or *_supported above
LISTS: Final = {
    "acr_values_supported",
    "authorization_encryption_alg_values_supported",
    "authorization_encryption_enc_values_supported",
    "authorization_signing_alg_values_supported",
    "claim_types_supported",
    "claims_locales_supported",
    "claims_supported",
    "code_challenge_methods_supported",
    "display_values_supported",
    "dpop_signing_alg_values_supported",
    "grant_types_supported",
    "id_token_encryption_alg_values_supported",
    "id_token_encryption_enc_values_supported",
    "id_token_signing_alg_values_supported",
    "introspection_endpoint_auth_methods_supported",
    "introspection_endpoint_auth_signing_alg_values_supported",
    "prompt_values_supported",
    "protected_resources",
    "request_object_encryption_alg_values_supported",
    "request_object_encryption_enc_values_supported",
    "request_object_signing_alg_values_supported",
    "response_modes_supported",
    "response_types_supported",
    "revocation_endpoint_auth_methods_supported",
    "revocation_endpoint_auth_signing_alg_values_supported",
    "scopes_supported",
    "subject_types_supported",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "ui_locales_supported",
    "userinfo_encryption_alg_values_supported",
    "userinfo_encryption_enc_values_supported",
    "userinfo_signing_alg_values_supported",
}
ENDPOINTS: Final = {
    "authorization_endpoint",
    "end_session_endpoint",
    "introspection_endpoint",
    "pushed_authorization_request_endpoint",
    "registration_endpoint",
    "revocation_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
}
_documents: Final[dict[str, Document]] = {}  # nothing changes it while the server runs


def is_https(value: Any) -> bool:
    return isinstance(value, str) and urlsplit(value).scheme == "https" and bool(urlsplit(value).hostname)


async def document_of(suite: Certification, variant: Variant) -> Document:
    name = "openid-configuration" if variant.is_openid else "oauth-authorization-server"
    if name not in _documents:
        _documents[name] = (await suite.http.get(f"{suite.issuer}/.well-known/{name}")).json()
    return _documents[name]


@pytest.mark.expectation("discovery-end-point-verification")
async def test_metadata_is_json_at_the_well_known_path(suite: Certification, variant: Variant) -> None:
    names = ["openid-configuration"] if variant.is_openid else ["openid-configuration", "oauth-authorization-server"]
    for name in names:
        response = await suite.http.get(f"{suite.issuer}/.well-known/{name}")
        assert response.status_code == 200
        assert response.headers["content-type"].partition(";")[0] == "application/json"


@pytest.mark.expectation("issuer")
async def test_the_issuer_is_the_discovery_url_without_its_suffix(suite: Certification, variant: Variant) -> None:
    issuer = (await document_of(suite, variant))["issuer"]
    assert is_https(issuer)
    assert not urlsplit(issuer).query
    assert not urlsplit(issuer).fragment
    assert issuer == suite.issuer


def contains(name: str, *wanted: str) -> Callable[[Document, Variant], bool]:
    return lambda document, variant: set(wanted) <= set(document[name])


def has_allowed(name: str) -> Callable[[Document, Variant], bool]:
    return lambda document, variant: bool(ALLOWED & set(document[name]))


def https(*names: str) -> Callable[[Document, Variant], bool]:
    return lambda document, variant: all(is_https(document[name]) for name in names)


def aliases_are_of_endpoints(document: Document, variant: Variant) -> bool:
    aliases = document.get("mtls_endpoint_aliases", {})
    return (
        all(name in document and name.endswith("_endpoint") and is_https(url) for name, url in aliases.items())
        and "authorization_endpoint" not in aliases
        and ("mtls" not in variant or "token_endpoint" in aliases)
    )


def scopes_are_tokens(document: Document, variant: Variant) -> bool:
    scopes = document["scopes_supported"]
    good = all(re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", scope) for scope in scopes)
    return good and (not variant.is_openid or "openid" in scopes)


def types_are_right(document: Document, variant: Variant) -> bool:
    for name, value in document.items():
        if name in STRINGS or name in ENDPOINTS:
            assert isinstance(value, str), name
        elif name in BOOLEANS:
            assert isinstance(value, bool), name
        elif name in LISTS:
            assert isinstance(value, list), name
            assert value, f"{name} is empty: RFC 8414 leaves such a member out"
            assert all(isinstance(one, str) for one in value), name
        else:
            assert name == "mtls_endpoint_aliases", f"{name} is not registered"
            assert isinstance(value, dict)
    return True


CHECKS: Final[dict[str, Callable[[Document, Variant], bool]]] = {
    "response_types_supported": contains("response_types_supported", "code"),
    "authorization_response_iss_parameter_supported": lambda document, variant: (
        document["authorization_response_iss_parameter_supported"] is True
    ),
    "response_modes_supported": contains("response_modes_supported", "jwt"),
    "authorization_signing_alg_values_supported": has_allowed("authorization_signing_alg_values_supported"),
    "pushed_authorization_request_endpoint": https("pushed_authorization_request_endpoint"),
    "require_pushed_authorization_requests": lambda document, variant: isinstance(
        document.get("require_pushed_authorization_requests", False), bool
    ),
    "dpop_signing_alg_values_supported": has_allowed("dpop_signing_alg_values_supported"),
    "tls_client_certificate_bound_access_tokens": lambda document, variant: (
        document["tls_client_certificate_bound_access_tokens"] is True
    ),
    "token_endpoint_auth_methods_supported": lambda document, variant: bool(
        METHODS[variant.client_auth] & set(document["token_endpoint_auth_methods_supported"])
    ),
    "token_endpoint_auth_signing_alg_values_supported": has_allowed("token_endpoint_auth_signing_alg_values_supported"),
    "id_token_signing_alg_values_supported": has_allowed("id_token_signing_alg_values_supported"),
    "userinfo_signing_alg_values_supported": lambda document, variant: isinstance(
        document.get("userinfo_signing_alg_values_supported", []), list
    ),
    "request_object_signing_alg_values_supported": has_allowed("request_object_signing_alg_values_supported"),
    "endpoints-are-https": lambda document, variant: all(
        is_https(document[name])
        for name in ("authorization_endpoint", "token_endpoint", "registration_endpoint")
        if name in document or name != "registration_endpoint"
    ),
    "jwks_uri": https("jwks_uri"),
    "code_challenge_methods_supported": contains("code_challenge_methods_supported", "S256"),
    "grant_types_supported": contains("grant_types_supported", "authorization_code"),
    "scopes_supported": scopes_are_tokens,
    "subject_types_supported": lambda document, variant: (
        set(document["subject_types_supported"]) <= {"public", "pairwise"} and bool(document["subject_types_supported"])
    ),
    "locales_supported": lambda document, variant: all(
        re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", tag)
        for name in document
        if name.endswith("_locales_supported")
        for tag in document[name]
    ),
    "mtls_endpoint_aliases": aliases_are_of_endpoints,
    "json-types": types_are_right,
}


async def _check(name: str, suite: Certification, variant: Variant) -> None:
    document = await document_of(suite, variant)
    assert CHECKS[name](document, variant), document.get(name)


def _test_of(name: str) -> Callable[..., Any]:
    @pytest.mark.expectation(name)
    async def test(suite: Certification, variant: Variant) -> None:
        await _check(name, suite, variant)

    return test


for _name in CHECKS:  # one test a member, each named after it
    globals()[f"test_{_name.replace('-', '_')}_is_as_expected"] = _test_of(_name)
