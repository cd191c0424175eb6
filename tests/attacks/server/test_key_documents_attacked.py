"""Hosts of a jwks_uri that attack the server: whatever they do, the client is nobody and nobody else notices."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fapi_as.adapters.fetch import HttpsFetch
from tests.support.certificate_scene import out
from tests.support.certificates import self_signed
from tests.support.certified_client import SELF_SIGNED, CertifiedHouse
from tests.support.document_host import OK, Answer, DocumentHost, document, document_host, endless, saying
from tests.support.fake_fetch import FakeFetch
from tests.support.fapi_client import Refused
from tests.support.house import House
from tests.support.peer_keys import PeerKey
from tests.support.published_client import JWKS_URI, fetching, key_set, published, publishes, uses
from tests.support.standing_still import ready, refused_tokens

NOBODY = (401, "invalid_client")
KEY, OTHER = PeerKey.es256(seed=71), PeerKey.es256(seed=72)
GOOD = key_set(KEY.jwk(kid="key"))


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentHost]:
    with document_host(tmp_path_factory.mktemp("host")) as host:
        yield host


@pytest.fixture
async def fetch(host: DocumentHost) -> AsyncIterator[HttpsFetch]:
    fetch = HttpsFetch(ca_file=host.ca_file, allowed_private_hosts=["localhost"])
    yield fetch
    fetch.close()


async def over_tls(house: House, fetch: HttpsFetch, url: str) -> House:
    """The house whose client publishes its keys at this URL, and has had its nonce."""
    await ready(house)
    fetching(house, fetch)
    uses(publishes(house, url), KEY, "key")
    return house


async def test_an_honest_host_is_asked_once_and_its_client_served(
    house: House, host: DocumentHost, fetch: HttpsFetch
) -> None:
    host.answers["/honest"] = document(GOOD)
    await over_tls(house, fetch, host.url("/honest"))
    for _ in range(3):
        assert (await house.agent.client_credentials()).access_token
    assert host.asked("/honest") == 1


@pytest.mark.attack("SSR-01")
@pytest.mark.requirement("JOSE-33", proves="refused")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_host_that_points_elsewhere_is_not_followed(
    house: House, host: DocumentHost, fetch: HttpsFetch, status: int
) -> None:
    path = f"/moved/{status}"
    host.answers["/admin"] = document(GOOD)
    location = host.url("/admin").encode()
    host.answers[path] = saying(b"HTTP/1.1 %d Moved\r\nLocation: %s\r\n" % (status, location), b"\r\n")
    await over_tls(house, fetch, host.url(path))
    assert await refused_tokens(house, house.agent.credentials_request) == NOBODY
    assert house.last_detail == f"keys: status {status}"
    assert host.asked(path) == 1
    assert host.asked("/admin") == 0


@pytest.mark.attack("SSR-05")
@pytest.mark.requirement("JOSE-33", proves="refused")
@pytest.mark.parametrize(
    "answer",
    [
        document(key_set(KEY.jwk(kid="key", pad="p" * 65 * 1024))),
        endless(OK + b"\r\n", b" " * 4096),
        document(b'{"keys":[' + b",".join([b"{}"] * 100_000) + b"]}"),
        document(key_set(*[OTHER.jwk(kid=str(number)) for number in range(33)])),
        endless(OK, b"X: " + b"y" * 100 + b"\r\n"),
        saying(OK + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n" + GOOD),
    ],
    ids=["65 KiB", "50 MiB", "100 000 keys", "33 keys", "fields without end", "10 000 fields"],
)
async def test_a_host_that_floods_is_cut_off(
    house: House, host: DocumentHost, fetch: HttpsFetch, answer: Answer
) -> None:
    host.answers["/flood"] = answer
    await over_tls(house, fetch, host.url("/flood"))
    assert await refused_tokens(house, house.agent.credentials_request) == NOBODY


@pytest.mark.attack("SSR-05")
async def test_while_hosts_drip_everybody_else_is_served_as_ever(
    house: House, host: DocumentHost, fetch: HttpsFetch
) -> None:
    host.answers["/drip"] = endless(OK + b"\r\n", b" ", pause=0.1)
    other = house.client("other")
    await other.client_credentials()
    await over_tls(house, fetch, host.url("/drip"))
    slow = [asyncio.create_task(_refusal(house)) for _ in range(20)]
    times: list[float] = []
    while not all(task.done() for task in slow):
        started = time.monotonic()
        await other.client_credentials()
        times.append(time.monotonic() - started)
        await asyncio.sleep(0.02)
    assert {await task for task in slow} == {NOBODY}
    times.sort()
    assert len(times) > 50
    assert times[int(len(times) * 0.99)] < 0.5


async def _refusal(house: House) -> tuple[int, str]:
    with pytest.raises(Refused) as raised:
        await house.agent.client_credentials()
    return raised.value.response.status_code, raised.value.error


@pytest.mark.attack("SSR-06")
@pytest.mark.parametrize(
    "answer",
    [
        document(GOOD, content_type=b"text/html"),
        document(b"<html><body>maintenance</body></html>", content_type=b"text/html"),
        document(b"[]"),
        document(b'[{"keys":[]}]'),
        document(b"<html></html>"),
        document(GOOD[:-1]),
    ],
)
async def test_a_host_that_answers_no_key_set_is_refused(
    house: House, host: DocumentHost, fetch: HttpsFetch, answer: Answer
) -> None:
    host.answers["/no-set"] = answer
    await over_tls(house, fetch, host.url("/no-set"))
    assert await refused_tokens(house, house.agent.credentials_request) == NOBODY


@pytest.mark.attack("SSR-07")
async def test_what_a_host_says_makes_no_line_in_the_log_and_no_words_in_the_answer(
    house: House, host: DocumentHost, fetch: HttpsFetch, caplog: pytest.LogCaptureFixture
) -> None:
    forged = b"\x1b[31m{forged}\x85"
    host.answers["/forging"] = saying(b"HTTP/1.1 " + forged + b"\r\nLocation: " + forged + b"\r\n\r\n")
    await over_tls(house, fetch, host.url("/forging"))
    with caplog.at_level(logging.DEBUG), pytest.raises(Refused) as raised:
        await house.agent.client_credentials()
    assert "forged" not in raised.value.response.text
    (record,) = [record for record in caplog.records if record.name == "fapi_as.client_keys"]
    for text in (record.getMessage(), vars(record)["detail"], house.last_detail or ""):
        assert text.isascii()
        assert text.isprintable()


@pytest.mark.attack("SSR-08")
async def test_a_host_is_shown_no_credential_of_the_server_or_of_the_client(
    house: House, host: DocumentHost, fetch: HttpsFetch
) -> None:
    host.answers["/curious"] = document(GOOD, b"Set-Cookie: a=b", b"WWW-Authenticate: Basic")
    await over_tls(house, fetch, host.url("/curious"))
    await house.agent.client_credentials()
    head = host.heads[-1].lower()
    for name in (b"authorization", b"cookie", b"dpop", b"client_assertion", b"user-agent", b"referer", b"forwarded"):
        assert name not in head
    assert host.certificates[-1] is None


@pytest.mark.attack("SSR-10")
@pytest.mark.parametrize("warm", [False, True])
async def test_500_assertions_with_unknown_kids_at_once_cost_the_host_one_fetch(house: House, warm: bool) -> None:
    fetch = FakeFetch(documents={JWKS_URI: published(KEY.jwk(kid="key"))})
    await ready(house)
    fetching(house, fetch)
    uses(publishes(house), KEY, "key")
    if warm:
        await house.agent.client_credentials()
        fetch.asked.clear()
    messages = []
    for number in range(500):
        house.agent.kid = f"made-up-{number}"
        messages.append(house.agent.credentials_request())
    answers = await asyncio.gather(*[house.agent.send(message) for message in messages])
    told = Counter(answer.status_code for answer in answers)
    assert set(told) == {401, 429}  # CA-6: after a hundred failures from one source in a minute
    assert fetch.asked == [JWKS_URI]


@pytest.mark.attack("CLA-13")
async def test_kids_of_every_kind_cost_the_host_one_more_fetch_a_minute(house: House) -> None:
    fetch = FakeFetch(documents={JWKS_URI: published(KEY.jwk(kid="key"), OTHER.jwk(kid="other"))})
    await ready(house)
    fetching(house, fetch)
    uses(publishes(house), KEY, "key")
    await house.agent.client_credentials()
    odd = ["../../dev/null", "' OR 1=1--", "https://evil.example/", "%00", "K" * 256, "k" * 10_240, ["key"], 5, ..., ""]
    for kid in odd:  # `...` sends none, and two keys could have signed
        with house.agent.lying(assertion_header={"kid": kid}):
            assert await refused_tokens(house, house.agent.credentials_request) == NOBODY
    assert fetch.asked == [JWKS_URI, JWKS_URI]
    house.clock.advance(60)
    with house.agent.lying(assertion_header={"kid": "new"}):
        assert await refused_tokens(house, house.agent.credentials_request) == NOBODY
    assert fetch.asked == [JWKS_URI] * 3


@pytest.mark.attack("SSR-10")
async def test_a_storm_over_tls_opens_one_connection(house: House, host: DocumentHost, fetch: HttpsFetch) -> None:
    def slow(connection: socket.socket) -> None:
        time.sleep(0.3)
        document(GOOD)(connection)

    host.answers["/storm"] = slow
    await over_tls(house, fetch, host.url("/storm"))
    messages = []
    for number in range(100):
        house.agent.kid = f"made-up-{number}"
        messages.append(house.agent.credentials_request())
    answers = await asyncio.gather(*[house.agent.send(message) for message in messages])
    assert {answer.status_code for answer in answers} == {401}
    assert host.asked("/storm") == 1


@pytest.mark.attack("SSR-11")
@pytest.mark.parametrize("max_age", [None, 60, 86_400])
async def test_a_key_that_the_client_took_away_ends_in_five_minutes_whatever_the_host_said(
    house: House, max_age: int | None
) -> None:
    fetch = FakeFetch(documents={JWKS_URI: published(KEY.jwk(kid="key"), max_age=max_age)})
    await ready(house)
    fetching(house, fetch)
    uses(publishes(house), KEY, "key")
    await house.agent.client_credentials()
    fetch.documents[JWKS_URI] = published(OTHER.jwk(kid="other"))
    house.clock.advance(299 if max_age != 60 else 59)
    await house.agent.client_credentials()
    house.clock.advance(1)
    assert await refused_tokens(house, house.agent.credentials_request) == NOBODY


@pytest.mark.attack("SSR-11")
async def test_an_operator_ends_a_key_that_was_taken_away_at_once(house: House) -> None:
    fetch = FakeFetch(documents={JWKS_URI: published(KEY.jwk(kid="key"))})
    await ready(house)
    fetching(house, fetch)
    uses(publishes(house), KEY, "key")
    await house.agent.client_credentials()
    fetch.documents[JWKS_URI] = published(OTHER.jwk(kid="other"))
    house.change_client()  # disabled and enabled
    assert await refused_tokens(house, house.agent.credentials_request) == NOBODY


@pytest.mark.attack("SSR-11")
async def test_a_host_that_goes_away_keeps_a_key_alive_for_five_minutes_at_most(house: House) -> None:
    fetch = FakeFetch(documents={JWKS_URI: published(KEY.jwk(kid="key"), max_age=60)})
    await ready(house)
    fetching(house, fetch)
    uses(publishes(house), KEY, "key")
    await house.agent.client_credentials()
    fetch.documents.clear()
    house.clock.advance(299)
    await house.agent.client_credentials()
    house.clock.advance(1)
    assert await refused_tokens(house, house.agent.credentials_request) == NOBODY


@pytest.mark.attack("MTL-21")
async def test_a_certificate_that_left_the_clients_document_is_refused_on_a_connection_that_stays_open(
    tmp_path: Path,
) -> None:
    old, new = self_signed("CN=old"), self_signed("CN=new")
    house = CertifiedHouse(tmp_path)
    fetch = FakeFetch(documents={JWKS_URI: published(old.jwk(kid="old"))})
    fetching(house, fetch)
    own = house.certified("own", old, method=SELF_SIGNED, jwks=..., jwks_uri=JWKS_URI)
    assert (await own.client_credentials()).access_token
    fetch.documents[JWKS_URI] = published(new.jwk(kid="new"))
    house.clock.advance(299)
    assert (await own.client_credentials()).access_token
    for seconds in (1, 3600 - 300):  # the certificate of a connection does not change
        house.clock.advance(seconds)
        with own.showing(new):
            await out(own, old, "certificate: the certificate is not registered")
