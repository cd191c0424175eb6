"""A protected resource and its authorization server as the agent's core sees them: honest until a member is changed.

Knows nothing of the server's code: proofs and assertions are opened with base64 and json, and checked by hand.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from fapi_as.agent.agent import Agent
from fapi_as.agent.settings import AgentSettings, GrantType, Identity
from fapi_as.agent.steps import Answer, Call, Callback, Renew, Request, Send
from rs_kit.protocol.jws import SigningKey

ISSUER = "https://as.example"
RESOURCE = "https://bank.example/mcp"
REDIRECT_URI = "https://agent.example/callback"
NOW = 1_800_000_000

Headers = tuple[tuple[str, str], ...]


class Hands:
    """Clock and entropy of an agent under test."""

    def __init__(self) -> None:
        self.time = NOW
        self._numbers = count(1)

    def now(self) -> int:
        return self.time

    def identifier(self) -> str:
        return f"identifier-{next(self._numbers):012}"

    def secret(self) -> str:
        return f"secret-{next(self._numbers):036}"

    def proof_key(self) -> SigningKey:
        return SigningKey.from_private_key(ec.generate_private_key(ec.SECP256R1()))


CLIENT_KEY = SigningKey.from_private_key(ec.generate_private_key(ec.SECP256R1()), kid="agent-1")


def identity(**changes: Any) -> Identity:
    members: dict[str, Any] = {
        "issuer": ISSUER,
        "client_id": "agent",
        "key": CLIENT_KEY,
        "redirect_uri": REDIRECT_URI,
    }
    return Identity(**{**members, **changes})


def settings(**changes: Any) -> AgentSettings:
    members: dict[str, Any] = {
        "resource": RESOURCE,
        "identities": (identity(),),
        "scope": ("accounts:read",),
        "grant_type": GrantType.AUTHORIZATION_CODE,
    }
    return AgentSettings(**{**members, **changes})


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a compact JWS, unverified."""
    head, body, _ = (part + "=" * (-len(part) % 4) for part in token.split("."))
    return json.loads(base64.urlsafe_b64decode(head)), json.loads(base64.urlsafe_b64decode(body))


def as_json(status: int, document: object, headers: Headers = ()) -> Answer:
    return Answer(
        status=status, headers=(("content-type", "application/json"), *headers), body=json.dumps(document).encode()
    )


def form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode(), strict_parsing=True))


def header(request: Request, name: str) -> str:
    return dict(request.headers)[name]


