"""Whoever is approved wants to be more than that: members that contradict, mislead, point inside, or burst."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.fapi_client import error_of
from tests.support.peer_keys import PeerKey
from tests.support.registration_attack import (
    METADATA,
    NO_STATEMENT,
    REDIRECT_URI,
    AttackedHouse,
    posted,
    refused,
)
from tests.support.registration_house import ISSUER, MUTUAL_TLS_URL
from tests.support.registration_scene import GRANTS, Registrant
from tests.support.weak_keys import weak_keys

CALLBACK: Final = "https://agent.example/callback"
BOTH_DOORS = pytest.mark.parametrize("door", ["statement", "token", "signed"])


@pytest.fixture
def house() -> AttackedHouse:
    return AttackedHouse()


async def tried(house: AttackedHouse, agent: Registrant, door: str, **members: Any) -> Any:
    """Register with these members: said by an authority, said by whoever has a token, or in a signed request."""
    if door == "statement":
        return await agent.register(statement=agent.statement(**members))
    token = house.token(f"{door}-{len(house.store.approvers.tokens)}", signed_request=door == "signed")
    described = agent.described(software_id=agent.software_id, **members)
    return await agent.register(statement=None, token=token, sign=door == "signed", **described)


async def nobody(house: AttackedHouse, door: str, expected: tuple[int, str], **members: Any) -> None:
    """No door lets such a client in."""
    agent, clients = house.registrant(), dict(house.kept)
    response = await tried(house, agent, door, **members)
    assert (response.status_code, error_of(response)) == expected, response.text
    assert house.kept == clients
    assert house.network.asked == []


# --- DCR-06: beyond the statement


BEYOND: Final[dict[str, tuple[Any, tuple[int, str]]]] = {
    "redirect_uris": (["https://agent.example/another"], REDIRECT_URI),
    "redirect_uris and one more": ([CALLBACK, "https://agent.example/another"], REDIRECT_URI),
    "redirect_uris in another spelling": (["https://AGENT.example/callback"], REDIRECT_URI),
    "redirect_uris with a query": ([f"{CALLBACK}?a=b"], REDIRECT_URI),
    "redirect_uris of none": ([], REDIRECT_URI),
    "redirect_uris as a string": (CALLBACK, METADATA),
    "jwks_uri": ("https://agent.example/jwks", METADATA),
    "jwks": ({"keys": [PeerKey.es256(seed=666).jwk(kid="client-key")]}, METADATA),
    "jwks of none": ({"keys": []}, METADATA),
    "client_name": ("Another agent", METADATA),
    "client_name in another case": ("honest agent", METADATA),
    "client_name#fr": ("Un autre", METADATA),
    "scope": ("accounts:read transfers:write admin", METADATA),
    "scope of one other": ("admin", METADATA),
    "scope of nothing": ("", METADATA),
    "scope with a tab": ("accounts:read\ttransfers:write", METADATA),
    "grant_types": ([*GRANTS, "urn:openid:params:grant-type:ciba"], METADATA),
    "software_id": ("software-2", METADATA),
    "software_version": ("2.0", METADATA),
    "token_endpoint_auth_method": ("tls_client_auth", METADATA),
}


@pytest.mark.attack("DCR-06")
@pytest.mark.parametrize("lie", BEYOND)
async def test_what_contradicts_the_statement_is_refused_and_never_joined_to_it(house: AttackedHouse, lie: str) -> None:
    value, expected = BEYOND[lie]
    agent = house.registrant()
    statement = agent.statement()
    await refused(house, agent.register(statement=statement, **{lie.partition(" ")[0]: value}), expected)
    told = await agent.registered(statement=statement)
    assert told["redirect_uris"] == [CALLBACK]
    assert told["client_name"] == "Honest agent"


@pytest.mark.attack("DCR-06")
async def test_what_narrows_the_statement_stays_narrow(house: AttackedHouse) -> None:
    agent = house.registrant()
    more = [CALLBACK, "https://agent.example/other"]
    statement = agent.statement(redirect_uris=more)
    narrow = {"redirect_uris": [CALLBACK], "scope": "accounts:read", "grant_types": ["authorization_code"]}
    told = await agent.registered(statement=statement, **narrow)
    assert {name: told[name] for name in narrow} == narrow
    agent.scope = "accounts:read"
    with pytest.raises(Exception, match="400"):
        await agent.push(redirect_uri="https://agent.example/other")
    with pytest.raises(Exception, match="400"):
        await agent.push(scope="transfers:write")
    with pytest.raises(Exception, match="400"):
        await agent.client_credentials()


@pytest.mark.attack("DCR-06")
async def test_an_update_may_come_back_to_the_statement_on_file_and_not_beyond(house: AttackedHouse) -> None:
    """Narrowed first and widened later: still under what the authority says, and today's policy."""
    agent = house.registrant()
    more = [CALLBACK, "https://agent.example/other"]
    await agent.registered(statement=agent.statement(redirect_uris=more), redirect_uris=[CALLBACK])
    for beyond in ([*more, "https://evil.example/"], ["https://evil.example/"]):
        await refused(house, agent.manage("PUT", agent.replacement(redirect_uris=beyond)), REDIRECT_URI)
    assert (await agent.manage("PUT", agent.replacement(redirect_uris=more))).status_code == 200
    house.trust(redirect_hosts=["elsewhere.example"])
    await refused(house, agent.manage("PUT", agent.replacement()), REDIRECT_URI)


