"""Where everything of one run of the demo is, and how a step says that it worked."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CLIENT_ID: Final = "demo-agent"
CLIENT_KEY_ID: Final = "demo-agent-1"
USERNAME: Final = "alice"
PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - of a person who does not exist
ALLOWED: Final = "accounts:read"
NOT_ALLOWED: Final = "payments:write"


class StepFailed(Exception):
    """A step did not do what it should."""


@dataclass(frozen=True)
class Place:
    """Where everything of this run is."""

    directory: Path
    issuer: str
    resource: str

    @property
    def certificates(self) -> Path:
        """The certificates, as `fapi-as init --dev` writes them."""
        return self.directory / "certs"

    @property
    def authority(self) -> Path:
        """The authority that signed them."""
        return self.certificates / "ca.pem"

    @property
    def client_key(self) -> Path:
        """The agent's private key."""
        return self.directory / "agent-key.pem"

    def trust(self) -> ssl.SSLContext:
        """A TLS context that trusts this authority and no other."""
        return ssl.create_default_context(cafile=self.authority)


def done(sentence: str) -> None:
    """Say that a step did what it should."""
    print(f"\u2713 {sentence}", flush=True)
