"""`fapi-as init`: a configuration that loads, a key that nobody else reads, and nothing overwritten."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import click
import pytest

from fapi_as.adapters.keys import UnusableAuthorityKey, read_sealing_key
from fapi_as.commands.development_authority import AUTHORITY_FILE, KEY_FILE, ensure_development_authority
from fapi_as.settings import Settings, load
from tests.support.command_line import CommandLine


def test_init_writes_a_configuration_that_loads_with_the_hardened_defaults(place: CommandLine) -> None:
    loaded = load(place.config, {})
    assert loaded.server.issuer == "https://localhost:8443"
    assert loaded.server.port == 8443
    bare = load(None, {"FAPI_AS__SERVER__ISSUER": "https://localhost:8443"})
    assert (loaded.lifetimes, loaded.dpop, loaded.logging) == (bare.lifetimes, bare.dpop, bare.logging)


def test_the_configuration_names_every_setting_with_the_value_that_holds(place: CommandLine) -> None:
    text = re.sub(r"(?m)^#(?=[a-z_]+ = )", "", place.config.read_text(encoding="utf-8"))
    place.config.write_text(text, encoding="utf-8")
    loaded = load(place.config, {})
    bare = load(place.directory / "bare.toml", {}) if _bare(place.directory) else None
    assert loaded == bare
    for section, field in Settings.model_fields.items():
        assert f"[{section}]" in text
        for key in field.annotation.model_fields:  # type: ignore[union-attr]
            assert re.search(rf"(?m)^(# )?{key} = ", text)  # behind "# " what holds without a value


def _bare(directory: Path) -> bool:
    (directory / "bare.toml").write_text('[server]\nissuer = "https://localhost:8443"\n', encoding="utf-8")
    return True


def test_the_sealing_key_is_fresh_and_for_its_owner_only(place: CommandLine, tmp_path: Path) -> None:
    path = place.directory / "sealing.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = CommandLine(directory=tmp_path / "other")
    assert other.run("init").code == 0
    assert read_sealing_key(path) != read_sealing_key(other.directory / "sealing.key")


def test_the_issuer_and_its_port_are_taken_over(tmp_path: Path) -> None:
    line = CommandLine(directory=tmp_path)
    assert line.run("init", "--issuer", "https://as.example:9443").code == 0
    loaded = load(line.config, {})
    assert (loaded.server.issuer, loaded.server.port) == ("https://as.example:9443", 9443)


def test_an_issuer_that_may_not_be_one_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    line = CommandLine(directory=tmp_path)
    assert line.refused("init", "--issuer", "http://as.example") == (
        "the issuer must begin with https:// (RFC 8414, section 2)"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", ["fapi-as.toml", "sealing.key"])
def test_init_overwrites_nothing(place: CommandLine, kept: str) -> None:
    for name in {"fapi-as.toml", "sealing.key", "fapi-as.db"} - {kept}:
        (place.directory / name).unlink()
    before = (place.directory / kept).read_bytes()
    assert place.refused("init").endswith(f"{kept} exists already and is not overwritten; nothing was changed")
    assert [path.name for path in place.directory.iterdir()] == [kept]
    assert (place.directory / kept).read_bytes() == before


def test_init_dev_writes_certificates_that_the_configuration_names(tmp_path: Path) -> None:
    line = CommandLine(directory=tmp_path)
    done = line.run("init", "--dev")
    assert done.code == 0, done.err
    server = load(line.config, {}).server
    assert server.certificate_file == tmp_path / "certs/authorization-server.pem"
    assert server.private_key_file == tmp_path / "certs/authorization-server.key"
    assert (tmp_path / "certs/ca.pem").is_file()
    assert stat.S_IMODE(server.private_key_file.stat().st_mode) == 0o600
    authority = line.json("trust", "list")[0]
    assert authority["jwks"] == json.loads((tmp_path / "development-authority.json").read_text())["jwks"]
    assert line.run("statement", "issue", "--software-id", "agent").code == 0
    before = server.certificate_file.read_bytes()
    assert "kept: " in line.run("init", "--dev", "--only-certificates").out
    assert server.certificate_file.read_bytes() == before


def test_init_dev_trusts_no_authority_that_somebody_else_can_sign_for(tmp_path: Path) -> None:
    stranger, _ = ensure_development_authority(_made(tmp_path / "stranger"))
    line = CommandLine(directory=_made(tmp_path / "shared"))
    (line.directory / AUTHORITY_FILE).write_text(json.dumps(stranger), encoding="utf-8")
    assert "names other keys than" in line.run("init", "--dev").err
    assert line.json("trust", "list") == []


@pytest.mark.parametrize("name", [AUTHORITY_FILE, KEY_FILE])
def test_init_dev_writes_through_no_link(tmp_path: Path, name: str) -> None:
    directory = _made(tmp_path / "shared")
    (directory / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises((click.ClickException, UnusableAuthorityKey)):
        ensure_development_authority(directory)
    assert not (tmp_path / "elsewhere").exists()


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_init_without_dev_trusts_nobody(place: CommandLine) -> None:
    assert place.json("trust", "list") == []
    assert not list(place.directory.glob("development-authority*"))


def test_a_database_is_made_by_init_alone_and_one_that_is_there_stays(place: CommandLine) -> None:
    database = place.directory / "fapi-as.db"
    place.json("user", "add", "alice", "--password-stdin", stdin="correct horse battery staple")
    kept = place.run("init", "--only-database")
    assert (kept.code, kept.out) == (0, f"kept: {database}\n")
    assert place.json("user", "list")
    database.unlink()  # lost, or another disk is not mounted
    for command in (["user", "list"], ["audit", "tail"], ["keys", "list"], ["client", "list"], ["keys", "rotate"]):
        assert place.refused(*command) == (
            f"the database {database} does not exist; fapi-as init --only-database makes an empty one"
        )
    assert not database.exists()
    assert place.run("init", "--only-database").out == f"written: {database}\n"
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    assert place.run("user", "list").code == 0
    assert place.run("init", "--dev", "--only-database").code == 2


def test_only_certificates_needs_dev(tmp_path: Path) -> None:
    assert CommandLine(directory=tmp_path).run("init", "--only-certificates").code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    line = CommandLine(directory=tmp_path / "file")
    assert line.run("init").code == 1
