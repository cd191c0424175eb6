"""One line per event, whatever a peer put into it, and no credential in any."""

from __future__ import annotations

import json
import logging

import pytest

from fapi_as.adapters.logs import JsonLines, TextLines


def _record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("fapi_as.test").makeRecord(
        "fapi_as.test", logging.WARNING, __file__, 1, message, arguments, None, extra=extra
    )


def test_a_record_is_one_json_object_with_its_extra_members() -> None:
    line = JsonLines().format(_record("worker %s is ready", 7, correlation_id="abc", status=201, empty=None))
    members = json.loads(line)
    assert members["event"] == "worker 7 is ready"
    assert members["level"] == "warning"
    assert members["logger"] == "fapi_as.test"
    assert (members["correlation_id"], members["status"], members["empty"]) == ("abc", 201, None)


HOSTILE = 'a\r\n{"event": "forged"}\x1b[2J\u2028\u202e\x00'


@pytest.mark.attack("LOG-01")
@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()])
def test_no_text_can_break_or_forge_a_line(formatter: logging.Formatter) -> None:
    line = formatter.format(_record("client %s", HOSTILE, client_name=HOSTILE))
    assert len(line.splitlines()) == 1
    assert not set(line) & {"\x1b", "\x00", "\u202e", "\u2028"}


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()])
def test_a_value_of_a_megabyte_is_cut(formatter: logging.Formatter) -> None:
    assert len(formatter.format(_record("x" * 2**20, more="y" * 2**20))) < 10_000


@pytest.mark.parametrize(
    "name", ["password", "code", "access_token", "client_assertion", "DPoP", "Cookie", "code_verifier"]
)
@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()])
def test_a_credential_in_extra_is_not_written(formatter: logging.Formatter, name: str) -> None:
    line = formatter.format(_record("signed in", **{name: "s3cret-value"}))
    assert "s3cret-value" not in line
    assert "[redacted]" in line


def test_a_traceback_shows_places_and_no_values_of_variables() -> None:
    def fails(password: str) -> None:
        raise RuntimeError("the pool is closed")

    try:
        fails("correct horse battery staple")
    except RuntimeError as error:
        record = logging.LogRecord(
            "fapi_as.door", logging.ERROR, __file__, 1, "failed", (), (type(error), error, error.__traceback__)
        )
    members = json.loads(JsonLines().format(record))
    assert "the pool is closed" in members["exception"]
    assert "correct horse" not in members["exception"].replace('fails("correct horse battery staple")', "")
