"""The policy of an approver: what its file may say, and what it leaves of a client that was registered before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.client import ClientLimits, RegisteredClient
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.registration_policy import (
    DEFAULT_POLICY,
    InvalidRegistrationPolicy,
    RegistrationPolicy,
    dictated,
    parse_policy,
    policy_members,
    under_policy,
)
from tests.support.client_members import client_members, ec_jwk, ed_jwk

WHOLE: dict[str, Any] = {
    "grant_types": ["authorization_code", "client_credentials"],
    "scope": ["accounts:read"],
    "resources": ["https://mcp.example/mcp"],
    "token_endpoint_auth_methods": ["private_key_jwt"],
    "algorithms": ["ES256", "Ed25519"],
    "sender_constraints": ["dpop"],
    "redirect_hosts": ["agent.example", "127.0.0.1"],
    "same_site": False,
    "reserved_names": ["Good Bank"],
    "access_token_lifetime": 60,
    "refresh_tokens": False,
    "refresh_token_lifetime": 3600,
    "clients_per_software": 1,
    "clients_per_day": 5,
    "uses_per_statement": 2,
    "signed_request": True,
    "mutual_tls": True,
}
EITHER_KEY = {"keys": [ec_jwk(kid="one"), ed_jwk(kid="two")]}


def client(**changes: Any) -> RegisteredClient:
    return parse_client(client_members(**changes), client_id="c", version=1)


def test_an_empty_policy_is_the_default_one() -> None:
    assert parse_policy({}) == DEFAULT_POLICY == RegistrationPolicy()


def test_every_member_is_read_and_reads_back() -> None:
    policy = parse_policy(WHOLE)
    assert {name: value for name, value in policy_members(policy).items() if value != WHOLE[name]} == {
        "redirect_hosts": ["127.0.0.1", "agent.example"]
    }
    assert parse_policy(json.loads(json.dumps(policy_members(policy)))) == policy


def test_the_two_names_of_one_algorithm_are_one() -> None:
    assert parse_policy({"algorithms": ["EdDSA"]}).algorithms == {"Ed25519"}


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("grants", ["authorization_code"]),
        ("grant_types", []),
        ("grant_types", "authorization_code"),
        ("grant_types", [1]),
        ("scope", "accounts:read"),
        ("scope", [""]),
        ("scope", [str(number) for number in range(257)]),
        ("token_endpoint_auth_methods", ["none"]),
        ("algorithms", ["RS256"]),
        ("algorithms", ["ES256", "none"]),
        ("sender_constraints", []),
        ("sender_constraints", ["bearer"]),
        ("redirect_hosts", ["https://agent.example"]),
        ("redirect_hosts", ["Agent.example"]),
        ("redirect_hosts", ["*.example"]),
        ("redirect_hosts", []),
        ("same_site", "no"),
        ("reserved_names", ["--"]),
        ("access_token_lifetime", 9),
        ("access_token_lifetime", 601),
        ("access_token_lifetime", True),
        ("access_token_lifetime", 60.0),
        ("refresh_tokens", 1),
        ("refresh_token_lifetime", 59),
        ("clients_per_software", 0),
        ("clients_per_day", -1),
        ("uses_per_statement", "1"),
        ("signed_request", "true"),
        ("mutual_tls", 1),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_by_name(member: str, value: object) -> None:
    with pytest.raises(InvalidRegistrationPolicy) as caught:
        parse_policy({member: value})
    assert member in caught.value.description


def test_what_the_policy_leaves_of_tokens_goes_with_the_client() -> None:
    left = under_policy(client(), parse_policy({name: WHOLE[name] for name in WHOLE if name != "redirect_hosts"}))
    assert left is not None
    assert left.limits == ClientLimits(
        resources=frozenset({"https://mcp.example/mcp"}),
        access_token_seconds=60,
        refresh_tokens=False,
        refresh_token_seconds=3600,
    )
    assert (left.grant_types, left.scope) == ({"authorization_code"}, {"accounts:read"})


@pytest.mark.parametrize(
    ("members", "policy"),
    [
        ({}, {"grant_types": ["client_credentials"]}),
        ({}, {"scope": ["other"]}),
        ({}, {"token_endpoint_auth_methods": ["tls_client_auth"]}),
        ({}, {"redirect_hosts": ["other.example"]}),
        ({}, {"redirect_hosts": ["example"]}),
        ({}, {"algorithms": ["PS256"]}),
        ({"token_endpoint_auth_signing_alg": "ES256"}, {"algorithms": ["PS256", "Ed25519"]}),
        ({"jwks": ..., "jwks_uri": "https://agent.example/jwks"}, {"algorithms": ["PS256", "Ed25519"]}),
        ({"jwks": EITHER_KEY, "request_object_signing_alg": "EdDSA"}, {"algorithms": ["ES256"]}),
    ],
)
def test_a_client_that_todays_policy_leaves_nothing_may_not_be_at_all(
    members: dict[str, Any], policy: dict[str, Any]
) -> None:
    assert under_policy(client(**members), parse_policy(policy)) is None
    assert under_policy(client(**members), DEFAULT_POLICY) is not None


def test_nobody_is_sent_to_a_host_that_the_policy_named_once() -> None:
    hosts = ("agent.example", "www.agent.example", "notagent.example", "other.example")
    ways_out = [f"https://{host}/out" for host in hosts]
    for policy, expected in (({"redirect_hosts": ["agent.example"]}, ways_out[:2]), ({}, ways_out)):
        left = under_policy(client(post_logout_redirect_uris=ways_out), parse_policy(policy))
        assert left is not None
        assert list(left.post_logout_redirect_uris) == expected


def test_redirect_uris_of_other_hosts_and_keys_of_other_algorithms_are_gone() -> None:
    uris = ["https://agent.example/callback", "https://other.example/callback"]
    policy = parse_policy({"redirect_hosts": ["agent.example"], "algorithms": ["Ed25519"]})
    left = under_policy(client(redirect_uris=uris, jwks=EITHER_KEY), policy)
    assert left is not None
    assert left.redirect_uris == (uris[0],)
    assert [key.kid for key in left.keys] == ["two"]
    assert len(left.key_certificates) == 1


def test_keys_behind_an_address_sign_with_what_the_policy_names() -> None:
    published = client(jwks=..., jwks_uri="https://agent.example/jwks")
    left = under_policy(published, parse_policy({"algorithms": ["PS256"]}))
    assert left is not None
    assert (left.token_endpoint_auth_signing_alg, left.request_object_signing_alg) == ("PS256", "PS256")
    named = client(jwks=..., jwks_uri="https://agent.example/jwks", token_endpoint_auth_signing_alg="EdDSA")
    left = under_policy(named, parse_policy({"algorithms": ["PS256", "Ed25519"]}))
    assert left is not None
    assert (left.token_endpoint_auth_signing_alg, left.request_object_signing_alg) == ("EdDSA", "EdDSA")


@pytest.mark.parametrize(
    ("asked", "constraints", "dpop", "mtls"),
    [
        ({}, ["dpop", "mtls"], True, False),
        ({}, ["dpop"], True, False),
        ({}, ["mtls"], True, True),
        ({"tls_client_certificate_bound_access_tokens": True}, ["dpop"], True, True),
        ({"tls_client_certificate_bound_access_tokens": True}, ["mtls"], False, True),
        ({"tls_client_certificate_bound_access_tokens": True}, ["mtls", "dpop"], False, True),
    ],
)
def test_a_policy_adds_a_binding_and_never_takes_one(
    asked: dict[str, Any], constraints: list[str], dpop: bool, mtls: bool
) -> None:
    left = dictated(client(**asked), parse_policy({"sender_constraints": constraints}))
    assert (left.dpop_bound_access_tokens, left.tls_client_certificate_bound_access_tokens) == (dpop, mtls)


_POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "grant_types": st.sampled_from(
            [["authorization_code"], ["refresh_token"], ["authorization_code", "refresh_token"]]
        ),
        "scope": st.sampled_from([["accounts:read"], ["transfers:write", "admin"], ["other"]]),
        "algorithms": st.sampled_from([["ES256"], ["PS256"], ["ES256", "EdDSA"]]),
        "sender_constraints": st.sampled_from([["dpop"], ["mtls"], ["dpop", "mtls"]]),
        "redirect_hosts": st.sampled_from([["agent.example"], ["other.example"]]),
        "refresh_tokens": st.booleans(),
    },
)


@given(
    policy=_POLICIES,
    changes=st.fixed_dictionaries(
        {},
        optional={
            "jwks": st.just(EITHER_KEY),
            "redirect_uris": st.just(["https://agent.example/a", "https://other.example/b"]),
            "tls_client_certificate_bound_access_tokens": st.booleans(),
        },
    ),
)
def test_nothing_is_more_under_a_policy_than_without_it(policy: dict[str, Any], changes: dict[str, Any]) -> None:
    registered, limits = client(**changes), parse_policy(policy)
    left = under_policy(registered, limits)
    if left is None:
        return
    assert left.grant_types <= registered.grant_types & limits.grant_types
    assert left.scope <= registered.scope
    assert set(left.redirect_uris) <= set(registered.redirect_uris)
    assert {key.algorithm for key in left.keys} <= limits.algorithms
    assert left.dpop_bound_access_tokens >= registered.dpop_bound_access_tokens
    assert left.tls_client_certificate_bound_access_tokens >= registered.tls_client_certificate_bound_access_tokens
    assert under_policy(left, limits) == left
