"""The agent as its own program: signed in by hand over real TLS, and many processes that share what that brought.

`make load` plays 1,000 renewals, `make test` a hundred.
"""

from __future__ import annotations

import json
import os
import random
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent_crowd import Crowd, crowd
from tests.support.agent_desk import ALLOWED, MORE, NATIVE, Desk, desk, not_installed
from tests.support.processes import wait_until

pytestmark = pytest.mark.xdist_group("agent-processes")
FULL = os.environ.get("LOAD") == "full"
RENEWALS, KILLED = (1000, 10) if FULL else (100, 3)
PROCESSES = 10
CHECKING = '{"account": "checking"}'
BALANCE = "1250 EUR on the checking account"
TRANSFER = '{"amount": 0, "source": "checking", "target": "savings"}'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("desk")) as running:
        yield running


@pytest.fixture
def signed_in(place: Desk) -> Desk:
    """Where a person has allowed the agent."""
    done = place.agent("login")
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def together(signed_in: Desk, tmp_path: Path) -> Iterator[Crowd]:
    with crowd(signed_in, tmp_path) as members:
        yield members


def secrets_of(place: Desk) -> list[str]:
    """What no command may show: keys and refresh tokens, and what they are written with."""
    found = ["PRIVATE KEY"]
    for file in place.store.glob("*.json"):
        document = json.loads(file.read_text(encoding="ascii"))
        found += [document["refresh_token"], document["proof_key"].splitlines()[1]]
    return [secret for secret in found if secret]


def test_a_person_signs_in_in_their_browser_and_a_tool_is_called(place: Desk) -> None:
    done = place.agent("login")
    assert done.returncode == 0, done.stderr
    assert "Open this address in your browser" in done.stderr
    assert place.seen.startswith("200 <!doctype html>")
    assert "You can close this page" in place.seen
    assert done.stdout == f"signed in for {place.resource} at {place.server.issuer}, which allowed {ALLOWED}\n"
    called = place.agent("call", "get_balance", CHECKING)
    assert (called.returncode, called.stderr) == (0, "")
    assert BALANCE in called.stdout
    assert place.document("call", "get_balance", CHECKING)["isError"] is False


def test_the_token_file_is_its_owners_alone_and_holds_the_key_beside_the_tokens(signed_in: Desk) -> None:
    assert stat.S_IMODE(signed_in.store.stat().st_mode) == 0o700
    (file,) = signed_in.store.glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {"access_token", "refresh_token", "proof_key"} <= set(json.loads(file.read_bytes()))
    file.chmod(0o644)
    assert "others than its owner can reach" in signed_in.refused("call", "get_balance", CHECKING)
    assert "others than its owner can reach" in signed_in.refused("token")
    file.chmod(0o600)


def test_a_token_is_shown_with_its_end_and_no_other_secret(signed_in: Desk) -> None:
    document = signed_in.document("token")
    assert document["token_type"] == "DPoP"
    assert isinstance(document["expires_at"], int)
    assert document["scope"] == ALLOWED
    assert document["access_token"].count(".") == 2
    printed = signed_in.agent("token").stdout
    assert document["access_token"] in printed
    for secret in secrets_of(signed_in):
        assert secret not in printed + json.dumps(document)


def test_a_trace_shows_each_exchange_and_blanks_what_is_secret(place: Desk) -> None:
    store = ("--store", str(place.directory / "traced"))
    done = place.agent("trace", "get_balance", CHECKING, "--sign-in", *store)
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    for step in ("/par", "/token", "the browser is sent to", "the browser came back to", "tools/call"):
        assert step in shown
    for line in ("code=***", "state=***", "code_verifier=***", '"refresh_token": "***"', "authorization: DPoP ***"):
        assert line in shown
    assert '"typ": "dpop+jwt"' in shown
    assert BALANCE in shown
    (file,) = (place.directory / "traced").glob("*.json")
    kept = json.loads(file.read_bytes())
    asked = done.stderr.partition("request_uri=")[2].split()[0].rpartition("%3A")[2]
    for secret in (kept["access_token"], kept["refresh_token"], kept["access_token"].rpartition(".")[2], asked):
        assert secret
        assert secret not in shown
    document = place.document("trace", "get_balance", CHECKING, *store)
    assert document["result"]["isError"] is False
    steps = document["steps"]
    assert [step["number"] for step in steps] == list(range(1, len(steps) + 1))
    assert {step["status"] for step in steps} <= {200, 401}


def test_a_tool_that_needs_more_is_called_once_the_person_allows_more(signed_in: Desk) -> None:
    assert "fapi-as agent login" in signed_in.refused("call", "transfer", TRANSFER)
    done = signed_in.agent("call", "transfer", TRANSFER, "--sign-in")
    assert done.returncode == 0, done.stderr
    assert "nothing was moved" in done.stdout
    assert set(signed_in.document("token")["scope"].split()) == {ALLOWED, MORE}


