"""Configuration: one TOML file, overridden by the environment, read once and refused whole when anything is unsafe.

Nothing below bootstrap reads a file or the environment. The defaults are the hardened ones; a limit of the profile can
be tightened here and never loosened, and what has no setting (sign-in attempts, algorithms) cannot be loosened at all.
"""

from __future__ import annotations

from fapi_as.settings.loading import ENVIRONMENT_PREFIX, ConfigurationError, load
from fapi_as.settings.sections import DEFAULT_TENANT, Fetch, MutualTls, Server, Settings
from fapi_as.settings.values import host_of, issuer_refusal

__all__ = [
    "DEFAULT_TENANT",
    "ENVIRONMENT_PREFIX",
    "ConfigurationError",
    "Fetch",
    "MutualTls",
    "Server",
    "Settings",
    "host_of",
    "issuer_refusal",
    "load",
]
