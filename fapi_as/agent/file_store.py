"""Tokens in files that only their owner can read, shared by every process of that owner on this machine (MCP CL20).

One file holds one set and, beside the tokens, the private key they are bound to. It is replaced in one step, so that a
writer that dies leaves the old one. A lock that ends with its process keeps renewals apart. For POSIX systems only: the
package does not import this module by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from fapi_as.agent.errors import AgentError
from fapi_as.agent.proof_key import ProofKey
from fapi_as.agent.tokens import TokenSet
from rs_kit.protocol import strict_json
from rs_kit.protocol.secret import Secret
from rs_kit.protocol.strict_json import InvalidJson

PATIENCE: Final = timedelta(minutes=6)  # another process renews, and its person may take five minutes to sign in
_VERSION: Final = 1
_SIZE_LIMIT: Final = 262_144  # bytes: an answer of a server, which is where tokens come from, has at most a quarter
_FIRST_PAUSE: Final = 0.002  # seconds between two looks at a lock that somebody holds
_LONGEST_PAUSE: Final = 0.05
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OPEN: Final = os.O_CLOEXEC | os.O_NOFOLLOW


class StoreUnusable(AgentError):
    """The token store cannot be trusted, read or written; the sentence names the file and what to do."""


class FileTokenStore:
    """A directory (0700) with one file (0600) for each protected resource of one agent.

    Args:
        directory: where the files are; made when it is missing.
        agent: whose tokens these are, its issuer and client_id for example. Agents may share a directory.
        patience: how long to wait for another process that is at the same tokens.
    """

    def __init__(self, directory: Path, *, agent: str, patience: timedelta = PATIENCE) -> None:
        self._directory = directory
        self._agent = agent
        self._patience = patience

    async def load(self, resource: str) -> TokenSet | None:
        """The set that was saved last for this resource, by whichever process.

        Raises:
            StoreUnusable: others can read or change it, or this program did not write it.
        """
        return await anyio.to_thread.run_sync(self._load, resource)

    async def save(self, resource: str, tokens: TokenSet | None) -> None:
        """Replace the set, within `alone`; None forgets it.

        Raises:
            StoreUnusable: it cannot be written, or its key cannot leave the place where it lives.
        """
        await anyio.to_thread.run_sync(self._save, resource, tokens)

    @asynccontextmanager
    async def alone(self, resource: str) -> AsyncIterator[None]:
        """Keep every other process from renewing these tokens; a process that dies holds nothing any more.

        Raises:
            StoreUnusable: another process was at it for longer than anybody should be.
        """
        lock = self._open_lock(resource)
        try:
            await self._take(lock)
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # a process that was forked in the meantime holds it as well
            os.close(lock)

    def _open_lock(self, resource: str) -> int:
        name = f"{self._name(resource)}.lock"
        with self._opened() as directory, self._told(name):
            lock = os.open(name, os.O_RDWR | os.O_CREAT | _OPEN | os.O_NONBLOCK, 0o600, dir_fd=directory)
        try:
            self._check_file(os.fstat(lock), name)
        except StoreUnusable:
            os.close(lock)
            raise
        return lock

    async def _take(self, lock: int) -> None:
        pause, end = _FIRST_PAUSE, anyio.current_time() + self._patience.total_seconds()
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if anyio.current_time() >= end:
                    raise StoreUnusable(
                        f"another process is renewing the tokens in {self._directory}, or signing in, and does not end"
                    ) from None
            else:
                return
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _load(self, resource: str) -> TokenSet | None:
        name = f"{self._name(resource)}.json"
        with self._opened() as directory, self._told(name):
            try:
                file = os.open(name, os.O_RDONLY | _OPEN | os.O_NONBLOCK, dir_fd=directory)
            except FileNotFoundError:
                return None
            with os.fdopen(file, "rb") as content:
                self._check_file(os.fstat(file), name)
                text = content.read(_SIZE_LIMIT + 1)
        tokens = _parsed(text)
        if tokens is None or tokens.resource != resource:
            raise StoreUnusable(f"{self._directory / name} is not what this program wrote; remove it and sign in again")
        return tokens

    def _save(self, resource: str, tokens: TokenSet | None) -> None:
        name = f"{self._name(resource)}.json"
        with self._opened() as directory, self._told(name):
            if tokens is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)
            else:
                fresh = f"{name}.new"
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(fresh, dir_fd=directory)  # of a writer that died
                _write(fresh, _text(tokens), directory)
                os.replace(fresh, name, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The directory itself: everything is found through it, so that nobody can put another in its place."""
        with self._told(None):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | _OPEN)
        try:
            _check_private(os.fstat(directory), self._directory, "700")
            yield directory
        finally:
            os.close(directory)

    @contextmanager
    def _told(self, name: str | None) -> Iterator[None]:
        path = self._directory if name is None else self._directory / name
        try:
            yield
        except OSError as error:
            # ELOOP, in whichever words: O_NOFOLLOW met a symbolic link
            raise StoreUnusable(f"the token store {path} cannot be used: {error.strerror}") from None

    def _check_file(self, found: os.stat_result, name: str) -> None:
        path = self._directory / name
        if not stat.S_ISREG(found.st_mode):
            raise StoreUnusable(f"{path} is no file, and no token store of this program")
        _check_private(found, path, "600")

    def _name(self, resource: str) -> str:
        return hashlib.sha256(json.dumps([self._agent, resource]).encode()).hexdigest()[:32]


