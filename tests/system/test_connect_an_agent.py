"""The page for authors of agents does what it says: its commands and its code run, from its text, at real servers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

import fapi_as.agent
from fapi_as.agent import AgentError
from tests.support.agent_desk import Desk, desk
from tests.support.processes import ROOT

pytestmark = pytest.mark.xdist_group("connect-an-agent")
PAGE: Final = (ROOT / "docs/connect-an-agent.md").read_text(encoding="utf-8")
BALANCE: Final = "1250 EUR on the checking account"


def section(heading: str) -> str:
    (found,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def block(heading: str, language: str, number: int = 0) -> str:
    """One block below a heading of the page."""
    return str(re.findall(rf"```{language}\n(.*?)```", section(heading), re.DOTALL)[number])


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Somebody who does what the page says, in an empty directory, with the addresses of this run."""

    place: Desk
    directory: Path

    def here(self, text: str) -> str:
        return text.replace("https://localhost:8443", self.place.server.issuer).replace(
            "https://localhost:8445/mcp", self.place.resource
        )

    @property
    def environment(self) -> Mapping[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**self.place.environment, "PATH": path}

    def add(self, command: str, members: str) -> None:
        """What the operator does with a file of the reader."""
        program, *arguments, _ = command.split()
        assert (program, arguments) == ("fapi-as", ["client", "add"])
        self.place.server.commands.json(*arguments, "-", stdin=members)

    def shell(self, commands: str) -> str:
        return self._run(["sh", "-e", "-c", commands])

    def python(self, code: str) -> str:
        return self._run([sys.executable, "-c", self.here(code)])

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The first two sections of the page, done."""
    with desk(tmp_path_factory.mktemp("servers")) as place:
        reader = Reader(place=place, directory=tmp_path_factory.mktemp("reader"))
        shutil.copy(place.authorities, reader.directory / "ca.pem")
        reader.shell(block("A key, and a registration", "sh"))
        reader.python(block("A key, and a registration", "python"))
        for line in block("A key, and a registration", "sh", 1).splitlines():
            reader.add(line, (reader.directory / line.split()[-1]).read_text(encoding="utf-8"))
        (reader.directory / "fapi-agent.toml").write_text(reader.here(block("By hand", "toml")), encoding="utf-8")
        login, *_ = block("By hand", "sh").splitlines()
        assert "which allowed accounts:read" in reader.shell(login)
        yield reader


def test_the_key_is_its_owners_alone(reader: Reader) -> None:
    assert (reader.directory / "agent-key.pem").stat().st_mode & 0o077 == 0


def test_by_hand_a_tool_is_called_a_token_shown_and_a_call_traced(reader: Reader) -> None:
    _, call, token, trace = block("By hand", "sh").splitlines()
    assert BALANCE in reader.shell(call)
    shown = reader.shell(token)
    assert "access_token" in shown
    traced = reader.shell(trace)
    assert "tools/call" in traced
    assert BALANCE in traced
    assert "DPoP ***" in traced


def test_by_hand_an_agent_that_acts_for_itself_asks_nobody(reader: Reader) -> None:
    assert "1250 EUR" in reader.shell(block("By hand", "sh", 1))


@pytest.mark.requirement("PRM-12", proves="holds")
def test_in_code_the_tokens_of_the_command_line_are_used(reader: Reader) -> None:
    assert BALANCE in reader.python(block("In code", "python"))


def test_in_code_a_person_signs_in_in_their_browser(reader: Reader) -> None:
    assert "allowed: accounts:read" in reader.python(block("A person's sign-in, in code", "python"))


def test_in_code_an_agent_that_acts_for_itself_calls_with_plain_http(reader: Reader) -> None:
    said = reader.python(block("For itself", "python"))
    assert said.startswith("200 ")
    assert "1250 EUR" in said


@pytest.fixture(scope="module")
def certified(reader: Reader) -> Reader:
    """What the page says about certificates, registered."""
    certificates = reader.place.server.directory / "certs"
    for name in ("agent.pem", "agent.key"):
        shutil.copy(certificates / name, reader.directory / name)
    heading = "A certificate instead of a key"
    reader.add(block(heading, "sh").splitlines()[0], block(heading, "json"))
    (reader.directory / "vault.toml").write_text(reader.here(block(heading, "toml")), encoding="utf-8")
    return reader


def test_an_agent_with_a_certificate_calls_a_tool_by_hand(certified: Reader) -> None:
    _, call = block("A certificate instead of a key", "sh").splitlines()
    assert BALANCE in certified.shell(call)
    shown = certified.shell("fapi-as agent token --config vault.toml --json")
    assert '"token_type": "Bearer"' in shown
    assert '"x5t#S256"' in shown
    traced = certified.shell(call.replace("agent call", "agent trace"))
    assert "authorization: Bearer ***" in traced
    assert "dpop:" not in traced


def test_an_agent_with_a_certificate_calls_a_tool_in_code(certified: Reader) -> None:
    assert BALANCE in certified.python(block("A certificate instead of a key", "python"))


def test_messages_are_signed_both_ways_and_the_person_has_a_name(reader: Reader) -> None:
    heading = "Signed messages, and who the person is"
    add, login, token = block(heading, "sh").splitlines()
    registered = json.loads((reader.directory / "agent.json").read_text(encoding="utf-8"))
    reader.add(add, json.dumps(json.loads(block(heading, "json")) | {"jwks": registered["jwks"]}))
    (reader.directory / "signed.toml").write_text(reader.here(block(heading, "toml")), encoding="utf-8")
    assert "which allowed" in reader.shell(login)
    document = json.loads(reader.shell(f"{token} --json"))
    assert document["scope"] == "accounts:read"  # of the token for the MCP server
    assert document["sub"]


def test_in_code_an_agent_registers_itself_once_and_calls_a_tool(reader: Reader) -> None:
    heading = "Registered by itself"
    claims = json.loads((reader.directory / "robot.json").read_text(encoding="utf-8"))
    del claims["client_id"]
    (reader.directory / "robot-claims.json").write_text(json.dumps(claims), encoding="utf-8")
    config = reader.place.server.commands.config
    reader.shell(block(heading, "sh").replace(" > ", f" --config {config} > "))
    first, again = (reader.python(block(heading, "python")) for _ in range(2))
    assert BALANCE in first
    assert re.search(r"^registered as client-[\w-]+$", first, re.MULTILINE)
    assert again == first  # the statement is good for one registration, and one is all it takes


def test_every_error_of_the_agent_is_in_the_table_and_no_other() -> None:
    named = {
        name
        for line in section("What the agent does by itself, and what it refuses").splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    errors = {
        name
        for name in fapi_as.agent.__all__
        if isinstance(value := getattr(fapi_as.agent, name), type) and issubclass(value, AgentError)
    }
    assert named == errors - {"AgentError"}


def test_what_the_page_offers_other_clients_exists() -> None:
    for name in re.findall(r"`(AgentAuth|McpProviderAuth|for_httpx)\b", section("Other clients")):
        assert hasattr(fapi_as.agent, name)
