"""The agent as an ordinary `httpx2.Auth`, for the official MCP client and everything else that speaks httpx2."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from datetime import timedelta
from typing import Any, Final

import anyio
import httpx2

from fapi_as.agent.agent import Agent
from fapi_as.agent.authorization import is_of_this_request
from fapi_as.agent.clock_and_entropy import SystemClock, SystemEntropy
from fapi_as.agent.errors import BrowserNeeded, Misconfigured, RedirectRefused
from fapi_as.agent.ports import RegistrationStore, TokenStore
from fapi_as.agent.registered import Registration
from fapi_as.agent.registrar import Registrar
from fapi_as.agent.sending import ANSWER_TIMEOUT, answer_of, drained, dressed, sent
from fapi_as.agent.settings import AgentSettings
from fapi_as.agent.shared_tokens import still_needed
from fapi_as.agent.steps import Answer, Callback, Exchange, Introduce, Need, Reason, Renew, Result, Send, Visit
from fapi_as.agent.token_store import MemoryRegistrationStore, MemoryTokenStore
from fapi_as.agent.tokens import TokenSet

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override  # httpx2 brings it to the Pythons that need it

Authorize = Callable[[str], Awaitable[str]]
Another = Callable[[], Awaitable[str]]
_STRANGERS: Final = 16  # answers to no request of ours, at an address that anybody on the machine can reach


class AgentAuth(httpx2.Auth):
    """Gets tokens when a resource asks for them, binds them to a key, and proves the key with every request.

    Args:
        settings: who the agent is and where.
        back_channel: the client for metadata and the authorization server. It is not the one that this object is the
            auth of: neither its cookies and headers nor its redirects may touch what is sent there.
        authorize: opens an address in a person's browser and gives the address the browser came back to.
        another: waits for one more such address, where a page or a program that nobody asked may bring the first.
        store: where tokens outlive this object.
        registrations: where what this agent registers by itself outlives it.
        timeout: for one answer to the agent's own requests, from first to last byte; a person may take longer.
    """

    def __init__(  # noqa: PLR0913 - the ports of one agent, named at every call
        self,
        settings: AgentSettings,
        *,
        back_channel: httpx2.AsyncClient,
        authorize: Authorize | None = None,
        another: Another | None = None,
        store: TokenStore | None = None,
        registrations: RegistrationStore | None = None,
        timeout: timedelta = ANSWER_TIMEOUT,
    ) -> None:
        self._agent = Agent(settings, clock=SystemClock(), entropy=SystemEntropy())
        self._back_channel = back_channel
        self._authorize = authorize
        self._another = another
        self._timeout = timeout
        self._store = store if store is not None else MemoryTokenStore()
        self._registrar = Registrar(
            back_channel=back_channel,
            store=registrations if registrations is not None else MemoryRegistrationStore(),
            timeout=timeout,
        )
        self._alone = anyio.Lock()
        self._restored = False
        self._renewals = 0
        self._failed: tuple[Need, Exception] | None = None

    @property
    def agent(self) -> Agent:
        """The core, for those who want to look at its tokens."""
        return self._agent

    async def sign_in(self) -> TokenSet:
        """Get tokens now and keep them, whatever tokens there are: those stay until there are better ones.

        Raises:
            AgentError: there are none; the sentence says why.
        """
        resource = self._agent.settings.resource
        async with self._alone:
            self._restored, used = True, self._agent.tokens
            reason = Reason.UNAUTHORIZED if used is None else Reason.SIGN_IN
            await self._run(self._agent.renew(Need(reason=reason, used=used)))  # others go on with what they have
            if self._agent.tokens is None:
                raise TypeError("a renewal gives tokens or raises")
            with anyio.CancelScope(shield=True):
                async with self._store.alone(resource):
                    await self._store.save(resource, self._agent.tokens)
        return self._agent.tokens

    async def current_tokens(self) -> TokenSet | None:
        """The tokens that the next call would use, renewed when they are about to expire; None asks for a sign-in.

        Raises:
            AgentError: they could not be renewed.
        """
        await self._restore()
        used = self._agent.tokens
        if used is not None and self._agent.is_stale(used):
            await self._renew(Need(reason=Reason.STALE, used=used))
        return self._agent.tokens

    async def userinfo(self) -> dict[str, Any]:
        """What the authorization server tells about the person, of an agent whose resource is the issuer.

        Raises:
            AgentError: there are no tokens for it, or what came is about another person.
        """
        await self.current_tokens()
        return await self._run(self._agent.userinfo())

    @override
    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
        """Refuse: a person may have to be waited for.

        Raises:
            Misconfigured: always.
        """
        del request
        raise Misconfigured("AgentAuth works with httpx2.AsyncClient only")

    @override
    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send the request, as often as the agent says and with what it says.

        Raises:
            AgentError: there are no tokens for this call; the sentence says why.
        """
        await request.aread()  # it may have to be sent again
        await self._restore()
        steps = self._agent.call(request.method, str(request.url))
        step = next(steps)
        try:
            while True:
                if isinstance(step, Renew):
                    await self._renew(step.need)
                    step = next(steps)
                else:
                    response = yield dressed(request, step, self._agent.tokens)
                    if step.authorization is not None and response.request is not request:
                        raise RedirectRefused("the resource redirected a call, and the HTTP client followed with it")
                    answer = answer_of(response, certificate=step.certificate)
                    step = steps.send(answer)
                    await drained(
                        response, self._timeout, hang_up=answer.former_certificate
                    )  # there is a next step: this answer is not the caller's
        except StopIteration:
            return

    async def _restore(self) -> None:
        if self._restored:
            return
        async with self._alone:
            if not self._restored:
                await self._remember()
                self._agent.restore(await self._store.load(self._agent.settings.resource))
                self._restored = True

    async def _remember(self) -> None:
        """Be known where this agent was before; of a registration that another process made since, a server tells."""
        for registrant in self._agent.settings.registrants:
            if (known := await self._registrar.known(registrant)) is not None:
                self._agent.remember(registrant, known)

    async def _renew(self, need: Need) -> None:
        renewals = self._renewals
        async with self._alone, self._store.alone(self._agent.settings.resource):
            if self._renewals != renewals and self._failed is not None and self._failed[0] == need:
                raise self._failed[1]  # it failed while this call waited for it: the person is not asked once more
            self._failed = None
            try:
                rest = await self._without_others(need)
                if rest is not None:
                    await self._renewed_and_kept(rest)
            except Exception as error:
                self._failed = (need, error)
                raise
            finally:
                self._renewals += 1

    async def _renewed_and_kept(self, need: Need) -> None:
        before = self._agent.tokens
        try:
            await self._run(self._agent.renew(need))
        finally:
            if self._agent.tokens is not before:
                with anyio.CancelScope(shield=True):  # a token that was got is not lost to a call that was given up
                    await self._store.save(self._agent.settings.resource, self._agent.tokens)

    async def _without_others(self, need: Need) -> Need | None:
        """The need, less what another process that shares the store has got since this one looked."""
        held, stored = self._agent.tokens, await self._store.load(self._agent.settings.resource)
        if stored is None or (held is not None and stored.access_token == held.access_token):
            return need
        self._agent.restore(stored)
        if self._agent.tokens is not stored:
            return need  # of another agent, which may not have the same rights
        return still_needed(need, stored, stale=self._agent.is_stale(stored))

    async def _run(self, exchange: Exchange[Result]) -> Result:
        try:
            step = next(exchange)
            while True:
                reply: Answer | Callback | Registration
                if isinstance(step, Send):
                    reply = await sent(self._back_channel, step.request, self._timeout)
                elif isinstance(step, Introduce):
                    reply = await self._registrar.introduced(step.registrant)
                else:
                    reply = await self._visited(step)
                step = exchange.send(reply)
        except StopIteration as end:
            result: Result = end.value
            return result

    async def _visited(self, step: Visit) -> Callback:
        if self._authorize is None:
            raise BrowserNeeded("a person has to allow this, and this agent has no browser to send them to")
        came_back, strangers = await self._authorize(step.url), 0
        while self._another is not None and strangers < _STRANGERS and not is_of_this_request(came_back, step.state):
            came_back, strangers = await self._another(), strangers + 1
        return Callback(url=came_back)
