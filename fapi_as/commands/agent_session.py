"""What the commands of `fapi-as agent` do, and how each failure becomes a sentence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import urlsplit

import click
import httpx2

from fapi_as.agent.auth import AgentAuth, Another, Authorize
from fapi_as.agent.browser import open_page
from fapi_as.agent.challenge import chosen
from fapi_as.agent.errors import AgentError, BrowserNeeded
from fapi_as.agent.exchange import plain
from fapi_as.agent.file_store import FileRegistrationStore, FileTokenStore
from fapi_as.agent.loopback import Loopback
from fapi_as.agent.registrar import Registrar
from fapi_as.agent.settings import AgentSettings, GrantType
from fapi_as.agent.tokens import TokenSet
from fapi_as.agent.tracing import Tracing
from fapi_as.commands.agent_profile import Profile, read_profile
from fapi_as.commands.printing import visible

Result = TypeVar("Result")

_CALL_SECONDS: Final = 60.0  # for a tool to answer; a person's sign-in has its own limit
_SIGN_IN_FIRST: Final = "a person has to allow this first: sign in with `fapi-as agent login`, or give --sign-in"


class Known(Enum):
    """What a command does about a registration."""

    ONCE = "registered, unless it is"
    ANEW = "registered anew"
    UPDATED = "changed to what the agent is today"
    SHOWN = "read"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a command goes about it: whether a person may be asked, in a browser that it opens, and what tells of it."""

    sign_in: bool = False
    browser: bool = False
    tracing: Tracing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One agent with its tokens, and an HTTP client for its MCP server."""

    profile: Profile
    auth: AgentAuth
    http: httpx2.AsyncClient


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run one command's work.

    Raises:
        click.ClickException: it failed; the sentence says why.
    """
    logging.getLogger("mcp").addHandler(logging.NullHandler())  # the SDK logs with a traceback what it raises as well
    logging.getLogger("mcp").propagate = False
    try:
        return asyncio.run(work)
    except click.ClickException:
        raise
    except Exception as error:  # noqa: BLE001 - sorted below; what is nobody's failure but ours goes on
        _explain(error)


async def signed_in(who: Mapping[str, Any], *, browser: bool) -> tuple[TokenSet, Path]:
    """New tokens, which a person allowed or the agent is due."""
    profile = read_profile(who)
    async with _session(profile, Manner(sign_in=True, browser=browser)) as session:
        return await session.auth.sign_in(), profile.store


async def current(who: Mapping[str, Any]) -> TokenSet:
    """The tokens that a call would use."""
    profile = read_profile(who)
    async with _session(profile, Manner()) as session:
        tokens = await session.auth.current_tokens()
        if tokens is None:
            if profile.grant_type is not GrantType.CLIENT_CREDENTIALS:
                raise BrowserNeeded
            tokens = await session.auth.sign_in()
        return tokens


async def made_known(who: Mapping[str, Any], how: Known) -> dict[str, Any]:
    """What the agent is at its issuer, registered, changed or deleted first."""
    profile = read_profile(who)
    if profile.client_id is not None:
        raise click.ClickException(f"the agent is {profile.client_id}, which somebody registered: leave client_id out")
    registrant = profile.registrant(profile.redirect_uri)
    store = FileRegistrationStore(profile.store, agent=f"{registrant.name} {profile.grant_type.value}")
    async with _client(profile, None, None) as back_channel:
        registrar = Registrar(back_channel=back_channel, store=store)
        if how is Known.DELETED:
            await registrar.unregister(registrant)
            return {"issuer": registrant.issuer, "registered": False}
        if how is Known.SHOWN:
            return await registrar.read(registrant)
        work = {Known.ONCE: registrar.introduced, Known.ANEW: registrar.register, Known.UPDATED: registrar.update}
        made = await work[how](registrant)
    return {
        "issuer": made.issuer,
        "client_id": made.client_id,
        "registration_client_uri": made.registration_client_uri,
        "registered": True,
        "store": str(profile.store),
    }


async def called(who: Mapping[str, Any], tool: str, arguments: Mapping[str, Any], manner: Manner) -> dict[str, Any]:
    """What a tool answers, as the JSON of MCP."""
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    profile = read_profile(who)
    async with _session(profile, manner) as session:
        refusals: list[str] = []
        session.http.event_hooks["response"].append(_noting(refusals))
        transport = streamable_http_client(profile.resource, http_client=session.http)
        try:
            async with Client(transport, read_timeout_seconds=None if manner.sign_in else _CALL_SECONDS) as client:
                result = await client.call_tool(tool, dict(arguments))
        except Exception as error:
            if refusals and not any(isinstance(leaf, AgentError) for leaf in _leaves(error)):
                raise click.ClickException(refusals[-1]) from None  # the SDK says only that there was one
            raise
    document: dict[str, Any] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return document


