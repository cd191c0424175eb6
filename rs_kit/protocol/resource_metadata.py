"""The document by which clients find a resource's authorization servers (RFC 9728)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from rs_kit.protocol.algorithms import ADVERTISED_ALGORITHMS
from rs_kit.protocol.confirmation import SenderConstraint
from rs_kit.protocol.htu import normalise

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceMetadata:
    """RFC 9728 §2; `resource` is the URL that clients call, character by character (PRM-8).

    Raises:
        ValueError: `resource` is not an https URL without fragment, there is no authorization server, or a value that
            must not stand in the document.
    """

    resource: str
    authorization_servers: Sequence[str]
    scopes_supported: Sequence[str] = ()
    resource_name: str | None = None
    more: Mapping[str, object] = field(default_factory=dict)
    sender_constraint: SenderConstraint = SenderConstraint.DPOP

    def __post_init__(self) -> None:
        check_resource(self.resource)
        if not self.authorization_servers:
            raise ValueError("authorization_servers must name one (PRM-3)")
        if "offline_access" in self.scopes_supported:
            raise ValueError("offline_access is no scope of a resource (PRM-14)")
        signing = self.more.get("resource_signing_alg_values_supported", ())
        if isinstance(signing, Sequence) and "none" in signing:
            raise ValueError("resource_signing_alg_values_supported must not have none (RFC 9728 §2)")

    def document(self) -> dict[str, object]:
        """The JSON object; what has no value is omitted (RFC 9728 §3.2)."""
        by_key = self.sender_constraint is not SenderConstraint.CERTIFICATE
        members: dict[str, object] = {
            **self.more,
            "resource": self.resource,
            "authorization_servers": list(self.authorization_servers),
            "scopes_supported": list(self.scopes_supported),
            "resource_name": self.resource_name,
            "bearer_methods_supported": ["header"],  # RFC 6750 §2.1 only: never in a body or a query
            "dpop_signing_alg_values_supported": list(ADVERTISED_ALGORITHMS) if by_key else None,
            "dpop_bound_access_tokens_required": self.sender_constraint is SenderConstraint.DPOP or None,
            "tls_client_certificate_bound_access_tokens": self.sender_constraint is not SenderConstraint.DPOP or None,
        }
        return {name: value for name, value in members.items() if value is not None and value != []}


def check_resource(resource: str) -> None:
    """RFC 9728 §1.2: an https URL without a fragment.

    Raises:
        ValueError: it is something else.
    """
    normalise(resource)
    if not resource.startswith("https://") or "#" in resource:
        raise ValueError("resource must be an https URL without a fragment")


def metadata_path(resource: str) -> str:
    """RFC 9728 §3.1: the well-known path with the resource's path (and query) after it."""
    parts = urlsplit(resource)
    path = "" if parts.path == "/" else parts.path
    return WELL_KNOWN + path + (f"?{parts.query}" if parts.query else "")


def metadata_url(resource: str) -> str:
    """The absolute URL, for `resource_metadata` in challenges."""
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{metadata_path(resource)}"