# --- DCR-07: redirect URIs


REDIRECTS: Final[dict[str, list[Any]]] = {
    "missing": [...],
    "none": [[]],
    "null": [None],
    "http": [["http://agent.example/callback"], ["HTTP://agent.example/callback"]],
    "script": [["javascript:alert(1)"], ["JaVaScRiPt:alert(1)"], ["java\tscript:alert(1)"], [" javascript:alert(1)"]],
    "data": [["data:text/html,x"], ["DATA:text/html;base64,eA"], ["vbscript:x"], ["blob:https://agent.example/x"]],
    "file": [["file:///etc/passwd"], ["about:blank"], ["view-source:https://agent.example/"]],
    "a fragment": [[f"{CALLBACK}#x"], [f"{CALLBACK}#"]],
    "a wildcard": [["https://*.agent.example/"], ["https://agent.example/*"], ["https://agent.example*/"]],
    "userinfo": [["https://agent.example@evil.example/"], ["https://a:b@agent.example/"]],
    "another app": [["com.other.app:/callback"], ["myapp://callback"], ["intent://x#Intent;end"]],
    "no host": [["https:///callback"], ["https:callback"], ["//agent.example/x"], ["/callback"], ["callback"], [""]],
    "backslashes": [["https://agent.example\\@evil.example/"], ["https:\\\\agent.example"]],
    "controls": [[f"{CALLBACK}\n"], ["https://agent.example/\r\nset-cookie: x"], ["https://agent.example/\x00"]],
    "other letters": [["https://agént.example/"], ["https://agent.example/\u202e"], ["https://agent\uff0eexample/"]],
    "this device": [["https://localhost/x"], ["https://127.0.0.1/x"], ["https://[::1]/x"], ["https://x.localhost/"]],
    "500": [[f"https://agent.example/{number}" for number in range(500)]],
    "17": [[f"https://agent.example/{number}" for number in range(17)]],
    "one that is wrong": [[CALLBACK, "http://agent.example/"]],
    "15 KiB": [[f"https://agent.example/{'x' * 15_000}"], [f"https://agent.example/?{'x' * 2048}"]],
}


@pytest.mark.attack("DCR-07")
@BOTH_DOORS
@pytest.mark.parametrize("kind", REDIRECTS)
async def test_no_such_redirect_uri_is_registered(house: AttackedHouse, kind: str, door: str) -> None:
    for uris in REDIRECTS[kind]:
        agent, clients = house.registrant(), dict(house.kept)
        response = await tried(house, agent, door, redirect_uris=uris)
        # a statement and a signed request are JWTs, too, with a size of their own and no NUL in them
        is_bent = door != "token" and kind in {"controls", "500", "15 KiB"}
        codes = {REDIRECT_URI, NO_STATEMENT, METADATA} if is_bent else {REDIRECT_URI}
        assert (response.status_code, error_of(response)) in codes, (uris, response.text)
        assert house.kept == clients


@pytest.mark.attack("DCR-07")
@pytest.mark.parametrize("size", [20_480, 63_000, 1_048_576])
async def test_an_entry_that_bursts_is_refused_without_a_trace_of_it(house: AttackedHouse, size: int) -> None:
    agent = house.registrant()
    described = agent.described(redirect_uris=[f"https://agent.example/{'x' * size}"])
    await refused(house, posted(agent, described, token=house.token()), REDIRECT_URI)
    assert max(len(str(fact)) for fact in house.store.facts) < 2000


