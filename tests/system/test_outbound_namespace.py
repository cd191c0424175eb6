"""What strangers make a real server ask for: hostile URLs at every door, and no packet to what is not everybody's.

The bench has a network of its own, in which every address leads to a host that answers; where no namespace can be had a
recorder at connect() stands in for it, and each run says which it was.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.outbound_host import AUTHORITY, CLIENT_ID, JWKS_URI
from tests.support.outbound_network import NAMESPACE, RECORDER, command, kind_of_this_machine
from tests.support.outbound_values import DOMAIN, HONEST, HOSTILE, REBINDING
from tests.support.processes import ROOT

SECONDS = 6.0
DOORS = (CLIENT_ID, JWKS_URI, AUTHORITY)
REFUSAL = {CLIENT_ID: (401, "invalid_client"), JWKS_URI: (401, "invalid_client")}
REFUSAL[AUTHORITY] = (400, "invalid_software_statement")
HONEST_STATUS = {CLIENT_ID: 201, JWKS_URI: 200, AUTHORITY: 201}
GROWTH = 24 * 1024  # KiB: less than the bodies of any one flood, by far
# some of each kind
FEW = ("to-ten", "to-metadata", "one-of-two", "rebinding-loopback", "redirect-302-0", "localhost", "ten")
BY_NAME = {value.name: value for value in HOSTILE}


def played(directory: Path, kind: str, *names: str, planted: str = "") -> dict[str, Any]:
    """Run the bench and read its report."""
    done = subprocess.run(
        command(kind, str(directory), planted, *names),
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=150,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    report: dict[str, Any] = json.loads((directory / "report.json").read_text(encoding="utf-8"))
    return report


@pytest.fixture(scope="module")
def kind() -> str:
    return kind_of_this_machine()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, kind: str) -> dict[str, Any]:
    return played(tmp_path_factory.mktemp("outbound"), kind)


def test_the_bench_says_what_it_was_watched_by(report: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\noutbound bench: {len(report['answered'])} requests, watched by {report['kind']}")
    assert report["packets"] > len([value for value in HOSTILE if value.meets])


@pytest.mark.attack("CIM-03")
@pytest.mark.attack("SSR-03")
@pytest.mark.attack("SSR-04")
def test_no_packet_leaves_for_an_address_that_is_not_everybodys(report: dict[str, Any]) -> None:
    assert report["forbidden"] == []


@pytest.mark.attack("SSR-02")
def test_every_value_is_refused_within_six_seconds_at_every_door(report: dict[str, Any]) -> None:
    told: Counter[str] = Counter()
    for answer in report["answered"]:
        told[answer["door"]] += 1
        assert (answer["status"], answer["error"]) == REFUSAL[answer["door"]], answer
        assert answer["seconds"] < SECONDS, answer
        assert answer["detail"], answer
        assert "too much" not in answer["detail"], answer  # it was tried, and not put off
    assert told[CLIENT_ID] == len(HOSTILE) + len(REBINDING) > 60
    assert told[JWKS_URI] >= 60
    for door in DOORS:
        assert told[door] + len(report["unregistered"][door]) == told[CLIENT_ID]
        for sentence in report["unregistered"][door].values():
            assert "jwks_uri: the " in sentence


@pytest.mark.attack("SSR-03")
def test_names_for_the_inside_are_not_even_looked_up(report: dict[str, Any]) -> None:
    assert {name for name in report["asked"] if not name.endswith(f".{DOMAIN}")} == set()
    assert {f"to-ten-{door}.{DOMAIN}" for door in DOORS} <= set(report["asked"])


@pytest.mark.attack("CIM-05")
@pytest.mark.attack("SSR-01")
def test_a_host_at_a_public_address_is_asked_once_and_where_it_sends_us_nobody_is(report: dict[str, Any]) -> None:
    """That these were asked shows that the way was open, and that refusals above are not for another reason."""
    met = Counter(report["met"])
    assert report["honest"] == HONEST_STATUS
    for door in DOORS:
        for value in HOSTILE:
            host = f"{value.name}-{door}.{DOMAIN}"
            asked = met.pop(host, 0)
            assert asked == (2 if (door, value.name) == (CLIENT_ID, "slow-twice") else int(value.meets)), host
        assert met.pop(f"{HONEST.name}-{door}.{DOMAIN}") >= 1
    assert met == Counter()


@pytest.mark.attack("SSR-08")
def test_nothing_is_said_to_anybody_but_the_question(report: dict[str, Any]) -> None:
    assert report["said"] == ["accept", "accept-encoding", "connection", "host"]


@pytest.mark.attack("CIM-04")
def test_a_name_that_changes_its_answer_is_judged_by_each(report: dict[str, Any]) -> None:
    """Asked the first time it leads to everybody's address, the second time to one of ours."""
    reasons = {(answer["door"], answer["value"]): answer["detail"] for answer in report["answered"]}
    for value in REBINDING:
        for door in DOORS:
            if (door, value.name) != (CLIENT_ID, "two-stage"):
                assert "not public" not in reasons[door, value.name]
            assert "not public" in reasons[door, f"{value.name}-again"], (door, value.name)
    assert reasons[CLIENT_ID, "two-stage"] == "keys: the host has an address that is not public"


