"""fapi-as init: a configuration, a sealing key and, for a laptop, certificates and an authority."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import click

from fapi_as.commands.options import CONFIG
from fapi_as.commands.refusals import refusals

_CERTIFICATES: Final = "certs"
_DEFAULT_ISSUER: Final = "https://localhost:8443"
_PORT: Final = 8443
_HIGHEST_PORT: Final = 65535
# every key with its default: what is commented out is what holds anyway
_TEMPLATE: Final = """\
# fapi-as: the authorization server. Relative paths start where this file is.
# Every key can be overridden by an environment variable, as FAPI_AS__SERVER__PORT for server.port.
# A key that does not exist stops the start, and so does a value above its ceiling.

[server]
# How clients name this server: https, no trailing slash, compared as a string.
issuer = "{issuer}"
# Where it listens.
host = "127.0.0.1"
port = {port}
# Processes that share the work and the database.
#workers = 1
certificate_file = "{certificate}"
# Only its owner may read it (mode 0600).
private_key_file = "{private_key}"

[mtls]
# A second address, where clients are asked for certificates; the first one never asks.
#enabled = true
port = {mutual_tls_port}
# How clients name it, where that is not the issuer's host and this port.
# url = "{mutual_tls_url}"
# Where it listens and what it shows, where that is not as in [server].
# host = "127.0.0.1"
# certificate_file = "{certificate}"
# private_key_file = "{private_key}"
# Authorities that certify clients (PEM); without them no client authenticates with tls_client_auth.
{client_ca}client_ca_file = "{authority}"
# What they revoked (PEM). Both files are read again when they change.
# client_crl_file = "client-revocations.pem"
# Certificates that a proxy tells (RFC 9440): only from its own addresses, and only with a proof that it is the proxy.
#client_cert_header = false
# proxy_networks = ["10.0.0.7/32"]
# proxy_certificates_file = "proxy.pem"
# proxy_secret_file = "proxy.secret"

[database]
# SQLite in one file; nothing else has to be installed.
#url = "sqlite:///fapi-as.db"

[keys]
# Seals the signing keys and every payload at rest; only its owner may read it (mode 0600).
# Without it the database is worthless, so keep a copy somewhere else.
#sealing_key_file = "sealing.key"
# A signing key that has been in use for so long is followed by another.
#rotation_days = 90
# Peers may keep our key set for so many seconds, and a new key is in it for longer than that before it signs.
#jwks_max_age = 60
#published_before_use = 360

[fetch]
# How documents of others are had, as the keys behind a jwks_uri: the authorities to trust (PEM; those of the system
# without it), and the names of hosts that may have loopback or private addresses. No other one is ever connected to.
# ca_file = "authorities.pem"
#allowed_private_hosts = []

[lifetimes]
# In seconds; shorter is allowed, longer than the profile's ceiling stops the start.
#authorization_code = 60
#request_uri = 90
#interaction = 600
#session = 28800
#session_idle = 900
#access_token = 300
#refresh_token = 2592000
#refresh_token_idle = 1209600

[dpop]
# Nonces from the server, and how old a proof may be in seconds.
#nonces = true
#proof_age = 60

[registration]
# Clients register themselves at /register, with a statement of an authority (fapi-as trust) or an initial access token
# (fapi-as registration-token); without the one and the other nobody does.
#enabled = true
# What was registered and not used for so long ends: in hours before its first use, in days after its last one.
#pending_hours = 24
#unused_days = 90
#per_source_per_hour = 600

[client_id_metadata]
# Clients whose client_id is the URL of a document about them. Only these hosts, only these scopes.
#enabled = false
#hosts = []
#scopes = []
# Whether the document must bring a software statement of an authority.
#statement_required = false

