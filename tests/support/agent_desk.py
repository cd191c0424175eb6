"""A machine on which an agent is used by hand: real servers, a person at a browser, and `fapi-as agent` in processes.

The processes may import what the extra `[agent]` brings, and nothing else that happens to be installed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from packaging.requirements import Requirement

from tests.support.authorization_server import AuthorizationServer, authorization_server
from tests.support.peer_keys import PeerKey
from tests.support.processes import ROOT, free_port, start, wait_until

NATIVE: Final = "desk-agent"
MACHINE: Final = "night-agent"
ALLOWED: Final = "accounts:read"
MORE: Final = "payments:write"

# runs `fapi-as` where nothing but the extra is installed: every other name is as good as missing
ALONE: Final = """
import json, os, sys

class Missing:
    names = frozenset(json.loads(os.environ["NOT_INSTALLED"]))
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from fapi_as.__main__ import main
main()
"""


def not_installed(extra: str) -> list[str]:
    """The top-level modules in this environment that `pip install fapi-as[extra]` would not have brought."""
    brought: set[str] = set()
    todo = [("fapi-as", extra)]
    while todo:
        name, wanted = todo.pop()
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": wanted}):
                key = _normal(requirement.name)
                if key not in brought:
                    brought.add(key)
                    todo += [(key, one) for one in requirement.extras or {""}]
    return sorted(
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if module not in {"fapi_as", "rs_kit"} and not any(_normal(owner) in brought for owner in owners)
    )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(kw_only=True)
class Desk:
    """The servers, and an agent's directory with `fapi-agent.toml`."""

    server: AuthorizationServer
    directory: Path
    resource: str
    environment: Mapping[str, str]

    @property
    def authorities(self) -> Path:
        return self.server.directory / "certs" / "ca.pem"

    @property
    def store(self) -> Path:
        return self.directory / "tokens"

    @property
    def seen(self) -> str:
        """The page that the person's browser showed in the end, after its status."""
        page = self.directory.parent / "seen"
        wait_until(page.exists, 20, "the page after the sign-in")
        return page.read_text(encoding="utf-8")

    def agent(self, *arguments: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `fapi-as agent ARGUMENTS` in the agent's directory."""
        return subprocess.run(
            [sys.executable, "-c", ALONE, "agent", *arguments],
            cwd=self.directory,
            env={**self.environment, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    def document(self, *arguments: str) -> Any:
        """Run a command that must go well and give its JSON."""
        done = self.agent(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, *arguments: str, **environment: str) -> str:
        """Run a command that must be refused and give its one sentence."""
        done = self.agent(*arguments, **environment)
        assert done.returncode == 1, done.stdout + done.stderr
        sentences = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert len(sentences) == 1, done.stderr
        assert "Traceback" not in done.stderr
        return sentences[0].removeprefix("Error: ")

    def as_machine(self) -> tuple[str, ...]:
        """The options of the agent that acts for itself."""
        return ("--client-id", MACHINE, "--grant-type", "client_credentials", "--store", str(self.directory / "night"))


@contextlib.contextmanager
def desk(directory: Path) -> Iterator[Desk]:
    """Everything running and registered, and nobody signed in."""
    place = directory / "agent"
    for made in (directory / "as", directory / "bank", place):
        made.mkdir()
    with authorization_server(directory / "as", workers=2) as server:
        resource = f"https://localhost:{free_port()}/mcp"
        _register(server, resource, place)
        with _bank(server, resource, directory / "bank"):
            authorities = server.directory / "certs" / "ca.pem"
            members = {"resource": resource, "issuer": server.issuer, "client_id": NATIVE, "key": "key.pem"}
            members |= {"kid": "desk", "ca": str(authorities), "scope": ALLOWED, "store": "tokens"}
            text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in members.items())
            (place / "fapi-agent.toml").write_text(text, encoding="utf-8")
            environment = {
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "NOT_INSTALLED": json.dumps(not_installed("agent")),
                "BROWSER": f"{sys.executable} -m tests.support.person {authorities} {directory / 'seen'} %s",
            }
            yield Desk(server=server, directory=place, resource=resource, environment=environment)


def _register(server: AuthorizationServer, resource: str, place: Path) -> None:
    key = PeerKey.es256()
    file = place / "key.pem"
    file.touch(0o600)
    file.write_bytes(key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    common: dict[str, Any] = {"token_endpoint_auth_method": "private_key_jwt", "scope": f"{ALLOWED} {MORE}"}
    common |= {"jwks": {"keys": [key.jwk(kid="desk")]}}
    native = {
        "client_id": NATIVE,
        "client_name": "Desk agent",
        "application_type": "native",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
    }
    machine = {"client_id": MACHINE, "client_name": "Night agent", "grant_types": ["client_credentials"]}
    bank: dict[str, Any] = {"resource": resource, "resource_name": "Demo bank", "refresh_tokens": True}
    bank["scopes"] = {ALLOWED: "See your balances", MORE: "Move money"}
    server.commands.json("resource", "add", "-", stdin=json.dumps(bank))
    server.commands.json("client", "add", "-", stdin=json.dumps({**common, **native}))
    server.commands.json("client", "add", "-", stdin=json.dumps({**common, **machine}))


@contextlib.contextmanager
def _bank(server: AuthorizationServer, resource: str, directory: Path) -> Iterator[None]:
    certificates = server.directory / "certs"
    options = {
        "--resource": resource,
        "--issuer": server.issuer,
        "--ca": str(certificates / "ca.pem"),
        "--certificate": str(certificates / "mcp-server.pem"),
        "--private-key": str(certificates / "mcp-server.key"),
    }
    arguments = [word for option in options.items() for word in option]
    running = start([sys.executable, str(ROOT / "docs/examples/mcp_server.py"), *arguments], directory)
    metadata = resource.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")

    def answers() -> bool:
        assert running.process.poll() is None, running.errors
        try:
            trust: ssl.SSLContext = server.trust
            with urllib.request.urlopen(metadata, context=trust, timeout=5) as response:
                return bool(response.status == 200)
        except (URLError, ConnectionError):
            return False

    try:
        wait_until(answers, 30, "the MCP server")
        yield
    finally:
        running.stop()
