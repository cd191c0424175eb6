"""The file of an authority: what it may say, and that what is kept of it is the same again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fapi_as.protocol.authority_registration import ASSERTED, authority_members, parse_authority
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.registration import ClaimNames, TrustedAuthority
from fapi_as.protocol.registration_policy import DEFAULT_POLICY, InvalidRegistrationPolicy
from rs_kit.protocol.errors import ProtocolError
from tests.support.peer_keys import PeerKey
from tests.support.registration_scene import said
from tests.support.statement_scene import SIGNER

DIRECTORY: dict[str, Any] = {
    "jwks": ...,
    "jwks_uri": "https://authority.example/jwks",
    "may_assert": ["redirect_uris", "scope"],
    "status_uri": "https://authority.example/status",
    "claims": "open_banking",
    "role_scopes": {"AISP": ["accounts:read"], "PISP": ["payments:write", "payments:read"]},
    "policy": {"uses_per_statement": 100, "mutual_tls": True},
}


def file(**changes: Any) -> dict[str, Any]:
    return said(SIGNER.members() | {"policy": ...} | changes)


def authority(**changes: Any) -> TrustedAuthority:
    return parse_authority(file(**changes), version=3)


def test_issuer_and_keys_are_enough() -> None:
    trusted = authority()
    assert (trusted.issuer, trusted.version, trusted.policy) == (SIGNER.issuer, 3, DEFAULT_POLICY)
    assert (trusted.may_assert, trusted.claims, trusted.role_scopes) == (ASSERTED, ClaimNames.RFC_7591, ())
    assert trusted.key_owner == f"authority {SIGNER.issuer}"


def test_software_names_itself_whatever_else_may_be_asserted() -> None:
    assert not ASSERTED & {"software_id", "software_version", "software_statement", "client_id"}


@pytest.mark.parametrize("changes", [{}, DIRECTORY, {"status_uri": "https://authority.example/status"}])
def test_what_is_kept_reads_back(changes: dict[str, Any]) -> None:
    trusted = authority(**changes)
    kept = json.loads(json.dumps(authority_members(trusted)))
    assert parse_authority(kept, version=3) == trusted


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"issuer": ...}, "issuer"),
        ({"issuer": "http://authority.example"}, "issuer"),
        ({"issuer": "token:1"}, "issuer"),
        ({"issuer": "https://authority.example/" + "x" * 512}, "issuer"),
        ({"issuer": ""}, "issuer"),
        ({"issuer": 7}, "issuer"),
        ({"jwks": ...}, "jwks"),
        ({"jwks": {"keys": []}}, "jwks"),
        ({"jwks": []}, "jwks"),
        ({"jwks_uri": "https://authority.example/jwks"}, "jwks"),
        ({"jwks": {"keys": [PeerKey.es256(seed=7).private_jwk()]}}, "private"),
        ({"jwks": {"keys": [{"kty": "oct", "k": "AQAB"}]}}, "private"),
        ({"jwks": {"keys": [PeerKey.ps256(1024).jwk()]}}, "jwks"),
        ({"jwks": ..., "jwks_uri": "https://10.0.0.1/jwks"}, "jwks_uri"),
        ({"jwks": ..., "jwks_uri": 7}, "jwks_uri"),
        ({"status_uri": "http://authority.example/status"}, "status_uri"),
        ({"may_assert": "scope"}, "may_assert"),
        ({"may_assert": ["software_statement"]}, "may_assert"),
        ({"may_assert": [1]}, "may_assert"),
        ({"policy": []}, "policy"),
        ({"claims": "OpenBanking"}, "claims"),
        ({"claims": ["open_banking"]}, "claims"),
        ({"claims": None}, "claims"),
        ({"role_scopes": {"AISP": ["a"]}}, "role_scopes"),
        ({"claims": "open_banking", "role_scopes": {}}, "role_scopes"),
        ({"claims": "open_banking", "role_scopes": ["AISP"]}, "role_scopes"),
        ({"claims": "open_banking", "role_scopes": {"AISP": "a"}}, "role_scopes"),
        ({"claims": "open_banking", "role_scopes": {"AISP": ["a b"]}}, "role_scopes"),
        ({"claims": "open_banking", "role_scopes": {str(number): ["a"] for number in range(65)}}, "role_scopes"),
        ({"trusted": True}, "trusted"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_by_name(changes: dict[str, Any], about: str) -> None:
    with pytest.raises(InvalidClientMetadata) as caught:
        authority(**changes)
    assert about in caught.value.description


def test_a_policy_that_cannot_be_meant_is_refused_with_it() -> None:
    with pytest.raises(InvalidRegistrationPolicy) as caught:
        authority(policy={"grants": []})
    assert isinstance(caught.value, ProtocolError)