# --- DCR-08, DCR-09, DCR-10, DCR-11, DCR-12, DCR-14: what a client proves itself with, and what it may do


TEN: Final = [PeerKey.es256(seed=number).jwk(kid=f"key-{number}") for number in range(1, 12)]
GOOD: Final = PeerKey.es256(seed=5)
WRONG: Final[dict[str, tuple[str, list[dict[str, Any]]]]] = {
    "methods": (
        "DCR-08",
        [
            {"token_endpoint_auth_method": method}
            for method in (
                *("none", "client_secret_basic", "client_secret_post", "client_secret_jwt", "Private_Key_JWT", ""),
                *("private_key_jwt ", None, ..., 1, ["private_key_jwt"], {}),
            )
        ],
    ),
    "both kinds of keys": ("DCR-09", [{"jwks_uri": "https://agent.example/jwks"}]),
    "no keys": ("DCR-09", [{"jwks": ...}, {"jwks": {"keys": []}}, {"jwks": {}}, {"jwks": []}, {"jwks": "x"}]),
    "secret keys": (
        "DCR-09",
        [
            {"jwks": {"keys": [GOOD.private_jwk(kid="k")]}},
            {"jwks": {"keys": [GOOD.jwk(kid="k"), PeerKey.ps256().private_jwk(kid="l")]}},
            {"jwks": {"keys": [GOOD.jwk(kid="k") | {"d": ""}]}},
            {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k"}]}},
            {"jwks": {"keys": [GOOD.jwk(kid="k"), {"kty": "oct", "k": "c2VjcmV0"}]}},
        ],
    ),
    "keys for nothing": ("DCR-09", [{"jwks": {"keys": [GOOD.jwk(kid="k", use="enc")]}}]),
    "one kid twice": (
        "DCR-09",
        [{"jwks": {"keys": [GOOD.jwk(kid="k"), PeerKey.es256(seed=6).jwk(kid="k")]}}],
    ),
    "many keys": ("DCR-09", [{"jwks": {"keys": TEN}}]),
    "jwks_uri": (
        "DCR-10",
        [
            {"jwks": ..., "jwks_uri": uri}
            for uri in (
                *("http://agent.example/jwks", "https://127.0.0.1/jwks", "https://169.254.169.254/latest/meta-data"),
                *("https://a:b@agent.example/jwks", "https://agent.example:22/jwks", "https://localhost/jwks"),
                *(
                    "https://2130706433/",
                    "https://0x7f.1/",
                    "https://[::1]/",
                    "https://[::ffff:127.0.0.1]/",
                    "file:///x",
                ),
                *("https://10.0.0.1/", "https://metadata.google.internal/", "ftp://agent.example/", "jwks", "", 1, []),
                *("https://agent.example/jwks#x", "https://agent.example/a b", "https://agent.example\\@evil.example"),
            )
        ],
    ),
    "grants": (
        "DCR-11",
        [
            {"grant_types": grants}
            for grants in (
                *(["implicit"], ["password"], ["authorization_code", "implicit"], [], ["none"], "authorization_code"),
                *(["urn:openid:params:grant-type:ciba"], ["urn:ietf:params:oauth:grant-type:token-exchange"]),
                *(["urn:ietf:params:oauth:grant-type:jwt-bearer"], [1], ["Authorization_Code"], [""]),
            )
        ],
    ),
    "responses": (
        "DCR-11",
        [
            {"response_types": types}
            for types in (["token"], ["code", "token"], ["code id_token"], ["id_token"], ["none"], [], "code")
        ],
    ),
    "details": ("DCR-12", [{"authorization_details_types": ["payment"]}, {"authorization_details_types": "payment"}]),
    "weaker": (
        "DCR-14",
        [
            {"id_token_signed_response_alg": "none"},
            {"id_token_signed_response_alg": "RS256"},
            {"token_endpoint_auth_signing_alg": "RS256"},
            {"token_endpoint_auth_signing_alg": "HS256"},
            {"request_object_signing_alg": "none"},
            {"authorization_signed_response_alg": "RS256"},
            {"userinfo_signed_response_alg": "none"},
            {"introspection_signed_response_alg": "RS256"},
            {"dpop_bound_access_tokens": False, "tls_client_certificate_bound_access_tokens": False},
            {"dpop_bound_access_tokens": False},
            {"dpop_bound_access_tokens": "true"},
            {"require_pushed_authorization_requests": False},
            {"require_pushed_authorization_requests": "false"},
        ],
    ),
    "fetched": (
        "DCR-24",
        [
            {"sector_identifier_uri": "https://169.254.169.254/latest"},
            {"sector_identifier_uri": "http://agent.example/sector"},
            {"sector_identifier_uri": "https://evil.example/sector"},
            {"logo_uri": "https://127.0.0.1/logo"},
            {"logo_uri": "javascript:alert(1)"},
            {"client_uri": "data:text/html,x"},
            {"policy_uri": "https://metadata.google.internal/"},
            {"tos_uri": "http://agent.example/"},
            {"tos_uri#fr": "javascript:alert(1)"},
            {"request_uris": ["https://agent.example/request"]},
            {"backchannel_logout_uri": "https://agent.example/logout"},
            {"frontchannel_logout_uri": "https://agent.example/logout"},
            {"backchannel_client_notification_endpoint": "https://agent.example/notify"},
        ],
    ),
}
CASES: Final = [
    pytest.param(kind, door, marks=pytest.mark.attack(case), id=f"{kind}-{door}")
    for kind, (case, _) in WRONG.items()
    for door in ("statement", "token", "signed")
]


@pytest.mark.parametrize(("kind", "door"), CASES)
async def test_no_such_client_is_registered_by_any_door(house: AttackedHouse, kind: str, door: str) -> None:
    for members in WRONG[kind][1]:
        agent, clients = house.registrant(), dict(house.kept)
        response = await tried(house, agent, door, **members)
        codes = {METADATA, NO_STATEMENT} if door == "statement" else {METADATA}
        assert (response.status_code, error_of(response)) in codes, (members, response.text)
        assert house.kept == clients
        assert house.network.asked == []


@pytest.mark.attack("DCR-09")
async def test_a_key_that_is_too_weak_is_none(house: AttackedHouse) -> None:
    for name, weak in weak_keys().items():
        agent, clients = house.registrant(), dict(house.kept)
        response = await tried(house, agent, "token", jwks={"keys": [weak.members]})
        assert (response.status_code, error_of(response)) == METADATA, (name, response.text)
        assert house.kept == clients


@pytest.mark.attack("DCR-12")
@pytest.mark.parametrize("scope", ["admin", "accounts:read admin", "openid admin", "ACCOUNTS:READ", "accounts:*"])
async def test_a_scope_that_the_policy_does_not_give_is_never_granted(house: AttackedHouse, scope: str) -> None:
    allowed = ["accounts:read", "transfers:write"]
    house.trust(scope=allowed)
    agent = house.registrant()
    await refused(house, agent.register(statement=agent.statement(scope=scope)), METADATA)
    await refused(
        house,
        agent.register(statement=None, token=house.token(scope=allowed), **agent.described(scope=scope)),
        METADATA,
    )


# --- our own addresses


OURS: Final = [ISSUER, MUTUAL_TLS_URL, f"{ISSUER}:443", "https://as.example.", "https://AS.example"]


@pytest.mark.attack("DCR-10")
@pytest.mark.attack("DCR-24")
@pytest.mark.parametrize("origin", OURS)
@pytest.mark.parametrize("door", ["statement", "token"])
async def test_nothing_of_a_client_is_at_an_address_of_ours(house: AttackedHouse, door: str, origin: str) -> None:
    """Its answers would come to our pages, and whatever we sign would be signed by its keys."""
    await nobody(house, door, REDIRECT_URI, redirect_uris=[f"{origin}/callback"])
    await nobody(house, door, REDIRECT_URI, redirect_uris=[CALLBACK, f"{origin}/callback"])
    if origin == ISSUER:
        house.trust(same_site=False)
        await nobody(house, door, METADATA, jwks=..., jwks_uri=f"{origin}/jwks")
        for name in ("client_uri", "logo_uri", "tos_uri#fr"):
            await nobody(house, door, METADATA, **{name: f"{origin}/page"})


@pytest.mark.attack("DCR-07")
async def test_another_port_of_our_host_is_somebody_else(house: AttackedHouse) -> None:
    agent = house.registrant(redirect_uri=f"{ISSUER}:9999/callback")
    await agent.registered()
