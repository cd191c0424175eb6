"""The seam: what a capability is made of and what it is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, Protocol, TypeVar

from fapi_as.kernel.failed_authentications import FailedAuthentications
from fapi_as.kernel.messages import Answer, EndpointRequest
from fapi_as.kernel.owed import Owed
from fapi_as.kernel.refusals import RefusalBudget
from fapi_as.ports import (
    CertificateTrust,
    ClientDocuments,
    ClientKeys,
    Entropy,
    Fetch,
    Passwords,
    Reading,
    Signer,
    Store,
    StoreCheck,
    Turns,
)
from fapi_as.protocol.access_token import Binding
from fapi_as.protocol.client import AuthenticatedClient
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.effects import Effect
from fapi_as.protocol.id_token import IdTokenToIssue
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.policy import Policy
from rs_kit.protocol.dpop import ProofKeys

Facts = TypeVar("Facts")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """A token request after the client proved who it is and which keys it holds."""

    client: AuthenticatedClient
    parameters: Parameters
    binding: Binding
    now: int
    correlation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToIssue:
    """What a new refresh token stands for; the kernel draws the string.

    `usable_until` moves with each use, `expires_at` never does.
    """

    payload: bytes
    usable_until: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensToIssue:
    """What a rule allows: one access token for one audience and perhaps a refresh token and an ID token.

    `subject` is the user or the client itself, as we know it; what the client is told may be another name (pairwise).
    `effects` are spent in order after the kernel's own; `lost` names the refusal of each.
    """

    subject: str
    scope: tuple[str, ...]
    resource: str
    authorization_id: str | None
    access_token_seconds: int
    effects: tuple[Effect, ...] = ()
    lost: Mapping[Effect, Refuse] = field(default_factory=dict)
    claims: Mapping[str, object] = field(default_factory=dict)
    refresh: RefreshToIssue | None = None
    id_token: IdTokenToIssue | None = None


TokenDecision = TokensToIssue | Refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Generic[Facts]):
    """One grant type: what it reads, and the pure rule that decides."""

    grant_type: str
    parameters: frozenset[str]
    load: Callable[[TokenRequest, Reading], Awaitable[Facts]]
    rule: Callable[[TokenRequest, Facts, Policy], TokenDecision]

    async def decide(self, request: TokenRequest, reading: Reading, policy: Policy) -> TokenDecision:
        """Load, then ask the rule; nothing is changed."""
        return self.rule(request, await self.load(request, reading), policy)


class AnyGrant(Protocol):
    """A grant whatever its facts are: what the kernel sees of it."""

    @property
    def grant_type(self) -> str:
        """The `grant_type` value (RFC 6749 §4)."""
        ...

    @property
    def parameters(self) -> frozenset[str]:
        """The parameters that this grant reads; no other reaches its rule."""
        ...

    async def decide(self, request: TokenRequest, reading: Reading, policy: Policy) -> TokenDecision:
        """Load, then ask the rule; nothing is changed."""
        ...


class Face(Enum):
    """Who talks to an endpoint: a client's back channel, or a person's browser."""

    PROTOCOL = "protocol"
    PAGE = "page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything an endpoint is given, bound to one tenant."""

    policy: Policy
    store: Store
    store_check: StoreCheck
    signer: Signer
    entropy: Entropy
    passwords: Passwords
    client_keys: ClientKeys
    client_documents: ClientDocuments
    certificate_trust: CertificateTrust
    registration_turns: Turns
    fetch: Fetch
    proof_keys: ProofKeys
    nonce_key: bytes
    browser_key: bytes
    pairwise_key: bytes
    features: tuple[Feature, ...]
    grants: Mapping[str, AnyGrant]
    failed_authentications: FailedAuthentications = field(default_factory=FailedAuthentications)
    refusals: RefusalBudget = field(default_factory=RefusalBudget)
    refusals_of_clients: RefusalBudget = field(default_factory=RefusalBudget)
    owed: Owed = field(default_factory=Owed)

    @property
    def reading(self) -> Reading:
        """The reads of this tenant."""
        return self.store.reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address: its path, its methods, and the metadata member that publishes it (RFC 8414 §2).

    `any_host` answers whatever the Host field says, for peers that know the machine and not the issuer.
    A path that ends in `/{…}` has one more segment, which the request brings as `segment`.
    """

    path: str
    face: Face
    methods: Mapping[str, Callable[[Context, EndpointRequest], Awaitable[Answer]]]
    metadata_member: str | None = None
    any_host: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A capability, as a constant: no class to subclass, no hook, no registering decorator.

    `metadata` are further RFC 8414 members; lists of several features are merged.
    """

    name: str
    grants: tuple[AnyGrant, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
