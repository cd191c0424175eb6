"""Requests whose head is odd: every page answers them like any other, and nothing ends in mid-air."""

from __future__ import annotations

import asyncio

import pytest

from fapi_as.adapters.web.application import build_application
from tests.support.asgi_peer import Application, Message, call_with, scope
from tests.support.fakes import FrozenClock, context

HOSTS = ["a..b", "..", ".", "a" * 64 + ".example", "x" * 300, "xn--", "%", "evil.example", "127.0.0.1:1"]


@pytest.fixture
def application() -> Application:
    return build_application({"": context()}, clock=FrozenClock())


@pytest.mark.attack("HTT-07")
@pytest.mark.attack("HTT-24")
@pytest.mark.parametrize("page", ["/authorize", "/login", "/consent"])
@pytest.mark.parametrize("host", HOSTS)
async def test_a_page_does_not_care_what_the_host_field_says(application: Application, page: str, host: str) -> None:
    answers = [await _get(application, page, name) for name in (host, "as.example")]
    odd, ordinary = answers
    assert odd[0] == ordinary[0] == 400
    assert odd[1] == ordinary[1]
    assert b"content-security-policy" in odd[1]


async def _get(application: Application, page: str, host: str) -> tuple[int, set[bytes]]:
    asked = scope("GET", page)
    asked["headers"] = [(b"host", host.encode())]
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    answer = await call_with(application, asked, inbox)
    return answer.status, {name for name, _ in answer.pairs}
