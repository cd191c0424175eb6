"""Errors speak with the codes of the registries and say nothing that breaks a header; decisions name their losses."""

from __future__ import annotations

import dataclasses

import pytest

from fapi_as.protocol import errors
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.decisions import Issue, Refuse, UndeclaredLoss, meaning_of_loss, recorded_refusal
from fapi_as.protocol.effects import HandleKind, Record, Revoke, Spend
from fapi_as.protocol.errors import (
    InvalidClient,
    InvalidDpopProof,
    InvalidGrant,
    ProtocolError,
    ResourceRefused,
    UseDpopNonce,
    status_of,
)
from rs_kit.protocol.errors import MissingToken

WIRE = {
    "AccessDenied": ("access_denied", 400),
    "ConsentRequired": ("consent_required", 400),
    "Forbidden": ("invalid_request", 403),
    "InvalidAuthorizationDetails": ("invalid_authorization_details", 400),
    "InvalidClient": ("invalid_client", 401),
    "InvalidDpopProof": ("invalid_dpop_proof", 400),
    "InvalidGrant": ("invalid_grant", 400),
    "InvalidRequest": ("invalid_request", 400),
    "InvalidRequestObject": ("invalid_request_object", 400),
    "InvalidRequestUri": ("invalid_request_uri", 400),
    "InvalidSoftwareStatement": ("invalid_software_statement", 400),
    "UnapprovedSoftwareStatement": ("unapproved_software_statement", 400),
    "UnsupportedMediaType": ("invalid_client_metadata", 415),
    "RegistrationForbidden": ("access_denied", 403),
    "InvalidScope": ("invalid_scope", 400),
    "InvalidTarget": ("invalid_target", 400),
    "LoginRequired": ("login_required", 400),
    "MethodNotAllowed": ("invalid_request", 405),
    "MisdirectedRequest": ("invalid_request", 421),
    "NotFound": ("invalid_request", 404),
    "PayloadTooLarge": ("invalid_request", 413),
    "ProtocolError": ("invalid_request", 400),
    "RegistrationNotSupported": ("registration_not_supported", 400),
    "RequestNotSupported": ("request_not_supported", 400),
    "RequestTimeout": ("invalid_request", 408),
    "RequestUriNotSupported": ("request_uri_not_supported", 400),
    "StorageUnavailable": ("temporarily_unavailable", 503),
    "TooManyAtOnce": ("invalid_request", 429),
    "TooManyRequests": ("invalid_request", 429),
    "UnauthorizedClient": ("unauthorized_client", 400),
    "UnmetAuthenticationRequirements": ("unmet_authentication_requirements", 400),
    "UnsupportedContentEncoding": ("invalid_request", 415),
    "UnsupportedGrantType": ("unsupported_grant_type", 400),
    "UnsupportedResponseType": ("unsupported_response_type", 400),
    "UseDpopNonce": ("use_dpop_nonce", 400),
}
SPEND = Spend(kind=HandleKind.CODE, digest=b"d")
LOST = Refuse(error=InvalidGrant("code redeemed at the same time"))


@pytest.mark.requirement("OA-EP-8", proves="holds")
@pytest.mark.parametrize("name", sorted(WIRE))
def test_every_error_has_its_code_its_status_and_a_plain_sentence(name: str) -> None:
    kind = getattr(errors, name)
    error = kind("private", jkt=None) if kind is UseDpopNonce else kind("private")
    assert (error.error, status_of(error)) == WIRE[name]
    assert error.description == kind.public
    assert error.description.isascii()
    assert error.description.isprintable()
    assert not set(error.description) & {'"', "\\"}


def test_the_table_of_this_test_knows_every_error() -> None:
    assert set(errors.__all__) - {"status_of", "ResourceRefused"} == set(WIRE)


def test_a_refusal_of_our_own_resource_speaks_with_the_code_and_the_status_that_it_carries() -> None:
    refused = ResourceRefused(InvalidDpopProof("private"), status=401, headers=())
    assert (refused.error, status_of(refused), refused.detail) == ("invalid_dpop_proof", 401, "private")
    missing = ResourceRefused(MissingToken("private"), status=401, headers=(("WWW-Authenticate", "DPoP"),))
    assert (missing.error, missing.description) == ("invalid_token", "the access token is not valid")


def test_the_private_reason_is_not_the_public_sentence() -> None:
    error = InvalidClient("the key of somebody else", "client authentication failed")
    assert (error.detail, error.description) == ("the key of somebody else", "client authentication failed")
    assert ProtocolError("a", "").description == ""


def test_a_recorded_refusal_leaves_one_fact_after_its_own_effects() -> None:
    revoke = Revoke(authorization_id="a-1")
    refusal = recorded_refusal(InvalidGrant("code replayed"), revoke, client_id="agent")
    fact = AuditFact(event=AuditEvent.REFUSED, error="invalid_grant", detail="code replayed", client_id="agent")
    assert refusal.effects == (revoke, Record(fact=fact))
    assert recorded_refusal(InvalidGrant("x")).effects[0] == Record(
        fact=AuditFact(event=AuditEvent.REFUSED, error="invalid_grant", detail="x")
    )


def test_a_decision_becomes_the_refusal_that_it_names_for_a_loss() -> None:
    for decision in (Issue(effects=(SPEND,), lost={SPEND: LOST}), Refuse(error=InvalidGrant("x"), lost={SPEND: LOST})):
        assert meaning_of_loss(decision, Spend(kind=HandleKind.CODE, digest=b"d")) is LOST


def test_a_loss_that_a_decision_does_not_name_is_our_defect_and_no_permission() -> None:
    with pytest.raises(UndeclaredLoss, match="Spend of a Issue"):
        meaning_of_loss(Issue(effects=(SPEND,)), SPEND)
    with pytest.raises(UndeclaredLoss, match="Spend of a Refuse"):
        meaning_of_loss(LOST, SPEND)
    with pytest.raises(UndeclaredLoss):
        meaning_of_loss(Issue(effects=(SPEND,), lost={SPEND: LOST}), dataclasses.replace(SPEND, digest=b"e"))