def _check_private(found: os.stat_result, path: Path, mode: str) -> None:
    if found.st_uid != os.geteuid():
        raise StoreUnusable(f"{path} belongs to somebody else, and no token is taken from there or kept there")
    if found.st_mode & _OTHERS:
        raise StoreUnusable(
            f"others than its owner can reach {path}: if they may have, revoke what is in it; chmod {mode}"
        )


def _write(name: str, text: bytes, directory: int) -> None:
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600, dir_fd=directory)
    with os.fdopen(file, "wb") as content:
        content.write(text)
        content.flush()
        os.fsync(file)


def _text(tokens: TokenSet) -> bytes:
    if tokens.proof_key is not None and not isinstance(tokens.proof_key, ProofKey):
        raise StoreUnusable(
            "the proof key of this agent cannot leave where it lives, so its tokens are not written down"
        )
    refresh_token = tokens.refresh_token
    document = {
        "version": _VERSION,
        "resource": tokens.resource,
        "issuer": tokens.issuer,
        "client_id": tokens.client_id,
        "access_token": tokens.access_token.reveal(),
        "refresh_token": refresh_token.reveal() if refresh_token is not None else None,
        "scope": list(tokens.scope),
        "expires_at": tokens.expires_at,
        "proof_key": tokens.proof_key.pem() if tokens.proof_key is not None else None,
        "certificate": tokens.certificate,
        "subject": tokens.subject,
    }
    return json.dumps(document, indent=1).encode("ascii")


def _parsed(text: bytes) -> TokenSet | None:
    """The set in a file, None when it is no such file."""
    try:
        document = strict_json.parse_object(text) if len(text) <= _SIZE_LIMIT else {}
        if document.get("version") != _VERSION:
            return None
        refresh_token, proof_key = document["refresh_token"], document["proof_key"]
        if proof_key is None and document.get("certificate") is None:
            return None  # a token that is bound to nothing was never written
        return TokenSet(
            resource=_string(document, "resource"),
            issuer=_string(document, "issuer"),
            client_id=_string(document, "client_id"),
            access_token=Secret(_string(document, "access_token")),
            refresh_token=None if refresh_token is None else Secret(_string(document, "refresh_token")),
            scope=_strings(document["scope"]),
            expires_at=_moment(document["expires_at"]),
            proof_key=None if proof_key is None else ProofKey.from_pem(_string(document, "proof_key")),
            certificate=_perhaps(document, "certificate"),
            subject=_perhaps(document, "subject"),
        )
    except (InvalidJson, KeyError, ValueError):
        return None


def _string(document: Mapping[str, object], member: str) -> str:
    value = document[member]
    if not isinstance(value, str):
        raise ValueError(member)  # noqa: TRY004 - a file that is not ours, and no mistake of a caller
    return value


def _perhaps(document: Mapping[str, object], member: str) -> str | None:
    """What files of earlier versions did not have."""
    return None if document.get(member) is None else _string(document, member)


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("scope")
    return tuple(value)


def _moment(value: object) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError("expires_at")
    return value
