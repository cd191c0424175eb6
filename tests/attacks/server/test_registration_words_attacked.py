"""Bodies that burst, members that are the server's, words that mislead people and logs, and what is fetched."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from rs_kit.protocol.strict_json import parse_object
from tests.support.fapi_client import error_of
from tests.support.house import PASSWORD, page
from tests.support.peer_keys import PeerKey
from tests.support.registration_attack import (
    METADATA,
    NO_STATEMENT,
    AttackedHouse,
    posted,
    refused,
    unmoved,
)
from tests.support.registration_house import ISSUER

CALLBACK: Final = "https://agent.example/callback"
BOTH_DOORS = pytest.mark.parametrize("door", ["statement", "token", "signed"])


@pytest.fixture
def house() -> AttackedHouse:
    return AttackedHouse()


# --- DCR-13: members that are the server's


OURS: Final[dict[str, Any]] = {
    "client_id": "agent",
    "client_id_issued_at": 1,
    "registration_access_token": "thief-chooses-this-token-0123456789",
    "registration_client_uri": "https://evil.example/",
    "client_secret_expires_at": 0,
    "trusted": True,
    "is_admin": True,
    "verified": True,
    "tenant": "acme",
    "approver": "token:invitation",
    "approval": {"approver": "https://authority.example", "version": 1},
    "limits": {"access_token_seconds": 10**9},
    "enabled": True,
    "version": 10**9,
    "last_used_at": 1,
    "expires_at": 10**12,
    "keys": [],
    "policy": {"scope": None},
    "token_jkt": "x",
    "iss": "https://authority.example",
    "__proto__": {"trusted": True},
    "constructor": {"prototype": {"trusted": True}},
    "__class__": "RegisteredClient",
    "client_name#": "no language",
    "redirect_uris#fr": ["https://evil.example/"],
    "jwks#en": {"keys": []},
    "Redirect_URIs": ["https://evil.example/"],
    "redirect_uris ": ["https://evil.example/"],
    "redirect_uris[]": "https://evil.example/",
    "redirect_uris\u0000": ["https://evil.example/"],
    "scope\u200b": "admin",
}


@pytest.mark.attack("DCR-13")
@pytest.mark.parametrize("name", OURS)
async def test_nobody_writes_what_is_the_servers(house: AttackedHouse, name: str) -> None:
    plain, greedy = house.registrant(), house.registrant()
    token = house.token(uses=2)
    told = await plain.registered(statement=None, token=token, **plain.described())
    response = await posted(greedy, greedy.described() | {name: OURS[name]}, token=token)
    if response.status_code != 201:
        assert (response.status_code, error_of(response)) == METADATA
        return
    more = response.json()
    own = {"client_id", "client_id_issued_at", "registration_access_token", "registration_client_uri"}
    assert more.keys() == told.keys()
    assert {key: more[key] for key in more.keys() - own} == {key: told[key] for key in told.keys() - own}
    assert more.get(name) != OURS[name]
    kept, other = house.kept[more["client_id"]], house.kept[told["client_id"]]
    for column in ("approver", "software_id", "expires_at", "last_used_at", "statement", "token_jkt"):
        assert getattr(kept, column) == getattr(other, column)


@pytest.mark.attack("DCR-13")
async def test_what_a_statement_says_of_itself_is_no_member_either(house: AttackedHouse) -> None:
    agent = house.registrant()
    said = {name: value for name, value in OURS.items() if name not in {"iss", "client_name#"} and "\x00" not in name}
    told = await agent.registered(statement=agent.statement(**said))
    assert told["client_id"] != "agent"
    assert not {"trusted", "tenant", "jti", "iat", "exp", "iss", "approver", "__proto__"} & told.keys()
    assert house.kept[agent.client_id].approver == agent.authority.issuer


def _depth(levels: int) -> str:
    return "[" * levels + "]" * levels


BODIES: Final[dict[str, bytes]] = {
    "nested 64 levels": b'{"client_name":"x","contacts":' + _depth(64).encode() + b"}",
    "nested 30,000 levels": b'{"a":' + _depth(30_000).encode() + b"}",
    "UTF-16": json.dumps({"client_name": "x"}).encode("utf-16"),
    "UTF-32": json.dumps({"client_name": "x"}).encode("utf-32-le"),
    "UTF-7": "{+ACI-client_name+ACI-:1}".encode("ascii"),
    "a BOM": b"\xef\xbb\xbf{}",
    "no UTF-8": b'{"client_name":"\xff\xfe"}',
    "overlong": b'{"client_name":"\xc0\xaf"}',
    "a surrogate": b'{"client_name":"\\ud83d"}',
    "a NUL": b'{"client_name":"x"}\x00',
    "twice": b'{"client_name":"x","client_name":"y"}',
    "twice, once escaped": b'{"client_name":"x","client\\u005fname":"y"}',
    "twice inside": b'{"jwks":{"keys":[],"keys":[]}}',
    "comments": b'{/* x */"client_name":"x"}',
    "a comma more": b'{"client_name":"x",}',
    "single quotes": b"{'client_name':'x'}",
    "NaN": b'{"default_max_age":NaN}',
    "Infinity": b'{"default_max_age":1e999}',
    "a long number": b'{"default_max_age":' + b"9" * 5000 + b"}",
    "two objects": b"{}{}",
    "a list": b"[{}]",
    "null": b"null",
    "empty": b"",
    "spaces": b" " * 1000,
}


@pytest.mark.attack("DCR-13")
@pytest.mark.attack("DCR-16")
@pytest.mark.parametrize("body", BODIES)
async def test_what_parsers_read_in_different_ways_is_read_in_none(house: AttackedHouse, body: str) -> None:
    agent = house.registrant()
    await refused(house, posted(agent, BODIES[body], token=house.token()), METADATA)
    with unmoved(house):
        response = await posted(agent, BODIES[body], token=house.token(), content_type="application/jwt")
        assert (response.status_code, error_of(response)) == METADATA


@pytest.mark.attack("DCR-13")
@pytest.mark.parametrize(
    "members",
    [
        {f"x{number}": number for number in range(10_000)},
        {"contacts": ["a@agent.example"] * 10_000},
        {"contacts": [f"{number}@agent.example" for number in range(2000)]},
        {"default_acr_values": ["x" * 5000]},
        {"post_logout_redirect_uris": [f"https://agent.example/{number}" for number in range(500)]},
        {f"client_name#x{number:04}": "A name" for number in range(1000)},
        {"scope": " ".join(f"scope{number}" for number in range(5000))},
        {"software_version": "1" * 5000},
        {"default_resource": f"https://bank.example/{'x' * 10_000}"},
        {"tls_client_auth_subject_dn": "CN=" + "a+CN=" * 2000},
        {"client_uri": f"https://agent.example/{'x' * 10_000}"},
        {"unknown": json.loads("[" * 30 + "]" * 30)},
    ],
    ids=lambda members: next(iter(members)),
)
async def test_what_is_kept_of_one_client_stays_small(house: AttackedHouse, members: dict[str, Any]) -> None:
    agent = house.registrant()
    response = await posted(agent, agent.described(**members), token=house.token())
    assert response.status_code in {201, 400}
    for kept in house.kept.values():
        assert len(kept.registration) < 20_000
    assert max(len(str(fact)) for fact in house.store.facts) < 6000


# --- DCR-21: words for people, and for logs


WORDS: Final[dict[str, str]] = {
    "bidi": "Bank \u202egnp.exe",
    "isolates": "\u2066Bank\u2069",
    "zero width": "Ba\u200bnk",
    "a byte order mark": "\ufeffBank",
    "CRLF": "Bank\r\nX-Forged: 1",
    "a line": "Bank\nlevel=critical",
    "U+2028": "Bank\u2028",
    "ANSI": "\x1b[2J\x1b[31mBank",
    "C1": "Bank\x9b31m",
    "NUL": "Bank\x00",
    "a bell": "Bank\x07",
    "private use": "Bank\ue000",
    "tags": "Bank\U000e0041",
    "blank": "   ",
    "filler": "\u3164",
    "very long": "B" * 10_000,
    "zalgo": "B" + "\u0301" * 500,
}


@pytest.mark.attack("DCR-21")
@pytest.mark.parametrize("member", ["client_name", "client_name#fr", "software_version", "software_id", "contacts"])
@pytest.mark.parametrize("word", WORDS)
async def test_words_that_hide_or_reorder_are_refused(house: AttackedHouse, word: str, member: str) -> None:
    agent = house.registrant()
    value: Any = [WORDS[word]] if member == "contacts" else WORDS[word]
    described = agent.described(**{member: value})
    await refused(house, agent.register(statement=None, token=house.token(), **described), METADATA)
    with unmoved(house):
        response = await agent.register(statement=agent.statement(**{member: value}))
        assert (response.status_code, error_of(response)) in {METADATA, NO_STATEMENT}
    written = "".join(str(fact) for fact in house.store.facts)
    assert not set(written) & {"\n", "\r", "\x1b", "\x00", "\u202e", "\u2028"}


@pytest.mark.attack("DCR-21")
@pytest.mark.parametrize(
    "tag", ["<script>", "fr<script>alert(1)</script>", "x" * 100, "../../etc", "en\n", "fr#de", "é"]
)
async def test_a_language_that_is_none_is_refused(house: AttackedHouse, tag: str) -> None:
    agent = house.registrant()
    described = agent.described(**{f"client_name#{tag}": "A name"})
    response = await agent.register(statement=None, token=house.token(), **described)
    assert (response.status_code, error_of(response)) == METADATA
    assert tag not in response.text


@pytest.mark.attack("DCR-21")
async def test_a_name_that_is_markup_is_inert_where_people_read_it(house: AttackedHouse) -> None:
    name = "<img src=x onerror=alert(1)>"
    agent = house.registrant()
    response = await agent.register(statement=agent.statement(client_name=name))
    if response.status_code != 201:
        assert error_of(response) == "invalid_client_metadata"
        return
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    place = page(await agent.browser.open(agent.authorization_url(await agent.push())))
    place = page(await house.sign_in(agent.browser, place, password=PASSWORD))
    assert "<img" not in place.text
    assert "&lt;img" in place.text


# --- DCR-24: nothing is fetched


@pytest.mark.attack("DCR-24")
async def test_pages_that_are_registered_are_not_fetched(house: AttackedHouse) -> None:
    agent = house.registrant()
    pages = {name: f"https://agent.example/{name}" for name in ("logo_uri", "client_uri", "policy_uri", "tos_uri")}
    await agent.registered(statement=agent.statement(**pages))
    assert house.network.asked == []
    assert (await agent.manage("PUT", agent.replacement())).status_code == 200
    assert (await agent.manage("GET")).status_code == 200
    assert house.network.asked == []


@pytest.mark.attack("DCR-24")
@pytest.mark.attack("DCR-10")
async def test_keys_behind_a_url_are_fetched_only_for_whom_somebody_approved(house: AttackedHouse) -> None:
    agent = house.registrant()
    published = {"jwks": ..., "jwks_uri": "https://agent.example/jwks"}
    forged = agent.authority.signed(agent.claims(**published), key=PeerKey.es256(seed=666))
    await refused(house, agent.register(statement=forged, sign=True), NO_STATEMENT)
    await refused(
        house,
        agent.register(statement=None, token="x" * 43, sign=True, **agent.described(**published)),
        (401, "invalid_token"),
    )
    assert house.network.asked == []
    for elsewhere in ("https://evil.example/jwks", "https://agent.example.evil.example/jwks", "https://example/jwks"):
        described = agent.described(software_id=agent.software_id, jwks=..., jwks_uri=elsewhere)
        await refused(house, agent.register(statement=None, token=house.token(), sign=True, **described), METADATA)
    assert house.network.asked == []


# --- LOG: what is written down


@pytest.mark.attack("LOG-01")
async def test_what_is_written_of_a_registration_names_who_approved_it_in_one_line(house: AttackedHouse) -> None:
    agent = house.registrant()
    statement = agent.statement(jti="x" * 255, software_version="1" * 255)
    await agent.registered(statement=statement)
    (fact,) = house.store.facts_of(AuditEvent.CLIENT_REGISTERED)
    assert fact.client_id == agent.client_id
    assert len(str(fact.detail)) < 1000
    assert "\n" not in str(fact)


@pytest.mark.attack("LOG-02")
async def test_tokens_of_registration_are_kept_as_digests_alone(house: AttackedHouse) -> None:
    token, agent = house.token(), house.registrant()
    await agent.registered(statement=None, token=token, **agent.described())
    first = agent.information["registration_access_token"]
    await agent.manage("PUT", agent.replacement())
    second = agent.information["registration_access_token"]
    assert first != second
    everything = repr((house.store.rows, house.store.facts, house.store.approvers))
    assert not [secret for secret in (token, first, second) if secret in everything]
    members: Callable[[str], Any] = lambda text: parse_object(text.encode())  # noqa: E731 - read as it is kept
    assert "registration_access_token" not in members(house.kept[agent.client_id].registration)
    assert ISSUER not in house.kept[agent.client_id].registration
