"""What every authenticated request spends with its decision, and what losing it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fapi_as.kernel.sender_constraint import proof_once
from fapi_as.protocol.client import AuthenticatedClient, RegisteredClient
from fapi_as.protocol.decisions import Issue, Refuse, recorded_refusal
from fapi_as.protocol.effects import Effect, MarkUsed
from fapi_as.protocol.errors import InvalidClient, InvalidDpopProof
from fapi_as.protocol.policy import Policy, seconds
from fapi_as.protocol.profile import UNUSED_CLIENT_GRAIN
from rs_kit.protocol.dpop import VerifiedProof


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """The caller's credentials, to be spent first and in this order: assertion, proof, then the live client.

    A certificate is spent by nothing: its possession was proved to the connection, and no copy of a request has it.
    """

    effects: tuple[Effect, ...]
    lost: Mapping[Effect, Refuse]
    client_id: str

    def issue(self, effects: tuple[Effect, ...], lost: Mapping[Effect, Refuse]) -> Issue:
        """A permission that spends the credentials first; so does each loss that changes anything."""
        return Issue(
            effects=(*self.effects, *effects),
            lost={**self.lost, **{effect: self.refuse(refusal) for effect, refusal in lost.items()}},
        )

    def refuse(self, refusal: Refuse) -> Refuse:
        """A refusal that changes anything has its fact and spends the credentials first.

        So a copied request cannot make a refusal's effects happen: it loses at its jti and changes nothing.
        One that changes nothing is told by whoever serves the client, within its budget (docs/decisions/0017).
        """
        if not refusal.effects:
            return refusal
        recorded = recorded_refusal(refusal.error, *refusal.effects, client_id=self.client_id)
        lost = {effect: self.refuse(instead) for effect, instead in refusal.lost.items()}
        return Refuse(error=recorded.error, effects=(*self.effects, *recorded.effects), lost={**self.lost, **lost})


def authenticated(client: AuthenticatedClient, proof: VerifiedProof | None, policy: Policy, now: int) -> Authenticated:
    """The effects of a caller that proved its identity and perhaps its key."""
    live = client.registered.requirements
    effects: tuple[Effect, ...] = ()
    lost: dict[Effect, Refuse] = dict.fromkeys(live, Refuse(error=InvalidClient("the client changed")))
    if client.assertion_once is not None:
        effects = (client.assertion_once,)
        lost[client.assertion_once] = Refuse(error=InvalidClient("assertion replayed"))
    if proof is not None:
        once = proof_once(proof)
        effects = (*effects, once)
        lost[once] = Refuse(error=InvalidDpopProof("proof replayed"))
    used = _used(client.registered, policy, now)
    return Authenticated(effects=(*effects, *live, *used), lost=lost, client_id=client.registered.client_id)


def _used(client: RegisteredClient, policy: Policy, now: int) -> tuple[MarkUsed, ...]:
    """A registration that ends when nobody uses it is used: written once a day (DCR-16)."""
    if client.approval is None or client.document_digest is not None:
        return ()
    if client.last_used_at is not None and 0 <= now - client.last_used_at < seconds(UNUSED_CLIENT_GRAIN):
        return ()
    return (MarkUsed(client_id=client.client_id, expires_at=now + seconds(policy.unused_client_lifetime)),)
