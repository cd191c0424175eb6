"""The composition root: what is refused before anything is served, what a worker serves, and what it does beside."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config

from fapi_as import bootstrap
from fapi_as.adapters.entropy import SystemEntropy
from fapi_as.adapters.keys import Keyring, KeyState, Sealing, UnusableSealingKey, read_sealing_key, write_sealing_key
from fapi_as.adapters.store import Database, Operators, UnusableDatabase
from fapi_as.adapters.store.engine import writing_engine
from fapi_as.adapters.tls.dev_certificates import ensure_dev_certificates
from fapi_as.adapters.web.asgi import Application
from fapi_as.protocol.audit_events import AuditEvent, Stamp
from fapi_as.protocol.errors import StorageUnavailable
from fapi_as.protocol.profile import REFUSALS_TOLD_PER_SOURCE
from fapi_as.settings import ConfigurationError, Settings, load
from tests.support.asgi_peer import Lifespan, call
from tests.support.fakes import NOW, FrozenClock

STAMP = Stamp(at=NOW, correlation_id="start", endpoint="fapi-as serve", source="uid:0")
DAY = 86_400


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    return ensure_dev_certificates(directory, NOW).authority.parent


@pytest.fixture
def settings(tmp_path: Path, certificates: Path) -> Settings:
    for name in ("authorization-server.pem", "authorization-server.key"):
        shutil.copy(certificates / name, tmp_path)
    write_sealing_key(tmp_path / "sealing.key", SystemEntropy())
    (tmp_path / "fapi-as.toml").write_text('[server]\nissuer = "https://as.example"\n', encoding="utf-8")
    return load(tmp_path / "fapi-as.toml", {})


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level


def _sealing(settings: Settings) -> Sealing:
    return Sealing(read_sealing_key(settings.keys.sealing_key_file))


def _keyring(settings: Settings, clock: FrozenClock) -> Any:
    return closing(Keyring.open(settings.database.url, sealing=_sealing(settings), clock=clock))


def test_preparing_twice_makes_one_key_of_each_algorithm(settings: Settings) -> None:
    bootstrap.prepare(settings, STAMP)
    bootstrap.prepare(settings, STAMP)
    with _keyring(settings, FrozenClock()) as keyring:
        keys = keyring.list("default")
    assert [key.state for key in keys] == [KeyState.ACTIVE] * 3
    assert {key.alg for key in keys} == {"ES256", "PS256", "Ed25519"}
    facts = Operators.open(settings.database.url, "default").audit()
    assert [fact.fact.event for fact in facts] == ["key.changed"] * 3


def test_inspecting_changes_nothing_before_and_after_the_first_start(settings: Settings, tmp_path: Path) -> None:
    bootstrap.inspect(settings)
    assert not settings.database.path.exists()
    bootstrap.prepare(settings, STAMP)
    before = settings.database.path.read_bytes()
    bootstrap.inspect(settings)
    assert settings.database.path.read_bytes() == before


def test_a_database_of_an_earlier_version_is_refused_by_commands_and_upgraded_by_the_start(settings: Settings) -> None:
    config = Config()
    config.set_main_option("script_location", "fapi_as.adapters.store:migrations")
    settings.database.path.touch()
    with writing_engine(settings.database.path).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    bootstrap.inspect(settings)
    with pytest.raises(UnusableDatabase, match=r"has schema 0001, .* fapi-as serve brings it there"):
        Operators.open(settings.database.url, "default")
    bootstrap.prepare(settings, STAMP)
    assert len(Operators.open(settings.database.url, "default").audit()) == 3


@pytest.mark.parametrize("judge", [bootstrap.inspect, lambda settings: bootstrap.prepare(settings, STAMP)])
class TestBothRefuse:
    def test_a_tls_key_that_others_can_read(self, settings: Settings, judge: Any) -> None:
        settings.server.private_key_file.chmod(0o640)
        with pytest.raises(
            ConfigurationError, match=r"private_key_file .* can be read by others, set its mode to 0600"
        ):
            judge(settings)

    @pytest.mark.parametrize("name", ["certificate_file", "private_key_file"])
    def test_a_missing_certificate_file(self, settings: Settings, judge: Any, name: str) -> None:
        getattr(settings.server, name).unlink()
        with pytest.raises(ConfigurationError, match=rf"server\.{name} .* does not exist"):
            judge(settings)

    def test_a_certificate_that_is_no_pem(self, settings: Settings, judge: Any) -> None:
        settings.server.certificate_file.write_text("nothing")
        with pytest.raises(ConfigurationError, match="no PEM files"):
            judge(settings)

    def test_a_sealing_key_of_another_database(self, settings: Settings, judge: Any) -> None:
        bootstrap.prepare(settings, STAMP)
        settings.keys.sealing_key_file.unlink()
        write_sealing_key(settings.keys.sealing_key_file, SystemEntropy())
        with pytest.raises(UnusableSealingKey, match="another sealing key"):
            judge(settings)

    def test_a_database_of_another_version(self, settings: Settings, judge: Any) -> None:
        bootstrap.prepare(settings, STAMP)
        with closing(sqlite3.connect(settings.database.path)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            connection.commit()
        with pytest.raises(UnusableDatabase):
            judge(settings)

    def test_a_directory_that_is_not_there(self, settings: Settings, judge: Any) -> None:
        elsewhere = settings.model_copy(
            update={"database": settings.database.model_copy(update={"url": "sqlite:////none/at/all.db"})}
        )
        with pytest.raises(UnusableDatabase):
            judge(elsewhere)


async def _get(application: Application, path: str) -> tuple[int, Any]:
    sent: list[Any] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"as.example")],
        "client": ("192.0.2.1", 50_000),
        "server": ("as.example", 443),
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body)


@pytest.mark.usefixtures("_logging_restored")
@pytest.mark.parametrize("made_by", ["worker", "application"])
async def test_a_worker_serves_the_metadata_of_the_settings_and_ends_cleanly(
    settings: Settings, tmp_path: Path, made_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap.prepare(settings, STAMP)
    monkeypatch.setattr(os, "environ", {})
    made = (
        bootstrap.worker(settings.model_dump_json())
        if made_by == "worker"
        else bootstrap.application(str(tmp_path / "fapi-as.toml"))
    )
    async with Lifespan(made):
        status, metadata = await _get(made, "/.well-known/oauth-authorization-server")
        assert (status, metadata["issuer"]) == (200, "https://as.example")
        status, jwks = await _get(made, "/jwks")
        assert (status, len(jwks["keys"])) == (200, 3)


@pytest.mark.usefixtures("_logging_restored")
async def test_a_worker_that_ends_writes_what_it_has_counted(settings: Settings) -> None:
    bootstrap.prepare(settings, STAMP)
    made = bootstrap.worker(settings.model_dump_json())
    sent = 2 * REFUSALS_TOLD_PER_SOURCE + 5  # more than two budgets, in case a minute ends in between
    async with Lifespan(made):
        for _ in range(sent):
            assert (await call(made, "POST", "/token", source="203.0.113.9")).status == 400
    facts = Operators.open(settings.database.url, "default").audit(limit=1000)
    told = [row for row in facts if row.fact.event is AuditEvent.REFUSED]
    counting = [row for row in facts if row.fact.event is AuditEvent.REFUSALS_COUNTED]
    assert len(told) + sum(int((row.fact.detail or "").split(" ")[0]) for row in counting) == sent
    assert {row.stamp.source for row in counting} == {"203.0.113.9"}


async def _ask_nobody(_: Stamp) -> None:
    """No authority is trusted."""


async def test_counts_that_cannot_be_written_at_the_end_are_told_to_the_log(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(_: int) -> None:
        raise StorageUnavailable("disk full")

    sealing = _sealing(settings)
    bootstrap.prepare(settings, STAMP)
    database = Database.open(settings.database.url, sealing=sealing)
    chores = bootstrap.Chores(
        settings=settings,
        sealing=sealing,
        database=database,
        holder="this worker",
        write_counts=full,
        ask_authorities=_ask_nobody,
    )
    with caplog.at_level(logging.ERROR, logger="fapi_as.chores"):
        await chores.end(FrozenClock())
    await database.close()
    assert [record.message for record in caplog.records] == ["counts of refusals are lost"]


def test_settings_reach_the_workers_as_they_are(settings: Settings) -> None:
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.usefixtures("_logging_restored")
def test_a_worker_without_a_prepared_database_does_not_start(settings: Settings) -> None:
    with pytest.raises(UnusableDatabase):
        bootstrap.worker(settings.model_dump_json())


@pytest.mark.usefixtures("_logging_restored")
def test_a_worker_that_finds_another_sealing_key_than_its_parent_does_not_start(settings: Settings) -> None:
    bootstrap.prepare(settings, STAMP)
    settings.keys.sealing_key_file.unlink()
    write_sealing_key(settings.keys.sealing_key_file, SystemEntropy())
    with pytest.raises(UnusableSealingKey, match="another sealing key"):
        bootstrap.worker(settings.model_dump_json())


@pytest.fixture
async def chores(settings: Settings) -> Any:
    bootstrap.prepare(settings, STAMP)
    sealing = _sealing(settings)
    database = Database.open(settings.database.url, sealing=sealing)
    counted: list[int] = []

    async def write_counts(now: int) -> None:
        counted.append(now)

    yield bootstrap.Chores(
        settings=settings,
        sealing=sealing,
        database=database,
        holder="this worker",
        write_counts=write_counts,
        ask_authorities=_ask_nobody,
    )
    assert counted  # by every worker, whoever leads
    await database.close()


async def test_authorities_are_asked_by_the_worker_that_leads_and_by_no_other(
    settings: Settings, chores: bootstrap.Chores
) -> None:
    asked: list[Stamp] = []

    async def ask(stamp: Stamp) -> None:
        asked.append(stamp)

    clock = FrozenClock()
    leading = replace(chores, ask_authorities=ask)
    other = replace(chores, ask_authorities=ask, holder="another worker")
    await leading.once(clock)
    await other.once(clock)
    assert asked == [
        Stamp(at=clock.now(), correlation_id="this worker", endpoint="authority status", source="fapi-as serve")
    ]


async def test_a_signing_key_is_followed_when_it_is_old_enough_and_only_once(
    settings: Settings, chores: bootstrap.Chores
) -> None:
    clock = FrozenClock()
    clock.advance(settings.keys.rotation_days * DAY - 1)
    await chores.once(clock)
    with _keyring(settings, clock) as keyring:
        assert [key.state for key in keyring.list("default")] == [KeyState.ACTIVE] * 3
        clock.advance(1)
        await chores.once(clock)
        clock.advance(settings.keys.jwks_max_age)  # by hand the next ones could sign now; the chore lets them wait
        await chores.once(clock)
        assert Counter((key.alg, key.state) for key in keyring.list("default")) == {
            (alg, state): 1 for alg in ("ES256", "PS256", "Ed25519") for state in (KeyState.ACTIVE, KeyState.NEXT)
        }
        clock.advance(DAY)
        await chores.once(clock)
        assert [key.state for key in keyring.list("default")] == [KeyState.ACTIVE] * 3


async def test_only_the_worker_that_leads_does_the_chores(settings: Settings, chores: bootstrap.Chores) -> None:
    clock = FrozenClock()
    clock.advance(settings.keys.rotation_days * DAY)
    assert await chores.database.janitor.sweep("another worker", clock.now()) is not None
    await chores.once(clock)
    with _keyring(settings, clock) as keyring:
        assert [key.state for key in keyring.list("default")] == [KeyState.ACTIVE] * 3
    clock.advance(600)  # the other worker is gone
    await chores.once(clock)
    with _keyring(settings, clock) as keyring:
        assert KeyState.NEXT in [key.state for key in keyring.list("default")]


class _Heard(logging.Handler):
    """Tells when something was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.event.set()


async def test_a_chore_that_fails_is_told_and_tried_again(
    chores: bootstrap.Chores, caplog: pytest.LogCaptureFixture
) -> None:
    await chores.database.close()
    heard = _Heard()
    logger = logging.getLogger("fapi_as.chores")
    logger.addHandler(heard)
    running = asyncio.create_task(chores.run(FrozenClock()))
    await asyncio.wait_for(heard.event.wait(), 10)
    logger.removeHandler(heard)
    assert caplog.records[0].getMessage() == "chores wait for the store"
    assert not running.done()
    running.cancel()


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_authorities_for_the_hosts_of_clients_that_are_none_stop_the_start(
    settings: Settings, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "authorities.pem"
    if content is not None:
        path.write_bytes(content)
    unusable = settings.model_copy(update={"fetch": settings.fetch.model_copy(update={"ca_file": path})})
    for start in (lambda: bootstrap.inspect(unusable), lambda: bootstrap.prepare(unusable, STAMP)):
        with pytest.raises(ConfigurationError, match=r"fetch\.ca_file"):
            start()
    assert not settings.database.path.exists()
