"""One run of the MCP conformance suite, and what its results say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trustme

from tests.support.node_peers import package
from tests.support.processes import ROOT

SUITE: Final = "@modelcontextprotocol/conformance"
RESULTS: Final = ROOT / "build" / "conformance"
_HERE: Final = ROOT / "tests" / "conformance"
_RUN_SECONDS: Final = 900
_SCENARIO_MILLISECONDS: Final = 20_000
_FAILED: Final = "FAILURE"
_DIRECTORY: Final = re.compile(r"(?:server-)?(.+)-\d{4}-\d\d-\d\dT[\dZ-]+")


class SuiteBroken(Exception):
    """The suite did not come to a result; the sentence says what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The checks of every scenario that ran: its failures with their messages, and how many checks passed."""

    passed: Mapping[str, int]
    failures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def green(self, scenario: str) -> bool:
        """It ran, and no check of it failed."""
        return scenario in self.passed and not self.failures.get(scenario)

    def checks(self, scenarios: Sequence[str]) -> tuple[int, int]:
        """How many checks of these passed and failed."""
        return sum(self.passed.get(s, 0) for s in scenarios), sum(len(self.failures.get(s, ())) for s in scenarios)


def required(revision: str) -> list[str]:
    """The server scenarios that a revision requires, from the list that the suite froze for it."""
    frozen = (package(SUITE) / "requirements" / f"{revision}.yaml").read_text(encoding="utf-8")
    section = re.search(r"^server:\n((?:  - .+\n)+)", frozen, re.MULTILINE)
    if section is None:
        raise SuiteBroken(f"the suite has no list of server scenarios for {revision}")
    return [line.removeprefix("  - ") for line in section.group(1).splitlines()]


def judge_server(node: str, url: str, revision: str, name: str) -> Outcome:
    """Every scenario of a revision against a running server.

    Raises:
        SuiteBroken: the suite ended without results.
    """
    arguments = ["server", "--url", url, "--requirements", revision, "--timeout", str(_SCENARIO_MILLISECONDS)]
    return _run(node, arguments, name, environment={}, preload=())


def judge_client(node: str, scenario: str, revision: str, name: str, *options: str) -> Outcome:
    """One scenario with our agent as the client, over TLS.

    Raises:
        SuiteBroken: the suite ended without results.
    """
    command = " ".join((sys.executable, "-m", "tests.conformance.agent_client", *options))
    arguments = ["client", "--command", command, "--scenario", scenario, "--spec-version", revision, "--force"]
    with _certificates() as environment:
        return _run(node, arguments, name, environment=environment, preload=("--import", str(_HERE / "behind_tls.mjs")))


def _run(
    node: str, arguments: Sequence[str], name: str, *, environment: Mapping[str, str], preload: Sequence[str]
) -> Outcome:
    results = RESULTS / name
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    done = subprocess.run(
        [node, *preload, str(package(SUITE) / "dist" / "index.js"), *arguments, "--output-dir", str(results)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_RUN_SECONDS,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    (results / "output.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    outcome = _outcome(results)
    if not outcome.passed:
        raise SuiteBroken(f"the suite came to no result: {' '.join((done.stderr or done.stdout).split())[-300:]}")
    return outcome


def _outcome(results: Path) -> Outcome:
    passed: dict[str, int] = {}
    failures: dict[str, dict[str, str]] = {}
    for path in results.rglob("checks.json"):
        found = _DIRECTORY.fullmatch("/".join(path.parent.relative_to(results).parts))
        scenario = found.group(1) if found is not None else path.parent.name
        checks = json.loads(path.read_text(encoding="utf-8"))
        passed[scenario] = sum(check["status"] == "SUCCESS" for check in checks)
        failures[scenario] = {
            check["id"]: check.get("errorMessage", "") for check in checks if check["status"] == _FAILED
        }
    return Outcome(passed=passed, failures=failures)


@contextmanager
def _certificates() -> Iterator[Mapping[str, str]]:
    """A certificate for localhost, and whose word the client takes for it."""
    directory = RESULTS / "certificates"
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    files = {"AUTHORITY": authority.cert_pem, "KEY": issued.private_key_pem}
    for name, blob in files.items():
        blob.write_to_path(directory / name)
    (directory / "CERTIFICATE").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    try:
        yield {f"CONFORMANCE_{name}": str(directory / name) for name in ("AUTHORITY", "KEY", "CERTIFICATE")}
    finally:
        shutil.rmtree(directory)
