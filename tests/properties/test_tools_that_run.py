"""Ten thousand ways to call a tool: the kit and the servers behind it never disagree on which one runs.

A few hundred cases here; `make fuzz` plays 10,000 at each kind of server, `CASES=10000 make test T=properties` as well.
"""

from __future__ import annotations

import json
import os
from random import SystemRandom
from typing import Any

import pytest

from rs_kit.protocol.errors import InvalidRequest
from rs_kit.protocol.tool_policy import RpcMessage
from tests.properties.tools_that_run import Trial
from tests.support.tool_servers import KINDS

CASES = int(os.environ.get("CASES", "300"))


@pytest.mark.parametrize("kind", KINDS)
async def test_what_runs_is_what_was_decided_on_and_within_the_grant(kind: str) -> None:
    seed = SystemRandom().randrange(2**32)
    print(f"{kind}: seed {seed}")
    async with Trial(kind, seed).running() as trial:
        await trial.run(CASES)
    counts = trial.counts
    print(f"{kind}: {dict(counts.most_common())}")
    assert counts["cases"] == CASES
    assert counts["ran behind the kit"] > CASES / 10  # not vacuous
    assert counts["refused as outside the grant, ran at the bare server"] > CASES / 20
    assert counts["refused as ambiguous, ran at the bare server"] > 0


async def test_a_kit_that_reads_the_first_of_two_members_is_found_out() -> None:
    def first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return dict(reversed(pairs))

    def careless(body: bytes) -> RpcMessage:
        try:
            message = json.loads(body, object_pairs_hook=first)
            return RpcMessage(message["method"], message["params"].get("name"), message["params"], message.get("id"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise InvalidRequest("body") from None

    trial = Trial("SDK", 1)
    trial.bank.guard._parse = careless
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError), flatten_subgroups=True, allow_unwrapped=True):
        async with trial.running():
            await trial.run(1_000)
    assert trial.counts["cases"] < 1_000
