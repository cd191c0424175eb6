"""Somebody who wants to be a client of the authorization server without the approval of anybody it trusts.

The statement of the agent is no secret: the gatecrasher has it, and even what the authority signed in former days.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Final

import httpx2
from agent import client_key
from newcomers import said_of_the_agent
from place import ROBOT_SOFTWARE, SOFTWARE, Place
from thief import Outcome, outcome_of

from fapi_as.agent.clock_and_entropy import SystemClock, SystemEntropy
from rs_kit.protocol import base64url, jws, strict_json
from rs_kit.protocol.jws import SigningKey

ELSEWHERE: Final = "https://thief.example/callback"
_HOUR: Final = 3600
_TYPE: Final = "software-statement+jwt"


class Gatecrasher:
    """Each method is one attempt to register; none of them should work."""

    def __init__(self, place: Place, trust: ssl.SSLContext) -> None:
        self._place = place
        self._client = httpx2.AsyncClient(verify=trust, timeout=10.0)
        self._clock, self._entropy = SystemClock(), SystemEntropy()
        self._key = self._entropy.proof_key()
        self.statement = place.statement(SOFTWARE).read_text("ascii").strip()

    async def without_a_statement(self) -> Outcome:
        """Only the request, with everything in it that one could wish for."""
        return await self._register(None, {**said_of_the_agent(self._place), **self._mine()})

    async def forged(self) -> Outcome:
        """The agent's statement with the gatecrasher's key and address in it, under the signature that was there."""
        header, claims, signature = self.statement.split(".")
        members = strict_json.parse_object(base64url.decode(claims.encode("ascii"))) | self._mine()
        changed = base64url.encode(json.dumps(members).encode("ascii"))
        return await self._register(f"{header}.{changed}.{signature}")

    async def expired(self) -> Outcome:
        """What the authority itself signed, a while ago."""
        return await self._register(self._signed(self._authority(), iat=self._clock.now() - _HOUR, seconds=_HOUR // 2))

    async def foreign(self) -> Outcome:
        """A perfect statement of an authority that nobody at this server trusts."""
        return await self._register(self._signed(self._key, iss="https://authority.thief.example"))

    async def for_another_server(self) -> Outcome:
        """What the authority signed for another authorization server, which the gatecrasher runs."""
        return await self._register(self._signed(self._authority(), aud="https://auth.thief.example"))

    async def contradicted(self) -> Outcome:
        """The agent's own statement, and a request that leads the codes elsewhere."""
        return await self._register(self.statement, {"redirect_uris": [ELSEWHERE]})

    async def contradicted_key(self) -> Outcome:
        """The agent's own statement, and a request with another key."""
        return await self._register(self.statement, {"jwks": self._mine()["jwks"]})

    async def statement_of_the_robot(self) -> Outcome:
        """The robot's own statement over a connection that shows another certificate."""
        stolen = self._place.statement(ROBOT_SOFTWARE).read_text("ascii").strip()
        async with httpx2.AsyncClient(verify=self._place.other_certificate.context, timeout=10.0) as client:
            answer = await client.post(f"{self._place.mutual_tls}/register", json={"software_statement": stolen})
        return outcome_of(answer)

    async def replayed(self, request: httpx2.Request) -> Outcome:
        """The very body with which the agent registered, once more."""
        headers = {"content-type": request.headers["content-type"]}
        return outcome_of(await self._client.post(request.url, content=request.content, headers=headers))

    async def registration_of_the_agent(self, url: str, token: str) -> Outcome:
        """The agent's registration, with the token for it and without the key that was proved when it was made."""
        return outcome_of(await self._client.get(url, headers={"authorization": f"Bearer {token}"}))

    async def close(self) -> None:
        """Leave."""
        await self._client.aclose()

    def _mine(self) -> dict[str, object]:
        return {"redirect_uris": [ELSEWHERE], "jwks": {"keys": [dict(self._key.public_jwk())]}}

    def _authority(self) -> SigningKey:
        named = client_key(self._place.authority_key).thumbprint
        return client_key(self._place.authority_key, kid=named)

    def _signed(self, key: SigningKey, *, iat: int | None = None, seconds: int = _HOUR, **changes: str) -> str:
        now = self._clock.now() if iat is None else iat
        claims = strict_json.parse_object(base64url.decode(self.statement.split(".")[1].encode("ascii")))
        claims |= {"iat": now, "exp": now + seconds, "jti": self._entropy.identifier(), **changes}
        return jws.sign(key, claims, typ=_TYPE)

    async def _register(self, statement: str | None, asked: Mapping[str, object] | None = None) -> Outcome:
        members = {**(asked or {}), **({} if statement is None else {"software_statement": statement})}
        return outcome_of(await self._client.post(f"{self._place.issuer}/register", json=members))