[logging]
# debug, info, warning or error; json or text.
#level = "info"
#format = "json"
"""


@click.command()
@click.option(
    "--dev", is_flag=True, help="Also write development certificates into certs/, and trust a development authority."
)
@click.option(
    "--only-certificates", is_flag=True, help="With --dev: write or renew the certificates and touch nothing else."
)
@click.option(
    "--only-database",
    is_flag=True,
    help="Make the empty database that the configuration names; one that is there stays.",
)
@click.option(
    "--issuer", default=_DEFAULT_ISSUER, show_default=True, help="The issuer; its port is the one to listen on."
)
@CONFIG
def init(*, dev: bool, only_certificates: bool, only_database: bool, issuer: str, config: Path) -> None:
    """Write a commented configuration and a sealing key, and make an empty database.

    Nothing that exists is overwritten. With --dev the certificates of a laptop are written, too; they are good for
    90 days, and `init --dev --only-certificates` renews them in their last two weeks. So is the key of an authority
    that is trusted from then on: `fapi-as statement issue` signs with it, and agents register themselves. When the
    configuration names another database later, `init --only-database` makes it: no other command takes a lost one for
    a new one.
    """
    if only_certificates and not dev:
        raise click.UsageError("--only-certificates needs --dev")
    if only_database:
        if dev:
            raise click.UsageError("--only-database stands alone")
        with refusals():
            _make_database(config)
        return
    if only_certificates:
        with refusals():
            _write_certificates(config.parent / _CERTIFICATES)
        return
    with refusals():
        _write_configuration(config, issuer, dev=dev)
        _make_database(config)
        if dev:
            _write_certificates(config.parent / _CERTIFICATES)
            _trust_development_authority(config)


def _make_database(config: Path) -> None:
    from fapi_as.adapters.store import migrate
    from fapi_as.settings import load

    database = load(config, os.environ).database
    if database.path.exists():
        click.echo(f"kept: {database.path}")
        return
    migrate(database.url)
    click.echo(f"written: {database.path}")


def _trust_development_authority(config: Path) -> None:
    """Whoever can read its key lets clients in, so it is of this directory's owner, and of no production server."""
    from fapi_as.adapters.store import AlreadyExists, Approvals
    from fapi_as.commands.development_authority import ensure_development_authority
    from fapi_as.commands.operator import operator_stamp
    from fapi_as.settings import DEFAULT_TENANT, load

    members, written = ensure_development_authority(config.parent)
    for path in written:
        click.echo(f"written: {path}")
    approvals = Approvals.open(load(config, os.environ).database.url, DEFAULT_TENANT)
    with contextlib.suppress(AlreadyExists):  # the database was kept, and with it what an operator has said since
        approvals.add_authority(members, operator_stamp())


def _write_configuration(config: Path, issuer: str, *, dev: bool) -> None:
    from fapi_as.adapters.entropy import SystemEntropy
    from fapi_as.adapters.keys import write_sealing_key
    from fapi_as.settings import ConfigurationError, issuer_refusal

    refusal = issuer_refusal(issuer)
    if refusal is not None:
        raise ConfigurationError(f"the issuer {refusal}")
    sealing_key = config.parent / "sealing.key"
    for path in (config, sealing_key):
        if os.path.lexists(path):
            raise click.ClickException(f"{path} exists already and is not overwritten; nothing was changed")
    config.parent.mkdir(parents=True, exist_ok=True)
    write_sealing_key(sealing_key, SystemEntropy())
    with config.open("x", encoding="utf-8") as file:
        file.write(_configuration(issuer, dev=dev))
    click.echo(f"written: {sealing_key}")
    click.echo(f"written: {config}")


def _configuration(issuer: str, *, dev: bool) -> str:
    from urllib.parse import urlsplit

    from fapi_as.settings import host_of

    folder = f"{_CERTIFICATES}/" if dev else ""
    port = urlsplit(issuer).port or _PORT
    mutual_tls_port = port + 1 if port < _HIGHEST_PORT else port - 1
    return _TEMPLATE.format(
        issuer=issuer,
        port=port,
        mutual_tls_port=mutual_tls_port,
        mutual_tls_url=f"https://{host_of(issuer)}:{mutual_tls_port}",
        certificate=f"{folder}authorization-server.pem",
        private_key=f"{folder}authorization-server.key",
        client_ca="" if dev else "# ",
        authority=f"{folder}ca.pem" if dev else "client-authorities.pem",
    )


def _write_certificates(directory: Path) -> None:
    from fapi_as.adapters.clock import SystemClock
    from fapi_as.adapters.tls.dev_certificates import ensure_dev_certificates

    made = ensure_dev_certificates(directory, SystemClock().now())
    said = "written" if made.renewed else "kept"
    click.echo(f"{said}: {directory}, valid until {made.expires_at:%Y-%m-%d}; trust {made.authority}")
