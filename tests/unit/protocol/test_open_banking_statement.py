"""Statements of Open Banking directories: other names for the same members, where an operator says so (SSA-6)."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from fapi_as.protocol.client_metadata import InvalidRedirectUri, parse_client
from fapi_as.protocol.errors import UnapprovedSoftwareStatement
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.registration import TrustedAuthority
from fapi_as.protocol.registration_request import merged
from tests.support.certificates import Authority, resigned_der
from tests.support.client_members import client_members, ec_jwk
from tests.support.statement_scene import SIGNER, statement, told, trusted, verified

URIS = ["https://agent.example/callback", "https://agent.example/other"]
DIRECTORY: dict[str, Any] = {
    "redirect_uris": ...,
    "client_name": ...,
    "scope": ...,
    "software_redirect_uris": URIS,
    "software_jwks_endpoint": "https://keys.directory.example/software-1",
    "software_client_name": "Ledger agent",
    "software_roles": ["AISP", "CBPII"],
    "org_id": "org-1",
}
ROLES = {"AISP": ["accounts:read"], "PISP": ["payments:write"]}
ASKED = client_members(redirect_uris=URIS[:1], scope="accounts:read", jwks=...)


def directory(**changes: Any) -> TrustedAuthority:
    return trusted(**{"claims": "open_banking", "role_scopes": ROLES, **changes})


def sent(**changes: Any) -> str:
    return statement(**{**DIRECTORY, **changes})


@pytest.mark.requirement("SSA-6", proves="holds")
def test_a_directory_asserts_under_its_own_names() -> None:
    found = verified(sent(), authority=directory())
    assert dict(found.claims) == {
        "redirect_uris": URIS,
        "jwks_uri": "https://keys.directory.example/software-1",
        "client_name": "Ledger agent",
        "scope": "accounts:read",
    }
    client = parse_client(merged(ASKED, found), client_id="c", version=1)
    assert client.redirect_uris == tuple(URIS[:1])
    assert client.jwks_uri == "https://keys.directory.example/software-1"


def test_without_the_operators_word_its_names_say_nothing() -> None:
    assert verified(sent()).claims == {}


def test_what_it_says_under_names_of_the_rfc_does_not_count() -> None:
    found = verified(sent(scope="admin", redirect_uris=["https://evil.example/cb"]), authority=directory())
    assert (found.claims["scope"], found.claims["redirect_uris"]) == ("accounts:read", URIS)


def test_without_a_table_of_roles_the_policy_alone_limits_the_scope() -> None:
    assert "scope" not in verified(sent(), authority=directory(role_scopes=...)).claims


@pytest.mark.requirement("SSA-6", proves="refused")
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uris": ["https://agent.example/third"]}, InvalidRedirectUri),
        ({"jwks_uri": "https://agent.example/jwks"}, InvalidClientMetadata),
        ({"jwks": {"keys": [ec_jwk()]}}, InvalidClientMetadata),
        ({"scope": "accounts:read payments:write"}, InvalidClientMetadata),
        ({"client_name": "Other agent"}, InvalidClientMetadata),
    ],
)
def test_a_request_beyond_what_the_directory_says_is_refused(
    changes: dict[str, Any], error: type[InvalidClientMetadata | InvalidRedirectUri]
) -> None:
    found = verified(sent(), authority=directory())
    with pytest.raises(error):
        parse_client(merged(ASKED | changes, found), client_id="c", version=1)


@pytest.mark.parametrize("name", ["software_redirect_uris", "software_jwks_endpoint", "software_roles"])
def test_a_statement_without_what_a_directory_always_says_is_refused(name: str) -> None:
    assert name in told(sent(**{name: ...}), authority=directory())


@pytest.mark.parametrize("roles", ["AISP", [1], {"AISP": True}])
def test_roles_of_another_type_are_refused(roles: object) -> None:
    assert "software_roles" in told(sent(software_roles=roles), authority=directory())


@pytest.mark.parametrize("roles", [[], ["CBPII"], ["aisp"]])
def test_software_without_a_role_that_counts_here_is_not_approved(roles: list[str]) -> None:
    assert "role" in told(sent(software_roles=roles), UnapprovedSoftwareStatement, authority=directory())


def _certificate(*attributes: tuple[x509.ObjectIdentifier, str]) -> bytes:
    return Authority().issue(x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])).der


@pytest.mark.parametrize(
    "attributes",
    [
        [(NameOID.ORGANIZATIONAL_UNIT_NAME, "org-1"), (NameOID.COMMON_NAME, "software-1")],
        [(NameOID.ORGANIZATION_IDENTIFIER, "org-1"), (NameOID.USER_ID, "software-1")],
    ],
)
def test_the_certificate_of_the_software_and_its_organisation_may_bring_it(
    attributes: list[tuple[x509.ObjectIdentifier, str]],
) -> None:
    assert verified(sent(), authority=directory(), certificate=_certificate(*attributes)).software_id == "software-1"


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ([(NameOID.ORGANIZATIONAL_UNIT_NAME, "org-2"), (NameOID.COMMON_NAME, "software-1")], "another organisation"),
        ([(NameOID.ORGANIZATION_NAME, "org-1"), (NameOID.COMMON_NAME, "software-1")], "another organisation"),
        ([(NameOID.ORGANIZATIONAL_UNIT_NAME, "org-1"), (NameOID.COMMON_NAME, "software-2")], "other software"),
        ([(NameOID.ORGANIZATIONAL_UNIT_NAME, "ORG-1"), (NameOID.COMMON_NAME, "software-1")], "another organisation"),
    ],
)
def test_a_certificate_of_somebody_else_may_not(
    attributes: list[tuple[x509.ObjectIdentifier, str]], reason: str
) -> None:
    assert reason in told(sent(), authority=directory(), certificate=_certificate(*attributes))


def test_a_certificate_cannot_be_compared_without_an_organisation() -> None:
    shown = _certificate((NameOID.ORGANIZATIONAL_UNIT_NAME, ""), (NameOID.COMMON_NAME, "software-1"))
    assert "org_id" in told(sent(org_id=...), authority=directory(), certificate=shown)


def test_octets_that_are_no_certificate_are_nobodys() -> None:
    assert "not readable" in told(sent(), authority=directory(), certificate=b"\x30\x00")


def test_a_subject_that_cannot_be_read_names_nobody() -> None:
    authority = Authority()
    shown = authority.issue(x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "org-1")]))
    broken = resigned_der(shown, lambda tbs: tbs.replace(b"org-1", b"\xff\xff\xff\xff\xff"), authority)
    assert "another organisation" in told(sent(), authority=directory(), certificate=broken)


def test_a_subject_that_no_certificate_has_is_nobodys_either() -> None:
    two = {"tls_client_auth_san_dns": "a.example", "tls_client_auth_san_ip": "192.0.2.1"}
    assert "exactly one" in told(statement(**two), certificate=Authority().issue().der)


def test_the_authority_is_still_the_one_that_signs() -> None:
    assert "another authority" in told(sent(iss=f"{SIGNER.issuer}/"), authority=directory())
