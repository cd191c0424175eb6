"""Honest clients that keep asking while things break, and write down what they were told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import json
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.support.authorization_server import PASSWORD, USERNAME, arguments
from tests.support.fapi_client import Browser, Callback, FapiClient, Message, Pushed, Refused, Stuck, Tokens
from tests.support.history import History, Kind, Operation, Outcome
from tests.support.peer_keys import PeerKey

_SERVER_ERROR = 500
_REFUSED = 400
_ANSWER_SECONDS = 12.0
_PACE_SECONDS = 0.02
_RACES = 0.25  # of the codes are redeemed twice at once
_REPLAYS = 0.2  # of the codes are redeemed again later
_COPIES = 8  # few: the server counts how often a client fails to authenticate


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the server is, and who is registered there."""

    issuer: str
    authority: Path
    client_keys: dict[str, PeerKey]

    @contextlib.asynccontextmanager
    async def http(self) -> AsyncIterator[httpx2.AsyncClient]:
        trust = ssl.create_default_context(cafile=str(self.authority))
        async with httpx2.AsyncClient(verify=trust, timeout=_ANSWER_SECONDS, trust_env=False) as http:
            yield http


@dataclass(slots=True)
class Clock:
    """The wall clock that the peers believe in, moved together with the server's."""

    offset: int = 0

    def now(self) -> int:
        return int(time.time()) + self.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Something that was handed out: whose it is, what the client needs to use it."""

    client_id: str
    key: PeerKey
    value: str
    pushed: Pushed | None = None


@dataclass(slots=True)
class Ledger:
    """What all peers of one campaign share: the history, the clock, and what they were given, by its name."""

    history: History = field(default_factory=History)
    clock: Clock = field(default_factory=Clock)
    held: dict[str, Held] = field(default_factory=dict)
    browsers: dict[str, Browser] = field(default_factory=dict)  # of each client
    signed: dict[str, tuple[str, Message]] = field(default_factory=dict)  # to be copied

    def keep(self, what: str, held: Held) -> str:
        name = f"{what}-{len(self.held)}"
        self.held[name] = held
        return name

    def of_kind(self, what: str) -> list[str]:
        return [name for name in self.held if name.startswith(what)]


class Peer:
    """One registered client with one person's browser; every operation is written down by `_perform`."""

    def __init__(self, http: httpx2.AsyncClient, site: Site, client_id: str, ledger: Ledger) -> None:
        known = arguments(site.issuer, client_id, site.client_keys[client_id])
        browser = ledger.browsers.setdefault(client_id, Browser(http))  # the person stays signed in
        browser.http = http
        self.client = FapiClient(http, browser=browser, now=ledger.clock.now, **known)
        self.client_id = client_id
        self.ledger = ledger

    async def push(self) -> str | None:
        """The name of the request."""
        _, pushed = await self._perform(Kind.PUSH, None, self.client.push)
        return pushed and self._kept("request", pushed.request_uri, self.client.dpop_key, pushed)

    async def complete(self, request: str) -> str | None:
        """The name of the code."""
        pushed = self._pushed(request)
        visit = lambda: self.client.authorize(pushed, username=USERNAME, password=PASSWORD)  # noqa: E731 - used once
        _, callback = await self._perform(Kind.COMPLETE, request, visit)
        return callback and self._kept("code", callback.code, self.client.dpop_key, pushed)

    async def redeem(self, code: str) -> str | None:
        """The name of the refresh token."""
        held, pushed = self.ledger.held[code], self._pushed(code)
        build = lambda: self.client.code_request(held.value, pushed, key=held.key)  # noqa: E731 - built twice
        work = lambda: self.client.tokens(build, key=held.key)  # noqa: E731 - used once
        operation, tokens = await self._perform(Kind.REDEEM, code, work)
        if tokens is None:
            return None
        operation.wrong = _wrong(tokens)
        return self._kept("token", tokens.refresh_token, held.key, None)

    async def refresh(self, token: str) -> None:
        held = self.ledger.held[token]
        work = lambda: self.client.refresh(held.value, key=held.key)  # noqa: E731 - used once
        operation, tokens = await self._perform(Kind.REFRESH, token, work)
        operation.wrong = tokens and _wrong(tokens)

    async def credentials(self) -> None:
        """One signed request, kept so that it may be copied."""
        name = f"assertion-{len(self.ledger.signed)}"
        self.ledger.signed[name] = self.client_id, self.client.credentials_request()
        await self.send_signed(name)

    async def send_signed(self, name: str) -> None:
        """Send a signed request as it is, for the first time or again."""
        _, message = self.ledger.signed[name]

        async def send() -> Refused | _Answer:
            response = await self.client.send(message)
            if response.status_code != httpx2.codes.OK:
                raise Refused(response)
            return _Answer(response)

        await self._perform(Kind.CREDENTIALS, None, send, assertion=name)

    def _pushed(self, name: str) -> Pushed:
        pushed = self.ledger.held[name].pushed
        assert pushed is not None
        return pushed

    def _kept(self, what: str, value: str | None, key: PeerKey, pushed: Pushed | None) -> str:
        assert value is not None
        name = self.ledger.keep(what, Held(client_id=self.client_id, key=key, value=value, pushed=pushed))
        self._last.makes = name
        return name

    async def _perform(
        self, kind: Kind, uses: str | None, work: Callable[[], Awaitable[Any]], *, assertion: str = ""
    ) -> tuple[Operation, Any]:
        ledger = self.ledger
        operation = ledger.history.invoke(kind, uses=uses, assertion=assertion, server_time=ledger.clock.now())
        result = None
        try:
            result = await work()
        except Refused as refused:
            _answered(operation, refused.response, refused.error)
        except Stuck as stuck:
            _answered(operation, stuck.page.response, stuck.error)
        except httpx2.TransportError:
            operation.outcome = Outcome.UNKNOWN
        else:
            if isinstance(result, Callback) and result.code is None:
                _answered(operation, result.response, result.error)
                operation.outcome, result = Outcome.REFUSED, None
            else:
                _answered(operation, result.response, None)
        operation.ended, operation.server_time_after = time.monotonic(), ledger.clock.now()
        self._last = operation
        return operation, result


