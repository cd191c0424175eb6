"""The hostile place with mutual TLS: a bank and an alias of the authorization server that ask for a certificate.

The servers believe the handshake alone: a token is bound to what was shown when it was asked for.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import httpx2
import trustme
from typing_extensions import override

from fapi_as.agent import AgentAuth, AgentSettings, AuthMethod, ClientCertificate
from fapi_as.agent.steps import Answer
from tests.support.agent_peer import Peer, as_json, identity
from tests.support.hostile_place import BANK, Place, Received, certificates, honest_members, hostile_place
from tests.support.signing_peer import SigningPeer

MUTUAL: Final = "mutual"


@dataclass(kw_only=True)
class MutualPlace(Place):
    """A place whose tokens are bound to the certificate that the token endpoint saw."""

    bound: dict[str, str | None] = field(default_factory=dict)

    @override
    @classmethod
    def honest(cls, addresses: dict[str, str]) -> Peer:
        members = honest_members(addresses)
        alias = addresses[MUTUAL]
        members["metadata"]["mtls_endpoint_aliases"] = {
            "token_endpoint": f"{alias}/token",
            "pushed_authorization_request_endpoint": f"{alias}/par",
            "userinfo_endpoint": f"{alias}/userinfo",
        }
        members["challenge"] = members["challenge"].replace("DPoP ", "Bearer ")
        issuer = members["metadata"]["issuer"]
        return SigningPeer(issuer=issuer, time=int(time.time()), **members)

    @property
    def alias(self) -> str:
        return self.addresses[MUTUAL]

    @override
    def homes(self) -> dict[str, str]:
        return {MUTUAL: f"{self.alias}/token"}

    @override
    def answer(self, one: Received) -> Answer:
        if one.party == MUTUAL and one.certificate is None and one.url not in self.replies:
            return as_json(401, {"error": "invalid_client"})
        if one.url == self.resource:
            token = one.headers.get("authorization", "").partition(" ")[2]
            if token in self.bound and self.bound[token] != one.certificate:
                challenge = f'{self.peer.challenge}, error="invalid_token"'
                return Answer(status=401, headers=(("www-authenticate", challenge),))
        before = set(self.peer.issued)
        answer = super().answer(one)
        if one.party == MUTUAL:
            self.bound |= dict.fromkeys(self.peer.issued - before, one.certificate)
        return answer

    @asynccontextmanager
    async def caller(self, settings: AgentSettings, trust: ssl.SSLContext) -> AsyncIterator[httpx2.AsyncClient]:
        """A caller's client and a back channel that both show what this context shows."""
        async with httpx2.AsyncClient(verify=trust) as back_channel:
            auth = AgentAuth(settings, back_channel=back_channel, authorize=self.authorize, timeout=self.patience)
            async with httpx2.AsyncClient(verify=trust, auth=auth, timeout=15.0) as client:
                yield client
        self.judge()

    def bound_to(self, certificate: ClientCertificate, **changes: Any) -> AgentSettings:
        """An agent that authenticates with its certificate and has its tokens bound to it."""
        members: dict[str, Any] = {
            "issuer": self.issuer,
            "key": None,
            "token_endpoint_auth_method": AuthMethod(changes.pop("method", "tls_client_auth")),
            "certificate": certificate,
            "tls_client_certificate_bound_access_tokens": True,
        }
        scope = changes.pop("scope", ("accounts:read",))
        return self.settings(identities=(identity(**{**members, **changes}),), scope=scope)

    def bank_certificates(self) -> list[str | None]:
        """What was shown with each call that carried a token."""
        return [one.certificate for one in self.at(BANK, "/mcp") if "authorization" in one.headers]


@asynccontextmanager
async def mutual_place(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> AsyncIterator[MutualPlace]:
    """Its servers, on free ports; those that ask for certificates speak this TLS."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates()[0].issue_cert("localhost").configure_cert(asking)
    client_authority().configure_trust(asking)
    asking.verify_mode = ssl.CERT_OPTIONAL
    asking.maximum_version = version
    async with hostile_place(contexts={BANK: asking, MUTUAL: asking}, kind=MutualPlace) as place:
        yield place


@cache
def client_authority() -> trustme.CA:
    """Who certifies agents here."""
    return trustme.CA()


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """A certificate and its key, as an agent has them on its disk."""

    certificate: Path
    private_key: Path
    authority: Path

    def issue(self, *, key: bool = True, certificate: bool = True) -> None:
        """Put a new certificate there, with its new key; or only one of the two, as whoever renews is half done."""
        issued = client_authority().issue_cert("agent.example", common_name="agent")
        if certificate:
            issued.cert_chain_pems[0].write_to_path(self.certificate)
        if key:
            issued.private_key_pem.write_to_path(self.private_key)

    def read(self) -> ClientCertificate:
        return ClientCertificate(self.certificate, self.private_key, authority=self.authority)


def certificate_files(directory: Path) -> CertificateFiles:
    """A first certificate in this directory."""
    files = CertificateFiles(
        certificate=directory / "agent.pem", private_key=directory / "agent.key", authority=directory / "ca.pem"
    )
    files.private_key.touch(0o600)
    certificates()[0].cert_pem.write_to_path(files.authority)
    files.issue()
    return files