def _noting(refusals: list[str]) -> Callable[[httpx2.Response], Coroutine[Any, Any, None]]:
    """Keep the newest answer of the MCP server, if it is a refusal."""

    async def note(response: httpx2.Response) -> None:
        refusals.clear()
        if response.is_error:
            challenge = chosen(tuple(response.headers.get_list("www-authenticate")))
            said = f" {plain(challenge.error)}" if challenge is not None and challenge.error is not None else ""
            refusals.append(f"{response.url.netloc.decode()} refused the call with {response.status_code}{said}")

    return note


@asynccontextmanager
async def _session(profile: Profile, manner: Manner) -> AsyncIterator[Session]:
    tracing = manner.tracing
    by_person = profile.grant_type is GrantType.AUTHORIZATION_CODE
    redirect_uri = profile.redirect_uri if by_person else None
    authorize: Authorize | None = None
    another: Another | None = None
    async with AsyncExitStack() as stack:
        if by_person and manner.sign_in:
            loopback = Loopback(profile.redirect_uri)
            await stack.enter_async_context(loopback.listening())
            redirect_uri = loopback.redirect_uri
            authorize, another = _authorize(loopback, browser=manner.browser, tracing=tracing)
        registered = profile.client_id is not None
        settings = AgentSettings(
            resource=profile.resource,
            identities=(profile.identity(redirect_uri),) if registered else (),
            registrants=() if registered else (profile.registrant(redirect_uri),),
            scope=profile.scope,
            grant_type=profile.grant_type,
        )
        back_channel = await stack.enter_async_context(_client(profile, tracing, None))
        # what a person allowed is not used by an agent that acts for itself, nor the other way round
        name = settings.registrants[0].name if settings.registrants else profile.client_id
        whose = f"{profile.issuer} {name}" + ("" if by_person else f" {profile.grant_type.value}")
        auth = AgentAuth(
            settings,
            back_channel=back_channel,
            authorize=authorize,
            another=another,
            store=FileTokenStore(profile.store, agent=whose),
            registrations=FileRegistrationStore(profile.store, agent=f"{name} {profile.grant_type.value}"),
        )
        http = await stack.enter_async_context(_client(profile, tracing, auth))
        yield Session(profile=profile, auth=auth, http=http)


def _client(profile: Profile, tracing: Tracing | None, auth: AgentAuth | None) -> httpx2.AsyncClient:
    if tracing is None:
        return httpx2.AsyncClient(verify=profile.tls, auth=auth, timeout=_CALL_SECONDS)
    transport = tracing.transport(httpx2.AsyncHTTPTransport(verify=profile.tls))
    headers = {"accept-encoding": "identity"}  # what is shown should be legible
    return httpx2.AsyncClient(transport=transport, auth=auth, timeout=_CALL_SECONDS, headers=headers)


def _authorize(loopback: Loopback, *, browser: bool, tracing: Tracing | None) -> tuple[Authorize, Another]:
    async def told(waiting: Awaitable[str]) -> str:
        came_back = await waiting
        if tracing is not None:
            tracing.came_back(came_back)
        return came_back

    async def authorize(url: str) -> str:
        if tracing is not None:
            tracing.visited(url)
        click.echo(f"Open this address in your browser, if it does not open by itself:\n\n    {url}\n", err=True)
        if browser:
            open_page(url)
        return await told(loopback.answer())

    async def another() -> str:
        return await told(loopback.another())

    return authorize, another


def _explain(error: BaseException) -> NoReturn:
    """Raise the sentence for an error, or the error itself when it is a defect of ours."""
    found = list(_leaves(error))
    for cause in found:  # what the agent says goes before what the SDK made of it
        if isinstance(cause, BrowserNeeded):
            raise click.ClickException(_SIGN_IN_FIRST) from None
        if isinstance(cause, AgentError):
            raise click.ClickException(str(cause)) from None
    for cause in found:
        sentence = _sentence(cause)
        if sentence is not None:
            raise click.ClickException(sentence) from None
    raise error


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _sentence(error: BaseException) -> str | None:
    if isinstance(error, httpx2.HTTPStatusError):
        host = urlsplit(str(error.request.url)).netloc
        return f"{host} refused the call with status {error.response.status_code}"
    if isinstance(error, httpx2.RequestError):
        return f"{urlsplit(str(error.request.url)).netloc} did not answer: {type(error).__name__}"
    if isinstance(error, TimeoutError):
        return "the MCP server took too long"
    if type(error).__module__.partition(".")[0] in {"mcp", "mcp_types", "pydantic_core"}:
        return f"the MCP server's answer is an error: {visible(error)}"
    return None
