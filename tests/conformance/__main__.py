"""`make conformance`: the MCP conformance suite against a server behind rs_kit, and with our agent as its client."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.conformance.suite import Outcome, SuiteBroken, judge_client, judge_server, required
from tests.support.node_peers import NoPeers, node_with_peers
from tests.support.processes import NotReady, running

REVISIONS: Final = ("2026-07-28", "2025-11-25")
SESSIONS: Final = "2025-11-25"
CLIENT_SCENARIOS: Final = ("auth/dpop", "auth/dpop-nonce")


def _served(node: str, revision: str, name: str, *options: str) -> Outcome:
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "tests.conformance.serve", *options]
        with running(command, Path(scratch), seconds=60.0) as server:
            return judge_server(node, server.address, revision, f"{name}-{revision}")


def servers(node: str, revision: str) -> bool:
    """The same server bare and behind rs_kit: all that is required is green, and rs_kit loses nothing that was."""
    needed = required(revision)
    print(f"{revision}: the SDK's server as it is, then behind rs_kit ...", flush=True)
    bare = _served(node, revision, "bare", "--bare")
    guarded = _served(node, revision, "guarded", *(["--sessions"] if revision == SESSIONS else []))
    for name, outcome in (("bare", bare), ("behind rs_kit", guarded)):
        green = sum(outcome.green(scenario) for scenario in needed)
        passed, failed = outcome.checks(needed)
        more = [scenario for scenario in outcome.passed if scenario not in needed]
        print(
            f"  {name:14} required scenarios {green} of {len(needed)} green, {passed} checks passed, {failed} failed;"
            f" not scored: {sum(map(outcome.green, more))} of {len(more)} green"
        )
    red = [scenario for scenario in needed if not guarded.green(scenario)]
    lost = [scenario for scenario in bare.passed if bare.green(scenario) and not guarded.green(scenario)]
    for scenario in dict.fromkeys(red + lost):
        whose = "lost by rs_kit" if bare.green(scenario) else "red without rs_kit, too"
        print(f"  {scenario}: {whose}")
        for check, message in guarded.failures.get(scenario, {"": "it did not run"}).items():
            print(f"    {check}: {message}")
    return not red and not lost


def clients(node: str) -> bool:
    """Our agent against the suite's servers; and the same without its proofs, which has to be red."""
    well = True
    for scenario in CLIENT_SCENARIOS:
        for revision in REVISIONS:
            outcome = judge_client(node, scenario, revision, f"{scenario.replace('/', '-')}-{revision}")
            passed = sum(outcome.passed.values())
            failures = [f"{check}: {text}" for found in outcome.failures.values() for check, text in found.items()]
            print(f"{revision}: {scenario} with our agent: {passed} checks passed, {len(failures)} failed", flush=True)
            for failure in failures:
                print(f"  {failure}")
            well &= not failures
    control = judge_client(node, CLIENT_SCENARIOS[0], REVISIONS[0], "control", "--without-proofs")
    caught = any("sep-1932-client-fresh-proof" in found for found in control.failures.values())
    print(f"control, the same agent with its proofs taken away: {'red, as it must be' if caught else 'NOT SEEN'}")
    return well and caught


def main() -> int:
    """Print the counts; 1 when something that must be green is not, or cannot be run."""
    try:
        node = node_with_peers()
        well = [servers(node, revision) for revision in REVISIONS]
        well.append(clients(node))
    except (NoPeers, SuiteBroken, NotReady) as error:
        print(f"make conformance cannot run: {error}")
        return 1
    print("all green" if all(well) else "not all green")
    return 0 if all(well) else 1


if __name__ == "__main__":
    raise SystemExit(main())
