"""What an agent is told at start: who it is, where, and what it may ask for."""

from __future__ import annotations

from dataclasses import dataclass

from fapi_as.agent.address import secure
from fapi_as.agent.errors import Misconfigured
from fapi_as.agent.identity import AuthMethod, GrantType, Identity
from fapi_as.agent.registrant import UNREGISTERED, Registrant

__all__ = ["AgentSettings", "AuthMethod", "GrantType", "Identity", "Registrant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """One agent at one protected resource; only issuers it was told about are believed.

    Args:
        identities: where it is registered, which goes before everything else.
        registrants: where it may make itself known.
        scope: what to ask for first; when empty, what the resource's challenge or metadata names (MCP CL14).

    Raises:
        Misconfigured: nobody, two for one issuer (ISS-5), two with different certificates, or a wildcard scope
            (FAPI2-CL-11).
        InsecureAddress: the resource is not https.
    """

    resource: str
    identities: tuple[Identity, ...] = ()
    scope: tuple[str, ...] = ()
    grant_type: GrantType = GrantType.AUTHORIZATION_CODE
    registrants: tuple[Registrant, ...] = ()

    def __post_init__(self) -> None:
        secure(self.resource, "protected resource")
        if not self.everybody:
            raise Misconfigured("an agent needs at least one identity")
        for known in (self.identities, self.registrants):
            if len({one.issuer for one in known}) != len(known):
                raise Misconfigured("two identities name the same issuer")
        certificates = {id(one.certificate) for one in self.everybody if one.certificate is not None}
        if len(certificates) > 1:
            raise Misconfigured("two identities have certificates of their own, and an HTTP client shows only one")
        if any("*" in value for value in self.scope):
            raise Misconfigured("a wildcard is no scope: ask for what the agent needs")
        if self.grant_type is GrantType.AUTHORIZATION_CODE and any(
            identity.redirect_uri is None for identity in self.identities
        ):
            raise Misconfigured("the code flow needs a redirect_uri for every identity")
        if any(identity.client_id == UNREGISTERED for identity in self.identities):
            raise Misconfigured("an identity has a client_id: give what is not registered yet as a registrant")
        if any(registrant.grant_type is not self.grant_type for registrant in self.registrants):
            raise Misconfigured("a registrant asks for another grant type than the agent uses")

    @property
    def everybody(self) -> tuple[Identity, ...]:
        """Whoever this agent is or could become."""
        return (*self.identities, *(registrant.identity for registrant in self.registrants))
