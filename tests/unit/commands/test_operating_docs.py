"""The operator's manuals do what they say: their files are accepted and their commands run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from fapi_as import bootstrap
from fapi_as.adapters.clock import SystemClock
from fapi_as.adapters.tls.dev_certificates import ensure_dev_certificates
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.resource_registration import parse_resource
from fapi_as.settings import Settings, load
from tests.support.command_line import CommandLine

DOCS = Path(__file__).resolve().parents[3] / "docs"


def _blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text)


def test_the_configuration_of_the_manual_loads(tmp_path: Path) -> None:
    (tmp_path / "fapi-as.toml").write_text(_blocks("configuration.md", "toml")[0], encoding="utf-8")
    assert load(tmp_path / "fapi-as.toml", {}).server.issuer == "https://as.example"


def test_the_manual_names_every_setting_with_its_default() -> None:
    rows = dict(
        re.findall(
            r"(?m)^\| `([a-z_]+\.[a-z_]+)` \| ([^|]+?) \|", (DOCS / "configuration.md").read_text(encoding="utf-8")
        )
    )
    defaults = {
        f"{section}.{key}": info.default
        for section, field in Settings.model_fields.items()
        for key, info in field.annotation.model_fields.items()  # type: ignore[union-attr]
    }
    assert set(rows) == set(defaults)
    for name, default in defaults.items():
        if name != "server.issuer":
            assert rows[name] == _written(default, rows[name]), name


def _written(default: object, told: str) -> str:
    """A default as the manual writes it; what stands for none is told in words."""
    if default is None:
        assert "`" not in told
        return told
    if isinstance(default, tuple):
        return f"`{list(default)}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def test_the_client_and_the_resource_of_the_manual_may_be_registered() -> None:
    client, resource = (json.loads(block) for block in _blocks("files.md", "json"))
    parse_client(client, client_id=client["client_id"], version=1)
    parse_resource(resource, version=1)


def test_the_commands_of_the_manual_run_in_the_order_of_the_manual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client, resource = _blocks("files.md", "json")
    policy = re.findall(
        r"(?ms)`policy.json`:\n\n```json\n(.*?)^```", (DOCS / "register-an-agent.md").read_text("utf-8")
    )[0]
    authority = next(block for block in _blocks("register-an-agent.md", "json") if '"issuer"' in block)
    for name, text in {
        "policy.json": policy,
        "authority.json": authority,
        "client.json": client,
        "resource.json": resource,
        "password.txt": "correct horse battery staple\n",
        "other-password.txt": "an entirely different one\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    line = CommandLine(directory=tmp_path)
    for text in "".join(_blocks("operate.md", "console")).splitlines():
        _run(line, text.removeprefix("$ "))


def _run(line: CommandLine, text: str) -> None:
    words = shlex.split(text)
    if words[0] == "$EDITOR":
        made = ensure_dev_certificates(line.directory / "made", SystemClock().now()).authorization_server
        shutil.copy(made.certificate, line.directory)
        shutil.copy(made.private_key, line.directory)
    elif words[:2] == ["fapi-as", "serve"]:
        # what it does before workers start; the system tests start real ones
        stamp = Stamp(at=SystemClock().now(), correlation_id="start", endpoint="fapi-as serve", source="uid:0")
        bootstrap.prepare(load(line.config, {}), stamp)
    else:
        stdin = None
        if "<" in words:
            stdin = (line.directory / words[-1]).read_text(encoding="utf-8")
            words = words[: words.index("<")]
        done = line.run(*words[1:], stdin=stdin)
        assert done.code == 0, f"{text}: {done.err}"
