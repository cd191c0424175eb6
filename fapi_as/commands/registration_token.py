"""fapi-as registration-token: initial access tokens (RFC 7591 §3) for whoever has no authority."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from fapi_as.commands.approver_policy import refuse_what_is_not_offered
from fapi_as.commands.operator import desk, read_members
from fapi_as.commands.options import AS_JSON, CONFIG
from fapi_as.commands.printing import confirm, print_members, print_rows
from fapi_as.commands.refusals import refusals

if TYPE_CHECKING:
    from fapi_as.adapters.store import StoredApprover

_DAY: Final = 86_400
_LONGEST: Final = 366 * _DAY  # as a software statement
_SHORTEST: Final = 60
_USES: Final = 10_000


@click.group("registration-token")
def registration_token() -> None:
    """Issue and revoke initial access tokens: with one, somebody registers so many clients."""


@registration_token.command()
@click.argument("file", metavar="POLICY.json|-")
@click.option(
    "--uses", type=click.IntRange(1, _USES), default=1, show_default=True, help="How many clients it may register."
)
@click.option(
    "--expires-in",
    type=click.IntRange(_SHORTEST, _LONGEST),
    default=_DAY,
    show_default=True,
    help="Seconds until it is over.",
)
@click.option("--jkt", help="The thumbprint (RFC 7638) of the DPoP key that must come with it.")
@click.option("--owner", help="Who gets it, for your own records.")
@AS_JSON
@CONFIG
def issue(  # noqa: PLR0913 - one argument for each option
    *, file: str, uses: int, expires_in: int, jkt: str | None, owner: str | None, as_json: bool, config: Path
) -> None:
    """Issue a token whose clients are under the policy in POLICY.json; `-` reads stdin.

    The token is printed once and kept as a digest: whoever has it registers clients, so hand it over as a password.
    """
    from fapi_as.adapters.entropy import SystemEntropy
    from fapi_as.protocol.handles import digest_of

    policy = read_members(file)
    members = _members(policy, jkt, owner)
    entropy = SystemEntropy()
    token = entropy.handle()
    with desk(config) as work, refusals("stdin" if file == "-" else file):
        refuse_what_is_not_offered(policy, work.settings)
        stored = work.approvals.add_initial_token(
            entropy.identifier(),
            digest_of(token),
            members,
            work.stamp,
            uses=uses,
            expires_at=work.stamp.at + expires_in,
        )
    print_members({"initial_access_token": token, **_shown(stored)}, as_json=as_json)


@registration_token.command("list")
@AS_JSON
@CONFIG
def list_(*, as_json: bool, config: Path) -> None:
    """Show every token, used up, over and revoked ones too, and how many clients came with it."""
    with desk(config) as work:
        rows = [_shown(stored) for stored in work.approvals.initial_tokens()]
    print_rows(rows, ("id", "owner", "enabled", "uses_left", "clients", "expires_at"), as_json=as_json)


@registration_token.command()
@click.argument("token_id", metavar="ID")
@AS_JSON
@CONFIG
def revoke(*, token_id: str, as_json: bool, config: Path) -> None:
    """Let a token register no client any more; those that it has registered stay."""
    with desk(config) as work:
        work.approvals.revoke_initial_token(token_id, work.stamp)
    confirm({"id": token_id, "enabled": False}, f"initial access token {token_id} is revoked", as_json=as_json)


def _members(policy: Mapping[str, Any], jkt: str | None, owner: str | None) -> dict[str, Any]:
    if jkt is not None:
        _require_thumbprint(jkt)
    given = {"policy": policy, "jkt": jkt, "owner": owner}
    return {name: value for name, value in given.items() if value is not None}


def _require_thumbprint(jkt: str) -> None:
    """One that no key can have would be found out by whoever got the token."""
    from rs_kit.protocol.confirmation import parse
    from rs_kit.protocol.errors import InvalidToken

    try:
        parse({"jkt": jkt})
    except InvalidToken:
        raise click.UsageError("--jkt must be the SHA-256 thumbprint of a key, as base64url") from None


def _shown(stored: StoredApprover) -> dict[str, object]:
    from fapi_as.protocol.registration import INITIAL_TOKEN_APPROVER

    return {
        "id": stored.name.removeprefix(INITIAL_TOKEN_APPROVER),
        **stored.members,
        "enabled": stored.enabled,
        "uses_left": stored.uses_left,
        "expires_at": stored.expires_at,
        "clients": stored.clients,
        "registered_at": stored.registered_at,
    }
