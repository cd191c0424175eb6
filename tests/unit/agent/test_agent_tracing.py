"""What a trace shows: every exchange, and nothing that would let its reader do what the agent may."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

import httpx2
import pytest

from fapi_as.agent import AgentAuth
from fapi_as.agent.blanking import Blanking
from fapi_as.agent.steps import Request
from fapi_as.agent.tracing import Step, Tracing
from tests.support.agent_peer import RESOURCE, Peer, form, settings
from tests.support.signing_peer import SigningPeer, signing_identity


class Stream(httpx2.AsyncByteStream):
    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk

    async def aclose(self) -> None:
        self.closed = True


class Echo(httpx2.AsyncBaseTransport):
    """The peer, and a resource that repeats the headers of its caller."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.sent: list[str] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        body = await request.aread()
        self.sent += [value for name, value in headers if name in {"authorization", "dpop"}]
        if str(request.url) == RESOURCE:
            good = dict(headers).get("authorization", "").removeprefix("DPoP ") in self.peer.issued
            challenge = {} if good else {"www-authenticate": self.peer.challenge}
            return httpx2.Response(200 if good else 401, headers=challenge, json=dict(headers))
        answer = self.peer.answer(Request(method=request.method, url=str(request.url), headers=headers, body=body))
        return httpx2.Response(answer.status, headers=list(answer.headers), content=answer.body)


async def test_a_whole_flow_is_told_in_order_and_gives_nothing_away() -> None:
    peer, steps = Peer(server_nonce="nonce-of-the-server"), list[Step]()
    tracing, echo = Tracing(steps.append), Echo(peer)

    async def authorize(url: str) -> str:
        tracing.visited(url)
        came_back = peer.callback(url).url
        tracing.came_back(came_back)
        return came_back

    async with httpx2.AsyncClient(transport=tracing.transport(echo)) as back_channel:
        auth = AgentAuth(settings(), back_channel=back_channel, authorize=authorize)
        async with httpx2.AsyncClient(transport=tracing.transport(echo), auth=auth) as client:
            response = await client.post(RESOURCE, json={"jsonrpc": "2.0"})

    assert response.status_code == 200
    assert response.json()["authorization"].startswith("DPoP opaque-")  # the caller gets what the trace hides
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    asked = [step.asked.partition("?")[0].replace("https://", "") for step in steps]
    assert asked == [
        "POST bank.example/mcp",
        "GET bank.example/.well-known/oauth-protected-resource/mcp",
        "GET as.example/.well-known/oauth-authorization-server",
        "POST as.example/par",
        "POST as.example/par",
        "the browser is sent to as.example/authorize",
        "the browser came back to agent.example/callback",
        "POST as.example/token",
        "POST bank.example/mcp",
    ]
    told = json.dumps([[step.asked, step.request, step.answer] for step in steps])
    assert "nonce-of-the-server" in told
    assert "authorization: DPoP ***" in told
    for secret in secrets_of(auth, peer, echo):
        assert secret
        assert secret not in told, secret


def secrets_of(auth: AgentAuth, peer: Peer, echo: Echo) -> set[str]:
    """Everything that went over the wire and would let somebody do something."""
    tokens = auth.agent.tokens
    assert tokens is not None
    assert tokens.refresh_token is not None
    ((request_uri, pushed),) = peer.pushed.items()
    found = {tokens.access_token.reveal(), tokens.refresh_token.reveal(), request_uri, pushed["state"]}
    for sent in (form(request) for request in peer.seen if request.body):
        found |= {sent["client_assertion"], sent["client_assertion"].rpartition(".")[2]}
        found |= {sent["code_verifier"]} if "code_verifier" in sent else set()
    return found | set(echo.sent) | {value.rpartition(".")[2] for value in echo.sent if value.count(".") == 2}