@dataclass
class Peer:
    """Both servers and the person's browser; `seen` is everything that the agent sent, in order."""

    resource_document: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    token_document: dict[str, Any] = field(default_factory=dict)
    response: dict[str, str | None] = field(default_factory=dict)
    callback_prefix: str = f"{REDIRECT_URI}?"
    overrides: dict[str, Callable[[Request], Answer]] = field(default_factory=dict)
    challenge: str = f'DPoP resource_metadata="{RESOURCE.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")}"'
    server_nonce: str | None = None
    resource_nonce: str | None = None
    resource_answers: list[Answer] = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)
    visited: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    pushed: dict[str, dict[str, str]] = field(default_factory=dict)
    issued: set[str] = field(default_factory=set)
    refresh_alive: bool = True
    numbers: count[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.resource_document = {
            "resource": RESOURCE,
            "authorization_servers": [ISSUER],
            "scopes_supported": ["accounts:read"],
            **self.resource_document,
        }
        self.metadata = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "pushed_authorization_request_endpoint": f"{ISSUER}/par",
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }

    def answer(self, request: Request) -> Answer:
        """What the server at this address answers."""
        self.seen.append(request)
        parts = urlsplit(request.url)
        if (override := self.overrides.get(parts.path)) is not None:
            return override(request)
        if parts.path == "/.well-known/oauth-protected-resource/mcp":
            return as_json(200, self.resource_document)
        if parts.path == "/.well-known/oauth-authorization-server":
            return as_json(200, self.metadata)
        if parts.path in {"/par", "/token"}:
            return self._back_channel(request, parts.path)
        return Answer(status=404)

    def _back_channel(self, request: Request, path: str) -> Answer:
        proof = dict(request.headers).get("dpop")
        nonce: Headers = ()
        if self.server_nonce is not None and proof is not None:
            nonce = (("dpop-nonce", self.server_nonce),)
            if opened(proof)[1].get("nonce") != self.server_nonce:
                return as_json(400, {"error": "use_dpop_nonce"}, nonce)
        asked = form(request)
        if path == "/par":
            request_uri = f"urn:ietf:params:oauth:request_uri:{next(self.numbers)}"
            self.pushed[request_uri] = self.parameters(asked)
            return as_json(201, {"request_uri": request_uri, "expires_in": 90}, nonce)
        return self._token(asked, nonce, "Bearer" if proof is None else "DPoP")

    def parameters(self, asked: dict[str, str]) -> dict[str, str]:
        """The parameters of a pushed form."""
        return asked

    def response_to(self, pushed: dict[str, str], values: dict[str, str | None]) -> str:
        """The query of an authorization response."""
        return urlencode({name: value for name, value in values.items() if value is not None})

    def members_of(self, asked: dict[str, str], access_token: str) -> dict[str, object]:
        """What a token answer has beside the tokens."""
        return {}

    def _token(self, asked: dict[str, str], nonce: Headers, token_type: str) -> Answer:
        scope = asked.get("scope", "")
        if asked["grant_type"] == "refresh_token" and not self.refresh_alive:
            return as_json(400, {"error": "invalid_grant"}, nonce)
        if asked["grant_type"] == "authorization_code":
            pushed = self.pushed[asked["code"]]
            digest = hashlib.sha256(asked["code_verifier"].encode()).digest()
            if base64.urlsafe_b64encode(digest).decode().rstrip("=") != pushed["code_challenge"]:
                return as_json(400, {"error": "invalid_grant"}, nonce)
            scope = pushed.get("scope", "")
        access_token = f"opaque-{next(self.numbers)}"
        self.issued.add(access_token)
        document: dict[str, object] = {"access_token": access_token, "token_type": token_type}
        document |= {"expires_in": 300, "scope": scope, **self.members_of(asked, access_token)}
        if asked["grant_type"] != "client_credentials":
            document["refresh_token"] = f"refresh-{next(self.numbers)}"
        document.update(self.token_document)
        return as_json(200, {name: value for name, value in document.items() if value is not None}, nonce)

    def callback(self, url: str) -> Callback:
        """What the browser comes back with after the person said yes."""
        self.visited.append(url)
        asked = dict(parse_qsl(urlsplit(url).query))
        values = {"code": asked["request_uri"], "state": self.pushed[asked["request_uri"]]["state"], "iss": ISSUER}
        query = self.response_to(self.pushed[asked["request_uri"]], {**values, **self.response})
        return Callback(url=self.callback_prefix + query)

    def resource_answer(self, call: Call) -> Answer:
        """What the resource answers to the caller's own request."""
        self.calls.append(call)
        if self.resource_answers:
            return self.resource_answers.pop(0)
        token = (call.authorization or "").partition(" ")[2]
        if token not in self.issued:
            return Answer(status=401, headers=(("www-authenticate", self.challenge),))
        if (
            self.resource_nonce is not None
            and call.proof is not None
            and opened(call.proof)[1].get("nonce") != self.resource_nonce
        ):
            demand = (("www-authenticate", 'DPoP error="use_dpop_nonce"'), ("dpop-nonce", self.resource_nonce))
            return Answer(status=401, headers=demand)
        return Answer(status=200)

    def expire(self) -> None:
        """No token that was issued so far works any more."""
        self.issued.clear()

    def requests_to(self, path: str) -> list[Request]:
        """What was sent to one path."""
        return [request for request in self.seen if urlsplit(request.url).path == path]


def run_call(agent: Agent, peer: Peer, *, method: str = "POST", url: str = RESOURCE) -> Answer:
    """Drive one call to its end; gives the answer that the caller gets."""
    steps = agent.call(method, url)
    last = Answer(status=0)
    try:
        step = next(steps)
        while True:
            if isinstance(step, Renew):
                run_renewal(agent, peer, step)
                step = next(steps)
            else:
                last = peer.resource_answer(step)
                step = steps.send(last)
    except StopIteration:
        return last


def run_renewal(agent: Agent, peer: Peer, step: Renew) -> None:
    """Drive one renewal to its end."""
    exchange = agent.renew(step.need)
    try:
        todo = next(exchange)
        while True:
            reply = peer.answer(todo.request) if isinstance(todo, Send) else peer.callback(todo.url)
            todo = exchange.send(reply)
    except StopIteration:
        return


def agent_of(hands: Hands | None = None, **changes: Any) -> Agent:
    """An agent with these settings."""
    hands = hands or Hands()
    return Agent(settings(**changes), clock=hands, entropy=hands)
