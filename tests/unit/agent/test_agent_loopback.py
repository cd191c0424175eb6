"""Where a person's browser comes back to: one answer, from a browser that went there, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from fapi_as.agent import AgentAuth, InsecureAddress, Misconfigured, ResponseRejected, TokenSet
from fapi_as.agent.loopback import Loopback, NobodyCameBack
from tests.support.agent_peer import Peer, identity, settings
from tests.support.processes import free_port
from tests.unit.agent.test_agent_wrappers import transports

REGISTERED = "http://127.0.0.1/callback"
ANSWER = "?code=c-1&state=s-1&iss=https%3A%2F%2Fas.example"
NAVIGATION = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")


@pytest.fixture
async def loopback() -> AsyncIterator[Loopback]:
    place = Loopback(REGISTERED)
    async with place.listening():
        yield place


async def sent(place: Loopback, request: bytes) -> tuple[str, str]:
    """Head and body of what comes back."""
    parts = urlsplit(place.redirect_uri)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request)
    reply = (await reader.read()).decode()
    writer.close()
    head, _, body = reply.partition("\r\n\r\n")
    return head, body


async def visit(
    place: Loopback, target: str, *lines: str, method: str = "GET", host: str | None = None
) -> tuple[str, str]:
    authority = host or urlsplit(place.redirect_uri).netloc
    return await sent(
        place, "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {authority}", *lines, "", ""]).encode()
    )


async def waiting(place: Loopback) -> asyncio.Task[str]:
    task = asyncio.create_task(place.answer())
    await asyncio.sleep(0)
    return task


@pytest.mark.requirement("FAPI2-CL-4", proves="holds")
@pytest.mark.parametrize("lines", [(), NAVIGATION])
async def test_the_browser_that_comes_back_is_taken_and_shown_a_plain_page(
    loopback: Loopback, lines: tuple[str, ...]
) -> None:
    answer = await waiting(loopback)

    head, body = await visit(loopback, f"/callback{ANSWER}", *lines)

    assert await answer == loopback.redirect_uri + ANSWER
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "You can close this page." in body
    for header in ("Cache-Control: no-store", "Referrer-Policy: no-referrer", "default-src 'none'"):
        assert header in head
    assert "c-1" not in head + body
    assert "s-1" not in head + body


BAD = {
    "another path": ("/other" + ANSWER, (), {}),
    "a longer path": ("/callback/more" + ANSWER, (), {}),
    "no query": ("/callback", (), {}),
    "an empty query": ("/callback?", (), {}),
    "an absolute target": ("http://127.0.0.1/callback" + ANSWER, (), {}),
    "a POST": ("/callback" + ANSWER, (), {"method": "POST"}),
    "a HEAD": ("/callback" + ANSWER, (), {"method": "HEAD"}),
    "another name for this machine": ("/callback" + ANSWER, (), {"host": "localhost"}),
    "a name that was bound to this machine": ("/callback" + ANSWER, (), {"host": "evil.example:8400"}),
    "two hosts": ("/callback" + ANSWER, ("Host: evil.example",), {}),
    "an image of a page": ("/callback" + ANSWER, ("Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"), {}),
    "a script of a page": ("/callback" + ANSWER, ("Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"), {}),
    "a frame of a page": ("/callback" + ANSWER, ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"), {}),
    "a guess of where the person will go": ("/callback" + ANSWER, ("Sec-Purpose: prefetch;prerender",), {}),
}


@pytest.mark.parametrize("what", BAD)
async def test_what_no_person_was_led_to_is_refused_and_the_true_answer_still_counts(
    loopback: Loopback, what: str
) -> None:
    answer = await waiting(loopback)
    target, lines, more = BAD[what]

    head, _ = await visit(loopback, target, *lines, **more)

    assert head.split()[1] in {"400", "403", "404", "405"}
    assert not answer.done()
    await visit(loopback, f"/callback{ANSWER}", *NAVIGATION)
    assert await answer == loopback.redirect_uri + ANSWER


@pytest.mark.parametrize("request_", [b"\x16\x03\x01\r\n\r\n", b"GET /callback?x\r\n\r\n", b"G" * 40_000, b"\r\n\r\n"])
async def test_bytes_that_are_no_request_end_nothing(loopback: Loopback, request_: bytes) -> None:
    answer = await waiting(loopback)
    try:
        head, _ = await sent(loopback, request_)
    except ConnectionError:
        head = ""
    assert head == "" or head.startswith("HTTP/1.1 400")
    assert not answer.done()
    await visit(loopback, f"/callback{ANSWER}")
    assert (await answer).endswith(ANSWER)


async def test_silent_visitors_do_not_keep_the_person_out(loopback: Loopback) -> None:
    parts = urlsplit(loopback.redirect_uri)
    silent = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(10)]
    answer = await waiting(loopback)
    await visit(loopback, f"/callback{ANSWER}")
    assert (await answer).endswith(ANSWER)
    for _, writer in silent:
        writer.close()


async def test_there_is_one_answer_and_none_before_it_is_asked_for(loopback: Loopback) -> None:
    early, _ = await visit(loopback, f"/callback{ANSWER}&early")
    assert early.startswith("HTTP/1.1 410")
    answer = await waiting(loopback)
    await visit(loopback, f"/callback{ANSWER}")
    late, page = await visit(loopback, "/callback?code=another")
    assert late.startswith("HTTP/1.1 410")
    assert "This sign-in has ended" in page
    assert await answer == loopback.redirect_uri + ANSWER


async def test_of_many_answers_at_once_one_counts(loopback: Loopback) -> None:
    answer = await waiting(loopback)
    pages = await asyncio.gather(*(visit(loopback, f"/callback?code={number}") for number in range(16)))
    statuses = [head.split()[1] for head, _ in pages]
    assert sorted(statuses) == ["200", *["410"] * 15]
    assert await answer == f"{loopback.redirect_uri}?code={statuses.index('200')}"


@pytest.mark.requirement("FAPI2-CL-4", proves="refused")
@pytest.mark.parametrize(
    "query", ["?next=https://evil.example", "?redirect_uri=//evil.example&code=1", "?error=x&url=/"]
)
async def test_nothing_in_the_address_leads_the_browser_on(loopback: Loopback, query: str) -> None:
    answer = await waiting(loopback)
    head, body = await visit(loopback, f"/callback{query}")
    assert head.split()[1] == "200"
    assert "location" not in head.lower()
    assert "evil.example" not in head + body
    assert "href" not in body
    await answer


async def test_who_never_comes_back_is_given_up_and_may_be_asked_again(loopback: Loopback) -> None:
    with pytest.raises(NobodyCameBack, match="within 0 minutes"):
        await loopback.answer(timedelta(0))
    answer = await waiting(loopback)
    await visit(loopback, f"/callback{ANSWER}")
    assert (await answer).endswith(ANSWER)


async def test_nobody_answers_before_and_after_and_each_run_has_a_port_of_its_own() -> None:
    place, other = Loopback(REGISTERED), Loopback(REGISTERED)
    assert place.redirect_uri != other.redirect_uri
    with pytest.raises(ConnectionRefusedError):
        await visit(place, "/callback")
    async with place.listening():
        assert (await visit(place, "/callback"))[0].startswith("HTTP/1.1 404")
    with pytest.raises(ConnectionRefusedError):
        await visit(place, "/callback")
    async with other.listening():
        pass


STRANGERS = [f"?{given}" for given in ("x", "code=c-1", "error=access_denied&state=", "code=c&state=guess&iss=x")]


async def test_a_page_that_guessed_the_port_does_not_end_the_sign_in(loopback: Loopback) -> None:
    tokens, peer = await signed_in(loopback, STRANGERS)

    assert tokens.access_token.reveal() in peer.issued
    assert len(peer.requests_to("/token")) == 1
    assert len(peer.visited) == 1


async def test_who_sends_strangers_without_end_is_not_waited_for(loopback: Loopback) -> None:
    with pytest.raises(ResponseRejected):
        await signed_in(loopback, [f"?code={number}" for number in range(17)])


@pytest.mark.parametrize("response", [{"iss": "https://evil.example"}, {"iss": None}, {"code": None}])
async def test_an_answer_with_our_state_is_judged_and_not_waited_past(
    loopback: Loopback, response: dict[str, str | None]
) -> None:
    with pytest.raises(ResponseRejected):
        await signed_in(loopback, [], response=response)


async def signed_in(place: Loopback, strangers: list[str], **lies: Any) -> tuple[TokenSet, Peer]:
    """A sign-in during which these come to the loopback before the person's browser does."""
    peer = Peer(callback_prefix=f"{place.redirect_uri}?", **lies)
    _, to_servers = transports(peer)

    async def browsers(came_back: str) -> None:
        for target in [*strangers, f"?{came_back.partition('?')[2]}"]:
            head = "HTTP/1.1 410"
            while head.startswith("HTTP/1.1 410") and not ended.is_set():  # between two answers
                head, _ = await visit(place, f"/callback{target}", *NAVIGATION)

    async def authorize(url: str) -> str:
        task = asyncio.create_task(browsers(peer.callback(url).url))
        tasks.append(task)
        return await place.answer()

    ended, tasks = asyncio.Event(), list[asyncio.Task[None]]()
    known = (identity(redirect_uri=place.redirect_uri),)
    async with httpx2.AsyncClient(transport=to_servers) as back_channel:
        auth = AgentAuth(
            settings(identities=known), back_channel=back_channel, authorize=authorize, another=place.another
        )
        try:
            return await auth.sign_in(), peer
        finally:
            ended.set()
            await asyncio.gather(*tasks)


