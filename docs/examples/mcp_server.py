"""A bank as an MCP server: the official SDK, unmodified, behind rs_kit.

The SDK's application is built without authentication of its own. The kit stands in front of it, and what reaches a tool
was allowed by a person, for this tool, and was sent by the agent they allowed it to.

    python mcp_server.py --resource https://localhost:8445/mcp --issuer https://localhost:8443 \
        --ca ca.pem --certificate mcp-server.pem --private-key mcp-server.key
"""

from __future__ import annotations

import argparse
import logging
from urllib.parse import urlsplit

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import MCPServer

from rs_kit.adapters.asgi import RsKit
from rs_kit.adapters.clock import SystemClock, ephemeral_nonce_key
from rs_kit.adapters.hypercorn import run
from rs_kit.adapters.issuer_keys import HttpsIssuerKeys
from rs_kit.adapters.mcp import protect, second_line
from rs_kit.adapters.observer import LoggingObserver
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.guard import Guard
from rs_kit.protocol.confirmation import SenderConstraint
from rs_kit.protocol.tool_policy import ToolPolicy

POLICY = ToolPolicy(
    base=("accounts:read",),  # to say hello and to list the tools
    tools={
        "get_balance": ("accounts:read",),
        "transfer": ("payments:write",),
    },
)

bank = MCPServer("demo-bank", middleware=[second_line(POLICY)])
balances = {"checking": 1250, "savings": 8000}  # in euros


def customer() -> str:
    """Who the caller acts for, as the authorization server knows them."""
    token = get_access_token()
    return token.subject or "nobody" if token is not None else "nobody"


@bank.tool()
def get_balance(account: str) -> str:
    """Tell the balance of one of the customer's accounts."""
    return f"{balances[account]} EUR on the {account} account of {customer()}"


@bank.tool()
def transfer(amount: int, source: str, target: str) -> str:
    """Move money between two of the customer's accounts."""
    if not 0 < amount <= balances[source]:
        return "nothing was moved: the amount is not there"
    balances[source] -= amount
    balances[target] += amount
    return f"{amount} EUR moved from {source} to {target} for {customer()}"


def application(resource: str, issuer: str, ca_file: str | None) -> RsKit:
    """The bank behind its guard. One process: several would share a replay store and a nonce key."""
    guard = Guard(
        resource=resource,
        issuer=issuer,
        keys=HttpsIssuerKeys(issuer, ca_file=ca_file),
        used_once=MemoryUsedOnce(),
        tools=POLICY,
        nonce_key=ephemeral_nonce_key(),
        clock=SystemClock(),
        observer=LoggingObserver(),
        resource_name="Demo bank",
        sender_constraint=SenderConstraint.EITHER,  # to a key or a certificate, and never to nothing
    )
    app = bank.streamable_http_app(
        streamable_http_path=urlsplit(resource).path, json_response=True, stateless_http=True
    )
    return protect(app, guard)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="The demo's MCP server.")
    parser.add_argument("--resource", required=True, help="the URL that clients call, and the audience of their tokens")
    parser.add_argument("--issuer", required=True, help="the authorization server whose tokens count")
    parser.add_argument("--ca", help="authorities to trust when its keys are fetched (PEM)")
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--private-key", required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    app = application(options.resource, options.issuer, options.ca)
    address = urlsplit(options.resource)
    run(
        app,
        host=address.hostname or "localhost",
        port=address.port or 443,
        certfile=options.certificate,
        keyfile=options.private_key,
        client_certificates=True,  # every caller is asked for one; who has a key instead may come without
    )


if __name__ == "__main__":
    main()
