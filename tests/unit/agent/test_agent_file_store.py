"""The token files: only their owner's, whole at every moment, and held by one process at a time."""

# ruff: noqa: ASYNC221, ASYNC240 - the loop of a test has nothing else to do while a file is looked at

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fapi_as.agent.file_store import FileTokenStore, StoreUnusable
from fapi_as.agent.proof_key import ProofKey
from rs_kit.protocol.jws import SigningKey
from rs_kit.protocol.secret import Secret
from tests.support.agent_peer import CLIENT_KEY, RESOURCE
from tests.support.agent_tokens import token_set
from tests.support.processes import ROOT

SECRETS = ("access-1", "refresh-1", "PRIVATE KEY")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture
def store(directory: Path) -> FileTokenStore:
    return FileTokenStore(directory, agent="agent", patience=timedelta(0))


def the_file(directory: Path) -> Path:
    (found,) = directory.glob("*.json")
    return found


@pytest.mark.parametrize("without", [{}, {"refresh_token": None, "expires_at": None, "scope": ()}])
async def test_what_is_saved_is_loaded_by_another_process_with_the_key_it_is_bound_to(
    store: FileTokenStore, directory: Path, without: dict[str, object]
) -> None:
    saved = token_set(**without)
    await store.save(RESOURCE, saved)

    loaded = await FileTokenStore(directory, agent="agent").load(RESOURCE)

    assert loaded is not None
    assert replace(loaded, proof_key=saved.proof_key) == saved
    assert loaded.proof_key.thumbprint == saved.proof_key.thumbprint


@pytest.mark.parametrize("bound", [{"proof_key": None, "certificate": "x5t"}, {"certificate": "x5t"}])
async def test_tokens_that_are_bound_to_a_certificate_are_kept_with_what_they_are_bound_to(
    store: FileTokenStore, bound: dict[str, object]
) -> None:
    saved = token_set(subject="alice", **bound)
    await store.save(RESOURCE, saved)

    loaded = await store.load(RESOURCE)

    assert loaded is not None
    assert replace(loaded, proof_key=saved.proof_key) == saved
    assert (loaded.proof_key is None) == (saved.proof_key is None)


async def test_a_file_of_an_earlier_version_is_still_read(store: FileTokenStore, directory: Path) -> None:
    await store.save(RESOURCE, token_set())
    document = json.loads(the_file(directory).read_text())
    del document["certificate"], document["subject"]
    the_file(directory).write_text(json.dumps(document))
    assert await store.load(RESOURCE) is not None


@pytest.mark.parametrize("change", [{"proof_key": None}, {"certificate": 7}, {"subject": ["alice"]}])
async def test_a_file_with_tokens_that_nobody_could_have_written_is_refused(
    store: FileTokenStore, directory: Path, change: dict[str, object]
) -> None:
    await store.save(RESOURCE, token_set())
    document = json.loads(the_file(directory).read_text()) | change
    the_file(directory).write_text(json.dumps(document))
    with pytest.raises(StoreUnusable, match="not what this program wrote"):
        await store.load(RESOURCE)


async def test_files_and_directory_are_their_owners_alone_whatever_the_umask(
    store: FileTokenStore, directory: Path
) -> None:
    before = os.umask(0)
    try:
        async with store.alone(RESOURCE):
            await store.save(RESOURCE, token_set())
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


async def test_resources_and_agents_have_files_of_their_own(store: FileTokenStore, directory: Path) -> None:
    other = FileTokenStore(directory, agent="another")
    await store.save(RESOURCE, token_set())

    assert await store.load(f"{RESOURCE}/other") is None
    assert await other.load(RESOURCE) is None
    await other.save(RESOURCE, None)
    assert await store.load(RESOURCE) is not None


async def test_what_is_forgotten_is_gone(store: FileTokenStore, directory: Path) -> None:
    await store.save(RESOURCE, token_set())
    await store.save(RESOURCE, None)
    assert await store.load(RESOURCE) is None
    assert not list(directory.glob("*.json*"))


def readable_by_others(path: Path) -> None:
    path.chmod(0o640)


def changeable_by_others(path: Path) -> None:
    path.chmod(0o602)


def symbolic_link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


@pytest.mark.parametrize("harm", [readable_by_others, changeable_by_others, symbolic_link, pipe, folder])
async def test_a_file_that_others_can_reach_or_that_is_none_is_refused(
    store: FileTokenStore, directory: Path, harm: Callable[[Path], None]
) -> None:
    await store.save(RESOURCE, token_set())
    harm(the_file(directory))

    with pytest.raises(StoreUnusable) as refused:
        await store.load(RESOURCE)

    assert str(directory) in str(refused.value)


@pytest.mark.parametrize("harm", ["others", "link", "file", "lock"])
async def test_a_directory_or_lock_that_others_can_reach_is_refused_and_gets_no_token(
    store: FileTokenStore, directory: Path, harm: str
) -> None:
    if harm == "others":
        directory.mkdir()
        directory.chmod(0o755)
    elif harm == "link":
        (directory.parent / "elsewhere").mkdir(0o700)
        directory.symlink_to(directory.parent / "elsewhere")
    elif harm == "file":
        directory.touch(0o600)
    else:
        async with store.alone(RESOURCE):
            pass
        next(directory.glob("*.lock")).chmod(0o666)

    with pytest.raises(StoreUnusable):
        async with store.alone(RESOURCE):
            await store.save(RESOURCE, token_set())

    assert not list(directory.parent.rglob("*.json"))


