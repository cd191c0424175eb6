"""A policy under which nobody could ever register is told so when it is written, and not to the first agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fapi_as.settings import Settings


def refuse_what_is_not_offered(members: Mapping[str, Any], settings: Settings) -> None:
    """Judge the `policy` of an approver by what this server offers.

    Raises:
        InvalidRegistrationPolicy: it cannot be meant.
        InvalidClientMetadata: a grant type that is not offered, none of the methods, or certificates where none are
            asked for.
    """
    from fapi_as.features import ENABLED
    from fapi_as.kernel.capabilities import authentication_methods, grants
    from fapi_as.protocol.metadata_members import wrong
    from fapi_as.protocol.registration_policy import parse_policy

    policy, server = parse_policy(members), settings.policy()
    known = grants(ENABLED)
    if not policy.grant_types <= known.keys():
        raise wrong(f"policy: grant_types may hold {', '.join(sorted(known))}")
    offered = authentication_methods(server)
    if policy.token_endpoint_auth_methods.isdisjoint(offered):
        raise wrong(f"policy: token_endpoint_auth_methods holds none of {', '.join(offered)}; see mtls")
    if server.mutual_tls_url is None and (policy.mutual_tls or policy.sender_constraints == {"mtls"}):
        raise wrong("policy: this server asks nobody for certificates; see mtls.enabled")
