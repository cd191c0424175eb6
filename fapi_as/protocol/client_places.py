"""Where a client that others let in may be: the hosts of its redirect URIs, and of everything else that has a URL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_metadata import InvalidRedirectUri
from fapi_as.protocol.metadata_members import wrong
from fapi_as.protocol.outbound_url import InvalidOutboundUrl, parse_outbound_url, require_name
from fapi_as.protocol.registration_policy import RegistrationPolicy, is_at, may_leave_for, may_redirect_to

_SECTOR: Final = "sector_identifier_uri"


def require_places(
    client: RegisteredClient,
    policy: RegistrationPolicy,
    said: frozenset[str],
    allowed_private_hosts: frozenset[str],
) -> None:
    """Every URL is at a place that the policy allows; `said` are the members that a statement vouches for.

    Raises:
        InvalidRedirectUri: a redirect URI of a host that the policy does not name.
        InvalidClientMetadata: another URL that leads inside, or to somebody else's host (DCR-10, DCR-12, DCR-23).
    """
    if not all(may_redirect_to(uri, policy) for uri in client.redirect_uris):
        raise InvalidRedirectUri("host", "redirect_uris: the policy does not allow all of these hosts")
    redirects = {_host(uri) for uri in client.redirect_uris}
    own = redirects | (policy.redirect_hosts or set())
    for name, uri in _pages(client):
        _require_outside(name, uri, allowed_private_hosts)
        if name == _SECTOR:
            # nobody fetches what it names, and in another's sector a person has the names that the other knows (ODCR-3)
            if name not in said and not is_at(_host(uri), redirects):
                raise wrong("sector_identifier_uri must be on the host of a redirect URI, or below it")
        elif policy.same_site and name not in said and not is_at(_host(uri), own):
            raise wrong(f"{name.partition('#')[0]} must be on the host of a redirect URI, or below it")
    for uri in client.post_logout_redirect_uris:
        if not may_leave_for(uri, policy) or ("post_logout_redirect_uris" not in said and not is_at(_host(uri), own)):
            # else a way to send people off
            raise wrong("post_logout_redirect_uris must be on the hosts of the redirect URIs, or below them")


def require_elsewhere(client: RegisteredClient, own: tuple[str, ...]) -> None:
    """Nothing of a client is at an address of ours: answers would come to our own pages, our keys would be its keys.

    `own` are URLs of this server; what counts of them, and of the client's, is scheme, host and port.

    Raises:
        InvalidRedirectUri: a redirect URI is one.
        InvalidClientMetadata: another URL is one, by name.
    """
    ours = {_origin(url) for url in own}
    if any(_origin(uri) in ours for uri in client.redirect_uris):
        raise InvalidRedirectUri("an address of ours", "redirect_uris must not be addresses of this server")
    others = [("post_logout_redirect_uris", uri) for uri in client.post_logout_redirect_uris]
    for name, uri in (*_pages(client), *others):
        if _origin(uri) in ours:
            raise wrong(f"{name.partition('#')[0]} must not be at an address of this server")


def _pages(client: RegisteredClient) -> Iterator[tuple[str, str]]:
    """What has a URL that somebody fetches or shows, by its member."""
    description = client.description
    single = {
        "jwks_uri": client.jwks_uri,
        _SECTOR: client.sector_identifier_uri,
        "client_uri": description.client_uri,
        "logo_uri": description.logo_uri,
        "policy_uri": description.policy_uri,
        "tos_uri": description.tos_uri,
    }
    yield from ((name, uri) for name, uri in single.items() if uri is not None)
    yield from description.localized_uris


def _require_outside(name: str, uri: str, allowed_private_hosts: frozenset[str]) -> None:
    try:
        require_name(parse_outbound_url(uri), allowed_private_hosts)
    except InvalidOutboundUrl as error:
        raise wrong(f"{name.partition('#')[0]}: {error}") from None


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or default


def _host(uri: str) -> str:
    return urlsplit(uri).hostname or ""
