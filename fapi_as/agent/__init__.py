"""The client side: what an AI agent (an OAuth client) runs to get and use sender-constrained tokens."""

from __future__ import annotations

from fapi_as.agent.agent import Agent
from fapi_as.agent.auth import AgentAuth
from fapi_as.agent.certificate import ClientCertificate
from fapi_as.agent.errors import (
    AgentError,
    AnswerRejected,
    AuthorizationDenied,
    BrowserNeeded,
    CertificateNotShown,
    InsecureAddress,
    IssuerNotAllowed,
    MetadataRejected,
    Misconfigured,
    NonceLoop,
    RedirectRefused,
    ResponseRejected,
    ServerRefused,
    TokenRejected,
    TooManyPrompts,
    Unreachable,
)
from fapi_as.agent.httpx_auth import for_httpx
from fapi_as.agent.mcp_provider import McpProviderAuth
from fapi_as.agent.ports import TokenStore
from fapi_as.agent.settings import AgentSettings, AuthMethod, GrantType, Identity
from fapi_as.agent.tls import trust
from fapi_as.agent.token_store import MemoryTokenStore
from fapi_as.agent.tokens import TokenSet

__all__ = [
    "Agent",
    "AgentAuth",
    "AgentError",
    "AgentSettings",
    "AnswerRejected",
    "AuthMethod",
    "AuthorizationDenied",
    "BrowserNeeded",
    "CertificateNotShown",
    "ClientCertificate",
    "GrantType",
    "Identity",
    "InsecureAddress",
    "IssuerNotAllowed",
    "McpProviderAuth",
    "MemoryTokenStore",
    "MetadataRejected",
    "Misconfigured",
    "NonceLoop",
    "RedirectRefused",
    "ResponseRejected",
    "ServerRefused",
    "TokenRejected",
    "TokenSet",
    "TokenStore",
    "TooManyPrompts",
    "Unreachable",
    "for_httpx",
    "trust",
]
