"""Tokens and registrations in files that only their owner can read (MCP CL20).

One file holds one set of tokens, or one registration, and beside it the private key it is bound to. For POSIX systems
only: the package does not import this module by itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Final

import anyio.to_thread

from fapi_as.agent.private_files import PATIENCE, SIZE_LIMIT, PrivateFiles, StoreUnusable
from fapi_as.agent.proof_key import ProofKey
from fapi_as.agent.registered import Registration
from fapi_as.agent.tokens import TokenSet
from rs_kit.protocol import strict_json
from rs_kit.protocol.jws import SigningKey
from rs_kit.protocol.secret import Secret
from rs_kit.protocol.strict_json import InvalidJson

__all__ = ["PATIENCE", "FileRegistrationStore", "FileTokenStore", "StoreUnusable"]

_VERSION: Final = 1


class FileTokenStore:
    """A directory (0700) with one file (0600) for each protected resource of one agent.

    Args:
        directory: where the files are; made when it is missing.
        agent: whose tokens these are, its issuer and client_id for example. Agents may share a directory.
        patience: how long to wait for another process that is at the same tokens.
    """

    def __init__(self, directory: Path, *, agent: str, patience: timedelta = PATIENCE) -> None:
        self._files = PrivateFiles(directory, patience=patience)
        self._agent = agent

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
        text = _text(tokens) if tokens is not None else None
        await anyio.to_thread.run_sync(self._files.replace, f"{self._name(resource)}.json", text)

    def alone(self, resource: str) -> AbstractAsyncContextManager[None]:
        """Keep every other process from renewing these tokens; a process that dies holds nothing any more.

        Raises:
            StoreUnusable: another process was at it for longer than anybody should be.
        """
        return self._files.alone(f"{self._name(resource)}.lock")

    def _load(self, resource: str) -> TokenSet | None:
        name = f"{self._name(resource)}.json"
        text = self._files.read(name)
        if text is None:
            return None
        tokens = _parsed(text)
        if tokens is None or tokens.resource != resource:
            raise _not_ours(self._files.directory / name, "remove it and sign in again")
        return tokens

    def _name(self, resource: str) -> str:
        return _digest([self._agent, resource])


class FileRegistrationStore:
    """In the same directory, one file (0600) for each issuer at which one agent registered itself.

    Args:
        directory: where the files are; made when it is missing.
        agent: whose registrations these are. Agents may share a directory.
        patience: how long to wait for another process that registers at the same issuer.
    """

    def __init__(self, directory: Path, *, agent: str, patience: timedelta = PATIENCE) -> None:
        self._files = PrivateFiles(directory, patience=patience)
        self._agent = agent

    async def load(self, issuer: str) -> Registration | None:
        """What was saved last for this issuer; that of another one never.

        Raises:
            StoreUnusable: others can read or change it, or this program did not write it.
        """
        return await anyio.to_thread.run_sync(self._load, issuer)

    async def save(self, issuer: str, registration: Registration | None) -> None:
        """Replace it, within `alone`; None forgets it.

        Raises:
            StoreUnusable: it cannot be written, or its key cannot leave the place where it lives.
        """
        text = _registration_text(registration) if registration is not None else None
        await anyio.to_thread.run_sync(self._files.replace, f"{self._name(issuer)}.json", text)

    def alone(self, issuer: str) -> AbstractAsyncContextManager[None]:
        """Keep every other process from registering there; a process that dies holds nothing any more.

        Raises:
            StoreUnusable: another process was at it for longer than anybody should be.
        """
        return self._files.alone(f"{self._name(issuer)}.lock")

    def _load(self, issuer: str) -> Registration | None:
        name = f"{self._name(issuer)}.json"
        text = self._files.read(name)
        if text is None:
            return None
        registration = _parsed_registration(text)
        if registration is None or registration.issuer != issuer:
            raise _not_ours(self._files.directory / name, "remove it and register again")
        return registration

    def _name(self, issuer: str) -> str:
        return _digest(["registration", self._agent, issuer])


def _digest(names: list[str]) -> str:
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:32]


def _not_ours(path: Path, remedy: str) -> StoreUnusable:
    return StoreUnusable(f"{path} is not what this program wrote; {remedy}")


def _registration_text(registration: Registration) -> bytes:
    token = registration.registration_access_token
    document = {
        "version": _VERSION,
        "issuer": registration.issuer,
        "client_id": registration.client_id,
        "registration_client_uri": registration.registration_client_uri,
        "registration_access_token": token.reveal() if token is not None else None,
        "proof_key": _pem(registration.proof_key),
        "jkt": registration.jkt,
    }
    return json.dumps(document, indent=1).encode("ascii")


def _parsed_registration(text: bytes) -> Registration | None:
    """The registration in a file, None when it is no such file."""
    try:
        document = strict_json.parse_object(text) if len(text) <= SIZE_LIMIT else {}
        if document.get("version") != _VERSION:
            return None
        token, proof_key = _perhaps(document, "registration_access_token"), _perhaps(document, "proof_key")
        return Registration(
            issuer=_string(document, "issuer"),
            client_id=_string(document, "client_id"),
            registration_client_uri=_perhaps(document, "registration_client_uri"),
            registration_access_token=None if token is None else Secret(token),
            proof_key=None if proof_key is None else ProofKey.from_pem(proof_key),
            jkt=_perhaps(document, "jkt"),
        )
    except (InvalidJson, KeyError, ValueError):
        return None


def _pem(proof_key: SigningKey | None) -> str | None:
    if proof_key is None:
        return None
    if not isinstance(proof_key, ProofKey):
        raise StoreUnusable(
            "the proof key of this agent cannot leave where it lives, so its tokens are not written down"
        )
    return proof_key.pem()


def _text(tokens: TokenSet) -> bytes:
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
        "proof_key": _pem(tokens.proof_key),
        "certificate": tokens.certificate,
        "subject": tokens.subject,
    }
    return json.dumps(document, indent=1).encode("ascii")


def _parsed(text: bytes) -> TokenSet | None:
    """The set in a file, None when it is no such file."""
    try:
        document = strict_json.parse_object(text) if len(text) <= SIZE_LIMIT else {}
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
