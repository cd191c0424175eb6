"""What is left of a request beside a statement: its own words where the statement is silent, and never the union."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.client_metadata import InvalidRedirectUri, parse_client
from fapi_as.protocol.metadata_members import MEMBERS, InvalidClientMetadata
from fapi_as.protocol.registration_request import merged, understood
from tests.support.client_members import client_members, ec_jwk, ed_jwk
from tests.support.statement_scene import CLAIMS, statement, verified

URIS = CLAIMS["redirect_uris"]
KEYS = {"keys": [ec_jwk(kid="one"), ed_jwk(kid="two")]}
DN = "CN=agent,O=Bank,C=GB"


def left(asked: dict[str, Any], **claims: Any) -> dict[str, object]:
    return merged(asked, verified(statement(**claims)))


@pytest.mark.requirement("SSA-3", proves="holds")
@pytest.mark.parametrize(
    ("asked", "claims", "registered"),
    [
        ({}, {}, {name: CLAIMS[name] for name in ("redirect_uris", "client_name", "scope")}),
        ({"client_name": None}, {}, {"client_name": "Ledger agent"}),
        ({"client_name": "Ledger agent"}, {}, {"client_name": "Ledger agent"}),
        ({"redirect_uris": URIS}, {}, {"redirect_uris": URIS}),
        ({"redirect_uris": URIS[1:]}, {}, {"redirect_uris": URIS[1:]}),
        ({"scope": "transfers:write"}, {}, {"scope": "transfers:write"}),
        ({"scope": "transfers:write accounts:read"}, {}, {"scope": "transfers:write accounts:read"}),
        ({"grant_types": ["authorization_code"]}, {}, {"grant_types": ["authorization_code"]}),
        ({"contacts": ["a@b.example"]}, {"contacts": ["a@b.example", "c"]}, {"contacts": ["a@b.example"]}),
        ({"jwks": KEYS}, {"jwks": KEYS}, {"jwks": KEYS}),
        ({"jwks": {"keys": KEYS["keys"][:1]}}, {"jwks": KEYS}, {"jwks": {"keys": KEYS["keys"][:1]}}),
        ({"require_auth_time": True}, {"require_auth_time": True}, {"require_auth_time": True}),
        ({}, {"require_auth_time": True}, {"require_auth_time": True}),
        ({"client_name#fr": "Agent"}, {"client_name": ...}, {"client_name#fr": "Agent"}),
        ({"client_name#fr": "Agent"}, {"client_name#fr": "Agent"}, {"client_name#fr": "Agent"}),
        ({"software_id": "software-1"}, {"software_version": "2"}, {"software_version": "2"}),
    ],
)
def test_what_is_absent_equal_or_a_part_of_the_statement_is_registered(
    asked: dict[str, Any], claims: dict[str, Any], registered: dict[str, Any]
) -> None:
    assert left(asked, **claims).items() >= {"software_id": "software-1", **registered}.items()


@pytest.mark.requirement("SSA-3", proves="refused")
@pytest.mark.parametrize(
    ("asked", "claims"),
    [
        ({"client_name": "Other agent"}, {}),
        ({"client_name": "ledger agent"}, {}),
        ({"client_name#fr": "Banque de France"}, {}),
        ({"client_name#en": "Ledger agent"}, {}),
        ({"client_name#fr": "Autre"}, {"client_name#fr": "Agent"}),
        ({"logo_uri#fr": "https://agent.example/fr"}, {"logo_uri": "https://agent.example/logo"}),
        ({"scope": "accounts:read admin"}, {}),
        ({"scope": "admin"}, {}),
        ({"grant_types": ["client_credentials"]}, {"grant_types": ["authorization_code"]}),
        ({"grant_types": ["authorization_code", "x"]}, {"grant_types": ["authorization_code"]}),
        ({"jwks": {"keys": [ec_jwk(kid="three")]}}, {"jwks": KEYS}),
        ({"jwks": {"keys": [*KEYS["keys"], ec_jwk()]}}, {"jwks": KEYS}),
        ({"jwks": {}}, {"jwks": KEYS}),
        ({"jwks_uri": "https://agent.example/jwks"}, {"jwks": KEYS}),
        ({"jwks": KEYS}, {"jwks_uri": "https://agent.example/jwks"}),
        ({"jwks": KEYS, "jwks_uri": "https://agent.example/jwks"}, {"jwks_uri": "https://agent.example/jwks"}),
        ({"jwks_uri": "https://evil.example/jwks"}, {"jwks_uri": "https://agent.example/jwks"}),
        ({"token_endpoint_auth_method": "tls_client_auth"}, {"token_endpoint_auth_method": "private_key_jwt"}),
        ({"dpop_bound_access_tokens": False}, {"dpop_bound_access_tokens": True}),
        ({"application_type": "native"}, {"application_type": "web"}),
        ({"default_max_age": 3600}, {"default_max_age": 60}),
        ({"software_id": "software-2"}, {}),
        ({"software_version": "1"}, {"software_version": "2"}),
        ({"contacts": ["a@b.example", "x"]}, {"contacts": ["a@b.example"]}),
    ],
)
def test_what_contradicts_the_statement_is_refused(asked: dict[str, Any], claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidClientMetadata) as caught:
        left(asked, **claims)
    assert caught.value.description.endswith(("the software statement", "the software statement, in every language"))


@pytest.mark.parametrize(
    "uris",
    [
        [*URIS, "https://agent.example/third"],
        ["https://evil.example/callback"],
        ["https://agent.example/callback/"],
        ["https://AGENT.example/callback"],
    ],
)
def test_redirect_uris_beyond_the_statement_have_an_error_of_their_own(uris: list[str]) -> None:
    with pytest.raises(InvalidRedirectUri):
        left({"redirect_uris": uris})


@pytest.mark.requirement("SSA-8", proves="holds")
@pytest.mark.parametrize(
    "asked",
    [
        DN,
        "cn=agent,o=Bank,c=GB",
        "2.5.4.3=agent,2.5.4.10=Bank,2.5.4.6=GB",
        "CN=\\61gent,O=Bank,C=GB",
        "CN=AGENT,O=bank,C=gb",
    ],
)
def test_one_distinguished_name_may_be_written_in_several_ways(asked: str) -> None:
    found = left({"tls_client_auth_subject_dn": asked}, tls_client_auth_subject_dn=DN)
    assert found["tls_client_auth_subject_dn"] == DN


@pytest.mark.requirement("SSA-8", proves="refused")
@pytest.mark.parametrize(
    "asked", ["CN=agent2,O=Bank,C=GB", "C=GB,O=Bank,CN=agent", "CN=agent,O=Bank", "CN=agent+O=Bank,C=GB", "agent", ""]
)
def test_another_distinguished_name_is_refused(asked: str) -> None:
    with pytest.raises(InvalidClientMetadata) as caught:
        left({"tls_client_auth_subject_dn": asked}, tls_client_auth_subject_dn=DN)
    assert caught.value.description == "tls_client_auth_subject_dn must be as in the software statement"


@pytest.mark.requirement("DCR-7", proves="holds")
def test_what_nobody_knows_is_gone() -> None:
    asked = client_members(foo="bar", nested={"a": [{}] * 99}, **{"foo#fr": "x", "redirect_uris#fr": ["x"]})
    assert understood(asked) == client_members()


@pytest.mark.parametrize(
    "name",
    [
        *("client_id", "client_id_issued_at", "client_secret_expires_at", "registration_access_token"),
        *("registration_client_uri", "software_statement", "trusted", "tenant", "is_admin", "version", "approver"),
    ],
)
def test_what_only_the_server_says_is_gone(name: str) -> None:
    assert name not in merged(client_members(**{name: "x"}), None)


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_each_member_is_refused_with_all_types_but_one(name: str) -> None:
    kept = []
    for value in ([], {}, 7, True, "x"):
        try:
            kept.append(understood({name: value}))
        except InvalidClientMetadata as error:
            assert error.description.startswith(f"{name} must be ")  # noqa: PT017 - one of several
    assert len(kept) == 1


@pytest.mark.parametrize("value", [1.5, 7.0, [1], ["x", None], [["x"]]])
@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_no_member_is_a_fraction_or_a_list_of_anything_but_strings(name: str, value: object) -> None:
    with pytest.raises(InvalidClientMetadata):
        understood({name: value})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(
    asked=st.dictionaries(st.sampled_from(sorted({*CLAIMS, *client_members(), "client_name#fr"})), JSON, max_size=4),
    scope=st.sampled_from(["accounts:read", "accounts:read transfers:write", "admin", "accounts:read admin"]),
)
def test_nobody_gets_more_than_the_statement_says(asked: dict[str, Any], scope: str) -> None:
    try:
        client = parse_client(left(client_members(scope=scope) | asked), client_id="c", version=1)
    except (InvalidClientMetadata, InvalidRedirectUri):
        return
    assert set(client.redirect_uris) <= set(URIS)
    assert client.scope <= set(str(CLAIMS["scope"]).split())
    assert client.client_name == CLAIMS["client_name"]
    assert client.description.software_id == "software-1"
    assert not client.description.names
