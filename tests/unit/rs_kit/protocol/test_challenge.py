"""WWW-Authenticate: enough to do better, nothing that could be misread."""

from __future__ import annotations

import re

import pytest

from rs_kit.protocol import errors
from rs_kit.protocol.algorithms import ADVERTISED_ALGORITHMS, SIGNING_ALGORITHMS, canonical
from rs_kit.protocol.challenge import challenges, status_of, www_authenticate
from rs_kit.protocol.confirmation import SenderConstraint

METADATA = "https://localhost:8445/.well-known/oauth-protected-resource/mcp"
CHALLENGE = re.compile(
    r'DPoP ((?:[a-z_]+="[\x20\x21\x23-\x5B\x5D-\x7E]*")(?:, [a-z_]+="[\x20\x21\x23-\x5B\x5D-\x7E]*")*)\Z',
)


def parameters(challenge: str) -> dict[str, str]:
    found = CHALLENGE.match(challenge)
    assert found is not None
    pairs = re.findall(r'([a-z_]+)="([^"]*)"', found.group(1))
    assert len(dict(pairs)) == len(pairs)  # none is repeated
    return dict(pairs)


@pytest.mark.requirement("RSE-1", proves="holds")
def test_a_call_without_credentials_learns_where_to_go_and_no_error() -> None:
    header = www_authenticate(errors.MissingToken("none"), resource_metadata=METADATA, scope=("accounts:read",))
    assert parameters(header) == {
        "scope": "accounts:read",
        "resource_metadata": METADATA,
        "algs": "PS256 ES256 EdDSA Ed25519",
    }


@pytest.mark.requirement("RSE-4", proves="holds")
def test_too_few_scopes_are_answered_with_all_that_are_needed_and_no_other() -> None:
    error = errors.InsufficientScope("private", scope=("a", "b"))
    found = parameters(www_authenticate(error, resource_metadata=METADATA, scope=("base",)))
    assert (found["error"], found["scope"], found["resource_metadata"]) == ("insufficient_scope", "a b", METADATA)
    assert status_of(error) == 403


@pytest.mark.requirement("DPOP-RS-5", proves="holds")
def test_the_listed_algorithms_are_those_that_are_accepted() -> None:
    listed = parameters(www_authenticate(errors.InvalidDpopProof("x")))["algs"].split(" ")
    assert {canonical(name) for name in listed} == set(SIGNING_ALGORITHMS)
    assert len(set(listed)) == len(listed)
    assert tuple(listed) == ADVERTISED_ALGORITHMS


STATUS = {
    errors.InvalidRequest("x"): 400,
    errors.InvalidToken("x"): 401,
    errors.InvalidDpopProof("x"): 401,
    errors.UseDpopNonce("x", jkt=None): 401,
    errors.MissingToken("x"): 401,
    errors.InsufficientScope("x", scope=()): 403,
    errors.UnknownMethod("x"): 404,
    errors.Unavailable("x"): 503,
}


@pytest.mark.parametrize(("error", "status"), STATUS.items(), ids=lambda value: type(value).__name__)
def test_every_refusal_has_its_status_and_a_challenge_that_parses(error: errors.ProtocolError, status: int) -> None:
    assert status_of(error) == status
    found = parameters(www_authenticate(error, resource_metadata=METADATA))
    assert found.get("error", "") == error.error
    assert "detail" not in www_authenticate(error)


def test_a_more_precise_error_keeps_the_status_of_its_kind() -> None:
    class Precise(errors.InvalidRequest):
        pass

    assert status_of(Precise("x")) == 400


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\r\nSet-Cookie: x", "\u00e9", "a\x00"])
@pytest.mark.requirement("RSE-7", proves="refused")
def test_a_value_that_would_break_out_of_its_quotes_is_never_sent(value: str) -> None:
    for arguments in ({"resource_metadata": value}, {"scope": (value,)}, {"algorithms": (value,)}):
        with pytest.raises(ValueError, match="quotes"):
            www_authenticate(errors.InvalidToken("x"), **arguments)  # type: ignore[arg-type] # one of three names
    with pytest.raises(ValueError, match="quotes"):
        www_authenticate(errors.InvalidToken("x", value))


@pytest.mark.requirement("RSE-7", proves="holds")
def test_the_private_reason_and_what_was_sent_are_not_in_a_challenge() -> None:
    header = www_authenticate(errors.InvalidToken("token <script> of alice"), resource_metadata=METADATA)
    assert "alice" not in header
    assert parameters(header)["error_description"] == "the access token is not valid"


def test_a_description_that_looks_like_a_parameter_is_left_out() -> None:
    found = parameters(www_authenticate(errors.InvalidToken("x", "ask again with scope=all")))
    assert "error_description" not in found


def test_another_scheme_lists_no_proof_algorithms() -> None:
    header = www_authenticate(errors.InvalidToken("x"), scheme="Bearer", resource_metadata=METADATA)
    assert header.startswith('Bearer error="invalid_token", ')
    assert "algs" not in header


@pytest.mark.parametrize(
    ("constraint", "schemes"),
    [
        (SenderConstraint.DPOP, ["DPoP"]),
        (SenderConstraint.CERTIFICATE, ["Bearer"]),
        (SenderConstraint.EITHER, ["DPoP", "Bearer"]),
    ],
)
def test_every_way_in_has_its_challenge_and_a_wrong_proof_that_of_proofs(
    constraint: SenderConstraint, schemes: list[str]
) -> None:
    def told(error: errors.ProtocolError) -> list[str]:
        return [value.partition(" ")[0] for value in challenges(error, constraint, resource_metadata=METADATA)]

    for error in (errors.MissingToken("x"), errors.InvalidToken("x"), errors.InsufficientScope("x", scope=("a",))):
        assert told(error) == schemes
        assert all(METADATA in value for value in challenges(error, constraint, resource_metadata=METADATA))
    for error in (errors.InvalidDpopProof("x"), errors.UseDpopNonce("x", jkt=None)):
        assert told(error) == ["DPoP"]


ALL_ERRORS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(
        kind,
        errors.ProtocolError,
    )
]


@pytest.mark.parametrize("kind", ALL_ERRORS, ids=lambda kind: kind.__name__)
def test_every_public_sentence_may_stand_on_the_wire(kind: type[errors.ProtocolError]) -> None:
    assert re.fullmatch(r"[A-Za-z ,\-]+", kind.public)
