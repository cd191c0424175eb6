"""What a document describes: the cases that no request reaches by itself, and what a grant is bound to."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.authority_registration import parse_authority
from fapi_as.protocol.client_document import (
    InvalidClientDocument,
    approved_client,
    binding_digest,
    described_client,
    is_document_url,
    read_document,
    require_document_url,
)
from fapi_as.protocol.policy import DocumentPolicy, Policy
from fapi_as.protocol.software_statement import VerifiedStatement
from tests.support.document_scene import CLIENT_ID, DOCUMENTS, JWKS_URI, REDIRECT_URI, described
from tests.support.fakes import ISSUER
from tests.support.registration_scene import AUTHORITY, SOFTWARE, SoftwareAuthority

POLICY = Policy(tenant="default", issuer=ISSUER, documents=DOCUMENTS)
STATEMENT = VerifiedStatement(
    compact="a.b.c",
    issuer=AUTHORITY,
    jti="one",
    software_id=SOFTWARE,
    software_version=None,
    expires_at=2_000_000_000,
    claims={"redirect_uris": [REDIRECT_URI], "jwks_uri": JWKS_URI},
)


def authority(**policy: Any) -> Any:
    return parse_authority(SoftwareAuthority().members(policy=policy), version=7)


def test_a_document_above_its_limit_is_none_whoever_brings_it() -> None:
    body = json.dumps(described()).encode()
    assert read_document(body + b" " * (10 * 1024 - len(body)), CLIENT_ID) == described()
    with pytest.raises(InvalidClientDocument, match="too large"):
        read_document(body + b" " * (10 * 1024 + 1 - len(body)), CLIENT_ID)


@pytest.mark.parametrize(
    ("grant_types", "left"),
    [
        (None, {"authorization_code"}),
        (["authorization_code"], {"authorization_code"}),
        (["refresh_token", "authorization_code", "implicit"], {"authorization_code", "refresh_token"}),
    ],
)
def test_of_its_grant_types_those_of_people_are_left(grant_types: object, left: set[str]) -> None:
    assert described_client(described(grant_types=grant_types), CLIENT_ID, DOCUMENTS).grant_types == left


@pytest.mark.parametrize("grant_types", [[], ["refresh_token"], {}, "authorization_code", ["authorization_code", 1]])
def test_a_document_without_the_code_flow_describes_nobody(grant_types: object) -> None:
    with pytest.raises(InvalidClientDocument, match="grant_types"):
        described_client(described(grant_types=grant_types), CLIENT_ID, DOCUMENTS)


@pytest.mark.parametrize(
    ("scope", "left"), [(None, {"a", "b"}), ("a", {"a"}), ("a c", {"a"}), ("b a", {"a", "b"}), ("a  b", {"a", "b"})]
)
def test_of_its_scope_what_is_open_to_documents_is_left(scope: object, left: set[str]) -> None:
    policy = DocumentPolicy(hosts=DOCUMENTS.hosts, scope=frozenset({"a", "b"}))
    assert described_client(described(scope=scope), CLIENT_ID, policy).scope == left


def test_an_authority_whose_policy_leaves_nothing_approves_nothing() -> None:
    with pytest.raises(InvalidClientDocument, match="leaves nothing"):
        approved_client(described(), CLIENT_ID, POLICY, STATEMENT, authority(scope=["admin"]))


def test_what_is_switched_off_is_approved_by_nobody() -> None:
    with pytest.raises(InvalidClientDocument, match="switched off"):
        approved_client(described(), CLIENT_ID, replace(POLICY, documents=None), STATEMENT, authority())


def test_what_is_approved_names_its_approver_and_stays_bound_to_its_document() -> None:
    client = approved_client(described(), CLIENT_ID, POLICY, STATEMENT, authority(access_token_lifetime=60))
    assert client.approval is not None
    assert (client.approval.approver, client.approval.version) == (AUTHORITY, 7)
    assert client.limits.access_token_seconds == 60
    assert client.document_digest == binding_digest(client)
    kinds = [requirement.required for requirement in client.requirements]
    assert kinds == ["document", "approver"]


BOUND: list[dict[str, Any]] = [
    {"client_name": "Other"},
    {"client_name#fr": "L'autre"},
    {"redirect_uris": [REDIRECT_URI, f"{REDIRECT_URI}2"]},
    {"jwks_uri": f"{JWKS_URI}2"},
]
FREE: list[dict[str, Any]] = [
    {"scope": "accounts:read"},
    {"grant_types": ["authorization_code"]},
    {"logo_uri": "https://agents.example/logo.png"},
    {"redirect_uris": [REDIRECT_URI, "https://other.example/cb"]},
]


@pytest.mark.parametrize("changes", BOUND, ids=str)
def test_what_a_person_has_agreed_to_is_bound(changes: dict[str, Any]) -> None:
    before, after = (described_client(described(**c), CLIENT_ID, DOCUMENTS) for c in ({}, changes))
    assert before.document_digest != after.document_digest


@pytest.mark.parametrize("changes", FREE, ids=str)
def test_what_nobody_agreed_to_may_change(changes: dict[str, Any]) -> None:
    before, after = (described_client(described(**c), CLIENT_ID, DOCUMENTS) for c in ({}, changes))
    assert before.document_digest == after.document_digest


def test_the_order_of_redirect_uris_and_the_method_are_part_of_nothing_and_of_it() -> None:
    uris = [REDIRECT_URI, f"{REDIRECT_URI}2"]
    one, two = (described_client(described(redirect_uris=u), CLIENT_ID, DOCUMENTS) for u in (uris, uris[::-1]))
    assert one.document_digest == two.document_digest
    assert binding_digest(replace(one, token_endpoint_auth_method="none")) != one.document_digest
    assert binding_digest(replace(one, client_id=f"{CLIENT_ID}2")) != one.document_digest


@given(st.text(max_size=40) | st.text(max_size=40).map(lambda tail: f"https://agents.example/{tail}"))
def test_a_url_is_judged_or_refused_whatever_it_is(client_id: str) -> None:
    try:
        url = require_document_url(client_id, DOCUMENTS, (ISSUER,))
    except InvalidClientDocument:
        return
    assert is_document_url(client_id)
    assert client_id.startswith(f"https://{url.host}/")
    assert client_id.isascii()
