"""What an access token of ours says: every claim that RFC 9068 asks for, and nothing may stand in for ours."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.access_token import ACCESS_TOKEN_TYPE, AccessTokenClaims, Binding
from tests.support.fakes import ISSUER, NOW

BANK = "https://bank.example/mcp"
SAID: dict[str, Any] = {
    "issuer": ISSUER,
    "subject": "sub-alice",
    "audience": BANK,
    "client_id": "agent",
    "scope": ("transfers:write", "accounts:read"),
    "issued_at": NOW,
    "lifetime_seconds": 300,
    "jti": "j",
    "binding": Binding(jkt="k" * 43),
    "authorization_id": "a-1",
}
CLAIMS = AccessTokenClaims(**SAID)
MANDATORY = {
    "issuer": "iss",
    "subject": "sub",
    "audience": "aud",
    "client_id": "client_id",
    "issued_at": "iat",
    "lifetime_seconds": "exp",
    "jti": "jti",
}


@pytest.mark.requirement("AT-2", proves="holds")
def test_a_token_has_every_mandatory_claim() -> None:
    assert CLAIMS.to_claims() == {
        "iss": ISSUER,
        "sub": "sub-alice",
        "aud": BANK,
        "client_id": "agent",
        "scope": "transfers:write accounts:read",
        "iat": NOW,
        "exp": NOW + 300,
        "jti": "j",
        "cnf": {"jkt": "k" * 43},
        "authorization_id": "a-1",
    }
    assert ACCESS_TOKEN_TYPE == "at+jwt"


@pytest.mark.requirement("AT-2", proves="refused")
@pytest.mark.parametrize("member", sorted(MANDATORY))
def test_there_are_no_claims_without_one_of_them(member: str) -> None:
    with pytest.raises(TypeError):
        AccessTokenClaims(**{name: value for name, value in SAID.items() if name != member})


def test_there_are_no_claims_without_the_key_that_holds_the_token() -> None:
    with pytest.raises(TypeError):
        AccessTokenClaims(**{name: value for name, value in SAID.items() if name != "binding"})
    with pytest.raises(ValueError, match="bound"):
        Binding()
    assert not [field.name for field in fields(AccessTokenClaims) if field.default is None]


def test_further_claims_stand_beside_ours() -> None:
    said = replace(CLAIMS, more={"auth_time": NOW - 5, "acr": "urn:acr"}).to_claims()
    assert said == CLAIMS.to_claims() | {"auth_time": NOW - 5, "acr": "urn:acr"}


@given(st.dictionaries(st.sampled_from([*CLAIMS.to_claims(), "acr", "act"]), st.integers() | st.text(max_size=4)))
def test_no_further_claim_takes_the_place_of_ours(more: dict[str, Any]) -> None:
    said = replace(CLAIMS, more=more).to_claims()
    assert CLAIMS.to_claims().items() <= said.items()
    assert set(said) == set(CLAIMS.to_claims()) | set(more)