async def test_signed_messages_are_told_without_what_works_in_them() -> None:
    peer, steps = SigningPeer(), list[Step]()
    tracing, echo = Tracing(steps.append), Echo(peer)

    async def authorize(url: str) -> str:
        tracing.visited(url)
        came_back = peer.callback(url).url
        tracing.came_back(came_back)
        return came_back

    async with httpx2.AsyncClient(transport=tracing.transport(echo)) as back_channel:
        known = settings(identities=(signing_identity(),), scope=("accounts:read", "openid"))
        peer.time = int(time.time())
        auth = AgentAuth(known, back_channel=back_channel, authorize=authorize)
        async with httpx2.AsyncClient(transport=tracing.transport(echo), auth=auth) as client:
            assert (await client.post(RESOURCE, json={"jsonrpc": "2.0"})).status_code == 200

    told = json.dumps([[step.asked, step.request, step.answer] for step in steps])
    ((_, claims),) = peer.request_objects
    (push,) = peer.requests_to("/par")
    secrets = {claims["state"], claims["nonce"], form(push)["request"], *peer.id_tokens, *peer.issued}
    secrets |= {token.rpartition(".")[2] for token in secrets if token.count(".") == 2}
    assert not [secret for secret in secrets if secret in told]
    assert "oauth-authz-req+jwt" in told
    assert claims["code_challenge"] in told
    assert "response=***" in told


@pytest.mark.parametrize("name", ["password", "client_secret", "token", "assertion", "subject_token", "something_new"])
def test_a_parameter_or_member_without_a_name_here_is_blanked(name: str) -> None:
    blanking = Blanking()
    posted = (("content-type", "application/x-www-form-urlencoded"),)
    assert blanking.request(posted, f"{name}=s3cret-value".encode())[1:] == [f"  {name}=***"]
    answer = blanking.answer((), json.dumps({name: "s3cret-other", "nested": {"a": 1}}).encode(), of_form=True)
    assert answer == [json.dumps({name: "***", "nested": "***"})]
    assert "s3cret" not in blanking.url(f"https://as.example/x?{name}=s3cret-third")


@pytest.mark.parametrize("header", ["cookie", "x-api-key", "proxy-authorization", "set-cookie"])
def test_a_header_without_a_name_here_is_not_shown(header: str) -> None:
    pair = ((header, "s3cret-value"),)
    assert Blanking().request(pair, b"") == []
    assert Blanking().answer(pair, b"", of_form=False) == []


@pytest.mark.parametrize("body", [b"not JSON s3cret", b'["s3cret"]', b'{"a": "s3cret", "a": 1}'])
def test_a_token_answer_that_cannot_be_read_is_blanked_whole(body: bytes) -> None:
    (line,) = Blanking().answer((), body, of_form=True)
    assert line == "*** (no JSON object)"


def test_a_proof_that_is_none_is_blanked_whole() -> None:
    assert Blanking().request((("dpop", "no.proof.at-all"),), b"") == ["dpop: ***"]


def test_a_long_body_is_cut() -> None:
    (line,) = Blanking().answer((), b"a" * 5000, of_form=False)
    assert line == "a" * 4000 + " ... (5000 characters)"


@pytest.mark.parametrize("length", range(3975, 4001))
def test_a_cut_leaves_no_part_of_a_secret(length: int) -> None:
    blanking = Blanking()
    blanking.request((("authorization", f"DPoP {'s3cret' * 4}"),), b"")
    (line,) = blanking.answer((), b"a" * length + b"s3cret" * 4 + b"b" * 99, of_form=False)
    assert "s3" not in line


@pytest.mark.parametrize("order", [1, -1])
def test_a_secret_that_begins_like_another_one_hides_no_less_of_it(order: int) -> None:
    for number in range(16):  # the order of a set is nobody's choice
        first, longer = f"family-{number}", f"family-{number}.s3cret"
        blanking = Blanking()
        for value in (first, longer)[::order]:
            blanking.url(f"https://as.example/x?token={value}")
        assert blanking.answer((), longer.encode(), of_form=False) == ["***"]