def test_an_agent_that_acts_for_itself_needs_nobody(place: Desk) -> None:
    machine = place.as_machine()
    token = place.document("token", *machine)
    assert token["client_id"] == "night-agent"
    called = place.agent("call", "get_balance", CHECKING, *machine, BROWSER="false %s")
    assert called.returncode == 0, called.stderr
    assert BALANCE in called.stdout
    assert "signed in for" in place.agent("login", *machine, BROWSER="false %s").stdout


def test_every_failure_is_one_sentence_and_exit_code_1(signed_in: Desk) -> None:
    empty = ("--store", str(signed_in.directory / "empty"))
    assert "sign in with `fapi-as agent login`" in signed_in.refused("call", "get_balance", CHECKING, *empty)
    nobody = "https://localhost:1/mcp"
    assert "did not answer" in signed_in.refused("call", "get_balance", CHECKING, "--resource", nobody)
    elsewhere = signed_in.refused("login", "--issuer", "https://localhost:1")
    assert "no authorization server that this agent is registered with" in elsewhere
    assert "invalid_client" in signed_in.refused("login", "--client-id", "nobody")
    assert "invalid_scope" in signed_in.refused("login", "--scope", "everything")
    assert "redirect_uri is not registered" in signed_in.refused("login", "--redirect-uri", "http://127.0.0.1/other")
    assert "refused the call with" in signed_in.refused("call", "no_such_tool")
    without = signed_in.agent("call", "get_balance", '{"account": "none"}')
    assert (without.returncode, without.stdout) == (1, "")
    assert without.stderr.startswith("Error executing tool")
    # none of this cost the person their sign-in
    assert BALANCE in signed_in.agent("call", "get_balance", CHECKING).stdout


def test_the_commands_need_nothing_that_the_extra_does_not_bring() -> None:
    blocked = not_installed("agent")
    assert {"quart", "sqlmodel", "sqlalchemy", "aiosqlite", "hypercorn", "argon2", "rich", "OpenSSL"} <= set(blocked)
    assert not {"httpx2", "mcp", "click", "joserfc", "cryptography"} & set(blocked)


def test_help_needs_no_server_and_no_file(place: Desk, tmp_path: Path) -> None:
    for verb in ("login", "trace"):
        done = place.agent(verb, "--help", "--store", str(tmp_path / "none"))
        assert done.returncode == 0
        assert f"Usage: fapi-as agent {verb}" in done.stdout


def test_ten_processes_renew_together_and_nobody_has_to_sign_in_again(together: Crowd) -> None:
    before = _issued(together)
    for _ in range(PROCESSES):
        together.join()
    for number in range(1, KILLED + 1):
        _renewed(together, RENEWALS * number // (KILLED + 1))
        together.kill(random.choice(together.running()))
        together.join()
    _renewed(together, RENEWALS)
    together.end()

    renewals = _issued(together) - before
    assert renewals >= RENEWALS
    # what one process got, the others took: only a killed one can have taken a token with it that nobody used
    assert len(together.tokens()) - 1 <= renewals <= len(together.tokens()) - 1 + KILLED + PROCESSES
    used = [{token for _, token in member.calls} for member in together.members]
    assert any(sum(token in tokens for tokens in used) > 1 for token in together.tokens())
    assert BALANCE in together.desk.agent("call", "get_balance", CHECKING).stdout
    print(f"{renewals} renewals, {sum(len(member.calls) for member in together.members)} calls, {KILLED} killed")


@pytest.mark.parametrize("moment", ["asking /token", "answer of /token"])
def test_a_process_that_is_killed_in_the_middle_of_a_renewal_costs_nobody_a_sign_in(
    together: Crowd, moment: str
) -> None:
    (file,) = together.desk.store.glob("*.json")
    before, issued = file.read_bytes(), _issued(together)
    dying = together.join(dies_after=moment)
    assert dying.process.wait(30) == -signal.SIGKILL, dying.err.read_text(encoding="utf-8")
    dying.killed = True
    assert file.read_bytes() == before
    wait_until(lambda: _issued(together) == issued + 1, 20, "the renewal whose result nobody keeps")

    heir = together.join()
    wait_until(lambda: len({token for _, token in heir.calls}) > 3, 30, "the renewals of another process")
    together.end()
    assert file.read_bytes() != before


def _renewed(together: Crowd, times: int) -> None:
    def enough() -> bool:
        for member in together.members:
            code = member.process.poll()
            assert member.killed or code is None, f"{code}: {member.err.read_text(encoding='utf-8')}"
        return len(together.tokens()) > times

    wait_until(enough, 60 + RENEWALS / 2, f"{times} renewals")


def _issued(together: Crowd) -> int:
    """How many tokens the authorization server says that it gave to this agent."""
    facts = together.desk.server.commands.json("audit", "tail", "--limit", "10000")
    return sum(fact["event"] == "token.issued" and fact["client_id"] == NATIVE for fact in facts)
