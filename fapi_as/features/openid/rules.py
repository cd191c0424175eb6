"""What a client is told about a person, and when it is told nothing: pure."""

from __future__ import annotations

from dataclasses import dataclass

from fapi_as.protocol.access_token import Binding
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.authorization import LiveAuthorization
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.decisions import Issue, Refuse
from fapi_as.protocol.effects import Effect, Record, Require, Required, TakeOnce
from fapi_as.protocol.openid_claims import claims_about, claims_of_scope, registered_claims
from fapi_as.protocol.openid_grant import USERINFO_CLAIMS
from fapi_as.protocol.user import RegisteredUser
from fapi_as.protocol.userinfo_resource import IDENTITY_SCOPES, OPENID
from rs_kit.protocol.access_token import VerifiedAccessToken
from rs_kit.protocol.errors import InsufficientScope, InvalidDpopProof, InvalidToken


@dataclass(frozen=True, slots=True, kw_only=True)
class UserinfoFacts:
    """What is live today behind a token that verified; `subject` is the user's name at this client."""

    authorization: LiveAuthorization | None
    client: RegisteredClient | None
    user: RegisteredUser | None
    subject: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The claims (§5.3.2), and the decision that must come true before they are told."""

    claims: dict[str, object]
    client: RegisteredClient
    decision: Issue


def decide_userinfo(token: VerifiedAccessToken, facts: UserinfoFacts, once: TakeOnce | None) -> Told:
    """OpenID Connect Core §5.3: everything that the token came from is live, and the proof is spent with it.

    Raises:
        InvalidToken: one of it has ended (OIDC-50).
        InsufficientScope: the client may not know who its people are any more.
    """
    authorization, client, user = facts.authorization, facts.client, facts.user
    if authorization is None:
        raise InvalidToken("the authorization has ended")
    if client is None or authorization.client_id != client.client_id:
        raise InvalidToken("the client is gone")
    if user is None or facts.subject != token.subject:
        raise InvalidToken("the user is gone, or known under another name")
    if OPENID not in client.scope:
        raise InsufficientScope("openid is gone", scope=(OPENID,))
    asked = (*claims_of_scope(value for value in IDENTITY_SCOPES if value in token.scope), *_allowed(token))
    claims: dict[str, object] = {
        **claims_about(user, registered_claims(asked, client.scope)),
        "sub": token.subject,  # OIDC-51
    }
    return Told(claims=claims, client=client, decision=_decision(token, client, user, once))


def _allowed(token: VerifiedAccessToken) -> tuple[str, ...]:
    """What the person allowed by claim and not by scope (§5.5)."""
    names = token.claims.get(USERINFO_CLAIMS, ())
    return tuple(str(name) for name in names) if isinstance(names, list | tuple) else ()


def _decision(
    token: VerifiedAccessToken, client: RegisteredClient, user: RegisteredUser, once: TakeOnce | None
) -> Issue:
    live = (
        *client.requirements,
        Require(required=Required.USER, identifier=user.subject, version=user.version),
        Require(required=Required.AUTHORIZATION, identifier=token.authorization_id or ""),
    )
    confirmation = token.confirmation
    binding = Binding(jkt=confirmation and confirmation.jkt, x5t=confirmation and confirmation.x5t_s256)
    fact = AuditFact(
        event=AuditEvent.CLAIMS_TOLD,
        client_id=client.client_id,
        subject=user.subject,
        authorization_id=token.authorization_id,
        scope=" ".join(sorted(token.scope)),
        jkt=binding.jkt,
        x5t=binding.x5t,
    )
    ended: dict[Effect, Refuse] = dict.fromkeys(live, Refuse(error=InvalidToken("it has ended just now")))
    if once is None:
        return Issue(effects=(*live, Record(fact=fact)), lost=ended)
    replayed = Refuse(error=InvalidDpopProof("proof replayed"))
    return Issue(effects=(once, *live, Record(fact=fact)), lost={**ended, once: replayed})
