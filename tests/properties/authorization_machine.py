"""The authorization server driven at random, in process, beside a model that says what every step must give."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, multiple, rule

from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from tests.properties.authorization_model import NOTED, OK, Grant, Model, RefreshToken, Request, Tab
from tests.properties.operated_stores import OperatedMemory
from tests.support.browser import Browser, Callback, Page
from tests.support.fakes import NOW, PlainPasswords
from tests.support.fapi_client import FapiClient, error_of
from tests.support.fapi_messages import Message
from tests.support.house import House, hidden
from tests.support.peer_keys import PeerKey

CLIENTS: Final = ("agent", "other")
RESOURCES: Final = ("https://bank.example/mcp", "https://shop.example/mcp")
OTHER_KEY: Final = PeerKey.es256(seed=77)
EDGES: Final = [29, 30, 59, 60, 61, 89, 90, 91, 599, 600, 899, 900, 3600, 28_800]  # of our lifetimes, in seconds
DAYS: Final = [86_400 * days for days in (1, 7, 13, 14, 30)]
SECONDS: Final = st.sampled_from([1] * 8 + [10] * 4 + EDGES + DAYS)
WHO: Final = st.sampled_from(["its own"] * 4 + ["another"])
LIES: Final = st.sampled_from([None] * 4 + ["verifier", "key"])
MOSTLY: Final = st.sampled_from([True] * 4 + [False])
SELDOM: Final = st.sampled_from([False] * 4 + [True])
Build = Callable[[], Message]


class AuthorizationMachine(RuleBasedStateMachine):
    """Two clients, two resources, one person with two browsers."""

    make_store: ClassVar[Callable[[], Any]] = OperatedMemory
    answered: ClassVar[Counter[str]] = Counter()  # in all runs: step and answer

    requests = Bundle("requests")
    tabs = Bundle("tabs")
    grants = Bundle("grants")
    refresh_tokens = Bundle("refresh_tokens")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.house = House(store=type(self).make_store())
        self.house.resource(RESOURCES[1])
        self.clients: dict[str, FapiClient] = {"agent": self.house.agent, "other": self.house.client("other")}
        self.browsers: dict[str, Browser] = {name: self.house.browser() for name in ("hers", "another")}
        self.model = Model(now=NOW, clients=set(CLIENTS), resources=set(RESOURCES))
        self.password = "a long enough passphrase"
        self.ended: set[str | None] = set()
        self._facts = len(self.house.store.facts)
        self._answers = 0
        self._sources = 0

    def teardown(self) -> None:
        self.runner.run(self.house.http.aclose())
        self.runner.run(self.house.store.close())
        self.runner.close()

    # --- what must hold after every step

    def _settle(self, expected: str, found: str, *, minted: int = 0, redirected: int = 0) -> None:
        """Compare the answer, and hold the evidence to it: a refusal is one fact and brings no token."""
        facts: list[AuditFact] = list(self.house.store.facts[self._facts :])
        answers = self.house.log[self._answers :]
        self._facts += len(facts)
        self._answers += len(answers)
        self.answered[f"{sys._getframe(1).f_code.co_name.strip('_')}: {found}"] += 1
        assert found == expected, f"{found} where the model says {expected}: {facts}"
        refused = [fact for fact in facts if fact.event is AuditEvent.REFUSED]
        assert len(refused) == sum(status >= 400 for _, _, status in answers) + redirected, facts
        assert all(status < 500 for _, _, status in answers), answers
        issued = [fact for fact in facts if fact.event is AuditEvent.TOKEN_ISSUED]
        assert len(issued) == minted, facts
        assert not self.ended & {fact.authorization_id for fact in issued}, "a token after the end of what allowed it"
        self.ended |= {fact.authorization_id for fact in facts if fact.event is AuditEvent.AUTHORIZATION_REVOKED}

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        # every request has a source of its own: what is limited for each source has tests of its own
        self._sources += 1
        self.house.source = f"198.51.{self._sources // 250}.{self._sources % 250}"
        return self.runner.run(work)

    # --- what clients and the person do

    @rule(target=requests, client=st.sampled_from(CLIENTS), resource=st.sampled_from(RESOURCES))
    def push(self, client: str, resource: str) -> Any:
        return self._push(client, resource)

    def _push(self, client: str, resource: str, **openid: str) -> Any:
        peer, expected = self.clients[client], self.model.push(client, resource)
        verifier, state = f"{self._answers:043d}", f"state-{self._answers}"
        build = lambda: peer.push_request(code_verifier=verifier, state=state, resource=resource, **openid)  # noqa: E731 - perhaps built twice
        response = self._run(peer.attempt(build))
        self._settle(expected, error_of(response) or OK)
        if expected != OK:
            return multiple()
        query = urlencode({"client_id": client, "request_uri": response.json()["request_uri"]})
        url = f"{peer.metadata['authorization_endpoint']}?{query}"
        return Request(client, resource, self.model.now, {"url": url, "verifier": verifier, "state": state})

    @rule(target=tabs, request=requests, browser=st.sampled_from(["hers", "hers", "another"]))
    def open(self, request: Request, browser: str) -> Any:
        expected = self.model.open(request)
        return self._arrive(expected, request, browser, self.model.now, self._visit(browser, request.told["url"]))

    @rule(target=tabs, tab=tabs, browser=st.sampled_from(["hers", "hers", "another"]))
    def look_again(self, tab: Tab, browser: str) -> Any:
        expected = self.model.look(tab, browser)
        url = f"{self.house.context.policy.issuer}/consent?interaction={hidden(tab.page, 'interaction')}"
        return self._arrive(expected, tab.request, browser, tab.at, self._visit(browser, url))

    def _visit(self, browser: str, url: str) -> Page | Callback:
        place: Page | Callback = self._run(self.browsers[browser].open(url))
        return place

    def _arrive(self, expected: str, request: Request, browser: str, at: int, place: Page | Callback) -> Any:
        """An answer to a request for a page: the next page, or a refusal here or at the client."""
        found = (place.error or OK) if isinstance(place, Callback) else _answer(place)
        self._settle(expected, found, redirected=int(isinstance(place, Callback)))
        if expected != OK:
            return multiple()
        assert isinstance(place, Page)
        signed_in = self.model.is_signed_in(browser)
        assert place.has("consent-approve" if signed_in else "login-submit"), place.text
        if signed_in:
            self.model.note_activity(browser, at_least=NOTED)
        return Tab(request, browser, at, place, self._cookie(browser))

    def _cookie(self, browser: str) -> str | None:
        return next(iter(next(iter(self.browsers[browser].cookies.values()), {}).values()), None)

    @rule(target=tabs, tab=tabs.filter(lambda tab: tab.page.has("login-submit")), right=MOSTLY, stolen=SELDOM)
    def sign_in(self, tab: Tab, right: bool, stolen: bool) -> Any:
        browser = self._where(tab, stolen=stolen)
        expected = self.model.submit(tab, browser, self._cookie(browser))
        counted = expected == OK
        if counted:
            expected = self.model.sign_in(browser, right=right)
        values = {"username": "alice", "password": self.password if right else "wrong passphrase"}
        place = self._submit(browser, tab.page, "login-submit", values)
        if counted and expected == "access_denied":  # the same page again, with a sentence on it
            assert isinstance(place, Page)
            assert place.has("login-submit"), place.text
            self._settle(expected, "access_denied" if place.status == 401 else _answer(place))
            return Tab(tab.request, browser, tab.at, place, self._cookie(browser))
        return self._arrive(expected, tab.request, browser, tab.at, place)

    def _where(self, tab: Tab, *, stolen: bool) -> str:
        return {"hers": "another", "another": "hers"}[tab.browser] if stolen else tab.browser

    def _submit(self, browser: str, page: Page, click: str, values: dict[str, str]) -> Page | Callback:
        place: Page | Callback = self._run(self.browsers[browser].submit(page, click, values))
        return place

    @rule(target=grants, tab=tabs.filter(lambda tab: tab.page.has("consent-approve")), yes=MOSTLY, stolen=SELDOM)
    def answer(self, tab: Tab, yes: bool, stolen: bool) -> Any:
        browser = self._where(tab, stolen=stolen)
        expected = self.model.submit(tab, browser, self._cookie(browser))
        place = self._submit(browser, tab.page, "consent-approve" if yes else "consent-deny", {})
        if expected != OK or not self.model.is_signed_in(browser):
            self._arrive(expected, tab.request, browser, tab.at, place)
            return multiple()
        assert isinstance(place, Callback), place.text
        tab.request.complete = True
        self._settle(OK if yes else "access_denied", place.error or OK)
        assert place.parameters["state"] == tab.request.told["state"]
        if not yes:
            self.model.forget(tab.request)
            return multiple()
        self.model.note_activity(browser)
        grant = Grant(tab.request, self.model.user_version, self.model.now, place.parameters["code"])
        self.model.remember(grant)
        return grant

    @rule(target=tabs, client=st.sampled_from(CLIENTS), resource=st.sampled_from(RESOURCES))
    def ask(self, client: str, resource: str) -> Any:
        """The whole way to the consent page, as far as it leads: without it few runs would come to tokens."""
        request = self.push(client, resource)
        tab = self.open(request, "hers") if isinstance(request, Request) else None
        if isinstance(tab, Tab) and tab.page.has("login-submit"):
            tab = self.sign_in(tab, right=True, stolen=False)
        return tab if isinstance(tab, Tab) else multiple()

    @rule(target=grants, client=st.sampled_from(CLIENTS), resource=st.sampled_from(RESOURCES))
    def walk(self, client: str, resource: str) -> Any:
        """The whole way to a code, as far as it leads."""
        tab = self.ask(client, resource)
        if not isinstance(tab, Tab) or not tab.page.has("consent-approve"):
            return multiple()
        return self.answer(tab, yes=True, stolen=False)

    # --- what comes out of it

    @rule(
        target=refresh_tokens,
        grant=grants,
        client=WHO,
        lie=LIES,
        copied=SELDOM,
    )
    def redeem(self, grant: Grant, client: str, lie: str | None, copied: bool) -> Any:
        name, ended = self._client_for(grant, client), grant.ended
        expected = self.model.redeem(grant, name, lie)
        spends = expected == OK or grant.ended != ended
        key = OTHER_KEY if lie == "key" else None
        build = self._redemption(grant, name, lie, key)
        return self._exchange(expected, grant, name, build, key=key, again=copied, spends=spends)

    @rule(target=refresh_tokens, client=st.sampled_from(CLIENTS), resource=st.sampled_from(RESOURCES))
    def obtain(self, client: str, resource: str) -> Any:
        """The whole way to a refresh token, as far as it leads."""
        grant = self.walk(client, resource)
        if not isinstance(grant, Grant):
            return multiple()
        return self.redeem(grant, client="its own", lie=None, copied=False)

    @rule(target=refresh_tokens, grant=grants)
    def redeem_twice_at_once(self, grant: Grant) -> Any:
        peer, name = self.clients[grant.request.client], grant.request.client
        expected = sorted(self.model.redeem(grant, name, None) for _ in range(2))
        build = self._redemption(grant, name, None, None)
        responses = self._run(_at_once(peer.attempt(build), peer.attempt(build)))
        found = sorted(error_of(response) or OK for response in responses)
        self._settle(" ".join(expected), " ".join(found), minted=expected.count(OK))
        got = [response.json()["refresh_token"] for response in responses if response.status_code == 200]
        return multiple(*(RefreshToken(grant, self.model.now, value) for value in got))

    @rule(
        target=refresh_tokens,
        token=refresh_tokens,
        client=st.sampled_from(["its own"] * 4 + ["another"]),
        copied=SELDOM,
    )
    def refresh(self, token: RefreshToken, client: str, copied: bool) -> Any:
        name = self._client_for(token.grant, client)
        expected = self.model.refresh(token, name)
        build = lambda: self.clients[name].refresh_request(token.value)  # noqa: E731 - built twice
        self._exchange(expected, token.grant, name, build, again=copied, spends=expected == OK)
        return multiple()

    def _client_for(self, grant: Grant, client: str) -> str:
        own = grant.request.client
        return own if client == "its own" else next(name for name in CLIENTS if name != own)

    def _redemption(self, grant: Grant, client: str, lie: str | None, key: PeerKey | None) -> Build:
        verifier = "x" * 43 if lie == "verifier" else grant.request.told["verifier"]
        peer = self.clients[client]
        redirect = self.clients[grant.request.client].redirect_uri
        return lambda: peer.token_request(
            "authorization_code", key=key, code=grant.code, code_verifier=verifier, redirect_uri=redirect
        )

    def _exchange(
        self,
        expected: str,
        grant: Grant,
        client: str,
        build: Build,
        *,
        key: PeerKey | None = None,
        again: bool,
        spends: bool,
    ) -> Any:
        """One token request; `again` sends its very octets once more, which must change nothing."""
        peer, sent = self.clients[client], []

        def build_and_keep() -> Message:
            sent.append(build())
            return sent[-1]

        response = self._run(peer.attempt(build_and_keep, key=key))
        self._settle(expected, error_of(response) or OK, minted=int(expected == OK))
        assert ("access_token" in response.json()) == (expected == OK)
        if again:
            copy = self._run(peer.send(sent[-1], key=key))
            self._settle("invalid_client" if spends else expected, error_of(copy) or OK)
        fresh = response.json().get("refresh_token")
        return multiple() if fresh is None else RefreshToken(grant, self.model.now, fresh)

    # --- what operators and time do

    @rule(what=st.sampled_from(["restore"] * 3 + [*CLIENTS, *RESOURCES, "user", "password"]))
    def operate(self, what: str) -> None:
        """Switch one thing off, or on again, or everything on; or give the person another password."""
        off = {*CLIENTS, *RESOURCES} - self.model.clients - self.model.resources
        off |= set() if self.model.user_enabled else {"user"}
        for one in sorted(off) if what == "restore" else [what]:
            self._switch(one)

    def _switch(self, what: str) -> None:
        model, store = self.model, self.house.store
        if what in CLIENTS:
            model.clients ^= {what}
            store.switch_client(what, enabled=what in model.clients)
        elif what in RESOURCES:
            model.resources ^= {what}
            store.switch_resource(what, enabled=what in model.resources)
        else:
            model.user_version += 1
            if what == "password":
                self.password += "+"
                store.change_user(password_hash=PlainPasswords.hash(self.password))
            else:
                model.user_enabled ^= True
                store.change_user(disabled=not model.user_enabled)

    @rule(seconds=SECONDS)
    def move_the_clock(self, seconds: int) -> None:
        self.model.now = self.house.clock.advance(seconds)


async def _at_once(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    return await asyncio.gather(*work)


def _answer(page: Page) -> str:
    return page.error or (OK if page.status == 200 else str(page.status))