async def test_a_port_that_must_be_that_one_is_taken_or_refused(loopback: Loopback) -> None:
    with pytest.raises(Misconfigured, match="cannot be taken"):
        Loopback(loopback.redirect_uri)


async def test_of_two_that_hold_a_port_that_must_be_that_one_the_second_to_listen_is_refused() -> None:
    registered = f"http://127.0.0.1:{free_port()}/callback"
    one, other = Loopback(registered), Loopback(registered)
    async with one.listening():
        with pytest.raises(Misconfigured, match="cannot be taken"):
            async with other.listening():
                raise AssertionError("two listen")
        assert (await visit(one, "/callback"))[0].startswith("HTTP/1.1 404")


async def test_a_port_that_must_be_that_one_can_be_taken_again_right_after_a_sign_in() -> None:
    place = Loopback(f"http://127.0.0.1:{free_port()}/callback")
    async with place.listening():
        first = await waiting(place)
        await visit(place, f"/callback{ANSWER}")
        await first
    again = Loopback(place.redirect_uri)
    async with again.listening():
        assert (await visit(again, "/callback"))[0].startswith("HTTP/1.1 404")


@pytest.mark.parametrize(
    "registered",
    [
        "http://localhost/callback",  # a name can be another machine: RFC 8252 §8.3
        "http://127.0.0.2/callback",
        "http://0.0.0.0/callback",
        "https://127.0.0.1/callback",
        "http://127.0.0.1",
        "http://127.0.0.1/callback?x=1",
        "http://agent.example/callback",
    ],
)
def test_an_address_that_is_not_this_machine_alone_is_refused(registered: str) -> None:
    with pytest.raises((Misconfigured, InsecureAddress)):
        Loopback(registered)
