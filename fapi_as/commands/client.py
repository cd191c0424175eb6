"""fapi-as client: who may ask for tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fapi_as.commands.operator import desk, read_members
from fapi_as.commands.options import AS_JSON, CONFIG
from fapi_as.commands.printing import confirm, print_members, print_rows
from fapi_as.commands.refusals import refusals

if TYPE_CHECKING:
    from fapi_as.adapters.store import StoredClient, StoredWithdrawal
    from fapi_as.protocol.client import RegisteredClient
    from fapi_as.protocol.policy import Policy
    from fapi_as.settings import Fetch


@click.group()
def client() -> None:
    """Register, show and switch off clients (RFC 7591 metadata)."""


@client.command()
@click.argument("file", metavar="FILE.json|-")
@AS_JSON
@CONFIG
def add(*, file: str, as_json: bool, config: Path) -> None:
    """Register the client that FILE.json describes; `-` reads stdin.

    Prints the registered metadata. A member `client_id` pins the id; without it one is drawn.
    """
    members = read_members(file)
    with desk(config) as work, refusals("stdin" if file == "-" else file):
        client_id = _chosen_id(members)
        _refuse_a_subject(client_id, {user.subject for user in work.operators.users()})
        registered = _parsed(members, client_id)
        _refuse_what_is_not_offered(registered, work.settings.policy())
        _refuse_a_jwks_uri_inside(registered, work.settings.fetch.allowed_private_hosts)
        _require_sector(registered, work.settings.fetch)
        stored = work.operators.add_client(members, client_id, work.stamp)
    print_members(_shown(stored), as_json=as_json)


@client.command("list")
@click.option("--inactive", is_flag=True, help="Also show clients that are suspended.")
@AS_JSON
@CONFIG
def list_(*, inactive: bool, as_json: bool, config: Path) -> None:
    """Show every client that gets in: active ones, and pending ones, which have registered and never came.

    A suspended one is disabled, or whoever approved it does so no more. Clients that describe themselves in a document
    are not registered; those of them that are disabled are suspended, too.
    """
    from fapi_as.adapters.store import ClientState

    with desk(config) as work:
        rows = [_shown(stored) for stored in work.operators.clients()]
        rows += [_blocked(stored) for stored in work.approvals.blocked_documents()]
    kept = [row for row in rows if inactive or row["state"] != ClientState.SUSPENDED]
    columns = ("client_id", "client_name", "state", "approver", "grant_types", "scope", "last_used_at", "expires_at")
    print_rows(kept, columns, as_json=as_json)


@client.command()
@click.argument("client_id", metavar="ID")
@AS_JSON
@CONFIG
def show(*, client_id: str, as_json: bool, config: Path) -> None:
    """Show the registered metadata of one client."""
    with desk(config) as work:
        _refuse_a_document(client_id)
        stored = work.operators.client(client_id)
        if stored is None:
            raise click.ClickException(f"there is no client {client_id}")
    print_members(_shown(stored), as_json=as_json)


@client.command()
@click.argument("client_id", metavar="ID|URL")
@AS_JSON
@CONFIG
def disable(*, client_id: str, as_json: bool, config: Path) -> None:
    """Keep a client out, at once and in every worker; its tokens are not renewed.

    With the URL of its document, one that is not registered.
    """
    _switch(client_id, config, as_json=as_json, enabled=False)


@client.command()
@click.argument("client_id", metavar="ID|URL")
@AS_JSON
@CONFIG
def enable(*, client_id: str, as_json: bool, config: Path) -> None:
    """Let a disabled client in again."""
    _switch(client_id, config, as_json=as_json, enabled=True)


@client.command()
@click.argument("client_id", metavar="ID")
@AS_JSON
@CONFIG
def remove(*, client_id: str, as_json: bool, config: Path) -> None:
    """Remove a client and with it everything it could still do."""
    with desk(config) as work:
        _refuse_a_document(client_id)
        work.operators.remove_client(client_id, work.stamp)
    confirm({"client_id": client_id, "removed": True}, f"client {client_id} is removed", as_json=as_json)


def _switch(client_id: str, config: Path, *, as_json: bool, enabled: bool) -> None:
    with desk(config) as work:
        if not _is_document(client_id):
            work.operators.set_client_enabled(client_id, work.stamp, enabled=enabled)
        elif enabled:
            work.approvals.unblock_document(client_id, work.stamp)
        else:
            work.approvals.block_document(client_id, work.stamp)
    said = "enabled" if enabled else "disabled"
    confirm({"client_id": client_id, "enabled": enabled}, f"client {client_id} is {said}", as_json=as_json)


def _is_document(client_id: str) -> bool:
    """Whether this is the URL of a document, in the one spelling that clients can have: another one names nobody."""
    from urllib.parse import urlsplit

    from fapi_as.protocol.client_document import InvalidClientDocument, is_document_url, require_document_url
    from fapi_as.protocol.metadata_members import wrong
    from fapi_as.protocol.policy import DocumentPolicy

    if not is_document_url(client_id):
        return False
    try:
        hosts = frozenset({urlsplit(client_id).netloc})  # whichever it is: one may be kept out before it is let in
        require_document_url(client_id, DocumentPolicy(hosts=hosts, scope=frozenset()), ())
    except (InvalidClientDocument, ValueError) as error:
        raise wrong(f"client_id: {error}") from None
    return True


def _refuse_a_document(client_id: str) -> None:
    if _is_document(client_id):
        raise click.ClickException(f"{client_id} is not registered here: its document says what it is")


def _chosen_id(members: Mapping[str, Any]) -> str:
    from fapi_as.adapters.entropy import SystemEntropy
    from fapi_as.protocol.client_metadata import require_client_id

    pinned = members.get("client_id")
    return SystemEntropy().identifier() if pinned is None else require_client_id(pinned)


def _parsed(members: Mapping[str, Any], client_id: str) -> RegisteredClient:
    from fapi_as.protocol.client_metadata import parse_client

    return parse_client(members, client_id=client_id, version=0)


def _refuse_a_subject(client_id: str, subjects: set[str]) -> None:
    from fapi_as.protocol.metadata_members import InvalidClientMetadata

    if client_id in subjects:  # OA-REG-2, FAPI2-SEC-6: a token for a client must not look like one for a person
        sentence = "client_id is the subject of a user, choose another"
        raise InvalidClientMetadata(sentence, sentence)


def _refuse_what_is_not_offered(registered: RegisteredClient, policy: Policy) -> None:
    """As for a client that registers itself; where certificates are not asked for, the configuration says so."""
    from fapi_as.features import ENABLED
    from fapi_as.kernel.capabilities import grants, require_offered

    require_offered(registered, policy, grants(ENABLED), hint="; see mtls in the configuration")


def _refuse_a_jwks_uri_inside(registered: RegisteredClient, allowed_private_hosts: tuple[str, ...]) -> None:
    """A name that is never looked up is refused here already; where others lead is judged at every fetch."""
    from fapi_as.protocol.metadata_members import wrong
    from fapi_as.protocol.outbound_url import InvalidOutboundUrl, parse_outbound_url, require_name

    if registered.jwks_uri is None:
        return
    try:
        require_name(parse_outbound_url(registered.jwks_uri), frozenset(allowed_private_hosts))
    except InvalidOutboundUrl as error:
        raise wrong(f"jwks_uri: {error}; fetch.allowed_private_hosts may name it") from None


def _require_sector(registered: RegisteredClient, settings: Fetch) -> None:
    """Once, before the client is registered: a sector that changes its mind later gets no other names (ODCR-3)."""
    import asyncio
    from contextlib import closing

    from fapi_as.adapters.fetch import HttpsFetch
    from fapi_as.protocol.fetched_document import FetchFailed
    from fapi_as.protocol.metadata_members import wrong
    from fapi_as.protocol.sector_identifier import SECTOR_DOCUMENT_LIMIT, require_sector

    uri = registered.sector_identifier_uri
    if uri is None:
        return
    fetch = HttpsFetch(ca_file=settings.ca_file, allowed_private_hosts=settings.allowed_private_hosts)
    try:
        with closing(fetch):
            found = asyncio.run(fetch.get(uri, max_bytes=SECTOR_DOCUMENT_LIMIT))
    except FetchFailed as error:
        raise wrong(f"sector_identifier_uri: {error}") from None
    require_sector(found.body, registered.redirect_uris)


def _shown(stored: StoredClient) -> dict[str, object]:
    return {
        **stored.metadata,
        "client_id_issued_at": stored.registered_at,
        "enabled": stored.enabled,
        "state": str(stored.state),
        "approver": stored.approver,
        "last_used_at": stored.last_used_at,
        "expires_at": stored.expires_at,
    }


def _blocked(stored: StoredWithdrawal) -> dict[str, object]:
    from fapi_as.adapters.store import ClientState

    return {
        "client_id": stored.name,
        "enabled": False,
        "state": str(ClientState.SUSPENDED),
        "blocked_at": stored.withdrawn_at,
    }
