"""What the enabled features add up to: addresses, grants and RFC 8414 metadata, derived so that they cannot drift."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fapi_as.kernel.seam import AnyGrant, Endpoint, Face, Feature
from fapi_as.kernel.token_endpoint import TOKEN_ENDPOINT
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_metadata import PRIVATE_KEY_JWT, SELF_SIGNED_TLS_CLIENT_AUTH, TLS_CLIENT_AUTH
from fapi_as.protocol.client_places import require_elsewhere
from fapi_as.protocol.metadata_members import wrong
from fapi_as.protocol.policy import Policy
from rs_kit.protocol.algorithms import ADVERTISED_ALGORITHMS


class ConflictingFeatures(Exception):
    """Two enabled features claim the same path, grant type or metadata member."""


def grants(features: tuple[Feature, ...]) -> dict[str, AnyGrant]:
    """Every grant by its type.

    Raises:
        ConflictingFeatures: a grant type is claimed twice.
    """
    found: dict[str, AnyGrant] = {}
    for feature in features:
        for grant in feature.grants:
            if grant.grant_type in found:
                raise ConflictingFeatures(f"grant type {grant.grant_type} is claimed twice")
            found[grant.grant_type] = grant
    return found


def endpoints(features: tuple[Feature, ...]) -> dict[str, Endpoint]:
    """Every endpoint by its path; the token endpoint exists when a grant does.

    Raises:
        ConflictingFeatures: a path is claimed twice.
    """
    found: dict[str, Endpoint] = {}
    shared = (TOKEN_ENDPOINT,) if grants(features) else ()
    for endpoint in (*shared, *(endpoint for feature in features for endpoint in feature.endpoints)):
        if endpoint.path in found:
            raise ConflictingFeatures(f"path {endpoint.path} is claimed twice")
        found[endpoint.path] = endpoint
    return found


def metadata(features: tuple[Feature, ...], policy: Policy) -> dict[str, object]:
    """The RFC 8414 document without what only the store knows; empty lists are omitted (MD-2)."""
    document: dict[str, object] = {"issuer": policy.issuer}
    for endpoint in endpoints(features).values():
        if endpoint.metadata_member is not None:
            document[endpoint.metadata_member] = policy.url(endpoint.path)
    grant_types = sorted(grants(features))
    if grant_types:
        document["grant_types_supported"] = grant_types
        document["token_endpoint_auth_methods_supported"] = authentication_methods(policy)
        document["token_endpoint_auth_signing_alg_values_supported"] = list(ADVERTISED_ALGORITHMS)
        document["dpop_signing_alg_values_supported"] = list(ADVERTISED_ALGORITHMS)
    if policy.mutual_tls_url is not None:
        document["tls_client_certificate_bound_access_tokens"] = True  # RFC 8705 §3.3
        document["mtls_endpoint_aliases"] = _aliases(features, policy)
    for feature in features:
        _merge(document, feature.metadata)
    return {member: value for member, value in document.items() if value not in ([], ())}


def authentication_methods(policy: Policy) -> list[str]:
    """How clients authenticate here: with certificates only where they are asked for (MD-2, RFC 8705 §2)."""
    methods = [PRIVATE_KEY_JWT]
    if policy.mutual_tls_url is not None:
        methods += [TLS_CLIENT_AUTH] if policy.client_authorities else []
        methods.append(SELF_SIGNED_TLS_CLIENT_AUTH)
    return methods


def require_offered(client: RegisteredClient, policy: Policy, grant_types: Collection[str], *, hint: str = "") -> None:
    """A client that could never do what it registers for is told so now, and not at its first request.

    Args:
        client: what is to be registered.
        policy: what this server is set to.
        grant_types: what it offers.
        hint: what else is said where certificates would have to be asked for.

    Raises:
        InvalidRedirectUri: a redirect URI at an address of ours.
        InvalidClientMetadata: another URL there, or a grant type, authentication method or binding that is not offered.
    """
    require_elsewhere(client, (policy.issuer, policy.mutual_tls_url or policy.issuer))
    if not client.grant_types <= set(grant_types):
        raise wrong(f"grant_types: this server offers {', '.join(sorted(grant_types))}")
    offered = authentication_methods(policy)
    if client.token_endpoint_auth_method not in offered:
        raise wrong(f"token_endpoint_auth_method: this server offers {', '.join(offered)}{hint}")
    if client.tls_client_certificate_bound_access_tokens and policy.mutual_tls_url is None:
        raise wrong(f"tls_client_certificate_bound_access_tokens: this server asks nobody for certificates{hint}")


def _aliases(features: tuple[Feature, ...], policy: Policy) -> dict[str, str]:
    """RFC 8705 §5: what clients post to, there where certificates are asked for; never a page (MTLS-21)."""
    return {
        endpoint.metadata_member: policy.url(endpoint.path, mutual_tls=True)
        for endpoint in endpoints(features).values()
        if endpoint.metadata_member is not None and endpoint.face is Face.PROTOCOL and "POST" in endpoint.methods
    }


def _merge(document: dict[str, object], more: Mapping[str, object]) -> None:
    for member, value in more.items():
        present = document.get(member)
        if isinstance(value, tuple | list) and isinstance(present, list | None):
            document[member] = [*(present or ()), *(item for item in value if item not in (present or ()))]
        elif member in document:
            raise ConflictingFeatures(f"metadata member {member} is claimed twice")
        else:
            document[member] = value
