"""The driver of registration: one agent at one issuer, what it keeps of it, and nobody else at it meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import anyio
import httpx2

from fapi_as.agent import registration as steps
from fapi_as.agent.back_channel import BackChannel
from fapi_as.agent.clock_and_entropy import SystemClock, SystemEntropy
from fapi_as.agent.discovery import authorization_server
from fapi_as.agent.errors import Misconfigured, ServerRefused
from fapi_as.agent.exchange import Nonces
from fapi_as.agent.issuer_keys import IssuerKeys
from fapi_as.agent.ports import RegistrationStore
from fapi_as.agent.registered import Registration
from fapi_as.agent.registrant import Registrant
from fapi_as.agent.sending import ANSWER_TIMEOUT, sent
from fapi_as.agent.steps import Exchange, Result, Send
from rs_kit.protocol.jws import SigningKey

_UNAUTHORIZED: Final = 401


class Registrar:
    """Registers an agent, keeps what that gave, and reads, updates and deletes it.

    Args:
        back_channel: as for AgentAuth.
        store: where registrations outlive this object.
        timeout: for one answer, from first to last byte.
    """

    def __init__(
        self, *, back_channel: httpx2.AsyncClient, store: RegistrationStore, timeout: timedelta = ANSWER_TIMEOUT
    ) -> None:
        self._back_channel = back_channel
        self._store = store
        self._timeout = timeout
        self._clock, self._entropy = SystemClock(), SystemEntropy()
        self._nonces, self._issuer_keys = Nonces(), IssuerKeys()

    async def known(self, registrant: Registrant) -> Registration | None:
        """What is kept of an earlier registration at this issuer; nothing is sent."""
        kept = await self._store.load(registrant.issuer)
        return kept if kept is not None and kept.issuer == registrant.issuer else None

    async def introduced(self, registrant: Registrant) -> Registration:
        """The registration that is kept, else a new one, by the address of a metadata document where that is taken.

        Raises:
            AgentError: the agent is not known there, and cannot become it; the sentence says why.
        """
        async with self._store.alone(registrant.issuer):
            kept = await self.known(registrant)
            if kept is not None and not kept.is_a_document:  # whether a server takes documents is asked each time
                return kept
            return await self._kept(await self._run(registrant, None, steps.introduced))

    async def register(self, registrant: Registrant) -> Registration:
        """Register, whatever is kept: what was registered before is left to expire.

        Raises:
            AgentError: nothing was registered, and what is kept stays.
        """
        async with self._store.alone(registrant.issuer):
            return await self._kept(await self._run(registrant, None, steps.register))

    async def read(self, registrant: Registrant) -> dict[str, Any]:
        """What the issuer has registered.

        Raises:
            AgentError: there is no registration, or none that can be managed.
        """
        async with self._store.alone(registrant.issuer):
            kept = await self._managed(registrant)
            registration, document = await self._run(registrant, kept, lambda channel, _: steps.read(channel, kept))
            await self._kept(registration)
        return {name: value for name, value in document.items() if name != "registration_access_token"}

    async def update(self, registrant: Registrant) -> Registration:
        """Have the issuer register what the registrant asks for today.

        Raises:
            AgentError: nothing was changed.
        """
        async with self._store.alone(registrant.issuer):
            kept = await self._managed(registrant)
            return await self._kept(
                await self._run(registrant, kept, lambda channel, who: steps.update(channel, who, kept))
            )

    async def unregister(self, registrant: Registrant) -> None:
        """Delete the registration there, and what is kept of it here.

        Raises:
            AgentError: it could not be deleted; where its token is good for nothing any more, nothing is kept either.
        """
        async with self._store.alone(registrant.issuer):
            kept = await self._managed(registrant)
            try:
                await self._run(registrant, kept, lambda channel, _: steps.unregister(channel, kept))
            except ServerRefused as refused:
                if refused.status == _UNAUTHORIZED and refused.error == "invalid_token":
                    await self._forgotten(registrant)
                raise
            await self._forgotten(registrant)

    async def _managed(self, registrant: Registrant) -> Registration:
        kept = await self.known(registrant)
        if kept is None or not kept.is_managed:
            raise Misconfigured(f"there is no registration at {registrant.issuer} that this agent could manage")
        return kept

    async def _kept(self, registration: Registration) -> Registration:
        with anyio.CancelScope(shield=True):  # a token that was rotated is not lost to a call that was given up
            await self._store.save(registration.issuer, registration)
        return registration

    async def _forgotten(self, registrant: Registrant) -> None:
        with anyio.CancelScope(shield=True):
            await self._store.save(registrant.issuer, None)

    async def _run(
        self,
        registrant: Registrant,
        kept: Registration | None,
        work: Callable[[BackChannel, Registrant], Exchange[Result]],
    ) -> Result:
        key = (
            steps.key_of(kept, registrant) if kept is not None else registrant.bound_key() or self._entropy.proof_key()
        )
        exchange = self._exchange(registrant, key, work)
        try:
            step = next(exchange)
            while True:
                if not isinstance(step, Send):
                    raise TypeError("registration sends requests and does nothing else")
                step = exchange.send(await sent(self._back_channel, step.request, self._timeout))
        except StopIteration as end:
            result: Result = end.value
            return result

    def _exchange(
        self,
        registrant: Registrant,
        key: SigningKey | None,
        work: Callable[[BackChannel, Registrant], Exchange[Result]],
    ) -> Exchange[Result]:
        server = yield from authorization_server(registrant.identity, registrant.grant_type)
        channel = BackChannel(
            identity=registrant.identity,
            server=server,
            proof_key=key,
            issuer_keys=self._issuer_keys,
            nonces=self._nonces,
            clock=self._clock,
            entropy=self._entropy,
        )
        return (yield from work(channel, registrant))
