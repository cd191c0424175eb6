"""A client that signs its requests (JAR) and wants its responses signed (JARM); it shares no code with the server.

client = signing_client(house)
with client.saying(claims={"aud": ...}, header={"typ": "at+jwt"}): …      # `...` leaves a member out
with client.saying(object="a.b.c", outside={"scope": "admin"}): …         # the whole string; parameters beside it
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tests.support.browser import Browser, Callback, Page
from tests.support.fapi_client import FapiClient, Stuck
from tests.support.fapi_messages import TRUTH, Message, Pushed
from tests.support.peer_keys import PeerKey
from tests.support.signed_responses import SignedCallback, opened

if TYPE_CHECKING:
    from tests.support.house import House


@dataclass(slots=True)
class Said:
    """The knobs of a request object: what is changed of an honest one."""

    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    key: PeerKey | None = None
    object: Any = TRUTH  # the whole string; `...` sends plain parameters instead
    outside: dict[str, Any] = field(default_factory=dict)  # beside it in the form


class SigningClient(FapiClient):
    """Everything else about it is as honest as its parent."""

    def __init__(self, *positional: Any, **what: Any) -> None:
        super().__init__(*positional, **what)
        self.said = Said()
        self.response_mode: Any = ...

    @contextmanager
    def saying(self, **said: Any) -> Iterator[Self]:
        """Turn some knobs of the request object for a while."""
        before, self.said = self.said, Said(**said)
        try:
            yield self
        finally:
            self.said = before

    def request_object(self, parameters: dict[str, Any]) -> str:
        """RFC 9101 §4 with what FAPI 2.0 Message Signing §5.3.2 adds; with a jti, so good for one push."""
        said, now = self.said, self.now()
        header = {"typ": "oauth-authz-req+jwt"} | ({"kid": self.kid} if self.kid else {}) | said.header
        about = {
            "iss": self.client_id,
            "aud": self.issuer,
            "client_id": self.client_id,
            "nbf": now,
            "exp": now + 300,
            "jti": secrets.token_urlsafe(16),
        }
        claims = about | {"response_mode": self.response_mode} | parameters | said.claims
        key = said.key or self.client_key
        return key.sign(_without({"alg": key.alg, **header}), _without(claims))

    def form_request(self, endpoint: str, parameters: dict[str, Any], *, key: PeerKey | None = None) -> Message:
        """A push is its request object and nothing else; every other message is as before."""
        if endpoint == "pushed_authorization_request_endpoint":
            if self.said.object is ...:
                parameters = {"response_mode": self.response_mode} | parameters
            else:
                told = self.request_object(parameters) if self.said.object is TRUTH else self.said.object
                parameters = {"request": told}
            parameters = parameters | self.said.outside
        return super().form_request(endpoint, parameters, key=key)

    async def authorize(
        self, pushed: Pushed, *, username: str, password: str, approve: bool = True, browser: Browser | None = None
    ) -> Callback:
        """The browser's part; a signed response is opened and checked before anything in it is believed.

        Raises:
            Stuck: the browser ended at a page.
        """
        if self.response_mode is ...:
            return await super().authorize(
                pushed, username=username, password=password, approve=approve, browser=browser
            )
        place = await self.visit(pushed, username=username, password=password, approve=approve, browser=browser)
        if isinstance(place, Page):
            raise Stuck(place)
        told = await self.opened(place)
        assert told.parameters.get("state") == pushed.state
        return told

    async def opened(self, place: Callback) -> SignedCallback:
        """The signed response of a redirect."""
        jwks = (await self.http.get(str(self.metadata["jwks_uri"]))).json()
        return opened(place, jwks=jwks, issuer=self.issuer, client_id=self.client_id, now=self.now())


def signing_client(
    house: House, client_id: str = "signer", *, alg: str = "ES256", **registration: Any
) -> SigningClient:
    """Register a client with a key of this algorithm and give its honest side."""
    plain = house.client(client_id)
    key = plain.client_key if alg == "ES256" else PeerKey.of(alg)
    peer = SigningClient(
        house.http,
        issuer=plain.issuer,
        client_id=client_id,
        client_key=key,
        resource=plain.resource,
        scope=plain.scope,
        redirect_uri=plain.redirect_uri,
        now=plain.now,
    )
    house.client(client_id, jwks=peer.jwks(), **registration)
    return peer


def _without(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not ...}
