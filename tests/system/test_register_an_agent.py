"""The page for agents that register themselves does what it says: its text is run, at real servers, in its order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from fapi_as.protocol.authority_registration import parse_authority
from fapi_as.protocol.authority_status import parse_authority_status
from fapi_as.protocol.client_document import described_client, read_document, require_document_url
from fapi_as.protocol.registration_policy import RegistrationPolicy, parse_policy
from fapi_as.settings import load
from tests.support.agent_desk import Desk, desk
from tests.support.peer_keys import PeerKey
from tests.support.processes import ROOT
from tests.support.registration_house import RegistrationHouse
from tests.support.registration_scene import Registrant, SoftwareAuthority

pytestmark = pytest.mark.xdist_group("register-an-agent")
PAGE: Final = (ROOT / "docs/register-an-agent.md").read_text(encoding="utf-8")
BALANCE: Final = "1250 EUR on the checking account"


def section(heading: str) -> str:
    (found,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def block(heading: str, language: str, number: int = 0) -> str:
    """One block below a heading of the page."""
    return str(re.findall(rf"```{language}\n(.*?)```", section(heading), re.DOTALL)[number])


@dataclass(frozen=True, kw_only=True)
class Laptop:
    """Somebody who does what the page says where `fapi-as init --dev` was run, with the addresses of this run."""

    place: Desk

    @property
    def directory(self) -> Path:
        return self.place.server.directory

    def here(self, text: str) -> str:
        server = self.place.server
        return (
            text.replace("https://localhost:8443", server.issuer)
            .replace("https://localhost:8444", f"https://localhost:{server.port + 1}")
            .replace("https://localhost:8445/mcp", self.place.resource)
        )

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(self.here(text), encoding="utf-8")

    @property
    def environment(self) -> Mapping[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**self.place.environment, "PATH": path}

    def state_of(self, software_id: str) -> tuple[str, int | None]:
        """What the operator sees of the newest client of a software, and when it was used."""
        listed = self.place.server.commands.json("client", "list", "--inactive")
        clients = [row for row in listed if row.get("software_id") == software_id]
        newest = max(clients, key=lambda row: row["client_id_issued_at"])
        assert newest["approver"] == "https://development-authority.invalid"
        return newest["state"], newest["last_used_at"]

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
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """The servers, and the first section of the page, done."""
    with desk(tmp_path_factory.mktemp("servers")) as place:
        laptop = Laptop(place=place)
        laptop.write("ledger.json", block("On a laptop", "json"))
        laptop.shell(block("On a laptop", "sh"))
        laptop.write("fapi-agent.toml", block("On a laptop", "toml"))
        yield laptop


def test_on_a_laptop_an_agent_registers_itself_and_calls_a_tool(laptop: Laptop) -> None:
    register, login, call = block("On a laptop", "sh", 1).splitlines()
    laptop.shell(register)
    assert laptop.state_of("ledger") == ("pending", None)
    laptop.shell(login)
    assert BALANCE in laptop.shell(call)
    state, used_at = laptop.state_of("ledger")
    assert state == "active"
    assert used_at is not None
    assert '"software_id": "ledger"' in laptop.shell("fapi-as agent register --show --json")
    for name in ("development-authority.key", "agent-key.pem"):
        assert (laptop.directory / name).stat().st_mode & 0o077 == 0


def test_what_is_sent_and_what_comes_back_is_as_the_page_prints_it(laptop: Laptop) -> None:
    heading = "What is sent, and what comes back"
    said = laptop.python(block(heading, "python")).splitlines()
    printed = re.findall(r"```\n(.*?)```", section(heading).split("```python", 1)[1].split("```", 1)[1], re.DOTALL)
    expected = printed[0].splitlines()
    assert said[1:] == expected[1:]
    assert re.fullmatch(r"201 client-\S{22} True", said[0])
    assert re.fullmatch(r"201 client-\S+… True", expected[0])


def test_an_agent_with_a_certificate_registers_itself_and_calls_a_tool(laptop: Laptop) -> None:
    heading = "With a certificate"
    laptop.write("robot.json", block(heading, "json"))
    laptop.write("robot.toml", block(heading, "toml"))
    issue, register, call = block(heading, "sh").splitlines()
    laptop.shell(issue)
    laptop.shell(register)
    assert BALANCE in laptop.shell(call)


def test_without_an_authority_an_agent_registers_by_a_token_that_is_counted(laptop: Laptop) -> None:
    heading = "Without an authority"
    laptop.write("policy.json", block(heading, "json"))
    listed = laptop.shell(block(heading, "sh"))
    assert (laptop.directory / "invitation.token").stat().st_mode & 0o077 == 0
    token = (laptop.directory / "invitation.token").read_text(encoding="utf-8").strip()
    assert len(token) == 43
    assert "data team" in listed
    assert token not in listed
    laptop.write("invited.toml", block(heading, "toml"))
    laptop.shell(block(heading, "sh", 1))
    (row,) = laptop.place.server.commands.json("registration-token", "list")
    assert (row["uses_left"], row["clients"]) == (2, 1)
    lifetime = laptop.shell("fapi-as agent register --show --json --config invited.toml")
    assert '"client_name": "Data agent"' in lifetime


def test_an_authority_is_trusted_and_ends_as_the_page_says(laptop: Laptop) -> None:
    laptop.write("authority.json", block("An authority of your own", "json"))
    assert "https://directory.example" in laptop.shell(block("An authority of your own", "sh"))
    *ending, reinstate, listing = block("When it has to end", "sh").splitlines()
    said = laptop.shell("\n".join(ending))
    assert "authority https://directory.example is suspended" in said
    assert "software ledger of https://development-authority.invalid counts no more" in said
    for row in laptop.place.server.commands.json("client", "list"):
        assert row.get("software_id") != "ledger"
    laptop.shell(reinstate)
    assert "approver" in laptop.shell(listing)
    parse_authority_status(block("When it has to end", "json").encode())


def test_every_member_of_a_policy_is_in_the_table_with_its_default() -> None:
    table = dict(re.findall(r"(?m)^\| (`[a-z_`, ]+`) \| [^|]+ \| ([^|]+) \|$", section("An authority of your own")))
    named = {name for cell in table for name in re.findall(r"[a-z_]+", cell)}
    assert named == set(RegistrationPolicy.__dataclass_fields__)
    policy = RegistrationPolicy()
    for cell, told in table.items():
        for name, said in zip(re.findall(r"[a-z_]+", cell), told.split(", "), strict=False):
            default = getattr(policy, name)
            if isinstance(default, bool):
                assert said == f"`{str(default).lower()}`", name
            elif isinstance(default, int):
                assert said == str(default), name
    assert set(re.findall(r"`(\w+)`", table["`grant_types`"])) == policy.grant_types
    assert set(table["`algorithms`"].split(", ")) == policy.algorithms


def test_the_files_of_the_page_are_those_that_the_server_reads(tmp_path: Path) -> None:
    authority = parse_authority(json.loads(block("An authority of your own", "json")), version=1)
    assert authority.status_uri == "https://directory.example/withdrawn"
    parse_policy(json.loads(block("Without an authority", "json")))
    toml = '[server]\nissuer = "https://as.example"\n' + block("A document instead", "toml")
    for text in (toml, toml.replace("#statement_required", "statement_required")):
        (tmp_path / "fapi-as.toml").write_text(text, encoding="utf-8")
        policy = load(tmp_path / "fapi-as.toml", {}).policy().documents
        assert policy is not None
        document = block("A document instead", "json")
        client_id = json.loads(document)["client_id"]
        require_document_url(client_id, policy, ("https://as.example",))
        client = described_client(read_document(document.encode(), client_id), client_id, policy)
        assert client.scope == {"accounts:read"}
        assert client.redirect_uris == ("https://agents.example/callback",)


async def test_every_refusal_of_the_page_is_what_the_server_answers() -> None:
    told = [
        (int(status), error or None)
        for status, error in re.findall(
            r"(?m)^\| (\d{3})[^|`]*(?:`(\w+)`)?[^|]* \| [^|]+ \|$", section("What is refused")
        )
    ]
    house = RegistrationHouse()
    met = [await _met(house, name) for name in _REFUSALS]
    assert sorted(told, key=str) == sorted(((status, error) for status, error in met), key=str)


_REFUSALS: Final = ("nothing", "token", "forged", "stranger", "redirect", "metadata", "revoked", "many")


async def _met(house: RegistrationHouse, case: str) -> tuple[int, str | None]:
    """The answer that one row of the table is about."""
    agent = house.registrant(seed=len(case))
    if case == "revoked":
        await agent.registered(statement=None, token=house.token(), **agent.described())
        house.store.suspend("token:invitation")
        answer = await agent.manage("PUT", agent.replacement())
    elif case == "many":
        house.trust(clients_per_day=1)
        await agent.registered()
        answer = await agent.register()
        assert int(answer.headers["retry-after"]) > 0
    else:
        answer = await agent.register(**_lie(house, agent, case))
    if case == "nothing":
        assert "error=" not in answer.headers["www-authenticate"]
    return answer.status_code, None if case in {"nothing", "many"} else answer.json()["error"]


def _lie(house: RegistrationHouse, agent: Registrant, case: str) -> dict[str, Any]:
    stranger = SoftwareAuthority("https://stranger.example")
    lies: dict[str, dict[str, Any]] = {
        "nothing": {"statement": None},
        "token": {"statement": None, "token": "x" * 43, **agent.described()},
        "forged": {"statement": house.authority.signed(agent.claims(), key=PeerKey.es256(seed=9))},
        "stranger": {"statement": stranger.signed(agent.claims(iss=stranger.issuer))},
        "redirect": {"redirect_uris": ["https://elsewhere.example/callback"]},
        "metadata": {"client_name": "Somebody else"},
    }
    return lies[case]
