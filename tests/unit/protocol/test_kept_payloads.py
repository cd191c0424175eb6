"""What is sealed into the store is read back as it was, and handles are kept as digests only."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.authorization_request import AuthorizationGrant, ValidatedAuthorizationRequest
from fapi_as.protocol.handles import REQUEST_URI_PREFIX, digest_of
from fapi_as.protocol.openid_request import OpenidRequest
from rs_kit.protocol.strict_json import InvalidJson

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TEXTS = st.lists(TEXT, max_size=4).map(tuple)
NUMBER = st.integers(min_value=0, max_value=2**33)
OPENID = st.none() | st.builds(
    OpenidRequest,
    scope=TEXTS,
    prompt=TEXTS,
    max_age=st.none() | NUMBER,
    login_hint=st.none() | TEXT,
    subject=st.none() | TEXT,
    acr=st.none() | TEXTS,
    id_token_claims=TEXTS,
    userinfo_claims=TEXTS,
)


@given(
    st.builds(
        ValidatedAuthorizationRequest,
        client_id=TEXT,
        client_version=NUMBER,
        redirect_uri=TEXT,
        scope=TEXTS,
        resources=TEXTS,
        code_challenge=TEXT,
        state=st.none() | TEXT,
        nonce=st.none() | TEXT,
        dpop_jkt=st.none() | TEXT,
        openid=OPENID,
    )
)
def test_a_pushed_request_is_read_back_as_it_was_kept(validated: ValidatedAuthorizationRequest) -> None:
    again = ValidatedAuthorizationRequest.from_bytes(validated.to_bytes())
    assert again == validated
    assert hash(again) == hash(validated)


@given(
    st.builds(
        AuthorizationGrant,
        authorization_id=TEXT,
        client_id=TEXT,
        subject=TEXT,
        user_version=NUMBER,
        scope=TEXTS,
        resources=TEXTS,
        resource_scopes=st.lists(TEXTS, max_size=4).map(tuple),
        auth_time=NUMBER,
        acr=TEXT,
        redirect_uri=st.none() | TEXT,
        code_challenge=st.none() | TEXT,
        dpop_jkt=st.none() | TEXT,
        openid=OPENID,
    )
)
def test_a_grant_is_read_back_as_it_was_kept(grant: AuthorizationGrant) -> None:
    again = AuthorizationGrant.from_bytes(grant.to_bytes())
    assert again == grant
    assert hash(again) == hash(grant)


@pytest.mark.parametrize("kind", [ValidatedAuthorizationRequest, AuthorizationGrant])
@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b'{"scope":[],"scope":[]}', b"\xff"])
def test_what_is_no_payload_is_no_request(kind: type[AuthorizationGrant], payload: bytes) -> None:
    with pytest.raises(InvalidJson):
        kind.from_bytes(payload)


def test_a_handle_is_kept_as_its_sha_256() -> None:
    assert digest_of("handle") == hashlib.sha256(b"handle").digest()
    assert len({digest_of(handle) for handle in ("handle", "Handle", "handle ", REQUEST_URI_PREFIX + "handle")}) == 4


@given(st.text())
def test_every_text_that_somebody_sends_as_a_handle_has_a_digest(handle: str) -> None:
    assert len(digest_of(handle)) == 32
