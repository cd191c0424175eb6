"""Clients that describe themselves in a document behind their client_id: which URLs, which documents, for how long."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.document_host import OK, Answer, document, document_host, endless, saying
from tests.support.document_scene import (
    CLIENT_ID,
    DOCUMENTS,
    HOST,
    JWKS_URI,
    KEY,
    LOOPBACKS,
    OTHER_KEY,
    REDIRECT_URI,
    DocumentPlace,
    PlaceOverTls,
    described,
    lead_here,
)
from tests.support.fapi_client import Refused
from tests.support.published_client import published
from tests.support.standing_still import a_code, query_for, ready, refused_page, refused_push

NOBODY = (401, "invalid_client")
NOT_REGISTERED = (400, "invalid_request")


@pytest.fixture
def place() -> DocumentPlace:
    return DocumentPlace()


@pytest.fixture
async def over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PlaceOverTls]:
    lead_here(monkeypatch)
    with document_host(tmp_path, HOST) as host:
        place = PlaceOverTls(host)
        yield place
        place.https.close()


async def refused(place: DocumentPlace, **changes: Any) -> tuple[int, str]:
    """What a push gets whose client has a document with these changes, which nobody has seen before."""
    place.publish(**changes)
    place.forget()
    return await refused_push(place.house, client=place.agent)


# --- which URLs are client_ids


@pytest.mark.requirement("CIMD-1", proves="holds")
@pytest.mark.parametrize(
    "client_id",
    [
        CLIENT_ID,
        f"https://{HOST}/",
        f"https://{HOST}:8443/a/b%20c/agent",
        f"https://{HOST}/..a/.b/c..",
        f"https://{HOST}//",
    ],
)
async def test_an_https_url_with_a_path_is_the_client_id_of_what_stands_there(client_id: str) -> None:
    place = DocumentPlace(documents=replace(DOCUMENTS, hosts=frozenset({HOST, f"{HOST}:8443"})))
    origin = client_id[: client_id.index("/", 8)]
    keys, callback = f"{origin}/keys.json", f"{origin}/callback"
    place.fetch.documents[keys] = place.fetch.documents[JWKS_URI]
    place.publish(client_id, jwks_uri=keys, redirect_uris=[callback])
    assert (await place.peer(client_id, redirect_uri=callback).push()).request_uri


@pytest.mark.requirement("CIMD-1", proves="refused")
@pytest.mark.attack("CIM-01")
@pytest.mark.parametrize(
    "client_id",
    [
        *("http://agents.example/assistant.json", "ftp://agents.example/a.json", "HTTPS://agents.example/a.json"),
        *("https://agents.example", "https://agents.example?a=/b", "https://agents.example/a.json?", "https:///a.json"),
        *("https://agents.example/a.json?v=1", "https://agents.example/a.json#a", "https://agents.example/a.json#"),
        *("https://u@agents.example/a.json", "https://u:p@agents.example/a.json", "https://@agents.example/a.json"),
        *("https://agents.example/./a.json", "https://agents.example/a/../b.json", "https://agents.example/a/.."),
        *("https://agents.example/%2e%2e/a.json", "https://agents.example/%2E/a.json", "https://agents.example/.%2e"),
        *(
            "https://agents.example:443/a.json",
            "https://agents.example:22/a.json",
            "https://agents.example:8443/a.json",
        ),
        *("https://Agents.example/a.json", "https://agents.example./a.json", "https://agents.example:/a.json"),
        *("https://93.184.216.34/a.json", "https://[2606:2800:220:1:248:1893:25c8:1946]/a.json", "https://127.0.0.1/a"),
        *("https://agents.example/a b.json", "https://agents.example\\a.json", "https://agents.example/\u00e4"),
        f"https://agents.example/{'a' * 500}",
    ],
)
async def test_a_url_of_any_other_form_is_nobodys_client_id_and_is_not_asked_for(client_id: str) -> None:
    hosts = DOCUMENTS.hosts | {"93.184.216.34", "[2606:2800:220:1:248:1893:25c8:1946]", "127.0.0.1"}
    place = DocumentPlace(documents=replace(DOCUMENTS, hosts=hosts))
    pushed = await place.agent.push()
    before = list(place.fetch.asked)
    place.publish(client_id)
    peer = place.peer(client_id, redirect_uri=REDIRECT_URI)
    assert await refused_push(place.house, client=peer) == NOBODY
    assert await refused_page(place.house, query_for(pushed, client_id)) == (400, "invalid_request_uri")
    assert place.fetch.asked == before


# --- how a document is had


@pytest.mark.requirement("CIMD-2", proves="holds")
@pytest.mark.requirement("CIMD-9", proves="holds")
async def test_a_document_is_fetched_over_tls_and_what_it_describes_is_the_client(over_tls: PlaceOverTls) -> None:
    over_tls.stand(document(over_tls.body(padding="." * (10 * 1024 - len(over_tls.body()) - 16))))
    done, pushed = await a_code(over_tls.house, client=over_tls.agent)
    assert (await over_tls.agent.redeem(done, pushed)).access_token
    assert over_tls.host.asked("/assistant.json") == over_tls.host.asked("/keys.json") == 1


def _redirect(status: int) -> Answer:
    return saying(b"HTTP/1.1 %d Found\r\nLocation: /elsewhere.json\r\nContent-Length: 0\r\n\r\n" % status)


def _status(status: int) -> Answer:
    body = json.dumps(described()).encode()
    head = b"HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return saying(head, body)


@pytest.mark.requirement("CIMD-2", proves="refused")
@pytest.mark.attack("CIM-05")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(over_tls: PlaceOverTls, status: int) -> None:
    over_tls.host.answers["/elsewhere.json"] = document(over_tls.body())
    over_tls.stand(_redirect(status))
    assert await refused_push(over_tls.house, client=over_tls.agent) == NOBODY
    assert over_tls.host.asked("/elsewhere.json") == 0
    assert over_tls.house.last_detail == f"document: status {status}"


@pytest.mark.attack("CIM-06")
@pytest.mark.parametrize("status", [201, 203, 204, 206, 304, 400, 404, 410, 500, 503])
async def test_any_other_status_is_no_document(over_tls: PlaceOverTls, status: int) -> None:
    over_tls.stand(_status(status))
    assert await refused_push(over_tls.house, client=over_tls.agent) == NOBODY


@pytest.mark.requirement("CIMD-9", proves="refused")
@pytest.mark.attack("CIM-06")
@pytest.mark.parametrize(
    "answer",
    [
        endless(OK + b"Content-Length: 1073741824\r\n\r\n", b" " * 16_384),
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b" " * 1024 + b"\r\n"),
        document(b" " * (10 * 1024) + b"{}"),
        document(b"{}", b"Content-Encoding: gzip"),
        document(b"<html></html>", content_type=b"text/html"),
        document('{"client_id":""}'.encode("utf-16"), content_type=b"application/json; charset=utf-16"),
        document(b""),
    ],
    ids=["1 GiB", "chunks", "11 KiB", "gzip", "HTML", "UTF-16", "nothing"],
)
async def test_what_is_too_large_or_no_json_is_no_document(over_tls: PlaceOverTls, answer: Answer) -> None:
    over_tls.stand(answer)
    assert await refused_push(over_tls.house, client=over_tls.agent) == NOBODY


# --- what it must say


@pytest.mark.requirement("CIMD-3", proves="holds")
async def test_the_document_says_its_own_url_to_the_letter(place: DocumentPlace) -> None:
    place.publish(f"https://{HOST}/b%20c", jwks_uri=JWKS_URI)
    assert (await place.peer(f"https://{HOST}/b%20c").push()).request_uri


@pytest.mark.requirement("CIMD-3", proves="refused")
@pytest.mark.attack("CIM-02")
@pytest.mark.parametrize(
    "said",
    [
        *(f"{CLIENT_ID}/", CLIENT_ID.upper(), f"https://{HOST}/Assistant.json", f"https://{HOST}/%61ssistant.json"),
        *(f"https://{HOST}:443/assistant.json", f"https://{HOST}//assistant.json", f"{CLIENT_ID}#", f" {CLIENT_ID}"),
        *("https://other.example/assistant.json", "assistant", "", None, [CLIENT_ID], {"a": CLIENT_ID}, 1, ...),
    ],
)
async def test_a_document_of_another_client_id_is_none(place: DocumentPlace, said: object) -> None:
    place.publish()
    place.put(json.dumps({n: v for n, v in {**described(), "client_id": said}.items() if v is not ...}).encode())
    assert await refused_push(place.house, client=place.agent) == NOBODY


@pytest.mark.attack("CIM-13")
@pytest.mark.parametrize(
    "bend",
    [
        lambda body: body.replace(b'"client_name"', b'"client_id":"https://agents.example/other.json","client_name"'),
        lambda body: b"\xef\xbb\xbf" + body,
        lambda body: body[:-1] + b',"deep":' + b"[" * 64 + b"]" * 64 + b"}",
        lambda body: b"[" + body + b"]",
        lambda body: body + body,
        lambda body: body[:-1],
        lambda body: body[:-1] + b',"a":NaN}',
        lambda body: body.replace(b"The assistant", b"\xff"),
        lambda body: body.replace(b"The assistant", b"\\ud800"),
        lambda body: body.replace(b'["https://agents.example/callback"]', b'"https://agents.example/callback"'),
    ],
    ids=["twice", "BOM", "nesting", "array", "two", "cut", "NaN", "UTF-8", "surrogate", "redirect_uris"],
)
async def test_json_that_two_parsers_read_differently_is_no_document(place: DocumentPlace, bend: Any) -> None:
    place.put(bend(json.dumps(described(), separators=(",", ":")).encode()))
    assert await refused_push(place.house, client=place.agent) == NOBODY


@pytest.mark.requirement("CIMD-4", proves="holds")
@pytest.mark.requirement("CIMD-5", proves="holds")
@pytest.mark.parametrize("by_value", [False, True])
async def test_the_keys_of_the_document_are_what_the_client_is_known_by(place: DocumentPlace, by_value: bool) -> None:
    if by_value:
        place.publish(jwks={"keys": [KEY.jwk(kid="first")]}, jwks_uri=...)
    done, pushed = await a_code(place.house, client=place.agent)
    tokens = await place.agent.redeem(done, pushed)
    assert (await place.agent.refresh(tokens.refresh_token or "")).access_token


@pytest.mark.requirement("CIMD-4", proves="refused")
@pytest.mark.attack("CIM-07")
@pytest.mark.parametrize(
    "changes",
    [
        *({"token_endpoint_auth_method": f"client_secret_{kind}"} for kind in ("basic", "post", "jwt")),
        *({"client_secret": secret} for secret in ("a secret", "", None, 0)),
        *({"client_secret_expires_at": value} for value in (0, None, 2_000_000_000)),
    ],
    ids=str,
)
async def test_a_document_with_a_shared_secret_is_none(place: DocumentPlace, changes: dict[str, Any]) -> None:
    assert await refused(place, **changes) == NOBODY


@pytest.mark.requirement("CIMD-5", proves="refused")
@pytest.mark.attack("CIM-07")
@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"token_endpoint_auth_method": method}
            for method in ("none", "tls_client_auth", "attest_jwt_client_auth", "")
        ),
        *({"token_endpoint_auth_method": method} for method in (..., None, ["private_key_jwt"], "PRIVATE_KEY_JWT")),
        {"token_endpoint_auth_method": "self_signed_tls_client_auth"},
        {"jwks_uri": ...},
        {"jwks": {"keys": [KEY.jwk(kid="first")]}},
        {"jwks_uri": ..., "jwks": {"keys": []}},
        {"jwks_uri": ..., "jwks": {"keys": [KEY.private_jwk(kid="first")]}},
        *({"jwks_uri": url} for url in ("https://keys.example/keys.json", f"https://{HOST}:8443/keys.json")),
        *({"jwks_uri": url} for url in (f"https://www.{HOST}/keys.json", f"http://{HOST}/keys.json", "keys.json")),
    ],
    ids=str,
)
async def test_a_document_without_a_key_of_its_own_to_authenticate_with_is_none(
    place: DocumentPlace, changes: dict[str, Any]
) -> None:
    if isinstance(changes.get("jwks_uri"), str):  # where its key stands all the same
        place.fetch.documents[changes["jwks_uri"]] = published(KEY.jwk(kid="first"))
    assert await refused(place, **changes) == NOBODY


async def test_whoever_has_not_its_key_is_not_the_client(place: DocumentPlace) -> None:
    peer = place.peer(key=OTHER_KEY)
    assert await refused_push(place.house, client=peer) == NOBODY


# --- where the answer goes


@pytest.mark.requirement("CIMD-6", proves="holds")
@pytest.mark.parametrize("redirect_uri", [*LOOPBACKS, REDIRECT_URI])
async def test_a_native_client_is_answered_on_its_own_machine_or_at_its_own_origin(
    place: DocumentPlace, redirect_uri: str
) -> None:
    uris = ["http://127.0.0.1/callback", "http://[::1]/callback", REDIRECT_URI]
    place.publish(application_type="native", redirect_uris=uris)
    peer = place.peer(redirect_uri=redirect_uri)
    done, pushed = await a_code(place.house, client=peer)
    assert (await peer.redeem(done, pushed)).access_token


@pytest.mark.requirement("CIMD-6", proves="refused")
@pytest.mark.attack("CIM-09")
@pytest.mark.parametrize(
    "redirect_uri",
    [
        *("https://other.example/callback", f"https://{HOST}:8443/callback", f"https://www.{HOST}/callback"),
        *(f"https://{HOST}.evil.example/callback", "https://127.0.0.1/callback", "https://agents.example./callback"),
    ],
)
async def test_a_redirect_uri_of_another_origin_is_not_registered(place: DocumentPlace, redirect_uri: str) -> None:
    place.publish(application_type="native", redirect_uris=[REDIRECT_URI, redirect_uri])
    await ready(place.house, place.agent)
    peer = place.agent
    peer.redirect_uri = redirect_uri
    assert await refused_push(place.house, client=peer) == NOT_REGISTERED
    place.publish(redirect_uris=[redirect_uri], application_type="native")
    place.forget()
    assert await refused_push(place.house, client=peer) == NOT_REGISTERED


@pytest.mark.parametrize("missing", ["client_name", "redirect_uris"])
@pytest.mark.parametrize("value", [..., None, "", []])
async def test_a_document_without_a_name_or_a_redirect_uri_is_none(
    place: DocumentPlace, missing: str, value: object
) -> None:
    assert await refused(place, **{missing: value}) == NOBODY


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uris": [REDIRECT_URI, "javascript:alert(1)"]},
        {"redirect_uris": [REDIRECT_URI, f"https://{HOST}/*"]},
        {"redirect_uris": ["http://127.0.0.1/callback"]},
        {"redirect_uris": [f"{REDIRECT_URI}#a"]},
        {"post_logout_redirect_uris": ["https://other.example/bye"]},
        {"sector_identifier_uri": f"https://{HOST}/sector.json"},
        {"client_name": "a\u202eb"},
        {"client_name": "P\u0430yBank"},
        {"client_name#fr": "P\u0430yBank"},
        {"client_name#fr": "<b>\u0000"},
        {"grant_types": ["client_credentials"]},
        {"grant_types": ["refresh_token"]},
        {"grant_types": ["authorization_code", "implicit", 1]},
        {"grant_types": "authorization_code"},
        {"scope": "admin"},
        {"scope": ["accounts:read"]},
        {"id_token_signed_response_alg": "RS256"},
        {"id_token_signed_response_alg": "none"},
        {"dpop_bound_access_tokens": False},
        {"require_pushed_authorization_requests": False},
        {"request_uris": [f"https://{HOST}/request"]},
        {"subject_type": "pairwise", "redirect_uris": [REDIRECT_URI, "https://other.example/callback"]},
    ],
    ids=str,
)
async def test_a_document_that_could_not_be_registered_is_none(place: DocumentPlace, changes: dict[str, Any]) -> None:
    assert await refused(place, **changes) == NOBODY


async def test_of_what_a_document_asks_for_only_what_is_open_to_documents_is_had(place: DocumentPlace) -> None:
    place.publish(scope="accounts:read admin", grant_types=["authorization_code", "client_credentials", "urn:a:b"])
    await ready(place.house, place.agent)
    assert await refused_push(place.house, client=place.agent, form={"scope": "admin"}) == (400, "invalid_scope")
    done, pushed = await a_code(place.house, client=place.agent)
    assert (await place.agent.redeem(done, pushed)).refresh_token is None
    with pytest.raises(Refused) as raised:
        await place.agent.client_credentials()
    assert (raised.value.status, raised.value.error) == (400, "unauthorized_client")
