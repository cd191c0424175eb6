"""Somebody who saw everything the agent sent and received, and tries to use it.

In some of the attempts the thief even holds a key of the agent: what is shown there is that a proof is good for one
request only, and that an allowed agent may do what was allowed and no more.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import httpx2
from place import StepFailed, done

from fapi_as.agent.challenge import chosen
from fapi_as.agent.clock_and_entropy import SystemClock, SystemEntropy
from rs_kit.protocol import jws
from rs_kit.protocol.dpop import make_proof
from rs_kit.protocol.jws import SigningKey

Headers = dict[str, str]


@dataclass
class Wiretap:
    """Hears every exchange of the clients that it is hooked into."""

    exchanges: list[tuple[httpx2.Request, httpx2.Response]] = field(default_factory=list)
    _leaving: dict[int, httpx2.Request] = field(default_factory=dict)

    async def hear_request(self, request: httpx2.Request) -> None:
        """An httpx2 request hook; it copies, because the agent's headers do not stay on a request that was sent."""
        copied = httpx2.Request(request.method, request.url, headers=request.headers, content=await request.aread())
        self._leaving[id(request)] = copied

    async def hear(self, response: httpx2.Response) -> None:
        """An httpx2 response hook."""
        self.exchanges.append((self._leaving.pop(id(response.request)), response))

    def listen_to(self, *clients: httpx2.AsyncClient) -> None:
        """Hook into these clients."""
        for client in clients:
            client.event_hooks = {"request": [self.hear_request], "response": [self.hear]}

    def last(self, content: bytes, status: int = 200) -> httpx2.Request:
        """The last request with this text in its body that got this status."""
        found = [
            request
            for request, response in self.exchanges
            if response.status_code == status and content in request.content
        ]
        return found[-1]

    def nonce(self, url: str) -> str | None:
        """The newest nonce that a server gave to the agent."""
        found = [r.headers.get("dpop-nonce") for q, r in self.exchanges if str(q.url) == url]
        return next(filter(None, reversed(found)), None)


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: the status and the code, and the id under which the server's operator finds the reason."""

    status: int
    error: str | None
    correlation_id: str | None = None


@dataclass(frozen=True)
class Loot:
    """What the thief has: a tool call and a token request as they were sent, and the agent's keys."""

    call: httpx2.Request
    redemption: httpx2.Request
    refresh_token: str
    issuer: str
    client_id: str
    client_key: SigningKey
    proof_key: SigningKey
    server_nonce: str | None

    @property
    def access_token(self) -> str:
        """The access token."""
        return self.call.headers["authorization"].removeprefix("DPoP ")


class Thief:
    """Each method is one attempt; none of them should work."""

    def __init__(self, trust: ssl.SSLContext, loot: Loot) -> None:
        self._loot = loot
        self._client = httpx2.AsyncClient(verify=trust, timeout=10.0)
        self._clock, self._entropy = SystemClock(), SystemEntropy()

    async def token_as_bearer(self) -> Outcome:
        """The token without any key, under the scheme that needs none."""
        return await self._call({"authorization": f"Bearer {self._loot.access_token}"})

    async def token_with_another_key(self) -> Outcome:
        """The token with a perfect proof, made with a key of the thief's own."""
        return await self._prove(self._entropy.proof_key(), str(self._loot.call.url))

    async def same_proof_twice(self) -> Outcome:
        """The very request that worked, byte for byte, once more."""
        return await self._call(self._presented(self._loot.call.headers["dpop"]))

    async def proof_for_another_url(self) -> Outcome:
        """A proof that the agent made for another server, for example for the thief's."""
        return await self._prove(self._loot.proof_key, "https://thief.example/mcp")

    async def tool_that_was_not_allowed(self, name: str, arguments: Mapping[str, object]) -> Outcome:
        """The agent itself, with everything right, at a tool that nobody allowed it to call."""
        message = json.loads(self._loot.call.content)
        message["params"] |= {"name": name, "arguments": arguments}
        body = json.dumps(message).encode()
        return await self._prove(self._loot.proof_key, str(self._loot.call.url), body=body, tool=name)

    async def code_twice(self) -> Outcome:
        """The code once more, freshly signed and proved: only the agent could do this, or who stole all it has."""
        return await self._ask_for_tokens(dict(parse_qsl(self._loot.redemption.content.decode())))

    async def refresh_token_afterwards(self) -> Outcome:
        """The refresh token that the code had brought."""
        return await self._ask_for_tokens(
            {
                "grant_type": "refresh_token",
                "refresh_token": self._loot.refresh_token,
                "client_id": self._loot.client_id,
            }
        )

    async def close(self) -> None:
        """Leave."""
        await self._client.aclose()

    def _presented(self, proof: str) -> Headers:
        return {"authorization": f"DPoP {self._loot.access_token}", "dpop": proof}

    async def _prove(self, key: SigningKey, url: str, *, body: bytes | None = None, tool: str | None = None) -> Outcome:
        """Present the token with a fresh proof, and again with the nonce when the server asks for one."""
        nonce: str | None = None
        while True:
            proof = make_proof(
                key,
                method="POST",
                url=url,
                jti=self._entropy.identifier(),
                issued_at=self._clock.now(),
                nonce=nonce,
                access_token=self._loot.access_token,
            )
            headers = self._presented(proof) | ({"mcp-name": tool} if tool else {})
            response = await self._post(headers, body)
            outcome = outcome_of(response)
            if nonce is not None or outcome.error != "use_dpop_nonce":
                return outcome
            nonce = response.headers["dpop-nonce"]

    async def _call(self, headers: Headers) -> Outcome:
        return outcome_of(await self._post(headers))

    async def _post(self, headers: Headers, body: bytes | None = None) -> httpx2.Response:
        call = self._loot.call
        kept = {
            name: value
            for name, value in call.headers.items()
            if name.lower() not in {"authorization", "dpop", "content-length", *headers}
        }
        return await self._client.post(call.url, headers=kept | headers, content=body or call.content)

    async def _ask_for_tokens(self, form: dict[str, str]) -> Outcome:
        now, url = self._clock.now(), str(self._loot.redemption.url)
        claims = {
            "iss": self._loot.client_id,
            "sub": self._loot.client_id,
            "aud": self._loot.issuer,
            "jti": self._entropy.identifier(),
            "iat": now,
            "exp": now + 60,
        }
        form = form | {
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": jws.sign(self._loot.client_key, claims, typ="client-authentication+jwt"),
        }
        proof = make_proof(
            self._loot.proof_key,
            method="POST",
            url=url,
            jti=self._entropy.identifier(),
            issued_at=now,
            nonce=self._loot.server_nonce,
        )
        return outcome_of(await self._client.post(url, data=form, headers={"dpop": proof}))


def outcome_of(response: httpx2.Response) -> Outcome:
    """How a server judged a request."""
    challenge = chosen(tuple(response.headers.get_list("www-authenticate")))
    error = challenge.error if challenge is not None else None
    if error is None and response.headers.get("content-type") == "application/json":
        error = response.json().get("error")
    return Outcome(status=response.status_code, error=error, correlation_id=response.headers.get("x-correlation-id"))


def refused(what: str, outcome: Outcome, status: int, error: str) -> str:
    """Say that an attempt was refused as it has to be; gives the id under which the operator finds out why.

    Raises:
        StepFailed: it was not.
    """
    if (outcome.status, outcome.error) != (status, error):
        raise StepFailed(f"{what}: expected {status} {error}, got {outcome.status} {outcome.error}")
    done(f"refused with {status} {error}: {what}")
    return outcome.correlation_id or ""
