"""The agent's POST to an authorization server: who it is, which key it holds, and one more try for a nonce."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from fapi_as.agent.challenge import chosen
from fapi_as.agent.discovery import ServerMetadata
from fapi_as.agent.errors import AnswerRejected, NonceLoop
from fapi_as.agent.exchange import Nonces, json_object, send
from fapi_as.agent.issuer_keys import IssuerKeys
from fapi_as.agent.ports import Clock, Entropy
from fapi_as.agent.settings import AuthMethod, Identity
from fapi_as.agent.steps import Answer, Exchange, Request
from fapi_as.agent.tokens import TokenSet
from rs_kit.protocol import jws
from rs_kit.protocol.dpop import make_proof
from rs_kit.protocol.jws import SigningKey
from rs_kit.protocol.secret import Secret

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS: Final = 60  # PKJ-13
_DEMANDS_NONCE: Final = (400, 401)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What goes to a registration endpoint: a document, or none, and the token that opens it, under its scheme."""

    method: str
    url: str
    scheme: str
    token: Secret | None = field(default=None, repr=False)
    media_type: str = "application/json"
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackChannel:
    """One identity, one proof key, and the server at which both are used (DPOP-CL-3: one key per server).

    There is no proof key where tokens are bound to the certificate alone.
    """

    identity: Identity
    server: ServerMetadata
    proof_key: SigningKey | None
    issuer_keys: IssuerKeys
    nonces: Nonces
    clock: Clock
    entropy: Entropy

    def post(self, url: str, parameters: Mapping[str, str], what: str) -> Exchange[Answer]:
        """Send a form with our authentication and proof; repeat it once, newly signed, when a nonce is asked for.

        Raises:
            NonceLoop: the nonce that the server had just sent was not good enough.
            RedirectRefused, AnswerRejected, InsecureAddress: as `exchange.send`.
        """
        return (yield from self._with_nonce(url, what, lambda: self._post_once(url, parameters, what)))

    def get(self, url: str, tokens: TokenSet, what: str) -> Exchange[Answer]:
        """Ask with a token of ours; repeat it once, newly proved, when a nonce is asked for.

        Raises:
            NonceLoop, RedirectRefused, AnswerRejected, InsecureAddress: as `post`.
        """
        return (yield from self._with_nonce(url, what, lambda: self._get_once(url, tokens, what)))

    def carry(self, message: Message, what: str) -> Exchange[Answer]:
        """Send a message of the registration endpoints; repeat it once, newly proved, when a nonce is asked for.

        Raises:
            NonceLoop, RedirectRefused, AnswerRejected, InsecureAddress: as `post`.
        """
        return (yield from self._with_nonce(message.url, what, lambda: self._carry_once(message, what)))

    def _with_nonce(self, url: str, what: str, once: Callable[[], Exchange[Answer]]) -> Exchange[Answer]:
        answer = yield from once()
        if not self._demands_nonce(url, answer, what):
            return answer
        answer = yield from once()
        if self._demands_nonce(url, answer, what):
            raise NonceLoop(f"the {what} asks for another DPoP nonce each time")  # RFC 9449 §8.2
        return answer

    def _get_once(self, url: str, tokens: TokenSet, what: str) -> Exchange[Answer]:
        headers = [
            ("accept", "application/json, application/jwt"),
            ("accept-encoding", "identity"),
            ("authorization", tokens.authorization),
        ]
        if tokens.proof_key is not None:
            headers.append(("dpop", self._proof(tokens.proof_key, "GET", url, tokens.access_token.reveal())))
        return (yield from send(self.request("GET", url, headers), what))

    def _post_once(self, url: str, parameters: Mapping[str, str], what: str) -> Exchange[Answer]:
        form = {**parameters, "client_id": self.identity.client_id, **self._authentication()}
        headers = [
            ("accept", "application/json"),
            ("accept-encoding", "identity"),  # nothing that grows while it is unpacked
            ("content-type", "application/x-www-form-urlencoded"),
        ]
        if self.proof_key is not None:
            headers.append(("dpop", self._proof(self.proof_key, "POST", url)))
        request = self.request("POST", url, headers, urlencode(form).encode("ascii"))
        return (yield from send(request, what))

    def _carry_once(self, message: Message, what: str) -> Exchange[Answer]:
        headers = [("accept", "application/json"), ("accept-encoding", "identity")]
        if message.body:
            headers.append(("content-type", message.media_type))
        token = message.token.reveal() if message.token is not None else None
        if token is not None:
            headers.append(("authorization", f"{message.scheme} {token}"))
        if self.proof_key is not None:
            headers.append(("dpop", self._proof(self.proof_key, message.method, message.url, token)))
        return (yield from send(self.request(message.method, message.url, headers, message.body), what))

    def request(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes = b"") -> Request:
        """A request that shows the certificate, where this identity has one."""
        certificate = self.identity.certificate
        if certificate is not None:
            # a connection for itself: one that was kept may show a certificate that was renewed since
            headers = [*headers, ("connection", "close")]
        return Request(method=method, url=url, headers=tuple(headers), body=body, certificate=certificate)

    def _proof(self, proof_key: SigningKey, method: str, url: str, access_token: str | None = None) -> str:
        return make_proof(
            proof_key,
            method=method,
            url=url,
            jti=self.entropy.identifier(),
            issued_at=self.clock.now(),
            nonce=self.nonces.of(url),
            access_token=access_token,
        )

    def _authentication(self) -> Mapping[str, str]:
        """RFC 7523 §2.2; a certificate needs the `client_id` alone (RFC 8705 §2)."""
        if self.identity.token_endpoint_auth_method is not AuthMethod.PRIVATE_KEY_JWT or self.identity.key is None:
            return {}
        return {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": self._assertion(self.identity.key)}

    def _assertion(self, key: SigningKey) -> str:
        """RFC 7523 §3, RFC 10070: new for every request, for the issuer and nobody else (FAPI2-CL-5)."""
        now = self.clock.now()
        claims = {
            "iss": self.identity.client_id,
            "sub": self.identity.client_id,
            "aud": self.server.issuer,
            "jti": self.entropy.identifier(),
            "iat": now,
            "exp": now + _ASSERTION_SECONDS,
        }
        return jws.sign(key, claims, typ="client-authentication+jwt")

    def _demands_nonce(self, url: str, answer: Answer, what: str) -> bool:
        learnt = self.nonces.learn(url, answer)
        if not learnt or answer.status not in _DEMANDS_NONCE:
            return False
        challenge = chosen(answer.every("www-authenticate"))  # RFC 9449 §9: so do resource servers, and userinfo is one
        if challenge is not None and challenge.error == "use_dpop_nonce":
            return True
        try:
            return json_object(answer, what).get("error") == "use_dpop_nonce"
        except AnswerRejected:
            return False
