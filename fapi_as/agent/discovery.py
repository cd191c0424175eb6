"""From a 401 to an authorization server that may be believed (RFC 9728 §5, RFC 8414 §3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from fapi_as.agent.address import origin, secure, secure_issuer, with_well_known
from fapi_as.agent.challenge import Challenge
from fapi_as.agent.errors import AnswerRejected, InsecureAddress, MetadataRejected
from fapi_as.agent.exchange import json_object, send
from fapi_as.agent.settings import GrantType, Identity
from fapi_as.agent.steps import Exchange, Request

_OK: Final = 200
_NOT_FOUND: Final = 404
_LIST_LIMIT: Final = 64
_HEADERS: Final = (("accept", "application/json"), ("accept-encoding", "identity"))
_RESOURCE_METADATA: Final = "oauth-protected-resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceMetadata:
    """What a protected resource says about itself (RFC 9728 §2)."""

    authorization_servers: tuple[str, ...]
    scopes_supported: tuple[str, ...]
    dpop_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMetadata:
    """What an authorization server says about itself, as far as the agent needs it (RFC 8414 §2)."""

    issuer: str
    token_endpoint: str
    authorization_endpoint: str | None
    pushed_authorization_request_endpoint: str | None
    userinfo_endpoint: str | None
    jwks_uri: str | None
    registration_endpoint: str | None = None
    client_id_metadata_document_supported: bool = False


def protected_resource(resource: str, challenge: Challenge | None) -> Exchange[ResourceMetadata]:
    """Fetch the metadata of a protected resource: where its challenge says, else at the well-known places.

    Raises:
        MetadataRejected: it speaks for another resource, or the address is not the resource's own.
        AnswerRejected: there is none, or no JSON object of the right form.
    """
    announced = challenge.resource_metadata if challenge is not None else None
    if announced is not None:
        secure(announced, "resource_metadata address")
        if origin(announced) != origin(resource):
            # SSRF: a resource could make us fetch whatever this machine can reach
            raise MetadataRejected("the resource points to metadata on another server")
        addresses: tuple[str, ...] = (announced,)
    else:
        root = f"{urlsplit(resource).scheme}://{urlsplit(resource).netloc}"
        addresses = (with_well_known(resource, _RESOURCE_METADATA), with_well_known(root, _RESOURCE_METADATA))
    document = yield from _first(addresses, "protected resource metadata")
    if document.get("resource") != resource:  # RFC 9728 §3.3: the very string that we call
        raise MetadataRejected("the metadata speaks for another resource than the one that was called")
    return ResourceMetadata(
        authorization_servers=_strings(document, "authorization_servers"),
        scopes_supported=_strings(document, "scopes_supported"),
        dpop_required=document.get("dpop_bound_access_tokens_required") is True,
    )


def authorization_server(identity: Identity, grant_type: GrantType) -> Exchange[ServerMetadata]:
    """Fetch and judge the metadata of an authorization server that the caller already decided to believe.

    Raises:
        MetadataRejected: its issuer differs, it lacks what FAPI 2.0 needs, or sends credentials elsewhere.
        InsecureAddress: an endpoint is not https.
        AnswerRejected: there is none, or no JSON object of the right form.
    """
    issuer = identity.issuer
    secure_issuer(issuer)
    document = yield from _first(_server_addresses(issuer), "authorization server metadata")
    if document.get("issuer") != issuer:  # RFC 8414 §3.3, code point by code point (MD-4)
        raise MetadataRejected("the metadata was issued for another issuer")
    code_flow = grant_type is GrantType.AUTHORIZATION_CODE
    _check_abilities(document, identity, code_flow=code_flow)
    endpoints = _with_aliases(document, identity)
    return ServerMetadata(
        issuer=issuer,
        token_endpoint=_home_endpoint(endpoints, "token_endpoint", identity),
        authorization_endpoint=_endpoint(document, "authorization_endpoint") if code_flow else None,
        pushed_authorization_request_endpoint=(
            _home_endpoint(endpoints, "pushed_authorization_request_endpoint", identity) if code_flow else None
        ),
        userinfo_endpoint=_optional(endpoints, "userinfo_endpoint", identity),
        jwks_uri=_optional(document, "jwks_uri", identity),
        registration_endpoint=_at_home(endpoints, "registration_endpoint", identity),
        client_id_metadata_document_supported=document.get("client_id_metadata_document_supported") is True,
    )


def _check_abilities(document: Mapping[str, object], identity: Identity, *, code_flow: bool) -> None:
    """That the server can do what this registration is for; without it, a request would only be refused later."""
    _require(document, "token_endpoint_auth_methods_supported", identity.token_endpoint_auth_method.value)
    if (
        identity.tls_client_certificate_bound_access_tokens
        and document.get("tls_client_certificate_bound_access_tokens") is not True
    ):
        # RFC 8705 §3.3: the token would be anybody's
        raise MetadataRejected("the authorization server does not bind tokens to certificates")
    if not code_flow:
        return
    _require(document, "code_challenge_methods_supported", "S256")  # MCP CL8
    if document.get("authorization_response_iss_parameter_supported") is not True:
        # RFC 9207: without iss there is no defence against mix-up, so no such server is used
        raise MetadataRejected("the authorization server does not put iss into its responses")
    if identity.request_object_signing_alg is not None:
        _require(document, "request_object_signing_alg_values_supported", identity.request_object_signing_alg)
    elif document.get("require_signed_request_object") is True:
        raise MetadataRejected("the authorization server takes signed requests only, and this agent signs none")
    if identity.authorization_signed_response_alg is not None:
        _require(document, "response_modes_supported", "jwt")
        _require(document, "authorization_signing_alg_values_supported", identity.authorization_signed_response_alg)


def _with_aliases(document: Mapping[str, object], identity: Identity) -> Mapping[str, object]:
    """The endpoints for a client that shows a certificate, where the server has others for it (RFC 8705 §5)."""
    aliases = document.get("mtls_endpoint_aliases", {})
    if not isinstance(aliases, Mapping):
        raise MetadataRejected("mtls_endpoint_aliases is no object")
    return {**document, **aliases} if identity.certificate is not None else document  # FAPI2-CL-7


def _server_addresses(issuer: str) -> tuple[str, ...]:
    """The places in the order that MCP fixes (CL2); they are two for an issuer without a path."""
    trimmed = issuer.rstrip("/")
    addresses = (
        with_well_known(trimmed, "oauth-authorization-server"),
        with_well_known(trimmed, "openid-configuration"),
        f"{trimmed}/.well-known/openid-configuration",
    )
    return tuple(dict.fromkeys(addresses))


def _first(addresses: tuple[str, ...], what: str) -> Exchange[dict[str, Any]]:
    for address in dict.fromkeys(addresses):
        request = Request(method="GET", url=address, headers=_HEADERS)
        answer = yield from send(request, what)
        if answer.status == _OK:
            return json_object(answer, what)
        if answer.status != _NOT_FOUND:
            raise AnswerRejected(f"the {what} cannot be had: status {answer.status}")
    raise AnswerRejected(f"there is no {what} at any well-known place")


def _strings(document: Mapping[str, object], member: str) -> tuple[str, ...]:
    values = document.get(member, [])
    if not isinstance(values, list) or len(values) > _LIST_LIMIT:
        raise MetadataRejected(f"{member} is no list of a usable length")
    if not all(isinstance(value, str) for value in values):
        raise MetadataRejected(f"{member} is no list of strings")
    return tuple(values)


def _require(document: Mapping[str, object], member: str, value: str) -> None:
    if value not in _strings(document, member):
        raise MetadataRejected(f"the authorization server does not list {value} in {member}")


def _endpoint(document: Mapping[str, object], member: str) -> str:
    url = document.get(member)
    if not isinstance(url, str):
        raise MetadataRejected(f"the authorization server metadata has no {member}")
    secure(url, member)
    return url


def _optional(document: Mapping[str, object], member: str, identity: Identity) -> str | None:
    return _home_endpoint(document, member, identity) if member in document else None


def _at_home(document: Mapping[str, object], member: str, identity: Identity) -> str | None:
    """An endpoint that not every agent uses: one that is elsewhere is no reason against a server."""
    try:
        return _optional(document, member, identity)
    except (InsecureAddress, MetadataRejected):
        return None


def _home_endpoint(document: Mapping[str, object], member: str, identity: Identity) -> str:
    """An endpoint that gets our assertion, and perhaps a code or a token, or from which we take keys.

    An assertion is for the issuer, wherever it is sent. Whoever can change a metadata document once could have it
    delivered to a place of their own, fresh and unused (the "audience injection" of FAPI 2.0 §6, turned round).
    """
    url = _endpoint(document, member)
    if origin(url) in {origin(identity.issuer), *map(origin, identity.endpoint_origins)}:
        return url
    aliases = document.get("mtls_endpoint_aliases")
    aliased = identity.certificate is not None and isinstance(aliases, Mapping) and aliases.get(member) == url
    if aliased and urlsplit(url).hostname == urlsplit(identity.issuer).hostname:
        return url  # another port of the same host, which has to have its certificate as well
    raise MetadataRejected(f"the {member} is on another server than the issuer, and this agent was not told so")
