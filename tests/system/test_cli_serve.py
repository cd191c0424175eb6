"""`fapi-as serve` as an operator sees it: addresses when it is ready, changes seen at once, a clean end on SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.processes import free_port


class Server:
    """A real server with two workers in a scratch directory after `init --dev`."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.issuer = f"https://localhost:{self.port}"
        self.line = CommandLine(directory=directory)
        assert self.line.run("init", "--dev", "--issuer", self.issuer).code == 0
        self.log = (directory / "server.log").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fapi_as", "serve", "--workers", "2"],
            cwd=directory,
            env={name: value for name, value in os.environ.items() if not name.startswith("FAPI_AS__")},
            stdout=subprocess.PIPE,
            stderr=self.log,
        )
        assert self.process.stdout is not None
        self.said = [self.process.stdout.readline().decode().strip() for _ in range(3)]
        self.trust = ssl.create_default_context(cafile=str(directory / "certs/ca.pem"))

    def get(self, path: str) -> tuple[int, Any]:
        connection = HTTPSConnection("localhost", self.port, context=self.trust, timeout=20)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def logged(self) -> list[dict[str, Any]]:
        self.log.seek(0)
        return [json.loads(line) for line in self.log.read().splitlines()]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("serve"))
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()
    assert running.process.stdout is not None
    running.process.stdout.close()
    running.log.close()


def test_it_prints_its_addresses_when_it_answers_and_ends_cleanly_on_sigterm(server: Server) -> None:
    metadata_url = f"{server.issuer}/.well-known/oauth-authorization-server"
    mutual_tls_url = f"https://localhost:{server.port + 1}"
    assert server.said == [f"serving {url}" for url in (server.issuer, metadata_url, mutual_tls_url)]
    status, metadata = server.get("/.well-known/oauth-authorization-server")
    assert status == 200
    assert metadata["issuer"] == server.issuer
    assert metadata["token_endpoint"] == f"{server.issuer}/token"

    before = {key["kid"] for key in server.get("/jwks")[1]["keys"]}
    following = server.line.json("keys", "rotate")["kid"]
    for _ in range(8):  # whichever worker answers
        assert {key["kid"] for key in server.get("/jwks")[1]["keys"]} == before | {following}

    assert server.stop() == 0
    assert all(line["level"] in {"info", "warning"} for line in server.logged()), server.logged()