@pytest.mark.attack("CIM-06")
@pytest.mark.attack("SSR-05")
def test_floods_bombs_and_drips_leave_the_memory_flat_and_others_unhindered(report: dict[str, Any]) -> None:
    memory = report["memory"]
    assert memory["after"] - memory["before"] < GROWTH, memory
    assert memory["most"] - memory["before"] < 2 * GROWTH, memory
    assert max(report["meanwhile"]) < 2, report["meanwhile"]
    slow = [answer for answer in report["answered"] if BY_NAME[answer["value"].removesuffix("-again")].slow]
    assert len([answer for answer in slow if answer["seconds"] > 4]) >= 15  # they were as slow as they could be


# --- whether the bench would notice

ALL, AGAIN = "nothing is judged", "judged and looked up again"  # what is planted
CONTROLS = {
    "all": (NAMESPACE, ALL),
    "again": (NAMESPACE, AGAIN),
    "recorder": (RECORDER, ""),
    "recorded": (RECORDER, ALL),
}


@pytest.fixture(scope="module")
def controls(tmp_path_factory: pytest.TempPathFactory, kind: str) -> dict[str, dict[str, Any]]:
    """Short runs of the same bench, at once."""

    directories = {name: tmp_path_factory.mktemp(name) for name in CONTROLS}  # not by several threads at once

    def run(name: str) -> dict[str, Any]:
        wanted, planted = CONTROLS[name]
        return played(directories[name], kind if wanted == NAMESPACE else RECORDER, *FEW, planted=planted)

    with ThreadPoolExecutor(len(CONTROLS)) as runs:
        return dict(zip(CONTROLS, runs.map(run, CONTROLS), strict=True))


def places(report: dict[str, Any]) -> set[str]:
    return {place.rpartition(":")[0] for place in report["forbidden"]}


def test_the_bench_notices_a_fetch_that_goes_where_it_is_told(controls: dict[str, dict[str, Any]]) -> None:
    for name in ("all", "recorded"):
        assert {"10.0.0.1", "169.254.169.254", "127.0.0.1"} <= places(controls[name])


def test_the_bench_notices_a_fetch_that_judges_one_answer_and_uses_another(controls: dict[str, dict[str, Any]]) -> None:
    assert places(controls["again"]) == {"127.0.0.1"}


def test_the_recorder_stands_in_where_there_is_no_namespace(controls: dict[str, dict[str, Any]]) -> None:
    report = controls["recorder"]
    assert report["kind"] == RECORDER
    assert report["forbidden"] == []
    assert report["honest"] == HONEST_STATUS
    assert all((answer["status"], answer["error"]) == REFUSAL[answer["door"]] for answer in report["answered"])
    assert f"redirect-302-0-{JWKS_URI}.{DOMAIN}" in report["met"]