@dataclass(frozen=True, slots=True)
class _Answer:
    response: httpx2.Response


def _answered(operation: Operation, response: httpx2.Response, error: str | None) -> None:
    operation.status, operation.error = response.status_code, error
    operation.correlation_id = response.headers.get("x-correlation-id")
    operation.retry_after = response.headers.get("retry-after")
    operation.waited = response.elapsed.total_seconds()
    if response.status_code >= _SERVER_ERROR:
        operation.outcome = Outcome.UNAVAILABLE
    else:
        operation.outcome = Outcome.OK if error is None and response.status_code < _REFUSED else Outcome.REFUSED


def _wrong(tokens: Tokens) -> str | None:
    payload = tokens.access_token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return None if claims["cnf"] == {"jkt": tokens.key.thumbprint} else "the token is bound to another key"


async def keep_asking(site: Site, ledger: Ledger, stop: asyncio.Event, *, seed: int) -> None:
    """One peer per client asks for everything there is, races included, until told to stop."""

    async def one(client_id: str, dice: random.Random) -> None:
        async with site.http() as http:
            peer = Peer(http, site, client_id, ledger)
            while not stop.is_set():
                began = time.monotonic()
                await _walk(peer, dice)
                if time.monotonic() - began < _PACE_SECONDS:  # whoever is turned away at once does not hammer
                    await asyncio.sleep(_PACE_SECONDS)

    names = list(site.client_keys)
    await asyncio.gather(*(one(name, random.Random(f"{seed} {name}")) for name in names))


async def _walk(peer: Peer, dice: random.Random) -> None:
    await peer.credentials()
    request = await peer.push()
    code = request and await peer.complete(request)
    if not code:
        return
    if dice.random() < _RACES:  # two requests of the same client with the same code at the same time
        await asyncio.gather(peer_of(peer).redeem(code), peer_of(peer).redeem(code))
        return
    token = await peer.redeem(code)
    for _ in range(dice.randrange(3)):
        if token:
            await peer.refresh(token)
    if token and dice.random() < _REPLAYS:
        await peer.redeem(code)  # ends what it brought


def peer_of(peer: Peer) -> Peer:
    """Another peer of the same client and connection, with the same key and nonces."""
    twin = copy.copy(peer)
    twin.client = copy.copy(peer.client)
    return twin


async def sign_in(site: Site, ledger: Ledger) -> None:
    """One flow of each client, one after another, so that every browser has its session before anything breaks."""
    async with site.http() as http:
        for client_id in site.client_keys:
            peer = Peer(http, site, client_id, ledger)
            request = await peer.push()
            code = request and await peer.complete(request)
            if code:
                await peer.redeem(code)


async def look_again(site: Site, ledger: Ledger, *, after: int = 0, limit: int = 200) -> None:
    """Use everything that was handed out once more: tokens first, then codes, then copied requests.

    Args:
        site: where.
        ledger: what was handed out.
        after: leave out what was held before.
        limit: at most so many of each kind, the latest.
    """
    async with site.http() as http:
        peers = {client_id: Peer(http, site, client_id, ledger) for client_id in site.client_keys}
        known = list(ledger.held)[after:]
        for what, use in (("token", Peer.refresh), ("code", Peer.redeem), ("request", Peer.complete)):
            for name in [name for name in known if name.startswith(what)][-limit:]:
                await use(peers[ledger.held[name].client_id], name)
        for name in [name for name in known if name.startswith("token")][-limit:]:
            await peers[ledger.held[name].client_id].refresh(name)
        for name, (client_id, _) in list(ledger.signed.items())[-_COPIES:]:
            await peers[client_id].send_signed(name)
