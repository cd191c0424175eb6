"""The resource-server kit: bound tokens, replay protection and per-tool policy in front of any MCP server.

Names are imported when they are first used (PEP 562), so that a server pays for what it runs and for nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rs_kit.adapters.asgi import RsKit as RsKit
    from rs_kit.adapters.assembly import assemble_guard as assemble_guard
    from rs_kit.adapters.assembly import read_nonce_key as read_nonce_key
    from rs_kit.adapters.clock import SystemClock as SystemClock
    from rs_kit.adapters.clock import ephemeral_nonce_key as ephemeral_nonce_key
    from rs_kit.adapters.issuer_keys import HttpsIssuerKeys as HttpsIssuerKeys
    from rs_kit.adapters.issuer_keys import StaticIssuerKeys as StaticIssuerKeys
    from rs_kit.adapters.observer import LoggingObserver as LoggingObserver
    from rs_kit.adapters.observer import MetricsObserver as MetricsObserver
    from rs_kit.adapters.observer import Observers as Observers
    from rs_kit.adapters.proxied_certificate import ProxiedCertificate as ProxiedCertificate
    from rs_kit.adapters.proxied_certificate import ProxyTrust as ProxyTrust
    from rs_kit.adapters.used_once_memory import MemoryUsedOnce as MemoryUsedOnce
    from rs_kit.adapters.used_once_sqlite import SqliteUsedOnce as SqliteUsedOnce
    from rs_kit.guard import Guard as Guard
    from rs_kit.ports import AuthorizedCall as AuthorizedCall
    from rs_kit.ports import Clock as Clock
    from rs_kit.ports import IssuerKeys as IssuerKeys
    from rs_kit.ports import Observer as Observer
    from rs_kit.ports import Refusal as Refusal
    from rs_kit.ports import UsedOnce as UsedOnce
    from rs_kit.protocol.access_token import VerifiedAccessToken as VerifiedAccessToken
    from rs_kit.protocol.confirmation import SenderConstraint as SenderConstraint
    from rs_kit.protocol.errors import ProtocolError as ProtocolError
    from rs_kit.protocol.http import HttpRequest as HttpRequest
    from rs_kit.protocol.tool_policy import ToolPolicy as ToolPolicy

_HOME = {
    "AuthorizedCall": "rs_kit.ports",
    "Clock": "rs_kit.ports",
    "Guard": "rs_kit.guard",
    "HttpRequest": "rs_kit.protocol.http",
    "HttpsIssuerKeys": "rs_kit.adapters.issuer_keys",
    "IssuerKeys": "rs_kit.ports",
    "LoggingObserver": "rs_kit.adapters.observer",
    "MemoryUsedOnce": "rs_kit.adapters.used_once_memory",
    "MetricsObserver": "rs_kit.adapters.observer",
    "Observer": "rs_kit.ports",
    "Observers": "rs_kit.adapters.observer",
    "ProtocolError": "rs_kit.protocol.errors",
    "ProxiedCertificate": "rs_kit.adapters.proxied_certificate",
    "ProxyTrust": "rs_kit.adapters.proxied_certificate",
    "Refusal": "rs_kit.ports",
    "RsKit": "rs_kit.adapters.asgi",
    "StaticIssuerKeys": "rs_kit.adapters.issuer_keys",
    "SenderConstraint": "rs_kit.protocol.confirmation",
    "SqliteUsedOnce": "rs_kit.adapters.used_once_sqlite",
    "SystemClock": "rs_kit.adapters.clock",
    "ToolPolicy": "rs_kit.protocol.tool_policy",
    "UsedOnce": "rs_kit.ports",
    "VerifiedAccessToken": "rs_kit.protocol.access_token",
    "assemble_guard": "rs_kit.adapters.assembly",
    "ephemeral_nonce_key": "rs_kit.adapters.clock",
    "read_nonce_key": "rs_kit.adapters.assembly",
}


def __getattr__(name: str) -> Any:
    """A public name, from where it lives."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_HOME)
