"""fapi-as serve and fapi-as check-config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fapi_as.commands.operator import operator_stamp
from fapi_as.commands.options import AS_JSON, CONFIG
from fapi_as.commands.printing import print_members
from fapi_as.commands.refusals import refusals

if TYPE_CHECKING:
    from fapi_as.adapters.serving.plan import Address, ServePlan
    from fapi_as.settings import MutualTls, Server, Settings

_METADATA = "/.well-known/oauth-authorization-server"


@click.command()
@click.option("--workers", type=click.IntRange(1, 64), help="How many processes, instead of server.workers.")
@CONFIG
def serve(*, workers: int | None, config: Path) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    Migrates the database, makes the first signing keys, and prints the addresses when requests are accepted. A worker
    that dies is replaced; on SIGTERM every request in flight is answered first.
    """
    from fapi_as.settings import load

    with refusals():
        settings = load(config, os.environ)  # first: what it refuses need not wait for the rest
        from fapi_as import bootstrap
        from fapi_as.adapters import logs
        from fapi_as.adapters.serving.supervisor import supervise

        logs.configure(settings.logging.level, settings.logging.format)
        bootstrap.prepare(settings, operator_stamp())
    raise SystemExit(supervise(_plan(settings), workers or settings.server.workers))


def _plan(settings: Settings) -> ServePlan:
    from fapi_as.adapters.serving.plan import Address, ServePlan

    def address(section: Server | MutualTls, *, client_certificates: bool) -> Address:
        return Address(
            host=section.host,
            port=section.port,
            certfile=str(section.certificate_file),
            keyfile=str(section.private_key_file),
            client_certificates=client_certificates,
        )

    addresses = [address(settings.server, client_certificates=False)]
    told = [settings.server.issuer, settings.server.issuer + _METADATA]
    if settings.mutual_tls_url is not None:
        addresses.append(address(settings.mtls, client_certificates=True))
        told.append(settings.mutual_tls_url)
    return ServePlan(
        application="fapi_as.bootstrap:worker",
        argument=settings.model_dump_json(),
        addresses=tuple(addresses),
        told=tuple(told),
    )


@click.command("check-config")
@AS_JSON
@CONFIG
def check_config(*, as_json: bool, config: Path) -> None:
    """Print what holds, or the sentence with which `serve` would refuse; changes nothing."""
    from fapi_as.settings import load

    with refusals():
        settings = load(config, os.environ)
        from fapi_as import bootstrap

        bootstrap.inspect(settings)
    document = settings.model_dump(mode="json")
    document["mtls"]["url"] = settings.mutual_tls_url
    if as_json:
        print_members(document, as_json=True)
        return
    flat = {f"{section}.{key}": value for section, keys in document.items() for key, value in keys.items()}
    print_members(flat, as_json=False)
