"""Where everything of one run of the demo is, and how a step says that it worked."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fapi_as.agent import ClientCertificate

SOFTWARE: Final = "demo-agent"  # the software_id that the authority gives; the client_id is the server's to choose
CLIENT_NAME: Final = "Demo agent"
CLIENT_KEY_ID: Final = "demo-agent-1"
ROBOT_SOFTWARE: Final = "demo-robot"
ROBOT: Final = "Demo robot"
ROBOT_NAME: Final = "agent.localhost"  # in its certificate, which `fapi-as init --dev` writes
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
    def mutual_tls(self) -> str:
        """Where the authorization server asks for certificates: `init` chooses the next port."""
        host, _, port = self.issuer.rpartition(":")
        return f"{host}:{int(port) + 1}"

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

    @property
    def authority_key(self) -> Path:
        """The key of the authority that approves software, as `fapi-as init --dev` writes it."""
        return self.directory / "development-authority.key"

    def statement(self, software_id: str) -> Path:
        """What that authority says about a piece of software."""
        return self.directory / f"{software_id}-statement.jwt"

    @property
    def robot_certificate(self) -> ClientCertificate:
        """What the robot shows instead of a key."""
        return self._certificate("agent")

    @property
    def other_certificate(self) -> ClientCertificate:
        """A certificate of the same authority, for somebody else."""
        return self._certificate("other-agent")

    def _certificate(self, name: str) -> ClientCertificate:
        certificate, private_key = self.certificates / f"{name}.pem", self.certificates / f"{name}.key"
        return ClientCertificate(certificate, private_key, authority=self.authority)

    def trust(self) -> ssl.SSLContext:
        """A TLS context that trusts this authority and no other."""
        return ssl.create_default_context(cafile=self.authority)


def done(sentence: str) -> None:
    """Say that a step did what it should."""
    print(f"\u2713 {sentence}", flush=True)
