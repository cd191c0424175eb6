"""The guard where tokens may be bound to certificates: everything that is bound is needed, under its own scheme."""

from __future__ import annotations

import hashlib
from itertools import product
from typing import Any, Final

import pytest

from rs_kit.adapters.observer import MetricsObserver
from rs_kit.protocol.confirmation import SenderConstraint
from rs_kit.protocol.errors import (
    InvalidDpopProof,
    InvalidToken,
    MissingToken,
    ProtocolError,
    UseDpopNonce,
)
from tests.support.guarded_bank import ABSENT, AGENT_KEY, Bank, tool_call
from tests.support.peer_keys import b64

CERTIFICATE: Final = b"0\x05agent"
OTHER: Final = b"0\x05other"
X5T: Final = b64(hashlib.sha256(CERTIFICATE).digest())
CNF: Final[dict[str, Any]] = {
    "nobody": ABSENT,
    "a key": {"jkt": AGENT_KEY.thumbprint},
    "a certificate": {"x5t#S256": X5T},
    "both": {"jkt": AGENT_KEY.thumbprint, "x5t#S256": X5T},
}
WANTED: Final = {
    SenderConstraint.DPOP: {"a key", "both"},
    SenderConstraint.CERTIFICATE: {"a certificate", "both"},
    SenderConstraint.EITHER: {"a key", "a certificate", "both"},
}
CASES: Final = list(product(SenderConstraint, CNF, ("DPoP", "Bearer"), (True, False), (CERTIFICATE, OTHER, None)))


@pytest.mark.parametrize(("constraint", "bound", "scheme", "proof", "shown"), CASES)
async def test_whatever_is_bound_is_needed_and_nothing_else_helps(
    constraint: SenderConstraint, bound: str, scheme: str, proof: bool, shown: bytes | None
) -> None:
    bank = Bank(sender_constraint=constraint)
    token = bank.peer.token(cnf=CNF[bound])
    headers = bank.peer.headers(token, scheme=scheme) if proof else bank.peer.bearer(token, scheme=scheme)
    by_key, by_certificate = bound in ("a key", "both"), bound in ("a certificate", "both")
    good = (
        bound in WANTED[constraint]
        and scheme == ("DPoP" if by_key else "Bearer")
        and (proof or not by_key)
        and (shown == CERTIFICATE or not by_certificate)
    )
    request = bank.request(headers, certificate=shown)
    if good:
        call = await bank.guard.admit(request)
        assert call.token.subject == "alice"
        assert (call.iat_offset is None) == (not by_key)
        return
    with pytest.raises((InvalidToken, InvalidDpopProof)) as caught:
        await bank.guard.admit(request)
    without_proof = bound in WANTED[constraint] and scheme == "DPoP" and by_key and not proof
    assert isinstance(caught.value, InvalidDpopProof) == without_proof
    assert len(bank.used_once) == 0  # type: ignore[arg-type]
    assert bank.observer.admissions == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
async def test_the_scheme_has_no_case(scheme: str) -> None:
    bank = Bank(sender_constraint=SenderConstraint.CERTIFICATE)
    headers = bank.peer.bearer(bank.peer.token(cnf=CNF["a certificate"]), scheme=scheme)
    assert (await bank.guard.admit(bank.request(headers, certificate=CERTIFICATE))).target == "get_balance"


async def test_a_token_that_was_seen_with_its_certificate_is_no_token_without_it() -> None:
    bank = Bank(sender_constraint=SenderConstraint.CERTIFICATE)
    headers = bank.peer.bearer(bank.peer.token(cnf=CNF["a certificate"]))
    for _ in range(2):  # a connection is its own proof: nothing of a call is spent
        await bank.guard.admit(bank.request(headers, certificate=CERTIFICATE))
    for shown in (OTHER, None):
        with pytest.raises(InvalidToken):
            await bank.guard.admit(bank.request(headers, certificate=shown))
    assert len(bank.observer.admissions) == 2
    assert len(bank.used_once) == 0  # type: ignore[arg-type]


async def test_a_token_that_was_seen_under_one_scheme_is_not_good_under_another() -> None:
    bank = Bank(sender_constraint=SenderConstraint.EITHER)
    token = bank.peer.token(cnf=CNF["a key"])
    await bank.guard.admit(bank.request(bank.peer.headers(token), certificate=CERTIFICATE))
    with pytest.raises(InvalidToken):
        await bank.guard.admit(bank.request(bank.peer.headers(token, scheme="Bearer"), certificate=CERTIFICATE))


async def test_scopes_and_tools_are_judged_as_ever() -> None:
    bank = Bank(sender_constraint=SenderConstraint.CERTIFICATE)
    token = bank.peer.token(cnf=CNF["a certificate"])
    request = bank.request(bank.peer.bearer(token), tool_call("transfer"), certificate=CERTIFICATE)
    with pytest.raises(ProtocolError) as caught:
        await bank.guard.admit(request)
    assert caught.value.error == "insufficient_scope"
    assert [value.partition(b" ")[0] for _, value in bank.guard.challenge(caught.value)] == [b"Bearer"]


@pytest.mark.parametrize(
    ("constraint", "nonces"),
    [(SenderConstraint.DPOP, 1), (SenderConstraint.EITHER, 1), (SenderConstraint.CERTIFICATE, 0)],
)
def test_a_nonce_comes_early_only_where_somebody_may_need_it(constraint: SenderConstraint, nonces: int) -> None:
    challenge = Bank(sender_constraint=constraint).guard.challenge
    assert [name for name, _ in challenge(MissingToken("x"))].count(b"dpop-nonce") == nonces
    assert [name for name, _ in challenge(UseDpopNonce("x", jkt=None))].count(b"dpop-nonce") == 1


async def test_a_call_without_a_proof_says_nothing_about_clocks() -> None:
    metrics = MetricsObserver()
    bank = Bank(sender_constraint=SenderConstraint.CERTIFICATE, observer=metrics)
    headers = bank.peer.bearer(bank.peer.token(cnf=CNF["a certificate"]))
    await bank.guard.admit(bank.request(headers, certificate=CERTIFICATE))
    assert "rs_kit_calls_admitted_total 1" in metrics.exposition()
    assert "rs_kit_dpop_iat_offset_seconds_count 0" in metrics.exposition()
