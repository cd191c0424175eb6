"""How an agent is known at one issuer: what is kept of a registration, and never shown to another issuer."""

from __future__ import annotations

from dataclasses import dataclass

from rs_kit.protocol.jws import SigningKey
from rs_kit.protocol.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One registration (RFC 7591 §3.2.1, RFC 7592 §3), or the address of a metadata document as the `client_id`.

    `jkt` is the key that was proved when it was made, and `proof_key` that key when nothing else keeps it.
    """

    issuer: str
    client_id: str
    registration_client_uri: str | None = None
    registration_access_token: Secret | None = None
    proof_key: SigningKey | None = None
    jkt: str | None = None

    @property
    def is_managed(self) -> bool:
        """Whether it can be read, updated and deleted."""
        return self.registration_client_uri is not None and self.registration_access_token is not None

    @property
    def is_a_document(self) -> bool:
        """Whether the issuer was never asked to register anything: the `client_id` is the address of a document."""
        return self.registration_client_uri is None and self.client_id.startswith("https://")