async def test_a_file_of_somebody_else_is_refused(
    store: FileTokenStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.save(RESOURCE, token_set())
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StoreUnusable, match="belongs to somebody else"):
        await store.load(RESOURCE)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[:-20],
        lambda text: text.replace(b'"version": 1', b'"version": 2'),
        lambda text: text.replace(b'"access-1"', b"7"),
        lambda text: text.replace(b'"expires_at"', b'"expires"'),
        lambda text: text.replace(b'"resource": "https', b'"resource": "http'),
        lambda text: text.replace(b"BEGIN", b"BEGUN"),
        lambda text: text.replace(b'"openid"', b"1"),
        lambda text: text.replace(b"1800000300", b'"soon"'),
        lambda text: b"[" * 100_000,
        lambda text: text + b" " * 300_000,
    ],
)
async def test_a_file_that_this_program_did_not_write_is_named_and_shows_no_secret(
    store: FileTokenStore, directory: Path, damage: Callable[[bytes], bytes]
) -> None:
    await store.save(RESOURCE, token_set())
    file = the_file(directory)
    file.write_bytes(damage(file.read_bytes()))

    with pytest.raises(StoreUnusable, match="remove it and sign in again") as refused:
        await store.load(RESOURCE)

    assert not [secret for secret in SECRETS if secret in repr(refused.value)]


@pytest.mark.parametrize("key", ["P-384", "Ed25519", "none"])
def test_a_key_of_another_kind_is_no_proof_key(key: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: PLC0415 - here alone
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: PLC0415

    pem = "none"
    if key != "none":
        private = ec.generate_private_key(ec.SECP384R1()) if key == "P-384" else ed25519.Ed25519PrivateKey.generate()
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(ValueError, match="no "):
        ProofKey.from_pem(pem)


async def test_a_key_that_lives_elsewhere_is_not_written_down(store: FileTokenStore, directory: Path) -> None:
    with pytest.raises(StoreUnusable, match="cannot leave"):
        await store.save(RESOURCE, token_set(proof_key=CLIENT_KEY))
    assert not list(directory.glob("*.json*"))
    assert isinstance(ProofKey.generate(), SigningKey)


DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from dataclasses import replace
from fapi_as.agent.file_store import FileTokenStore
from rs_kit.protocol.secret import Secret

directory, resource, moment = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    store = FileTokenStore(directory, agent="agent")
    async with store.alone(resource):
        held = await store.load(resource)
        setattr(os, moment, die)
        await store.save(resource, replace(held, access_token=Secret("access-2")))

asyncio.run(main())
"""


@pytest.mark.parametrize(("moment", "left"), [("fsync", "access-1"), ("replace", "access-1"), ("unlink", "access-1")])
async def test_a_writer_that_is_killed_leaves_the_old_set_and_no_lock(
    store: FileTokenStore, directory: Path, moment: str, left: str
) -> None:
    await store.save(RESOURCE, token_set())
    dying = subprocess.run(
        [sys.executable, "-c", DYING, str(directory), RESOURCE, moment],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert dying.returncode == -signal.SIGKILL, dying.stderr

    loaded = await store.load(RESOURCE)

    assert loaded is not None
    assert loaded.access_token.reveal() == left
    async with store.alone(RESOURCE):
        await store.save(RESOURCE, replace(loaded, access_token=Secret("access-3")))
    again = await store.load(RESOURCE)
    assert again is not None
    assert again.access_token.reveal() == "access-3"
    assert len(list(directory.iterdir())) == 2


async def test_who_waits_too_long_for_the_lock_is_told(store: FileTokenStore, directory: Path) -> None:
    other = FileTokenStore(directory, agent="agent")
    async with other.alone(RESOURCE):
        with pytest.raises(StoreUnusable, match="another process"):
            async with store.alone(RESOURCE):
                raise AssertionError("two are alone")
        async with store.alone(f"{RESOURCE}/other"):
            pass
    async with store.alone(RESOURCE):
        pass


async def test_who_waits_for_the_lock_gets_it_when_the_other_ends(directory: Path) -> None:
    order: list[str] = []

    async def one(name: str) -> None:
        async with FileTokenStore(directory, agent="agent").alone(RESOURCE):
            order.append(name)
            await asyncio.sleep(0)
            order.append(name)

    await asyncio.gather(*(one(str(number)) for number in range(8)))

    assert order[::2] == order[1::2]


FORKING = """
import asyncio, os, sys
from datetime import timedelta
from pathlib import Path
from fapi_as.agent.file_store import FileTokenStore

async def main():
    end, keep = os.pipe()
    store = FileTokenStore(Path(sys.argv[1]), agent="agent", patience=timedelta(0))
    async with store.alone(sys.argv[2]):
        child = os.fork()
        if not child:
            os.close(keep)
            os.read(end, 1)  # lives on, with a copy of everything that was open
            os._exit(0)
    try:
        async with store.alone(sys.argv[2]):
            pass
    finally:
        os.close(keep)
        os.waitpid(child, 0)

asyncio.run(main())
"""


def test_a_process_that_was_forked_in_the_meantime_keeps_no_lock(directory: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, str(directory), RESOURCE],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


async def test_a_disk_that_takes_nothing_is_told_and_the_old_set_stays(
    store: FileTokenStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.save(RESOURCE, token_set())

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreUnusable, match="No space left on device"):
            await store.save(RESOURCE, token_set(access_token=Secret("access-2")))
    loaded = await store.load(RESOURCE)
    assert loaded is not None
    assert loaded.access_token.reveal() == "access-1"
