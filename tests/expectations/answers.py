"""What a conforming client keeps of its exchanges."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.support.peer_keys import PeerKey, b64


@dataclass(frozen=True)
class Certificate:
    """What the client shows in a handshake."""

    der: bytes
    http: httpx2.AsyncClient

    @property
    def thumbprint(self) -> str:
        return b64(hashlib.sha256(self.der).digest())


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """A pushed request, and what its client remembers of it."""

    request_uri: str
    expires_in: Any
    code_verifier: str
    parameters: Mapping[str, Any]
    response: httpx2.Response

    @property
    def redirect_uri(self) -> str:
        return str(self.parameters["redirect_uri"])


@dataclass(frozen=True, kw_only=True)
class Authorized:
    """What the redirect brought: the parameters, out of the signed response where there is one."""

    location: str
    parameters: Mapping[str, Any]

    @property
    def code(self) -> str:
        return str(self.parameters["code"])


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """A good answer of the token endpoint."""

    answer: Mapping[str, Any]
    key: PeerKey | None
    response: httpx2.Response

    @property
    def access_token(self) -> str:
        return str(self.answer["access_token"])

    @property
    def refresh_token(self) -> str:
        return str(self.answer["refresh_token"])
