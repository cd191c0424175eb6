"""What `--help` costs and says: every command, with the options that all of them have."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fapi_as.commands.group import cli

HEAVY = ("quart", "sqlmodel", "sqlalchemy", "pydantic", "hypercorn", "cryptography", "rich", "asyncio")


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(_commands(cli))


def test_help_takes_less_than_four_tenths_of_a_second_of_cpu() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "fapi_as", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "Usage: fapi-as" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.4


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from fapi_as.commands.group import cli; cli(['--help'], standalone_mode=False); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_commands_are_those_of_the_manual() -> None:
    assert {" ".join(path) for path in COMMANDS} == {
        "init",
        "serve",
        "check-config",
        *(f"client {verb}" for verb in ("add", "list", "show", "disable", "enable", "remove")),
        *(f"user {verb}" for verb in ("add", "passwd", "list", "disable", "enable", "remove")),
        *(f"resource {verb}" for verb in ("add", "list", "show", "remove")),
        *(f"trust {verb}" for verb in ("add", "list", "show", "suspend", "resume", "remove")),
        *(f"statement {verb}" for verb in ("issue", "revoke", "reinstate", "list")),
        *(f"registration-token {verb}" for verb in ("issue", "list", "revoke")),
        *(f"keys {verb}" for verb in ("list", "rotate", "remove")),
        "audit tail",
        "explain",
        *(f"agent {verb}" for verb in ("login", "register", "call", "token", "trace")),
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_and_the_configuration_file(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, [*path, "--help"])
    assert done.exit_code == 0
    assert "--config" in done.stdout
    assert COMMANDS[path].help


@pytest.mark.parametrize("path", [path for path in COMMANDS if path[0] not in {"init", "serve"}], ids=" ".join)
def test_every_command_that_prints_data_prints_json_when_asked(path: tuple[str, ...]) -> None:
    assert "--json" in CliRunner().invoke(cli, [*path, "--help"]).stdout


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["client", "add"], ["serve", "--workers", "0"], ["agent", "call"], ["init", "--bad"]]
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2
    assert done.stdout == ""


def test_the_console_script_is_the_module() -> None:
    script = Path(sys.executable).with_name("fapi-as")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "Usage: fapi-as" in done.stdout
