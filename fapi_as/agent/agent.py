"""The sans-IO core: what one agent knows about one resource, and what it does next. No I/O, no clock, no randomness."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from fapi_as.agent import challenge as challenges
from fapi_as.agent.authorization import OPENID, Asked, by_client_credentials, by_code, by_refresh_token
from fapi_as.agent.back_channel import BackChannel
from fapi_as.agent.challenge import Challenge, askable
from fapi_as.agent.discovery import ResourceMetadata, ServerMetadata, authorization_server, protected_resource
from fapi_as.agent.errors import (
    AuthorizationDenied,
    IssuerNotAllowed,
    MetadataRejected,
    Misconfigured,
    NonceLoop,
    ServerRefused,
)
from fapi_as.agent.exchange import Nonces
from fapi_as.agent.issuer_keys import IssuerKeys
from fapi_as.agent.ports import Certificate, Clock, Entropy
from fapi_as.agent.prompts import Prompts
from fapi_as.agent.registered import Registration
from fapi_as.agent.settings import AgentSettings, GrantType, Identity, Registrant
from fapi_as.agent.steps import Answer, Call, CallSteps, Exchange, Introduce, Need, Reason, Renew
from fapi_as.agent.tokens import Granted, TokenSet
from fapi_as.agent.userinfo import told
from rs_kit.protocol.dpop import make_proof
from rs_kit.protocol.htu import InvalidUri, normalise
from rs_kit.protocol.jws import SigningKey

_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_FORMER_CONNECTIONS: Final = 4  # that a renewed certificate may have left open, and that one call may meet
_SCOPE_LIMIT: Final = 64  # of one token: a resource that always asks for one more comes to an end


class Agent:
    """One agent at one protected resource: its tokens, its proof keys, the nonces it was given.

    `call` and `renew` are generators of steps (steps.py). Calls may run side by side; `renew` runs alone.
    """

    def __init__(self, settings: AgentSettings, *, clock: Clock, entropy: Entropy) -> None:
        self._settings = settings
        self._clock = clock
        self._entropy = entropy
        self._resource = normalise(settings.resource)
        self._nonces = Nonces()
        self._issuer_keys = IssuerKeys()
        self._proof_keys: dict[str, SigningKey] = {}
        self._tokens: TokenSet | None = None
        self._not_granted: frozenset[str] = frozenset()
        self._prompts = Prompts()
        self._introduced: dict[str, Identity] = {}
        self._doubted: set[str] = set()

    @property
    def settings(self) -> AgentSettings:
        """What this agent was told at start."""
        return self._settings

    @property
    def tokens(self) -> TokenSet | None:
        """The tokens to keep; they change only in `renew`."""
        return self._tokens

    def restore(self, tokens: TokenSet | None) -> None:
        """Take tokens from an earlier life, if this agent could have got them (MCP CL7: never at another issuer)."""
        if tokens is None or tokens.resource != self._settings.resource:
            return
        for identity in (*self._settings.identities, *self._introduced.values()):
            if _could_have_got(identity, tokens):
                self._tokens = tokens
                if tokens.proof_key is not None:
                    self._proof_keys.setdefault(tokens.issuer, tokens.proof_key)

    def remember(self, registrant: Registrant, registration: Registration) -> None:
        """Be at the issuer of this registrant what was registered there, and nowhere else (CIMD-15).

        Raises:
            TypeError: the registration is another issuer's.
        """
        if registration.issuer != registrant.issuer:
            raise TypeError("a registration is good for the issuer that gave it")
        self._introduced[registrant.issuer] = registrant.known_as(registration.client_id)
        self._doubted.discard(registrant.issuer)

    def is_stale(self, tokens: TokenSet) -> bool:
        """Whether a call with these would be refused: they end, or are bound to a certificate that was renewed."""
        certificate = self._identity_of(tokens).certificate
        renewed = tokens.certificate is not None and (
            certificate is None or tokens.certificate != certificate.thumbprint()
        )
        return renewed or tokens.is_stale(self._clock.now())

    def call(self, method: str, url: str) -> CallSteps:
        """Carry one request of the caller: sign it, renew what is refused, and repeat it once for each reason.

        A request to any other address than the resource goes as it is: no token of ours leaves for it (MCP CL13).

        Raises:
            NonceLoop: the resource asks for another nonce each time.
        """
        if not self._is_resource(url):
            yield Call(authorization=None, proof=None)
            return
        if self._tokens is not None and self.is_stale(self._tokens):
            yield Renew(need=Need(reason=Reason.STALE, used=self._tokens))
        tried: set[Reason] = set()
        while True:
            used = self._tokens
            answer = yield from self._signed(method, url, used)
            need = self._need(answer, used)
            if need is None or need.reason in tried:
                return
            tried.add(need.reason)
            yield Renew(need=need)

    def renew(self, need: Need) -> Exchange[None]:
        """Get the tokens that a call needs; does nothing when another call got them in the meantime.

        Raises:
            AgentError: why there are none; the tokens that were there stay unless the server called them dead.
        """
        if self._tokens is not need.used:
            return
        if need.reason is Reason.STALE and need.used is not None:
            if not (yield from self._renewed_quietly(need.used)):
                self._tokens = None  # the call goes without, and the resource's challenge says where to get others
            return
        metadata = yield from self._resource_metadata(need)
        identity = yield from self._identity(metadata)
        if metadata.dpop_required and not identity.proves_key:  # RFC 9728 §2: no token of ours would do
            raise MetadataRejected("the resource takes only tokens that are bound to a key, and ours are not")
        if need.reason is Reason.UNAUTHORIZED and need.used is not None:
            same = (need.used.issuer, need.used.client_id) == (identity.issuer, identity.client_id)
            if same and need.used.refresh_token is not None and (yield from self._refreshed(need.used)):
                return
            self._tokens = None
        scope = self._scope(need, metadata)
        try:
            yield from self._obtain(identity, scope, need)
        except (AuthorizationDenied, ServerRefused) as refused:
            self._note_missing(need, scope)
            self._note_doubt(identity.issuer, refused.error)
            raise
        self._note_missing(need, scope)

    def userinfo(self) -> Exchange[dict[str, Any]]:
        """Ask the authorization server about the person, with the tokens of an agent whose resource is the issuer.

        Raises:
            Misconfigured: another resource, or no tokens that an ID token came with.
            TokenRejected: what came is about another person.
        """
        tokens = self._tokens
        if tokens is None or tokens.subject is None or tokens.resource != tokens.issuer:
            raise Misconfigured("userinfo needs tokens for the issuer itself as the resource, with the scope openid")
        channel = yield from self._channel(self._identity_of(tokens))
        return (yield from told(channel, tokens))

    def _resource_metadata(self, need: Need) -> Exchange[ResourceMetadata]:
        """What the resource says about itself; an issuer is a resource that speaks for itself (userinfo)."""
        if any(identity.issuer == self._settings.resource for identity in self._settings.everybody):
            return ResourceMetadata(authorization_servers=(self._settings.resource,), scopes_supported=())
        return (yield from protected_resource(self._settings.resource, need.challenge))

    def _note_missing(self, need: Need, scope: tuple[str, ...]) -> None:
        """MCP CL15: what was asked for and not given, or denied, is not asked for again and again."""
        if need.reason is Reason.SCOPE and self._tokens is not None:
            self._not_granted |= frozenset(scope) - frozenset(self._tokens.scope)

    def _note_doubt(self, issuer: str, error: str) -> None:
        """Look again next time whether another process has registered this agent anew."""
        if error == "invalid_client":
            self._doubted.add(issuer)

    def _is_resource(self, url: str) -> bool:
        try:
            return normalise(url) == self._resource
        except InvalidUri:
            return False

    def _signed(self, method: str, url: str, tokens: TokenSet | None) -> Generator[Call | Renew, Answer | None, Answer]:
        """The caller's request with a fresh proof, and once more when the resource wants a nonce (RFC 9449 §9)."""
        answer = yield from self._on_a_connection(method, url, tokens)
        if not self._demands_nonce(url, answer):
            return answer
        answer = yield from self._on_a_connection(method, url, tokens)
        if self._demands_nonce(url, answer):
            raise NonceLoop("the resource asks for another DPoP nonce each time")
        return answer

    def _on_a_connection(
        self, method: str, url: str, tokens: TokenSet | None
    ) -> Generator[Call | Renew, Answer | None, Answer]:
        """Again when it was refused on a connection that shows a certificate from before its renewal."""
        for _ in range(_FORMER_CONNECTIONS):
            answer = yield from self._called(method, url, tokens)
            if not (answer.former_certificate and answer.status == _UNAUTHORIZED):
                return answer
        return (yield from self._called(method, url, tokens))

    def _called(self, method: str, url: str, tokens: TokenSet | None) -> Generator[Call | Renew, Answer | None, Answer]:
        answer = yield self._dressed(method, url, tokens)
        if answer is None:
            raise TypeError("the reply to Call is an Answer")
        return answer

    def _dressed(self, method: str, url: str, tokens: TokenSet | None) -> Call:
        certificate = self._certificate(tokens)
        if tokens is None:
            return Call(authorization=None, proof=None, certificate=certificate)
        proof = None
        if tokens.proof_key is not None:
            proof = make_proof(
                tokens.proof_key,
                method=method,
                url=url,
                jti=self._entropy.identifier(),
                issued_at=self._clock.now(),
                nonce=self._nonces.of(url),
                access_token=tokens.access_token.reveal(),
            )
        return Call(authorization=tokens.authorization, proof=proof, certificate=certificate)

    def _certificate(self, tokens: TokenSet | None) -> Certificate | None:
        """What the connection of a call has to show; before there are tokens, what all that could come need."""
        identities = self._settings.everybody if tokens is None else (self._identity_of(tokens),)
        bound = all(identity.tls_client_certificate_bound_access_tokens for identity in identities)
        return identities[0].certificate if bound else None

    def _demands_nonce(self, url: str, answer: Answer) -> bool:
        learnt = self._nonces.learn(url, answer)
        if not learnt or answer.status != _UNAUTHORIZED:
            return False
        challenge = challenges.chosen(answer.every("www-authenticate"))
        return challenge is not None and challenge.error == "use_dpop_nonce"

    def _need(self, answer: Answer, used: TokenSet | None) -> Need | None:
        challenge = challenges.chosen(answer.every("www-authenticate"))
        error = challenge.error if challenge is not None else None
        if answer.status == _UNAUTHORIZED and error in {None, "invalid_token"}:
            return Need(reason=Reason.UNAUTHORIZED, used=used, challenge=challenge)
        if answer.status == _FORBIDDEN and error == "insufficient_scope" and used is not None:
            missing = _missing(challenge, used)
            bounded = len(missing) + len(used.scope) <= _SCOPE_LIMIT
            if missing and bounded and not missing & self._not_granted:
                return Need(reason=Reason.SCOPE, used=used, challenge=challenge)
        if answer.status == _UNAUTHORIZED and error == "insufficient_user_authentication" and used is not None:
            by_person = self._settings.grant_type is GrantType.AUTHORIZATION_CODE
            if by_person and challenge is not None and (challenge.acr_values or challenge.max_age):
                return Need(reason=Reason.SIGN_IN, used=used, challenge=challenge)
        return None

    def _identity(self, metadata: ResourceMetadata) -> Exchange[Identity]:
        """The registration for the first issuer the resource names that we know (RFC 9728 §7.6, PRM-12).

        What was registered beforehand goes before what the agent does by itself (MCP, CIMD-15).
        """
        for issuer in metadata.authorization_servers:
            for identity in self._settings.identities:
                if identity.issuer == issuer:
                    return identity
        for issuer in metadata.authorization_servers:
            for registrant in self._settings.registrants:
                if registrant.issuer == issuer:
                    return (yield from self._introduction(registrant))
        raise IssuerNotAllowed("the resource names no authorization server that this agent is registered with")

    def _introduction(self, registrant: Registrant) -> Exchange[Identity]:
        issuer = registrant.issuer
        if issuer not in self._introduced or issuer in self._doubted:
            registration = yield Introduce(registrant=registrant)
            if not isinstance(registration, Registration):
                raise TypeError("the reply to Introduce is a Registration")
            self.remember(registrant, registration)
        return self._introduced[issuer]

    def _scope(self, need: Need, metadata: ResourceMetadata) -> tuple[str, ...]:
        demanded = need.challenge.scope if need.challenge is not None else ()
        # a token for one resource need not say that its person was asked for their identity as well
        identity = tuple(value for value in self._settings.scope if value == OPENID)
        if need.reason is Reason.SCOPE and need.used is not None:
            return tuple(dict.fromkeys((*need.used.scope, *identity, *demanded)))  # the union: MCP CL15, SEP-2350
        if need.reason is Reason.SIGN_IN and need.used is not None:
            return tuple(dict.fromkeys((*need.used.scope, *identity)))
        return self._settings.scope or demanded or askable(metadata.scopes_supported)

    def _renewed_quietly(self, used: TokenSet) -> Exchange[bool]:
        for registrant in self._settings.registrants:
            if registrant.issuer == used.issuer and used.issuer in self._doubted:
                identity = yield from self._introduction(registrant)
                if identity.client_id != used.client_id:
                    return False  # they went with the registration that they were issued to
        if used.refresh_token is not None:
            return (yield from self._refreshed(used))
        if self._settings.grant_type is not GrantType.CLIENT_CREDENTIALS:
            return False
        yield from self._obtain(self._identity_of(used), used.scope, Need(reason=Reason.STALE, used=used))
        return True

    def _refreshed(self, used: TokenSet) -> Exchange[bool]:
        channel = yield from self._channel(self._identity_of(used))
        refresh_token = used.refresh_token.reveal() if used.refresh_token is not None else ""
        try:
            granted = yield from by_refresh_token(channel, used, refresh_token)
        except ServerRefused as refused:
            self._note_doubt(used.issuer, refused.error)
            if refused.error != "invalid_grant":
                raise
            return False  # the refresh token is dead; what it stood for has to be allowed anew
        self._take(channel, granted, earlier=used)
        return True

    def _obtain(self, identity: Identity, scope: tuple[str, ...], need: Need) -> Exchange[None]:
        # without a challenge it is the person who wants to sign in again
        demanded = need.challenge is not None and need.reason in {Reason.SCOPE, Reason.SIGN_IN}
        if self._settings.grant_type is GrantType.AUTHORIZATION_CODE:
            self._prompts.allow(self._clock.now(), demanded=demanded)
        channel = yield from self._channel(identity)
        if self._settings.grant_type is GrantType.CLIENT_CREDENTIALS:
            granted = yield from by_client_credentials(channel, self._settings.resource, scope)
        else:
            challenge = need.challenge if need.reason is Reason.SIGN_IN else None
            wanted = Asked(
                resource=self._settings.resource,
                scope=scope,
                acr_values=challenge.acr_values if challenge is not None else None,  # STEP-4
                max_age=challenge.max_age if challenge is not None else None,
                subject=need.used.subject if demanded and need.used is not None else None,
            )
            granted = yield from by_code(
                channel, wanted, lambda: self._prompts.shown(self._clock.now(), demanded=demanded)
            )
        self._take(channel, granted, earlier=None)

    def _channel(self, identity: Identity) -> Exchange[BackChannel]:
        server: ServerMetadata = yield from authorization_server(identity, self._settings.grant_type)
        if (
            identity.proves_key and identity.issuer not in self._proof_keys
        ):  # DPOP-CL-3: one key per issuer, none before it is needed
            self._proof_keys[identity.issuer] = self._entropy.proof_key()
        return BackChannel(
            identity=identity,
            server=server,
            proof_key=self._proof_keys[identity.issuer] if identity.proves_key else None,
            issuer_keys=self._issuer_keys,
            nonces=self._nonces,
            clock=self._clock,
            entropy=self._entropy,
        )

    def _identity_of(self, tokens: TokenSet) -> Identity:
        known = (*self._settings.identities, *self._introduced.values())
        return next(identity for identity in known if identity.issuer == tokens.issuer)

    def _take(self, channel: BackChannel, granted: Granted, *, earlier: TokenSet | None) -> None:
        kept = earlier.refresh_token if earlier is not None else None
        lifetime = granted.expires_in
        identity = channel.identity
        bound = identity.certificate if identity.tls_client_certificate_bound_access_tokens else None
        self._tokens = TokenSet(
            resource=self._settings.resource,
            issuer=identity.issuer,
            client_id=identity.client_id,
            access_token=granted.access_token,
            refresh_token=granted.refresh_token or kept,  # RFC 6749 §6: no new one means that the old one lives on
            scope=granted.scope,
            expires_at=self._clock.now() + lifetime if lifetime is not None else None,
            proof_key=channel.proof_key,
            certificate=bound.thumbprint() if bound is not None else None,
            subject=granted.subject,
        )


def _could_have_got(identity: Identity, tokens: TokenSet) -> bool:
    """Whether these are tokens of this registration, bound to what it binds tokens to today."""
    return (identity.issuer, identity.client_id) == (tokens.issuer, tokens.client_id) and (
        identity.proves_key == (tokens.proof_key is not None)
        and identity.tls_client_certificate_bound_access_tokens == (tokens.certificate is not None)
    )


def _missing(challenge: Challenge | None, used: TokenSet) -> frozenset[str]:
    return frozenset(challenge.scope if challenge is not None else ()) - frozenset(used.scope)
