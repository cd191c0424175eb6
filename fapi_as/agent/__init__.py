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
    RegistrationNeeded,
    RegistrationRejected,
    ResponseRejected,
    ServerRefused,
    TokenRejected,
    TooManyPrompts,
    Unreachable,
)
from fapi_as.agent.httpx_auth import for_httpx
from fapi_as.agent.mcp_provider import McpProviderAuth
from fapi_as.agent.ports import RegistrationStore, TokenStore
from fapi_as.agent.registered import Registration
from fapi_as.agent.registrant import Registrant
from fapi_as.agent.registrar import Registrar
from fapi_as.agent.settings import AgentSettings, AuthMethod, GrantType, Identity
from fapi_as.agent.tls import trust
from fapi_as.agent.token_store import MemoryRegistrationStore, MemoryTokenStore
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
    "MemoryRegistrationStore",
    "MemoryTokenStore",
    "MetadataRejected",
    "Misconfigured",
    "NonceLoop",
    "RedirectRefused",
    "Registrant",
    "Registrar",
    "Registration",
    "RegistrationNeeded",
    "RegistrationRejected",
    "RegistrationStore",
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
