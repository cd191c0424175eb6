"""The same machine with a client of OpenID Connect: answers without a page, and what userinfo tells after a change."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, multiple, rule

from tests.properties.authorization_machine import RESOURCES, AuthorizationMachine
from tests.properties.authorization_model import OK, Grant, Identity, RefreshToken, Request
from tests.support.browser import Callback
from tests.support.fapi_client import error_of
from tests.support.fapi_messages import Tokens

OPENID: Final = "rp"


class OpenidMachine(AuthorizationMachine):
    """One more client, which asks who the person is."""

    identities = Bundle("identities")

    def __init__(self) -> None:
        super().__init__()
        self.clients[OPENID] = self.house.client(OPENID, scope="accounts:read openid")
        self.clients[OPENID].scope = "accounts:read openid"
        self.model.clients.add(OPENID)

    @rule(target=AuthorizationMachine.grants, resource=st.sampled_from(RESOURCES))
    def allow(self, resource: str) -> Any:
        return self.walk(OPENID, resource)

    @rule(
        target=AuthorizationMachine.grants,
        resource=st.sampled_from(RESOURCES),
        browser=st.sampled_from(["hers", "another"]),
    )
    def go_without_a_page(self, resource: str, browser: str) -> Any:
        """OpenID Connect's prompt=none: an earlier yes to the same page counts, and nothing else."""
        request = self._push(OPENID, resource, prompt="none")
        if not isinstance(request, Request):
            return multiple()
        expected = self.model.silently(request, browser)
        place = self._visit(browser, request.told["url"])
        assert isinstance(place, Callback), place.text
        self._settle(expected, place.error or OK, redirected=int(expected != OK))
        if expected != OK:
            return multiple()
        return Grant(request, self.model.user_version, self.model.now, place.parameters["code"])

    @rule(
        target=identities,
        token=AuthorizationMachine.refresh_tokens.filter(lambda token: token.grant.request.client == OPENID),
    )
    def identify(self, token: RefreshToken) -> Any:
        """A refresh token brings a token for userinfo."""
        peer, expected = self.clients[OPENID], self.model.identify(token)
        issuer = self.house.context.policy.issuer
        response = self._run(peer.attempt(lambda: peer.refresh_request(token.value, resource=issuer)))
        self._settle(expected, error_of(response) or OK, minted=int(expected == OK))
        if expected != OK:
            return multiple()
        said = {name: response.json()[name] for name in ("access_token", "token_type", "expires_in", "scope")}
        tokens = Tokens(**said, refresh_token=None, key=peer.dpop_key, response=response)
        return Identity(token.grant, self.model.now, tokens)

    @rule(identity=identities)
    def tell(self, identity: Identity) -> None:
        peer = self.clients[OPENID]
        response = self._run(peer.call(identity.tokens, f"{self.house.context.policy.issuer}/userinfo", method="GET"))
        self._settle(self.model.tell(identity), error_of(response) or OK)

    @rule(resource=st.sampled_from(RESOURCES), then=st.sampled_from(["nothing", "time", OPENID, "user", "password"]))
    def tell_after_something(self, resource: str, then: str) -> None:
        """The whole way to a token for userinfo, as far as it leads, and then something changes."""
        token = self.obtain(OPENID, resource)
        identity = self.identify(token) if isinstance(token, RefreshToken) else None
        if not isinstance(identity, Identity):
            return
        if then == "time":
            self.move_the_clock(300)
        elif then != "nothing":
            self.operate(then)
        self.tell(identity)
