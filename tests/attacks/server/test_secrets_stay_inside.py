"""After the life of a real server: no secret in what it wrote, no person in what it says, no key where others look."""

from __future__ import annotations

import base64
import json
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.authorization_server import PASSWORD, USERNAME, AuthorizationServer, register
from tests.support.browser import parse_page
from tests.support.fapi_client import FapiClient, Refused
from tests.support.peer_keys import PeerKey
from tests.support.processes import descendants, running
from tests.support.server_oracles import of_response
from tests.support.token_scene import claims_of

pytestmark = pytest.mark.xdist_group("secrets-stay-inside")
WRONG_PASSWORD = "hunter2-that-was-typed-by-mistake"
USER_AGENT = "Mozilla/5.0 (a browser that tells who sits in front of it)"
PROFILE = {
    *("iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti", "cnf"),
    *("authorization_id", "auth_time", "acr"),
}


@dataclass(kw_only=True)
class Life:
    """A server that was used in every way, and what only its peers may know."""

    server: AuthorizationServer
    secrets: set[bytes] = field(default_factory=set)
    tokens: list[str] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)

    async def saw(self, response: httpx2.Response) -> None:
        """Every answer; errors and error pages are kept."""
        await response.aread()
        exchange = of_response(response)
        self.secrets.update(secret.encode() for secret in exchange.secrets() if len(secret) >= 20)
        if exchange.is_refusal:
            self.errors.append(exchange.body)
            return
        for form in parse_page(response).forms if b"<form" in exchange.body else []:
            self.secrets.update(control.value.encode() for control in form.controls if control.name == "csrf_token")

    def written(self) -> dict[str, bytes]:
        """Everything that the server left: its logs, its files, what its commands print of it, and its errors."""
        directory, commands = self.server.directory, self.server.commands
        files = {
            str(path.relative_to(directory)): path.read_bytes()
            for path in directory.rglob("*")
            if path.is_file() and path.suffix != ".key" and "certs" not in path.parts
        }
        audit = json.dumps(commands.json("audit", "tail", "--limit", "1000"))
        return files | {
            "the log": self.server.server.errors.encode(),
            "the output": self.server.server.output.encode(),
            "the audit": audit.encode(),
            "clients": json.dumps(commands.json("client", "list")).encode(),
            "users": json.dumps(commands.json("user", "list")).encode(),
            "keys": json.dumps(commands.json("keys", "list")).encode(),
            "errors": b"\n".join(self.errors),
        }

    def processes(self) -> list[int]:
        """The supervisor and its workers."""
        pid = self.server.server.process.pid
        return [pid, *descendants(pid)]


def found_in(life: Life, written: dict[str, bytes]) -> list[tuple[str, bytes]]:
    """Where a secret lies open."""
    return [(name, secret) for name, content in written.items() for secret in life.secrets if secret in content]


async def _live(life: Life) -> None:
    async with life.server.http() as http:
        http.headers["user-agent"] = USER_AGENT
        http.event_hooks["response"].append(life.saw)
        client = life.server.client(http)
        tokens = await client.obtain(username=USERNAME, password=PASSWORD)
        renewed = await client.refresh(tokens.refresh_token or "")
        own = await client.client_credentials()
        life.tokens += [tokens.access_token, renewed.access_token, own.access_token]
        await _misuse(client)
        life.secrets |= {life.server.client_keys["agent-0"].private_jwk()["d"].encode()}
        life.secrets |= {client.dpop_key.private_jwk()["d"].encode(), PASSWORD.encode(), WRONG_PASSWORD.encode()}
    sealing_key = (life.server.directory / "sealing.key").read_bytes().strip()
    life.secrets |= {sealing_key, base64.b64decode(sealing_key + b"==", altchars=b"-_")}


async def _misuse(client: FapiClient) -> None:
    pushed = await client.push()
    fresh = FapiClient(client.http, **_identity(client))
    await fresh.visit(await fresh.push(), username=USERNAME, password=WRONG_PASSWORD)
    done = await client.authorize(pushed, username=USERNAME, password=PASSWORD)
    with client.lying(form={"code_verifier": "w" * 43}), pytest.raises(Refused):
        await client.redeem(done, pushed)
    await client.redeem(done, pushed)
    for build in (
        lambda: client.redeem(done, pushed),
        lambda: client.refresh("not-a-refresh-token-of-this-server"),
    ):
        with pytest.raises(Refused):
            await build()
    with client.lying(assertion_key=PeerKey.es256()), pytest.raises(Refused):
        await client.client_credentials()


