"""Client ID metadata documents (draft-ietf-oauth-client-id-metadata-document): pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from fapi_as.protocol import registration_request
from fapi_as.protocol.client import Approval, RegisteredClient
from fapi_as.protocol.client_metadata import PRIVATE_KEY_JWT, parse_client, to_metadata
from fapi_as.protocol.look_alikes import confusing
from fapi_as.protocol.outbound_url import InvalidOutboundUrl, OutboundUrl, parse_outbound_url
from fapi_as.protocol.policy import DocumentPolicy, Policy
from fapi_as.protocol.profile import CLIENT_DOCUMENT_LIMIT
from fapi_as.protocol.registration import TrustedAuthority
from fapi_as.protocol.registration_policy import under_policy
from fapi_as.protocol.software_statement import VerifiedStatement
from rs_kit.protocol.errors import ProtocolError
from rs_kit.protocol.strict_json import JOSE_DEPTH, InvalidJson, parse_object

_SCHEME: Final = "https://"
_HTTPS_PORT: Final = 443
_CLIENT_ID_LIMIT: Final = 512  # characters: it stands in every token
_DOT_SEGMENT: Final = re.compile(r"(?:\.|%2e){1,2}\Z", re.IGNORECASE)
_GRANT_TYPES: Final = frozenset({"authorization_code", "refresh_token"})
_KEYS: Final = frozenset({"jwks", "jwks_uri"})
_SECRETS: Final = ("client_secret", "client_secret_expires_at")  # CIMD-4
_ELSEWHERE: Final = "sector_identifier_uri"  # nobody has fetched what it names
_VERSION_BYTES: Final = 6  # of the digest: a whole number that every JSON parser reads alike


class InvalidClientDocument(Exception):
    """A client_id that may not have a document here, or a document that describes no client; the message is private."""


def is_document_url(client_id: str) -> bool:
    """Whether a client_id belongs to the name space of documents; what we generate or pin never does (CIMD-11)."""
    return client_id[: len(_SCHEME)].lower() == _SCHEME


def require_document_url(client_id: str, policy: DocumentPolicy, own: Iterable[str]) -> OutboundUrl:
    """Judge a client_id before anything is asked of its host (CIMD-1, CIMD-13); `own` are the URLs that are ours.

    Raises:
        InvalidClientDocument: another spelling, or a host that nobody allowed, or our own.
    """
    if len(client_id) > _CLIENT_ID_LIMIT:
        raise InvalidClientDocument("the client_id is too long")
    try:
        url = parse_outbound_url(client_id)
    except InvalidOutboundUrl as error:
        raise InvalidClientDocument(str(error)) from None
    parts = urlsplit(client_id)
    if url.address is not None:
        raise InvalidClientDocument("the host is an address")
    if parts.netloc != _place(url):  # the default port and capitals would be a second name of the same client
        raise InvalidClientDocument("the host is not in its usual spelling")
    if not parts.path or "?" in client_id:
        raise InvalidClientDocument("the URL has no path, or a query")
    if any(_DOT_SEGMENT.match(segment) for segment in parts.path.split("/")):
        raise InvalidClientDocument("the path has a dot segment")
    if any(_is_at(url, ours) for ours in own):
        raise InvalidClientDocument("the host is our own")
    if _place(url) not in policy.hosts:
        raise InvalidClientDocument("the host is not among those that are allowed")
    return url


def read_document(body: bytes, client_id: str) -> dict[str, Any]:
    """The members of a document (CIMD-3, CIMD-4, CIMD-9).

    Raises:
        InvalidClientDocument: no strict JSON object, too large, of another client_id, or one with a shared secret.
    """
    if len(body) > CLIENT_DOCUMENT_LIMIT:
        raise InvalidClientDocument("the document is too large")
    try:
        members = parse_object(body, max_depth=JOSE_DEPTH)
    except InvalidJson as error:
        raise InvalidClientDocument(f"the document is no strict JSON: {error}") from None
    if members.get("client_id") != client_id:  # simple string comparison
        raise InvalidClientDocument("the document is of another client_id")
    if any(name in members for name in _SECRETS):
        raise InvalidClientDocument("the document has a secret")
    return members


def described_client(members: Mapping[str, object], client_id: str, policy: DocumentPolicy) -> RegisteredClient:
    """The client that a document describes, of what may be had here (CIMD-5, CIMD-6, CIMD-13).

    Redirect URIs of another origin are not registered, so that whoever asks for one is told so as for any other that
    is not. Of the grant types and the scope only what is open to documents counts; one document serves many servers.

    Raises:
        InvalidClientDocument: it describes none that may be used here.
    """
    if members.get("token_endpoint_auth_method") != PRIVATE_KEY_JWT:
        raise InvalidClientDocument("token_endpoint_auth_method is not private_key_jwt")
    if members.get(_ELSEWHERE) is not None:
        raise InvalidClientDocument(f"{_ELSEWHERE} is not offered to documents")
    if not members.get("redirect_uris") or not members.get("client_name"):  # MCP authorization 2026-07-28
        raise InvalidClientDocument("client_name and redirect_uris are required")
    narrowed = {name: value for name, value in members.items() if name not in {"software_statement", "client_id"}}
    narrowed["grant_types"] = _grant_types(members.get("grant_types"))
    narrowed["scope"] = _scope(members.get("scope"), policy)
    try:
        whole = parse_client(narrowed, client_id=client_id, version=0)
    except ProtocolError as error:
        raise InvalidClientDocument(error.description) from None
    names = (whole.client_name, *(name for _, name in whole.description.names))
    if any(confusing(name) is not None for name in names):  # DCR-13
        raise InvalidClientDocument("client_name is read as another one")
    origin = _origin(client_id)
    if whole.jwks_uri is not None and _origin(whole.jwks_uri) != origin:
        raise InvalidClientDocument("jwks_uri is of another origin")
    if any(not _is_of(uri, origin) for uri in whole.post_logout_redirect_uris):
        raise InvalidClientDocument("a post_logout_redirect_uri is of another origin")
    own = replace(whole, redirect_uris=tuple(uri for uri in whole.redirect_uris if _is_of(uri, origin)))
    return replace(own, version=_version(own), document_digest=binding_digest(own))


def approved_client(
    members: Mapping[str, object],
    client_id: str,
    policy: Policy,
    statement: VerifiedStatement,
    authority: TrustedAuthority,
) -> RegisteredClient:
    """The client that a document describes and an authority vouches for, under today's policy of that authority.

    Whoever copies somebody's statement into a document of its own must not be taken for that one, so a statement
    counts here only where it says which keys the client has.

    Raises:
        InvalidClientDocument: the document is not what the statement says, or more than the policy allows.
    """
    if policy.documents is None:
        raise InvalidClientDocument("documents are switched off")
    if _KEYS.isdisjoint(statement.claims):
        raise InvalidClientDocument("the software statement says nothing of the client's keys")
    if authority.policy.signed_request or authority.policy.mutual_tls:  # SSA-7, DCR-20: there is no request to show it
        raise InvalidClientDocument("the policy of the authority demands what no document can prove")
    try:
        merged = registration_request.merged(members, statement)
        client = under_policy(described_client(merged, client_id, policy.documents), authority.policy)
        if client is None:
            raise InvalidClientDocument("the policy of the authority leaves nothing of it")
        private = policy.allowed_private_hosts
        judged = registration_request.judged(
            client, authority.policy, statement=statement, allowed_private_hosts=private
        )
    except ProtocolError as error:
        raise InvalidClientDocument(error.description) from None
    approved = replace(judged, approval=Approval(approver=authority.issuer, version=authority.version))
    return replace(approved, document_digest=binding_digest(approved))


def binding_digest(client: RegisteredClient) -> str:
    """What a grant is bound to of a document; keys may rotate, nothing else here may change (CIMD-14).

    Whose approval it had is part of it: without, it is another one than the person was asked about.
    """
    bound = {
        "client_id": client.client_id,
        "client_name": [("", client.client_name), *sorted(client.description.names)],  # in every language
        "redirect_uris": sorted(client.redirect_uris),
        "token_endpoint_auth_method": client.token_endpoint_auth_method,
        "jwks_uri": client.jwks_uri,
        "approved_by": None if client.approval is None else client.approval.approver,
    }
    encoded = json.dumps(bound, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return hashlib.sha256(encoded).hexdigest()


def _place(url: OutboundUrl) -> str:
    """The authority of a URL in its one spelling."""
    return url.host if url.port == _HTTPS_PORT else f"{url.host}:{url.port}"


def _is_at(url: OutboundUrl, ours: str) -> bool:
    """Whether one of our URLs is there, or would be at the port that nobody has to name (CIM-11)."""
    host, port = _origin(ours)
    return url.host == host and url.port in {port, _HTTPS_PORT}


def _origin(url: str) -> tuple[str, int]:
    """Host and port of an https URL that was validated (RFC 6454 §4)."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _HTTPS_PORT


