"""Metadata is what the server does, keys rotate without a gap, and nobody's address tricks change either (MET)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fapi_as.adapters.keys import Keyring, Sealing
from fapi_as.adapters.store import migrate
from fapi_as.adapters.web.application import build_application
from fapi_as.kernel.seam import Context
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.policy import Policy
from rs_kit.protocol import jwk, jws
from tests.support.asgi_peer import Application, call, call_with, scope
from tests.support.fakes import ISSUER, NOW, FrozenClock, context
from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD, House
from tests.support.token_scene import ALGORITHMS, claims_of, header_of, keyed, refused, warm

METADATA = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
SECRETS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}
LONGEST_TOKEN = 600
PEERS_KEEP = 300  # JOSE-33: a peer keeps our set this long at most


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def application(house: House) -> Application:
    return build_application({"": house.context}, clock=house.clock)


# --- MET-01: what is advertised works, and nothing else


@pytest.mark.attack("MET-01")
@pytest.mark.parametrize("name", ALGORITHMS)
async def test_every_advertised_algorithm_and_grant_works(house: House, name: str) -> None:
    client = keyed(house, name)
    metadata = await client.discover()
    assert client.client_key.alg in metadata["token_endpoint_auth_signing_alg_values_supported"]
    done: dict[str, Any] = {"authorization_code": await client.obtain(username="alice", password=PASSWORD)}
    done["refresh_token"] = await client.refresh(str(done["authorization_code"].refresh_token))
    done["client_credentials"] = await client.client_credentials()
    assert sorted(done) == sorted(metadata["grant_types_supported"])
    assert metadata["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert metadata["response_types_supported"] == ["code"]
    assert metadata["code_challenge_methods_supported"] == ["S256"]


@pytest.mark.attack("MET-01")
async def test_every_advertised_endpoint_is_there(house: House) -> None:
    metadata = await house.agent.discover()
    found = {member: value for member, value in metadata.items() if member.endswith(("_endpoint", "_uri"))}
    assert len(found) >= 4
    for url in found.values():
        assert (await house.http.request("DELETE", url)).status_code == 405


@pytest.mark.attack("MET-01")
@pytest.mark.parametrize(
    "grant",
    [
        "password",
        "implicit",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:openid:params:grant-type:ciba",
    ],
)
async def test_no_grant_works_that_is_not_advertised(house: House, grant: str) -> None:
    await warm(house.agent)
    assert grant not in (await house.agent.discover())["grant_types_supported"]
    build = lambda: house.agent.token_request(grant, username="alice", password=PASSWORD)  # noqa: E731 - built twice
    await refused(house, lambda: house.agent.attempt(build), 400, "unsupported_grant_type")


@pytest.mark.attack("MET-01")
@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
    ],
)
async def test_no_way_of_asking_works_that_is_not_advertised(house: House, form: dict[str, str], error: str) -> None:
    await warm(house.agent)
    with house.agent.lying(form=form):
        await refused(house, house.agent.push, 400, error)


# --- MET-02: one issuer everywhere


@pytest.mark.attack("MET-02")
async def test_the_issuer_is_the_same_bytes_everywhere(house: House) -> None:
    metadata = await house.agent.discover()
    pushed = await house.agent.push()
    done = await house.agent.authorize(pushed, username="alice", password=PASSWORD)
    tokens = await house.agent.redeem(done, pushed)
    assert metadata["issuer"] == done.parameters["iss"] == claims_of(tokens.access_token)["iss"] == ISSUER
    assert all(value.startswith(ISSUER + "/") for name, value in metadata.items() if name.endswith("_endpoint"))


def tenants() -> dict[str, Context]:
    return {
        prefix: context(policy=Policy(tenant=prefix or "default", issuer=ISSUER + prefix))
        for prefix in ("", "/t/acme", "/t/other")
    }


@pytest.mark.attack("MET-02")
@pytest.mark.parametrize("prefix", ["/t/acme", "/t/other"])
async def test_an_issuer_with_a_path_has_its_document_where_that_path_is_inserted(prefix: str) -> None:
    application = build_application(tenants(), clock=FrozenClock())
    answers = [await call(application, "GET", path) for path in (METADATA + prefix, OPENID + prefix, prefix + OPENID)]
    assert {answer.status for answer in answers} == {200}
    assert {f'"issuer":"{ISSUER}{prefix}"'.encode() in answer.body for answer in answers} == {True}
    assert len({answer.body for answer in answers}) == 1


# --- MET-03, MET-08: tricks with the address


@pytest.mark.attack("MET-03")
@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-forwarded-host", b"evil.example"), (b"x-forwarded-proto", b"http")],
        [(b"forwarded", b"host=evil.example;proto=http")],
        [(b"x-original-url", b"/t/acme"), (b"x-rewrite-url", b"/jwks")],
    ],
)
@pytest.mark.parametrize("host", [b"as.example", b"evil.example", b"192.0.2.1", b"as.example:8080", b""])
@pytest.mark.parametrize("path", [METADATA, OPENID, "/jwks"])
async def test_no_header_changes_a_document(
    application: Application, headers: list[tuple[bytes, bytes]], host: bytes, path: str
) -> None:
    honest = await call(application, "GET", path)
    asked = scope("GET", path)
    asked["headers"], asked["scheme"] = [(b"host", host), *headers], "http"
    answer = await call_with(application, asked, _empty_body())
    assert (answer.status, answer.body) in {(200, honest.body), (421, answer.body)}
    assert b"evil" not in answer.body


def _empty_body() -> Any:
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    return inbox


@pytest.mark.attack("MET-08")
@pytest.mark.parametrize(
    "path",
    [
        METADATA + "/t/acme/..%2fother",
        METADATA + "/t/acme/../other",
        METADATA + "/t/acme%2f..%2fother",
        METADATA + "/t/%61cme",
        METADATA + "/t/ACME",
        METADATA + "/t//acme",
        METADATA + "//t/acme",
        METADATA + "/t/acme/",
        METADATA + "/t/acme;x",
        METADATA + "/t/acme%00",
        "/t/acme" + METADATA,
        "/t/acme/..%2fother" + OPENID,
        "/t/acme/../other" + OPENID,
        "/t/acme\\..\\other" + OPENID,
        "/t/acme/jwks/",
        "/t/acme/..%2fother/jwks",
    ],
)
async def test_a_path_that_is_not_exactly_a_tenants_is_nobodys(path: str) -> None:
    application = build_application(tenants(), clock=FrozenClock())
    answer = await call(application, "GET", path)
    assert answer.status == 404
    assert ISSUER.encode() not in answer.body


# --- MET-04, MET-05: keys that rotate


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def keyring(tmp_path: Path, clock: FrozenClock) -> Iterator[Keyring]:
    url = f"sqlite:///{tmp_path}/store.db"
    migrate(url)
    with closing(Keyring.open(url, sealing=Sealing(b"s" * 32), clock=clock)) as keyring:
        yield keyring


def stamp(clock: FrozenClock) -> Stamp:
    return Stamp(at=clock.now(), correlation_id="c", endpoint="keys", source="test")


@pytest.mark.attack("MET-04")
@pytest.mark.parametrize("following", ["ES256", "PS256", "Ed25519"])
def test_in_every_second_of_a_rotation_the_set_is_public_and_each_key_says_what_it_is(
    keyring: Keyring, clock: FrozenClock, following: str
) -> None:
    keyring.ensure("default", stamp(clock), algorithms=["ES256", "PS256", "Ed25519"])
    signer = keyring.signer("default")
    keyring.rotate("default", stamp(clock), alg=following)
    seen = set()
    for _ in range(22 * 60):
        keys: Any = signer.public_jwks()["keys"]
        assert len({key["kid"] for key in keys}) == len(keys)
        for key in keys:
            assert SECRETS.isdisjoint(key)
            assert key["use"] == "sig"
            # of two names in use for one algorithm none is put in the way of the other (RFC 7517 §4.4)
            assert (key["kty"], key.get("alg")) in {("EC", "ES256"), ("RSA", "PS256"), ("OKP", None)}
            if key["kty"] == "RSA":
                assert len(key["n"]) >= 342  # 2048 bits
        seen.add(len(keys))
        clock.advance(1)
    assert seen == {3, 4}


@pytest.mark.attack("MET-05")
def test_whatever_peers_have_cached_every_token_verifies_while_it_lives(keyring: Keyring, clock: FrozenClock) -> None:
    """Two rotations; each token, until it expires, with each set that a peer may hold at that time."""
    keyring.ensure("default", stamp(clock))
    signer = keyring.signer("default")
    sets: dict[int, dict[str, object]] = {}
    tokens: dict[int, str] = {}
    rotations = {NOW + 600, NOW + 2400}
    for now in range(NOW, NOW + 5400, 10):
        if now in rotations:
            keyring.rotate("default", stamp(clock))
        sets[now], tokens[now] = signer.public_jwks(), signer.sign({"iat": now}, typ="at+jwt")
        clock.advance(10)
    assert len({header_of(token)["kid"] for token in tokens.values()}) == 3
    parsed = {str(found): {key.kid: key for key in jwk.usable_keys(found)} for found in sets.values()}
    for signed_at, token in tokens.items():
        kid = header_of(token)["kid"]
        for fetched_at in range(signed_at - PEERS_KEEP, signed_at + LONGEST_TOKEN + 1, 10):
            if fetched_at in sets:
                assert kid in parsed[str(sets[fetched_at])], f"signed {signed_at - NOW}, set of {fetched_at - NOW}"
        oldest = sets[max(NOW, signed_at - PEERS_KEEP)]
        assert verified(token, tuple(parsed[str(oldest)].values())) == {"iat": signed_at}


def verified(token: str, keys: tuple[jwk.PublicJwk, ...]) -> dict[str, Any]:
    found = jws.parse_compact(token, algorithms=frozenset({"ES256"}), types=frozenset({"at+jwt"}), max_length=2048)
    return dict(jws.verify(found, keys).claims)


# --- MET-07, MET-09: caches and origins


@pytest.mark.attack("MET-07")
@pytest.mark.parametrize("path", [METADATA, OPENID, "/jwks"])
async def test_a_document_may_be_kept_for_a_minute_and_is_sent_again_only_when_it_changed(
    application: Application, house: House, path: str
) -> None:
    first = await call(application, "GET", path)
    assert first.header("cache-control") == "public, max-age=60"
    tag = str(first.header("etag"))
    for offered in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await call(application, "GET", path, {"if-none-match": offered})
        assert (again.status, again.body, again.header("etag")) == (304, b"", tag)
        assert again.header("cache-control") == "public, max-age=60"
        assert again.header("content-length") is again.header("content-type") is None
    assert (await call(application, "GET", path, {"if-none-match": '"other"'})).status == 200
    house.resource("https://shop.example/mcp", scopes={"orders:read": "See your orders"})
    house.signer.key = type(house.signer)(kid="signer-2", secret=77).key
    changed = await call(application, "GET", path, {"if-none-match": tag})
    assert (changed.status, changed.header("etag") == tag) == (200, False)


@pytest.mark.attack("MET-07")
async def test_tokens_are_never_kept(house: House) -> None:
    tokens = await house.agent.client_credentials()
    assert "no-store" in tokens.response.headers["cache-control"]
    assert "etag" not in tokens.response.headers
    with pytest.raises(Refused) as raised:
        await house.agent.refresh("unknown")
    assert "no-store" in raised.value.response.headers["cache-control"]


@pytest.mark.attack("MET-09")
@pytest.mark.parametrize("path", [METADATA, OPENID, "/jwks"])
async def test_documents_are_for_every_origin_without_credentials(application: Application, path: str) -> None:
    answer = await call(application, "GET", path, {"origin": "https://anywhere.example"})
    assert answer.header("access-control-allow-origin") == "*"
    assert answer.header("access-control-allow-credentials") is None


@pytest.mark.attack("MET-09")
@pytest.mark.parametrize("path", ["/authorize", "/token", "/par", "/login"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_nothing_else_is_for_another_origin(application: Application, path: str, method: str) -> None:
    headers = {"origin": "https://anywhere.example", "access-control-request-method": "POST"}
    answer = await call(application, method, path, headers)
    assert not [name for name, _ in answer.pairs if name.startswith(b"access-control")]
    assert answer.status >= 400
