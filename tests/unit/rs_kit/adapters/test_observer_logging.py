"""One record per decision: who, what and why, in one printable line."""

from __future__ import annotations

import logging

import pytest

from rs_kit.adapters.observer import LoggingObserver
from rs_kit.ports import Refusal
from rs_kit.protocol.errors import InvalidToken, MissingToken, ProtocolError, Unavailable, UseDpopNonce
from tests.support.guarded_bank import Bank


def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "rs_kit.guard"]


async def test_an_admission_is_one_record_with_the_ids(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rs_kit.guard")
    bank = Bank(observer=LoggingObserver())
    await bank.guard.admit(bank.request(bank.peer.headers(bank.peer.token(jti="token-x"))))
    (record,) = records(caplog)
    assert (record.levelno, record.getMessage()) == (logging.INFO, "call admitted: tools/call get_balance")
    assert record.__dict__["client_id"] == "agent-1"
    assert record.__dict__["subject"] == "alice"
    assert record.__dict__["token_id"] == "token-x"


@pytest.mark.parametrize(
    ("error", "level", "message"),
    [
        (InvalidToken("expired"), logging.WARNING, "call refused: invalid_token (expired)"),
        (MissingToken("no credentials"), logging.INFO, "call refused: no credentials (no credentials)"),
        (UseDpopNonce("no nonce", jkt=None), logging.INFO, "call refused: use_dpop_nonce (no nonce)"),
        (Unavailable("store"), logging.ERROR, "call refused: temporarily_unavailable (store)"),
    ],
)
def test_a_refusal_is_one_record_with_its_private_reason(
    error: ProtocolError, level: int, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "rs_kit.guard")
    LoggingObserver().refused(Refusal(error=error, http_method="POST", path="/mcp"))
    (record,) = records(caplog)
    assert (record.levelno, record.getMessage()) == (level, message)


def test_nothing_is_put_together_for_a_level_that_nobody_reads(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "rs_kit.guard")
    LoggingObserver().refused(Refusal(error=InvalidToken("x"), http_method="POST", path="/mcp"))
    assert records(caplog) == []


@pytest.mark.attack("LOG-01")
async def test_what_a_peer_chose_is_one_short_line_of_printable_ascii(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rs_kit.guard")
    bank = Bank(observer=LoggingObserver())
    nasty = "a\r\nERROR forged\x1b[31m\u2028\u202e" + "x" * 100_000
    await bank.guard.admit(bank.request(bank.peer.headers(bank.peer.token(sub=nasty[:300], client_id="c\n"))))
    LoggingObserver().refused(Refusal(error=InvalidToken("x"), http_method="POST\n", path="/" + nasty))
    for record in records(caplog):
        for name in ("subject", "client_id", "path", "http_method"):
            value = record.__dict__.get(name) or ""
            assert value.isascii()
            assert value.isprintable()
            assert len(value) < 2000