def _is_of(uri: str, origin: tuple[str, int]) -> bool:
    # only loopback literals of native clients are http (FAPI2-AZ-8)
    return uri.startswith("http:") or _origin(uri) == origin


def _grant_types(value: object) -> list[str]:
    """What a document may have of what it names; nothing named is the code flow (RFC 7591 §2)."""
    if value is None:
        return ["authorization_code"]
    if not isinstance(value, list) or "authorization_code" not in value:
        raise InvalidClientDocument("grant_types is no list with authorization_code")
    if not all(isinstance(item, str) for item in value):
        raise InvalidClientDocument("grant_types is no list of strings")
    return sorted(_GRANT_TYPES.intersection(value))


def _scope(value: object, policy: DocumentPolicy) -> str:
    """What a document may have of what it asks for; nothing asked is all that documents may have."""
    if value is None:
        return " ".join(sorted(policy.scope))
    if not isinstance(value, str):
        raise InvalidClientDocument("scope is no string")
    left = policy.scope.intersection(value.split(" "))
    if not left:
        raise InvalidClientDocument("no value of scope is open to documents")
    return " ".join(sorted(left))


def _version(client: RegisteredClient) -> int:
    """A number that changes with everything that is read from the document."""
    encoded = json.dumps(to_metadata(client), sort_keys=True, ensure_ascii=False).encode()
    return int.from_bytes(hashlib.sha256(encoded).digest()[:_VERSION_BYTES])
