"""A registration before the policy of whoever approves it: what is too much is refused, and never left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_metadata import InvalidRedirectUri, parse_client, to_metadata
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.registration_policy import DEFAULT_POLICY, RegistrationPolicy, parse_policy, under_policy
from fapi_as.protocol.registration_request import judged, merged
from rs_kit.protocol.errors import ProtocolError
from tests.support.certificates import Authority
from tests.support.client_members import client_members, ec_jwk, ed_jwk
from tests.support.peer_keys import b64
from tests.support.statement_scene import statement, verified

KEYS = {"keys": [ec_jwk(kid="one")]}
NARROW = parse_policy(
    {
        "scope": ["accounts:read", "transfers:write"],
        "resources": ["https://mcp.example/mcp"],
        "token_endpoint_auth_methods": ["private_key_jwt"],
        "algorithms": ["ES256", "PS256"],
        "redirect_hosts": ["agent.example"],
    }
)


def client(**changes: Any) -> RegisteredClient:
    return parse_client(client_members(**changes), client_id="c", version=1)


def refused(
    policy: RegistrationPolicy = DEFAULT_POLICY,
    error: type[ProtocolError] = InvalidClientMetadata,
    certificate: bytes | None = None,
    **changes: Any,
) -> str:
    with pytest.raises(error) as caught:
        judged(client(**changes), policy, certificate=certificate)
    description = caught.value.description
    assert description.isascii()
    assert not set(description) & {'"', "\\"}
    return description


@pytest.mark.requirement("DCR-5", proves="holds")
@pytest.mark.parametrize("policy", [DEFAULT_POLICY, NARROW])
@pytest.mark.parametrize(
    "changes", [{}, {"default_resource": "https://mcp.example/mcp", "token_endpoint_auth_signing_alg": "ES256"}]
)
def test_what_the_policy_allows_is_registered_as_it_was_asked_for(
    policy: RegistrationPolicy, changes: dict[str, Any]
) -> None:
    asked = client(**changes)
    registered = judged(asked, policy)
    assert to_metadata(registered) == to_metadata(asked)
    assert registered == replace(asked, limits=policy.limits) == under_policy(asked, policy)


@pytest.mark.requirement("DCR-5", proves="refused")
@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"grant_types": ["authorization_code", "client_credentials"]}, "grant_types"),
        ({"default_resource": "https://other.example/mcp"}, "default_resource"),
        ({"jwks": {"keys": [ed_jwk()]}}, "jwks"),
        ({"jwks": {"keys": [ec_jwk(kid="a"), ed_jwk(kid="b")]}}, "jwks"),
        ({"jwks": {"keys": [ec_jwk(kid="a"), ed_jwk(kid="b")]}, "token_endpoint_auth_signing_alg": "EdDSA"}, "alg"),
        ({"jwks": {"keys": [ec_jwk(kid="a"), ed_jwk(kid="b")]}, "request_object_signing_alg": "Ed25519"}, "alg"),
        ({"jwks": ..., "jwks_uri": "https://agent.example/jwks"}, "token_endpoint_auth_signing_alg is required"),
        (
            {
                "jwks": ...,
                "token_endpoint_auth_method": "tls_client_auth",
                "tls_client_auth_san_dns": "agent.example",
            },
            "token_endpoint_auth_method",
        ),
    ],
)
def test_what_the_policy_does_not_allow_is_refused_and_not_weakened(changes: dict[str, Any], about: str) -> None:
    assert about in refused(NARROW, **changes)


def test_refresh_tokens_that_are_not_issued_are_not_registered_for() -> None:
    assert "grant_types" in refused(parse_policy({"refresh_tokens": False}))


@pytest.mark.requirement("DCR-14", proves="holds")
def test_scope_within_the_policy_is_registered() -> None:
    assert judged(client(scope="accounts:read"), NARROW).scope == {"accounts:read"}


@pytest.mark.requirement("DCR-14", proves="refused")
@pytest.mark.parametrize("scope", ["admin", "accounts:read admin", "Accounts:read"])
def test_scope_beyond_the_policy_is_refused(scope: str) -> None:
    assert refused(NARROW, scope=scope) == "scope: the policy does not allow all of it"


@pytest.mark.parametrize(
    "uri", ["https://other.example/cb", "https://agent.example.evil.example/cb", "https://x.agent.example/cb"]
)
def test_a_redirect_uri_of_another_host_than_the_policy_names_is_refused(uri: str) -> None:
    refused(NARROW, InvalidRedirectUri, redirect_uris=["https://agent.example/cb", uri])


def test_loopback_is_a_host_like_any_other() -> None:
    uris = ["http://127.0.0.1/cb"]
    refused(NARROW, InvalidRedirectUri, application_type="native", redirect_uris=uris)
    policy = parse_policy({"redirect_hosts": ["127.0.0.1"]})
    assert judged(client(application_type="native", redirect_uris=uris), policy).redirect_uris == tuple(uris)


@pytest.mark.requirement("ODCR-6", proves="holds")
@pytest.mark.parametrize("host", ["agent.example", "AGENT.example", "www.agent.example", "a.b.agent.example"])
@pytest.mark.parametrize("name", ["logo_uri", "client_uri", "policy_uri", "tos_uri", "tos_uri#fr"])
def test_a_page_may_be_on_the_host_of_a_redirect_uri_or_below_it(name: str, host: str) -> None:
    uri = f"https://{host}/page"
    assert to_metadata(judged(client(**{name: uri}), DEFAULT_POLICY))[name] == uri


@pytest.mark.requirement("ODCR-6", proves="refused")
@pytest.mark.parametrize("host", ["bank.example", "example", "agent.example.evil.example", "notagent.example"])
@pytest.mark.parametrize("name", ["logo_uri", "client_uri", "policy_uri", "tos_uri", "tos_uri#fr"])
def test_a_page_on_somebody_elses_host_is_refused(name: str, host: str) -> None:
    assert refused(**{name: f"https://{host}/page"}).startswith(name.partition("#")[0])


@pytest.mark.parametrize("name", ["jwks_uri", "post_logout_redirect_uris"])
def test_what_is_fetched_or_led_to_is_not_on_somebody_elses_host_either(name: str) -> None:
    uri: Any = "https://bank.example/x"
    more: dict[str, Any] = {"jwks": ...} if name == "jwks_uri" else {}
    changes = {name: [uri] if name.endswith("s") else uri, **more}
    assert name in refused(**changes)
    anywhere = parse_policy({"same_site": False})
    if name != "post_logout_redirect_uris":
        assert to_metadata(judged(client(**changes), anywhere))[name] == uri
    named = parse_policy({"redirect_hosts": ["agent.example", "bank.example"]})
    assert name in to_metadata(judged(client(**changes), named))


def test_an_authority_sends_nobody_to_a_host_that_its_policy_does_not_name() -> None:
    asserted = {"post_logout_redirect_uris": ["https://bank.example/out"]}
    asked = {"token_endpoint_auth_method": "private_key_jwt", "jwks": KEYS, "grant_types": ["authorization_code"]}
    assert registered(asked, **asserted).post_logout_redirect_uris == tuple(asserted["post_logout_redirect_uris"])
    named = parse_policy({"redirect_hosts": ["agent.example"]})
    with pytest.raises(InvalidClientMetadata, match="post_logout_redirect_uris"):
        registered(asked, named, **asserted)


def test_the_sector_of_others_is_nobodys_to_claim_whatever_the_policy_says_of_pages() -> None:
    """Nobody fetches the document that would list the redirect URIs, so only an authority vouches for another host."""
    more = {"sector_identifier_uri": "https://bank.example/sector.json", "subject_type": "pairwise"}
    anywhere = parse_policy({"same_site": False})
    named = parse_policy({"redirect_hosts": ["agent.example", "bank.example"]})
    for policy in (DEFAULT_POLICY, anywhere, named):
        assert refused(policy, **more).startswith("sector_identifier_uri must be on the host")
    asked = {"token_endpoint_auth_method": "private_key_jwt", "jwks": KEYS, "grant_types": ["authorization_code"]}
    assert registered(asked, **more).sector_identifier_uri == more["sector_identifier_uri"]
    own = more | {"sector_identifier_uri": "https://agent.example/sector.json"}
    assert judged(client(**own), anywhere).sector_identifier_uri == own["sector_identifier_uri"]


@pytest.mark.parametrize("name", ["logo_uri", "client_uri"])
@pytest.mark.parametrize("host", ["localhost", "intranet", "a.internal", "a.local", "x.home.arpa"])
def test_a_name_for_the_inside_of_a_network_is_refused_unless_an_operator_allowed_it(name: str, host: str) -> None:
    anywhere, changes = parse_policy({"same_site": False}), {name: f"https://{host}/x"}
    assert refused(anywhere, **changes).startswith(name)
    allowed = judged(client(**changes), anywhere, allowed_private_hosts=frozenset({host}))
    assert to_metadata(allowed)[name] == changes[name]


@pytest.mark.requirement("DCR-13", proves="holds")
@pytest.mark.parametrize("name", ["Ledger agent", "Été & Söhne", "代理", "Банк", "<b>Bank</b>"])
def test_a_name_that_is_its_own_is_registered(name: str) -> None:
    policy = parse_policy({"reserved_names": ["Good Bank"]})
    assert judged(client(client_name=name, **{"client_name#fr": name}), policy).client_name == name


@pytest.mark.requirement("DCR-13", proves="refused")
@pytest.mark.parametrize("name", ["B\u0430nk", "\U0001d401ank", "Good Bank", "The G00d-Bank App", "g\u03bf\u03bfd"])
@pytest.mark.parametrize("member", ["client_name", "client_name#fr"])
def test_a_name_that_is_read_as_another_one_is_refused(member: str, name: str) -> None:
    assert refused(parse_policy({"reserved_names": ["Good Bank"]}), **{member: name}).startswith("client_name ")


# --- with a statement


def registered(
    asked: dict[str, Any], policy: RegistrationPolicy = DEFAULT_POLICY, jkt: str | None = None, **claims: Any
) -> RegisteredClient:
    found = verified(statement(**claims), jkt=jkt)
    parsed = parse_client(merged(asked, found), client_id="c", version=1)
    return judged(parsed, policy, statement=found)


def test_an_authority_may_say_where_pages_are_and_give_a_reserved_name() -> None:
    pages = {"logo_uri": "https://cdn.example/logo.png", "jwks_uri": "https://keys.example/jwks"}
    policy = parse_policy({"reserved_names": ["ledger agent"]})
    told = to_metadata(registered(client_members(jwks=...), policy, **pages))
    assert told.items() >= pages.items()
    with pytest.raises(InvalidClientMetadata):
        registered(client_members(jwks=..., **pages), policy, jwks_uri=pages["jwks_uri"])
    with pytest.raises(InvalidClientMetadata):
        registered(client_members(), policy, client_name=...)


def test_an_authority_cannot_make_a_riddle_readable() -> None:
    with pytest.raises(InvalidClientMetadata):
        registered(client_members(client_name=...), client_name="B\u0430nk")


def test_a_statement_that_was_found_is_good_for_nobody_elses_addresses() -> None:
    asked = client_members(redirect_uris=["https://evil.example/cb"])
    with pytest.raises(InvalidRedirectUri) as caught:
        registered(asked, redirect_uris=...)
    assert caught.value.description == "redirect_uris must be named by the software statement"
    named = parse_policy({"redirect_hosts": ["evil.example"]})
    assert registered(asked, named, redirect_uris=...).redirect_uris == ("https://evil.example/cb",)
    key = b64(b"k" * 32)
    assert registered(asked, jkt=key, redirect_uris=..., cnf={"jkt": key}).redirect_uris  # only its owner has it


def test_a_statement_that_was_found_is_good_for_nobody_elses_keys() -> None:
    robots = parse_policy({"grant_types": ["client_credentials"]})
    asked = client_members(grant_types=["client_credentials"], redirect_uris=[])
    with pytest.raises(InvalidClientMetadata) as caught:
        registered(asked, robots)
    assert caught.value.description.startswith("jwks or jwks_uri must be named by the software statement")
    assert registered(asked, robots, jwks=KEYS).keys
    key = b64(b"k" * 32)
    assert registered(asked, robots, jkt=key, cnf={"jkt": key}).keys


def test_a_client_of_certificates_shows_one_of_its_own_or_none() -> None:
    asked = {
        "jwks": ...,
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_subject_dn": "CN=agent,O=Bank,C=GB",
    }
    ours, others = Authority().issue("CN=agent,O=Bank,C=GB"), Authority().issue("CN=agent,O=Other,C=GB")
    assert judged(client(**asked), DEFAULT_POLICY, certificate=ours.der).certificate_subject is not None
    assert judged(client(**asked), DEFAULT_POLICY).certificate_subject is not None
    assert "not of the certificate" in refused(certificate=others.der, **asked)


def test_another_client_may_register_over_any_certificate() -> None:
    assert judged(client(), DEFAULT_POLICY, certificate=Authority().issue().der).keys
