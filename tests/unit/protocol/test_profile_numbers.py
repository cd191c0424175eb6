"""The numbers of the profile are within what their clauses allow, and a policy builds URLs from nothing but itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fapi_as.protocol import profile
from fapi_as.protocol.policy import Policy, seconds

POLICY = Policy(tenant="acme", issuer="https://as.example/t/acme")


@pytest.mark.parametrize(
    ("value", "ceiling"),
    [
        (profile.AUTHORIZATION_CODE_LIFETIME, profile.AUTHORIZATION_CODE_CEILING),
        (profile.AUTHORIZATION_CODE_CEILING, timedelta(seconds=60)),  # FAPI2-AS-13
        (profile.REQUEST_URI_FLOOR, profile.REQUEST_URI_LIFETIME),
        (profile.REQUEST_URI_LIFETIME, profile.REQUEST_URI_CEILING),
        (profile.REQUEST_URI_CEILING, timedelta(seconds=599)),  # FAPI2-AZ-15
        (profile.ACCESS_TOKEN_LIFETIME, profile.ACCESS_TOKEN_CEILING),
        (profile.ACCESS_TOKEN_CEILING, timedelta(minutes=10)),  # AT-15
        (profile.REFRESH_TOKEN_LIFETIME, profile.REFRESH_TOKEN_CEILING),
        (profile.SESSION_IDLE, timedelta(minutes=15)),  # LOG-14
        (profile.SESSION_LIFETIME, timedelta(hours=12)),  # LOG-14
        (profile.SESSION_LIFETIME, profile.SESSION_CEILING),
        (profile.CLIENT_ASSERTION_CEILING, timedelta(seconds=300)),  # PKJ-5
        (timedelta(seconds=10), profile.CLOCK_AHEAD),  # FAPI2-AS-15
        (profile.CLOCK_AHEAD, timedelta(seconds=60)),  # FAPI2-AS-16
        (profile.EXPIRY_LEEWAY, timedelta(seconds=10)),  # FAPI2-AS-17
        (profile.DPOP_PROOF_AGE, profile.DPOP_PROOF_AGE_CEILING),
        (profile.ACCESS_TOKEN_CEILING, profile.SIGNING_KEY_KEPT_AFTER_USE),  # JOSE-34
        (timedelta(minutes=5), profile.SIGNING_KEY_PUBLISHED_BEFORE_USE),  # JOSE-33
    ],
)
def test_no_number_is_above_its_ceiling(value: timedelta, ceiling: timedelta) -> None:
    assert value <= ceiling


def test_a_policy_that_says_nothing_has_the_numbers_of_the_profile() -> None:
    assert POLICY.authorization_code_lifetime == profile.AUTHORIZATION_CODE_LIFETIME
    assert POLICY.request_uri_lifetime == profile.REQUEST_URI_LIFETIME
    assert POLICY.access_token_lifetime == profile.ACCESS_TOKEN_LIFETIME
    assert POLICY.refresh_token_lifetime == profile.REFRESH_TOKEN_LIFETIME
    assert POLICY.dpop_nonces


def test_a_url_is_the_issuer_and_a_path() -> None:
    assert POLICY.url("/par") == "https://as.example/t/acme/par"


@pytest.mark.parametrize(("duration", "whole"), [(timedelta(minutes=5), 300), (timedelta(seconds=1.9), 1)])
def test_durations_are_whole_seconds_on_the_wire(duration: timedelta, whole: int) -> None:
    assert seconds(duration) == whole
