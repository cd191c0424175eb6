"""Wrong configuration is caught at start: one sentence on stderr, exit code 1, nothing served.

Every case is played in this process, where a start costs little, and those that an operator meets first are played
with the real command, too.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fapi_as import bootstrap
from fapi_as.adapters.entropy import SystemEntropy
from fapi_as.adapters.keys import write_sealing_key
from fapi_as.protocol.audit_events import Stamp
from fapi_as.settings import load
from tests.support.command_line import CommandLine

Spoil = Callable[[Path], dict[str, str] | None]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as after `init --dev`."""
    directory = tmp_path_factory.mktemp("prepared")
    _fapi_as("init", "--dev", directory=directory, check=True)
    return directory


@pytest.fixture
def place(prepared: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "place"
    shutil.copytree(prepared, directory)  # modes are kept
    return directory


def _fapi_as(
    *arguments: str, directory: Path, environ: dict[str, str] | None = None, check: bool = False
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fapi_as", *arguments],
        cwd=directory,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=check,
    )


def _sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("Error: ").rstrip("\n")


def _configured(old: str, new: str) -> Spoil:
    def spoil(directory: Path) -> None:
        file = directory / "fapi-as.toml"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    return spoil


def _environment(name: str, value: str) -> Spoil:
    return lambda _: {name: value}


def _removed(name: str) -> Spoil:
    return lambda directory: (directory / name).unlink()


def _mode(name: str, mode: int) -> Spoil:
    return lambda directory: (directory / name).chmod(mode)


def _another_sealing_key(directory: Path) -> None:
    stamp = Stamp(at=1, correlation_id="start", endpoint="fapi-as serve", source="uid:0")
    bootstrap.prepare(load(directory / "fapi-as.toml", {}), stamp)
    (directory / "sealing.key").unlink()
    write_sealing_key(directory / "sealing.key", SystemEntropy())


def _damaged(directory: Path) -> None:
    (directory / "fapi-as.db").write_bytes(b"this is no database at all" * 100)


def _a_directory(directory: Path) -> None:
    (directory / "fapi-as.db").unlink()
    (directory / "fapi-as.db").mkdir()


def _proxied(networks: list[str], secret: str, mode: int) -> Spoil:
    def spoil(directory: Path) -> None:
        file = directory / "proxy.secret"
        file.write_text(secret, encoding="utf-8")
        file.chmod(mode)
        text = f'[mtls]\nclient_cert_header = true\nproxy_networks = {networks}\nproxy_secret_file = "proxy.secret"\n'
        _configured("[mtls]\n", text)(directory)

    return spoil


REFUSALS: dict[str, tuple[Spoil, str]] = {
    "an http issuer": (
        _configured('"https://localhost:8443"', '"http://localhost:8443"'),
        "server.issuer must begin with https://",
    ),
    "an issuer with a slash": (
        _configured('"https://localhost:8443"', '"https://localhost:8443/"'),
        "server.issuer must not end with a slash",
    ),
    "a lifetime above its ceiling": (
        _configured("#access_token = 300", "access_token = 900"),
        "lifetimes.access_token is 900 seconds, above its ceiling of 600 seconds (DPOP-AS-17, AT-15)",
    ),
    "a lifetime above its ceiling in the environment": (
        _environment("FAPI_AS__LIFETIMES__AUTHORIZATION_CODE", "61"),
        "FAPI_AS__LIFETIMES__AUTHORIZATION_CODE is 61 seconds, above its ceiling of 60 seconds (FAPI2-AS-13)",
    ),
    "a missing sealing key": (_removed("sealing.key"), "sealing.key cannot be read"),
    "a world-readable sealing key": (_mode("sealing.key", 0o604), "sealing.key can be read by others"),
    "a group-readable sealing key": (_mode("sealing.key", 0o640), "sealing.key can be read by others"),
    "a world-readable TLS key": (
        _mode("certs/authorization-server.key", 0o644),
        "authorization-server.key can be read by others",
    ),
    "another sealing key": (_another_sealing_key, "another sealing key"),
    "a database in a directory that is not there": (
        _configured('#url = "sqlite:///fapi-as.db"', 'url = "sqlite:///none/fapi-as.db"'),
        "none/fapi-as.db cannot be created",
    ),
    "a damaged database": (_damaged, "fapi-as.db"),
    "a directory as database": (_a_directory, "fapi-as.db"),
    "a database of another engine": (
        _configured('#url = "sqlite:///fapi-as.db"', 'url = "postgresql://as:hunter2@db/as"'),
        "database.url names the engine postgresql, for which there is no store yet",
    ),
    "a misspelt key": (_configured("host =", "hots ="), "server.hots is not a setting; did you mean server.host?"),
    "a misspelt environment variable": (
        _environment("FAPI_AS__SERVER__PROT", "8443"),
        "the environment variable FAPI_AS__SERVER__PROT names no setting; did you mean FAPI_AS__SERVER__PORT?",
    ),
    "a missing certificate": (_removed("certs/authorization-server.pem"), "server.certificate_file"),
    "a missing TLS key": (_removed("certs/authorization-server.key"), "server.private_key_file"),
    "a key of another certificate": (
        _configured("certs/authorization-server.key", "certs/mcp-server.key"),
        "do not belong together",
    ),
    "a value of another type": (_configured("port = 8443", 'port = "8443"'), "server.port must be a whole number"),
    "a header of nobody": (
        _configured("[mtls]\n", "[mtls]\nclient_cert_header = true\n"),
        "mtls.client_cert_header is on and nobody is trusted",
    ),
    "a header of whoever has an address": (
        _configured("[mtls]\n", '[mtls]\nclient_cert_header = true\nproxy_networks = ["10.0.0.7/32"]\n'),
        "mtls.client_cert_header: an address alone is no proof",
    ),
    "a header of everybody who knows a secret": (
        _proxied(["0.0.0.0/0"], "what-the-proxy-knows-and-nobody-else-does", 0o600),
        "mtls.client_cert_header: a network of everybody names no proxy",
    ),
    "a header of whoever guesses": (_proxied(["10.0.0.7/32"], "hunter2", 0o600), "needs 32 bytes"),
    "a secret of the proxy that others can read": (
        _proxied(["10.0.0.7/32"], "what-the-proxy-knows-and-nobody-else-does", 0o640),
        "proxy.secret can be read by others",
    ),
    "a proxy that is named and not asked": (
        _configured("[mtls]\n", '[mtls]\nproxy_networks = ["10.0.0.7/32"]\n'),
        "mtls.client_cert_header or mtls.enabled is off",
    ),
    "one address for both": (_configured("port = 8444", "port = 8443"), "mtls.url is the issuer"),
    "a missing certificate of the second address": (
        _configured("[mtls]\n", '[mtls]\ncertificate_file = "none.pem"\nprivate_key_file = "none.key"\n'),
        "mtls.certificate_file",
    ),
    "a TLS key of the second address that others can read": (
        lambda directory: (
            _mode("certs/mcp-server.key", 0o644)(directory),
            _configured(
                "[mtls]\n",
                '[mtls]\ncertificate_file = "certs/mcp-server.pem"\nprivate_key_file = "certs/mcp-server.key"\n',
            )(directory),
        )[1],
        "mtls.private_key_file",
    ),
    "no configuration": (_removed("fapi-as.toml"), "fapi-as.toml does not exist; fapi-as init writes one"),
}


ALSO_REAL = (
    "a header of nobody",
    "an http issuer",
    "a lifetime above its ceiling",
    "a missing sealing key",
    "a world-readable sealing key",
    "a world-readable TLS key",
    "a database in a directory that is not there",
    "a misspelt key",
    "a misspelt environment variable",
)


@pytest.fixture
def taken_port() -> Iterator[int]:
    """So that a start that is not refused ends at once, and not in a server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level


@pytest.mark.parametrize("spoilt", REFUSALS)
@pytest.mark.parametrize("command", ["serve", "check-config"])
@pytest.mark.usefixtures("_logging_restored")
def test_the_start_is_refused_with_one_sentence_for(place: Path, command: str, spoilt: str, taken_port: int) -> None:
    spoil, expected = REFUSALS[spoilt]
    environ = {"FAPI_AS__SERVER__PORT": str(taken_port)} if spoilt != "a value of another type" else {}
    environ |= spoil(place) or {}
    done = CommandLine(directory=place).run(command, environ=environ)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1, done.err
    assert expected in done.err
    assert "hunter2" not in done.err


@pytest.mark.parametrize("spoilt", ALSO_REAL)
def test_the_real_command_ends_without_a_traceback_for(place: Path, spoilt: str) -> None:
    spoil, expected = REFUSALS[spoilt]
    assert expected in _sentence(_fapi_as("serve", directory=place, environ=spoil(place)))


def _contents(place: Path) -> dict[Path, bytes]:
    """Every file; what SQLite keeps beside a database for its readers is none of ours."""
    return {path: path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file() and "-" not in path.suffix}


def test_a_good_configuration_passes_the_check_and_is_left_as_it_was(place: Path) -> None:
    before = _contents(place)
    done = _fapi_as("check-config", "--json", directory=place)
    assert done.returncode == 0, done.stderr
    assert '"access_token": 300' in done.stdout
    assert _contents(place) == before


def test_a_port_that_is_taken_is_one_sentence(place: Path, taken_port: int) -> None:
    done = _fapi_as("serve", directory=place, environ={"FAPI_AS__SERVER__PORT": str(taken_port)})
    assert "cannot listen on 127.0.0.1" in _sentence(done)