@pytest.mark.parametrize(
    "spelt", ["to/ken+s3cret", "to\\/ken+s3cret", "to/ken\\u002Bs3cret", "to%2Fken%2Bs3cret", "to%2fken%2bs3cret"]
)
def test_a_secret_is_known_in_other_spellings(spelt: str) -> None:
    blanking = Blanking()
    blanking.request((("authorization", "DPoP to/ken+s3cret"),), b"")
    assert blanking.answer((), spelt.encode(), of_form=False) == ["***"]


def test_a_long_secret_of_one_sign_takes_no_time_to_look_for() -> None:
    blanking, long = Blanking(), "-" * 30_000 + "."
    used = time.process_time()
    blanking.answer((), json.dumps({"new": long}).encode(), of_form=True)
    assert blanking.answer((), b"-" * 60_000 + long.encode(), of_form=False)[0].startswith("----")
    assert time.process_time() - used < 2  # seconds; with a pattern it is thirty


def test_a_secret_with_quotes_is_known_where_json_spells_them() -> None:
    blanking = Blanking()
    blanking.answer((), json.dumps({"refresh_token": 's3"cret\\value'}).encode(), of_form=True)
    assert blanking.answer((), json.dumps('s3"cret\\value').encode(), of_form=False) == ['"***"']


@pytest.mark.parametrize(
    "address",
    ["?code=s3cret-value", "?iss=a&code=s3cret-value", "#access_token=s3cret-value", "?s3cret-value", "?iss=a#s3cret"],
)
def test_where_a_redirect_leads_is_shown_without_what_it_carries(address: str) -> None:
    (line,) = Blanking().answer((("location", f"https://agent.example/cb{address}"),), b"", of_form=True)
    assert line.startswith("location: https://agent.example/cb")
    assert "s3cret" not in line
    assert "s3cret" not in Blanking().url(f"https://agent.example/cb{address}")


def test_a_form_that_is_no_form_and_a_credential_without_a_scheme_are_blanked() -> None:
    posted = (("content-type", "application/x-www-form-urlencoded"), ("authorization", "s3cret-value"))
    assert "s3cret" not in json.dumps(Blanking().request(posted, b"s3cret-value"))


async def test_a_body_that_is_larger_than_what_is_shown_reaches_its_reader_whole_and_a_stream_is_not_read() -> None:
    big, events = Stream(b"x" * 60_000, b"y" * 60_000, b"z"), Stream(b"data: 1\n\n")

    class Two(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if request.url.path == "/events":
                return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=events)
            return httpx2.Response(200, stream=big)

    steps: list[Step] = []
    async with httpx2.AsyncClient(transport=Tracing(steps.append).transport(Two())) as client:
        assert (await client.get("https://bank.example/big")).content == b"x" * 60_000 + b"y" * 60_000 + b"z"
        assert (await client.get("https://bank.example/events")).text == "data: 1\n\n"
    assert big.closed
    assert events.closed
    assert "data" not in json.dumps(steps[1].answer)


async def test_an_answer_that_breaks_off_is_told_and_its_connection_is_given_back() -> None:
    class Breaking(Stream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"half"
            raise httpx2.ReadError("gone")

    body = Breaking()

    class Broken(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200, stream=body)

    steps: list[Step] = []
    async with httpx2.AsyncClient(transport=Tracing(steps.append).transport(Broken())) as client:
        with pytest.raises(httpx2.ReadError):
            await client.get("https://bank.example/")
    assert body.closed
    assert [step.asked for step in steps] == ["GET https://bank.example/: ReadError"]


async def test_an_exchange_without_an_answer_is_told_too() -> None:
    class Dead(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            raise httpx2.ConnectError("no route")

    steps: list[Step] = []
    async with httpx2.AsyncClient(transport=Tracing(steps.append).transport(Dead())) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get("https://bank.example/?access_token=s3cret-value")
    (step,) = steps
    assert step.status is None
    assert step.asked == "GET https://bank.example/?access_token=***: ConnectError"
