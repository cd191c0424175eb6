"""A client with a certificate, honest until a test says otherwise; it shares no code with the server.

house = CertifiedHouse(tmp_path)
bank = house.certified("bank", house.authority.issue("CN=bank,O=Bank,C=GB"))     # tls_client_auth, by its subject_dn
own = house.certified("own", self_signed(), method=SELF_SIGNED)                  # registered in its jwks
with bank.showing(another): …                                                    # None shows no certificate
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import httpx2

from fapi_as.adapters.tls.client_trust import ClientTrust
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.policy import Policy
from tests.support.certificates import Authority, Shown, pem
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient
from tests.support.fapi_messages import TRUTH, Message, origin_of
from tests.support.house import RESOURCE, SCOPES, House
from tests.support.memory_store import MemoryStore
from tests.support.peer_keys import PeerKey

PKI: Final = "tls_client_auth"
SELF_SIGNED: Final = "self_signed_tls_client_auth"
PRIVATE_KEY_JWT: Final = "private_key_jwt"
MUTUAL_TLS_URL: Final = "https://as.example:8444"
ALIASES: Final = {
    "token_endpoint": f"{MUTUAL_TLS_URL}/token",
    "pushed_authorization_request_endpoint": f"{MUTUAL_TLS_URL}/par",
}
POLICY: Final = Policy(tenant="default", issuer=ISSUER, mutual_tls_url=MUTUAL_TLS_URL, client_authorities=True)
_PUSH: Final = "pushed_authorization_request_endpoint"


class CertifiedClient(FapiClient):
    """What it authenticates with and what its tokens are bound to are two things (RFC 8705 §2, §3).

    Args:
        method: its registered token_endpoint_auth_method.
        bound: whether its tokens are bound to its certificate.
        proves: whether it sends DPoP proofs.
        mtls_http: how it reaches the mTLS address, where that is another TLS context.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        *,
        shown: Shown | None,
        method: str = PKI,
        bound: bool = True,
        proves: bool = False,
        mtls_http: httpx2.AsyncClient | None = None,
        **what: Any,
    ) -> None:
        super().__init__(http, **what)
        self.shown = shown
        self.method = method
        self.bound = bound
        self.proves = proves
        self.mtls_http = mtls_http
        self.metadata["mtls_endpoint_aliases"] = ALIASES

    @property
    def token_type(self) -> str:  # type: ignore[override] # it changes with the knob
        """What its tokens are."""
        return "dpop" if self.proves else "bearer"

    @contextmanager
    def showing(self, shown: Shown | None) -> Iterator[Self]:
        """Show another certificate for a while, or none."""
        before, self.shown = self.shown, shown
        try:
            yield self
        finally:
            self.shown = before

    def address(self, endpoint: str) -> str:
        """The alias, but for the push of a client that has nothing to show there."""
        if self.method == PRIVATE_KEY_JWT and (not self.bound or endpoint == _PUSH):
            return super().address(endpoint)
        return str(self.metadata["mtls_endpoint_aliases"].get(endpoint, self.metadata[endpoint]))

    def credentials(self) -> dict[str, Any]:
        """An assertion, or the client_id beside the certificate (MTLS-1)."""
        if self.method == PRIVATE_KEY_JWT or self.lies.assertion is not TRUTH:
            return super().credentials()
        return {"client_id": self.client_id}

    def registration(self, **changes: Any) -> dict[str, Any]:
        """RFC 7591 metadata: how it authenticates, and to what its tokens are bound."""
        members = super().registration() | {
            "token_endpoint_auth_method": self.method,
            "tls_client_certificate_bound_access_tokens": self.bound,
            "dpop_bound_access_tokens": self.proves,
        }
        if self.method != PRIVATE_KEY_JWT:
            del members["jwks"]
        if self.shown is not None and self.method == PKI:
            members["tls_client_auth_subject_dn"] = self.shown.certificate.subject.rfc4514_string()
        if self.shown is not None and self.method == SELF_SIGNED:
            members["jwks"] = {"keys": [self.shown.jwk(kid="certificate", use="sig")]}
        return {name: value for name, value in (members | changes).items() if value is not ...}

    async def send(self, message: Message, *, method: str = "POST", key: PeerKey | None = None) -> httpx2.Response:
        """To the mTLS address with the certificate, to any other one without."""
        url, headers, body = message
        http = self.http
        if origin_of(url) != origin_of(self.issuer) and self.mtls_http is not None:
            http = self.mtls_http
        extensions = {} if self.shown is None else {"certificate": self.shown}
        request = http.build_request(method, url, headers=list(headers), content=body, extensions=extensions)
        response = await http.send(request, follow_redirects=False)
        http.cookies.clear()
        self.remember(url, response, key=key)
        return response

    def _proofs(self, method: str, url: str, access_token: str | None, key: PeerKey | None) -> list[str]:
        if not self.proves and self.lies.proof is TRUTH:
            return []
        return super()._proofs(method, url, access_token, key)


class CertifiedHouse(House):
    """A house with an mTLS address that trusts one authority; its files are in `directory`."""

    def __init__(
        self,
        directory: Path,
        *,
        authority: Authority | None = None,
        revocations: bytes | None = None,
        policy: Policy = POLICY,
        store: MemoryStore | None = None,
    ) -> None:
        self.authority = authority or Authority("CN=Bank CA,O=Authorities")
        self.ca_file, self.crl_file = directory / "client-ca.pem", directory / "client-crl.pem"
        self.ca_file.write_bytes(pem(self.authority.certificate))
        if revocations is not None:
            self.crl_file.write_bytes(revocations)
        trust = ClientTrust(self.ca_file, None if revocations is None else self.crl_file)
        super().__init__(policy=policy, store=store, certificate_trust=trust)

    def certified(
        self,
        client_id: str,
        shown: Shown | None,
        *,
        method: str = PKI,
        bound: bool = True,
        proves: bool = False,
        **changes: Any,
    ) -> CertifiedClient:
        """Register a client and give its honest side; `...` leaves a member of its registration out."""
        peer = CertifiedClient(
            self.http,
            shown=shown,
            method=method,
            bound=bound,
            proves=proves,
            issuer=self.context.policy.issuer,
            client_id=client_id,
            client_key=PeerKey.es256(seed=500 + len(self.store.clients)),
            resource=RESOURCE,
            scope="accounts:read",
            now=self.clock.now,
        )
        members = {"client_name": f"The {client_id}", "scope": " ".join(SCOPES)} | changes
        self.store.put_client(parse_client(peer.registration(**members), client_id=client_id, version=1))
        return peer
