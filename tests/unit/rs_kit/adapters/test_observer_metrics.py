"""What the operator's Prometheus is told, and several observers at once."""

from __future__ import annotations

import re

import pytest

from rs_kit.adapters.observer import MetricsObserver, Observers
from rs_kit.ports import AuthorizedCall, Refusal
from rs_kit.protocol.errors import InvalidDpopProof, InvalidToken, MissingToken, ProtocolError, Unavailable
from rs_kit.testing import RecordingObserver
from tests.support.guarded_bank import Bank

SAMPLE = re.compile(r'([a-z_]+)(\{(?:[a-z]+="(?:[^"\\]|\\["\\n])*",?)*\})? (-?\d+)')
OFFSET = "rs_kit_dpop_iat_offset_seconds"


def samples(observer: MetricsObserver) -> dict[str, int]:
    """The lines that are not comments; each must be one sample of the text format."""
    text = observer.exposition()
    assert text.endswith("\n")
    found: dict[str, int] = {}
    for line in text.splitlines():
        if not line.startswith(("# HELP ", "# TYPE ")):
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            name, labels, value = match.groups()
            assert (name + (labels or "")) not in found
            found[name + (labels or "")] = int(value)
    return found


def refusals(observer: MetricsObserver) -> dict[str, int]:
    return {name: value for name, value in samples(observer).items() if name.startswith("rs_kit_calls_refused")}


async def test_decisions_are_counted_and_refusals_by_their_reason() -> None:
    metrics = MetricsObserver()
    bank = Bank(observer=metrics)
    for _ in range(3):
        await bank.guard.admit(bank.request())
    used = bank.request()
    await bank.guard.admit(used)
    for request in (
        used,
        bank.request([]),
        bank.request(bank.peer.headers(bank.peer.token(exp=bank.clock.now() - 60))),
        bank.request(bank.peer.headers(bank.peer.token(exp=bank.clock.now() - 60))),
    ):
        with pytest.raises(ProtocolError):
            await bank.guard.admit(request)
    assert samples(metrics)["rs_kit_calls_admitted_total"] == 4
    assert refusals(metrics) == {
        'rs_kit_calls_refused_total{error="invalid_dpop_proof",reason="replayed"}': 1,
        'rs_kit_calls_refused_total{error="no_credentials",reason="no credentials at all"}': 1,
        'rs_kit_calls_refused_total{error="invalid_token",reason="expired"}': 2,
    }


async def test_the_clocks_of_agents_are_a_histogram_also_of_those_that_are_too_far_off() -> None:
    metrics = MetricsObserver()
    bank = Bank(observer=metrics)
    offsets = [0, 0, 0, 3, -4, 30, -60, 31, -61, 3600, -1_000_000]
    token = bank.peer.token()
    for offset in offsets:
        request = bank.request(bank.peer.headers(token, bank.peer.proof(token, iat=bank.clock.now() + offset)))
        if -60 <= offset <= 30:
            await bank.guard.admit(request)
        else:
            with pytest.raises(InvalidDpopProof):
                await bank.guard.admit(request)
    found = samples(metrics)
    for bound in (-300, -60, -30, -10, -5, -2, -1, 0, 1, 2, 5, 10, 30, 60):
        assert found[f'{OFFSET}_bucket{{le="{bound}"}}'] == sum(offset <= bound for offset in offsets)
    assert found[f'{OFFSET}_bucket{{le="+Inf"}}'] == found[f"{OFFSET}_count"] == len(offsets)
    assert found[f"{OFFSET}_sum"] == sum(max(-86_400, offset) for offset in offsets)
    assert found["rs_kit_calls_admitted_total"] == 7


async def test_who_cannot_show_a_token_moves_no_clock() -> None:
    metrics = MetricsObserver()
    bank = Bank(observer=metrics)
    token = bank.peer.token(aud="https://other.example")
    request = bank.request(bank.peer.headers(token, bank.peer.proof(token, iat=1)))
    with pytest.raises(InvalidToken):
        await bank.guard.admit(request)
    assert samples(metrics)[f"{OFFSET}_count"] == 0


def test_reasons_are_bounded_and_cannot_break_a_line() -> None:
    metrics = MetricsObserver()
    metrics.refused(Refusal(error=Unavailable('a "quoted\\ \r\nreason\u2028'), http_method="POST", path="/"))
    for number in range(10_000):
        metrics.refused(Refusal(error=Unavailable(f"reason {number}"), http_method="POST", path="/"))
    found = refusals(metrics)
    assert len(found) == 257
    assert found['rs_kit_calls_refused_total{error="temporarily_unavailable",reason="other"}'] == 10_000 - 255


def test_nothing_yet_is_still_an_exposition() -> None:
    assert samples(MetricsObserver())["rs_kit_calls_admitted_total"] == 0


class Failing(RecordingObserver):
    __slots__ = ()

    def admitted(self, call: AuthorizedCall) -> None:
        raise OSError("the disk is full")

    def refused(self, refusal: Refusal) -> None:
        raise OSError("the disk is full")


async def test_what_one_of_several_observers_cannot_record_does_not_happen() -> None:
    last = RecordingObserver()
    bank = Bank(observer=Observers(Failing(), last))
    with pytest.raises(Unavailable):
        await bank.guard.admit(bank.request())
    assert last.admissions == []
    assert len(last.refusals) == 1


def test_a_refusal_is_told_to_every_observer_whichever_fails() -> None:
    first, last = RecordingObserver(), RecordingObserver()
    refusal = Refusal(error=MissingToken("no credentials"), http_method="POST", path="/mcp")
    with pytest.raises(ExceptionGroup) as failed:
        Observers(first, Failing(), Failing(), last).refused(refusal)
    assert len(failed.value.exceptions) == 2
    assert first.refusals == last.refusals == [refusal]
