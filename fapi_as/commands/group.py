"""The tree of commands; each file below imports what it needs when it runs."""

from __future__ import annotations

import click

from fapi_as.commands.agent import agent
from fapi_as.commands.audit import audit, explain
from fapi_as.commands.client import client
from fapi_as.commands.keys import keys
from fapi_as.commands.registration_token import registration_token
from fapi_as.commands.resource import resource
from fapi_as.commands.serve import check_config, serve
from fapi_as.commands.setup import init
from fapi_as.commands.statement import statement
from fapi_as.commands.trust import trust
from fapi_as.commands.user import user


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """The FAPI 2.0 authorization server for agents that call tools over MCP."""


_SERVER = (
    init,
    serve,
    check_config,
    client,
    user,
    resource,
    trust,
    statement,
    registration_token,
    keys,
    audit,
    explain,
)
for _command in (*_SERVER, agent):
    cli.add_command(_command)