def _identity(client: FapiClient) -> dict[str, Any]:
    names = ("issuer", "client_id", "client_key", "resource", "scope", "redirect_uri")
    return {name: getattr(client, name) for name in names}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    directory = tmp_path_factory.mktemp("secrets")
    registered = register(directory)
    registered.commands.change('#level = "info"', 'level = "debug"')
    with running(registered.serving(2), directory) as server:
        yield registered.running(server)


@pytest.fixture
async def life(place: AuthorizationServer) -> Life:
    life = Life(server=place)
    await _live(life)
    return life


# --- LOG-02


@pytest.mark.attack("LOG-02")
async def test_no_secret_that_was_used_lies_in_anything_that_the_server_wrote(life: Life) -> None:
    assert len(life.secrets) > 20
    written = life.written()
    assert {"fapi-as.db", "the log", "the audit"} <= written.keys()
    assert all(written[name] for name in ("fapi-as.db", "the log", "the audit", "errors"))
    assert found_in(life, written) == []


@pytest.mark.attack("LOG-02")
async def test_a_secret_that_lay_in_a_file_or_a_line_would_be_found(life: Life) -> None:
    written = life.written()
    for secret in life.secrets:
        planted = written | {"planted": b"... " + secret + b" ..."}
        assert ("planted", secret) in found_in(life, planted)


# --- LOG-13


@pytest.mark.attack("LOG-13")
async def test_a_token_says_nothing_of_a_person_but_the_profile(life: Life) -> None:
    for token in life.tokens:
        claims = claims_of(token)
        assert claims.keys() <= PROFILE
        assert USERNAME not in json.dumps(claims)
        assert "127.0.0.1" not in json.dumps(claims)


@pytest.mark.attack("LOG-13")
async def test_logs_know_no_person_and_the_audit_an_address_and_a_subject(life: Life) -> None:
    written = life.written()
    log = written["the log"].decode()
    assert log
    assert USERNAME not in log
    assert "127.0.0.1" not in log.replace("https://127.0.0.1", "")
    audit = json.loads(written["the audit"])
    assert not [fact for fact in audit if USERNAME in json.dumps(fact)]
    assert {fact["source"] for fact in audit if fact["endpoint"].startswith("/")} == {"127.0.0.1"}  # docs/operate.md
    everywhere = b"".join(written.values())
    assert USER_AGENT.encode() not in everywhere


# --- LOG-14


@pytest.mark.attack("LOG-14")
def test_no_process_dumps_its_memory_or_carries_a_key_where_others_look(place: AuthorizationServer) -> None:
    sealing_key = (place.directory / "sealing.key").read_bytes().strip()
    processes = Life(server=place).processes()
    assert len(processes) >= 3
    for pid in processes:
        proc = Path(f"/proc/{pid}")
        limits = (proc / "limits").read_text(encoding="ascii")
        (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"], core
        for name in ("environ", "cmdline"):
            assert sealing_key not in (proc / name).read_bytes()


@pytest.mark.attack("LOG-14")
def test_every_file_with_a_key_or_a_secret_is_for_its_owner_only(place: AuthorizationServer) -> None:
    private = [path for path in place.directory.rglob("*") if path.suffix == ".key" or ".db" in path.name]
    assert {"sealing.key", "authorization-server.key", "fapi-as.db"} <= {path.name for path in private}
    assert [str(path) for path in private if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


@pytest.mark.attack("LOG-14")
@pytest.mark.parametrize("name", ["sealing.key", "certs/authorization-server.key"])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_file_that_others_can_read_stops_the_start(
    place: AuthorizationServer, tmp_path: Path, name: str, mode: int
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(place.directory, copied, ignore=shutil.ignore_patterns("*.db*"))
    commands = type(place.commands)(directory=copied)
    assert commands.run("check-config").code == 0
    (copied / name).chmod(mode)
    done = commands.run("check-config")
    assert done.code == 1
    assert f"{Path(name).name} can be read by others, set its mode to 0600" in done.err


@pytest.mark.attack("LOG-14")
@pytest.mark.parametrize("name", ["FAPI_AS__KEYS__SEALING_KEY", "FAPI_AS__SERVER__PRIVATE_KEY"])
def test_there_is_no_variable_that_holds_a_key(
    place: AuthorizationServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "a key")
    done = place.commands.run("check-config")
    assert done.code == 1
    assert f"{name} names no setting" in done.err
