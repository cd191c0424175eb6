"""A resource, an authorization server and a stranger over real TLS, which write down all that an agent sends them.

Honest until a member of `peer` is changed, or an address gets a reply of its own in `replies`, or bytes in `wire`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

import httpx2
import trustme

from fapi_as.agent import AgentAuth, AgentSettings
from fapi_as.agent.steps import Answer, Call, Request
from rs_kit.protocol.jwk import parse_public
from tests.support.agent_peer import REDIRECT_URI, Peer, identity, opened, settings

PATIENCE: Final = timedelta(seconds=10)  # how long the agent of a test waits for one answer, on a busy machine
SECONDS: Final = 20.0  # within which an agent has to have stopped, whatever the servers do

BANK, SERVER, STRANGER = "bank", "server", "stranger"
Raw = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it arrived."""

    party: str
    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    certificate: str | None = None  # x5t#S256 of what the client showed
    connection: int = 0

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("latin-1")))


@dataclass(kw_only=True)
class Place:
    """Three servers on this machine; `seen` is all that reached any of them, in order."""

    addresses: dict[str, str]
    trust: ssl.SSLContext
    peer: Peer
    seen: list[Received] = field(default_factory=list)
    replies: dict[str, Callable[[Received], Answer]] = field(default_factory=dict)
    wire: dict[str, Raw] = field(default_factory=dict)
    patience: timedelta = PATIENCE
    seconds: float = SECONDS
    minted: set[str] = field(default_factory=set)
    refreshing: set[str] = field(default_factory=set)
    keeps_open: bool = False
    connections: count[int] = field(default_factory=lambda: count(1))

    @classmethod
    def honest(cls, addresses: dict[str, str]) -> Peer:
        """The peer of a place of this kind."""
        return Peer(**honest_members(addresses))

    @property
    def resource(self) -> str:
        return f"{self.addresses[BANK]}/mcp"

    @property
    def issuer(self) -> str:
        return self.addresses[SERVER]

    @property
    def stranger(self) -> str:
        return self.addresses[STRANGER]

    def at(self, party: str, path: str | None = None) -> list[Received]:
        """What reached one party."""
        return [one for one in self.seen if one.party == party and path in {None, one.path}]

    def settings(self, **changes: Any) -> AgentSettings:
        return settings(**{"resource": self.resource, "identities": (identity(issuer=self.issuer),), **changes})

    async def authorize(self, url: str) -> str:
        return self.peer.callback(url).url

    @asynccontextmanager
    async def agent(self, *, follow_redirects: bool = False, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
        """A caller's client with an agent, which must have come to an end soon and leaked nothing."""
        async with (
            asyncio.timeout(self.seconds),
            httpx2.AsyncClient(verify=self.trust) as back_channel,
        ):
            auth = AgentAuth(
                self.settings(**changes), back_channel=back_channel, authorize=self.authorize, timeout=self.patience
            )
            async with httpx2.AsyncClient(
                verify=self.trust, auth=auth, timeout=15.0, follow_redirects=follow_redirects
            ) as client:
                yield client
        self.judge()

    def judge(self) -> None:
        """Nothing that works elsewhere was sent anywhere (hostile or not, the rules are the same)."""
        secrets = self.secrets()
        for one in self.seen:
            home = {BANK: self.resource, SERVER: f"{self.issuer}/token", **self.homes()}.get(one.party)
            for name, values in secrets.items():
                raw = f"{one.url} {one.headers} {one.body.decode('latin-1')}"
                at_home = one.url == home and (one.party == BANK) == (name == "access_token")
                assert at_home or not any(value in raw for value in values), (name, one)
            if (assertion := one.form.get("client_assertion")) is not None:
                assert one.party in {SERVER, *self.homes()}, one
                assert opened(assertion)[1]["aud"] == self.issuer, one
            if (proof := one.headers.get("dpop")) is not None:
                claims = opened(proof)[1]
                assert (claims["htm"], claims["htu"]) == (one.method, one.url.partition("?")[0]), one
                authorization = one.headers.get("authorization")
                assert (authorization is not None) == ("ath" in claims), one
                if authorization is not None:
                    token = authorization.removeprefix("DPoP ").encode()
                    assert claims["ath"] == base64.urlsafe_b64encode(hashlib.sha256(token).digest()).decode().rstrip(
                        "="
                    )

    def homes(self) -> dict[str, str]:
        """Other parties that may get codes and refresh tokens, and at which address."""
        return {}

    def keys_at(self, party: str) -> set[str]:
        """The thumbprints of the keys of all proofs that one party saw."""
        proofs = [one.headers["dpop"] for one in self.at(party) if "dpop" in one.headers]
        return {parse_public(opened(proof)[0]["jwk"]).thumbprint for proof in proofs}

    def secrets(self) -> dict[str, set[str]]:
        """All that must not be seen where it does not belong, by name."""
        forms = [one.form for one in self.seen]
        sent = {name: {form[name] for form in forms if name in form} for name in ("code_verifier", "code")}
        return {**sent, "access_token": set(self.minted), "refresh_token": set(self.refreshing)}

    def answer(self, one: Received) -> Answer:
        """What an honest party answers, unless this address was given a reply."""
        if (reply := self.replies.get(one.url) or self.replies.get(one.path)) is not None:
            return reply(one)
        if one.party == STRANGER:
            return Answer(status=200, body=b"thank you")
        if one.url == self.resource:
            return self.peer.resource_answer(
                Call(authorization=one.headers.get("authorization"), proof=one.headers.get("dpop"))
            )
        headers = tuple(one.headers.items())
        answer = self.peer.answer(Request(method=one.method, url=one.url, headers=headers, body=one.body))
        self._note(answer)
        return answer

    def _note(self, answer: Answer) -> None:
        self.minted |= self.peer.issued
        text = answer.body.decode("latin-1")
        self.refreshing |= {word for word in text.split('"') if word.startswith("refresh-")}

    async def serve(self, party: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request on a connection, and its answer; or as many as come, where connections are kept open."""
        number = next(self.connections)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            while True:
                one = replace(await self._read(party, reader), certificate=_shown(writer), connection=number)
                self.seen.append(one)
                if (raw := self.wire.get(one.url) or self.wire.get(one.path)) is not None:
                    await raw(writer)
                    break
                closes = not self.keeps_open or one.headers.get("connection") == "close"
                writer.write(_written(self.answer(one), closes=closes))
                await writer.drain()
                if closes:
                    break
        writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def _read(self, party: str, reader: asyncio.StreamReader) -> Received:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        url = self.addresses[party] + target
        return Received(party=party, method=method, url=url, headers=headers, body=body)


def _shown(writer: asyncio.StreamWriter) -> str | None:
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return None if der is None else base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")


def reply(status: int, *headers: tuple[str, str], body: bytes = b"") -> Callable[[Received], Answer]:
    """The same answer to everybody."""
    return lambda _: Answer(status=status, headers=headers, body=body)


def silence() -> Raw:
    """Nothing is ever said."""

    async def raw(writer: asyncio.StreamWriter) -> None:
        await writer.wait_closed()

    return raw


def endless(head: str, piece: bytes, *, pause: float) -> Raw:
    """A head, and then the same piece again and again until the other side has gone."""

    async def raw(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {head}\r\n\r\n".encode() if head else b"")
        while not writer.transport.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return raw


AnyPlace = TypeVar("AnyPlace", bound=Place)


@asynccontextmanager
async def hostile_place(
    context: ssl.SSLContext | None = None,
    *,
    contexts: Mapping[str, ssl.SSLContext] | None = None,
    kind: type[AnyPlace] = Place,  # type: ignore[assignment]  # the default of a type variable
) -> AsyncIterator[AnyPlace]:
    """The three servers, on free ports; `contexts` is the TLS of single parties, further ones among them."""
    authority, ordinary = certificates()
    others = contexts or {}
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the authorities of the machine, which take long to load
    authority.configure_trust(trust)
    sockets = {party: _port() for party in dict.fromkeys((BANK, SERVER, STRANGER, *others))}
    addresses = {party: f"https://localhost:{listening.getsockname()[1]}" for party, listening in sockets.items()}
    place = kind(addresses=addresses, trust=trust, peer=kind.honest(addresses))
    servers = [
        await asyncio.start_server(_serving(place, party), sock=listening, ssl=others.get(party, context or ordinary))
        for party, listening in sockets.items()
    ]
    try:
        yield place
    finally:
        for server in servers:
            server.close()
            if hasattr(server, "abort_clients"):
                server.abort_clients()


def _port() -> socket.socket:
    """A free port; TCP by name, or asyncio does not switch Nagle's algorithm off, which costs 40 ms for each answer."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    return listening


def _serving(place: Place, party: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await place.serve(party, reader, writer)

    return serve


def honest_members(addresses: dict[str, str]) -> dict[str, Any]:
    """What a scripted peer has to say at these addresses."""
    bank, issuer = addresses[BANK], addresses[SERVER]
    return {
        "resource_document": {"resource": f"{bank}/mcp", "authorization_servers": [issuer]},
        "metadata": {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "pushed_authorization_request_endpoint": f"{issuer}/par",
        },
        "response": {"iss": issuer},
        "callback_prefix": f"{REDIRECT_URI}?",
        "challenge": f'DPoP resource_metadata="{bank}/.well-known/oauth-protected-resource/mcp"',
    }


@cache
def certificates() -> tuple[trustme.CA, ssl.SSLContext]:
    """An authority, and the TLS of a server with a certificate of it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return authority, context


def _written(answer: Answer, *, closes: bool) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} Whatever", *(f"{name}: {value}" for name, value in answer.headers)]
    lines += [f"content-length: {len(answer.body)}", *(["connection: close"] if closes else []), "", ""]
    return "\r\n".join(lines).encode("latin-1") + answer.body
