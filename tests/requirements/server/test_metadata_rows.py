"""Our key set and the discovery documents: what they say is public, true and in time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fapi_as.adapters.keys import AlreadyRotating, Keyring, Sealing, UnusableSealingKey
from fapi_as.adapters.store import migrate
from fapi_as.protocol.audit_events import Stamp
from fapi_as.settings import ConfigurationError, load
from tests.support.fakes import ISSUER, NOW, FrozenClock
from tests.support.fapi_client import Stuck
from tests.support.house import PASSWORD, House
from tests.support.peer_keys import PeerKey
from tests.support.token_scene import claims_of, header_of

OPENID = f"{ISSUER}/.well-known/openid-configuration"


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    migrate(f"sqlite:///{tmp_path}/store.db")
    return tmp_path / "store.db"


@pytest.fixture
def keyring(path: Path, clock: FrozenClock) -> Iterator[Keyring]:
    with closing(Keyring.open(f"sqlite:///{path}", sealing=Sealing(b"s" * 32), clock=clock)) as keyring:
        keyring.ensure("default", stamp(clock))
        yield keyring


def stamp(clock: FrozenClock) -> Stamp:
    return Stamp(at=clock.now(), correlation_id="c", endpoint="keys", source="test")


def weak_key() -> bytes:
    key = rsa.generate_private_key(65537, 1024)
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def planted(path: Path, kind: str) -> None:
    """Put into the table what no command of ours would."""
    with closing(sqlite3.connect(path)) as connection, connection:
        ((kid, public_jwk),) = connection.execute("SELECT kid, public_jwk FROM signing_key").fetchall()
        members = json.loads(public_jwk)
        changes: dict[str, Any] = {
            "private": {"d": "AAAA"},
            "another": PeerKey.es256(seed=9).jwk(),
            "encryption": {"use": "enc"},
            "curve": {"crv": "P-384"},
        }
        if kind == "weak":
            associated = f"signing_key:7:default:{kid}".encode()
            sealed = Sealing(b"s" * 32).seal(weak_key(), associated)
            connection.execute("UPDATE signing_key SET sealed_private_key = ?", (sealed,))
        else:
            changed = json.dumps(members | changes[kind])
            connection.execute("UPDATE signing_key SET public_jwk = ?", (changed,))


@pytest.mark.requirement("JOSE-30", proves="refused")
@pytest.mark.parametrize("kind", ["private", "another", "encryption", "curve", "weak"])
def test_a_key_that_must_not_be_published_stops_the_start(
    path: Path, keyring: Keyring, clock: FrozenClock, kind: str
) -> None:
    planted(path, kind)
    with pytest.raises(UnusableSealingKey, match="signing key") as raised:
        keyring.ensure("default", stamp(clock))
    assert "\n" not in str(raised.value)
    with pytest.raises(UnusableSealingKey):
        keyring.signer("default").public_jwks()


# --- OpenID Connect Discovery, as far as it applies without OpenID Connect


@pytest.mark.requirement("OIDC-63", proves="holds")
async def test_the_document_lies_where_the_issuer_ends_and_names_that_issuer(house: House) -> None:
    answer = await house.http.get(OPENID)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["issuer"] == ISSUER == house.context.policy.issuer


@pytest.mark.requirement("OIDC-63", proves="refused")
@pytest.mark.parametrize(
    "issuer", [ISSUER + "?a=b", ISSUER + "#f", "http://as.example", "as.example", ISSUER + "/", "https://u@as.example"]
)
def test_an_issuer_that_cannot_be_compared_stops_the_start(tmp_path: Path, issuer: str) -> None:
    path = tmp_path / "fapi-as.toml"
    path.write_text(f'[server]\nissuer = "{issuer}"\n', encoding="utf-8")
    with pytest.raises(ConfigurationError, match="issuer"):
        load(path, {})


@pytest.mark.requirement("OIDC-64", proves="holds")
async def test_what_would_be_true_when_left_out_is_said_to_be_false(house: House) -> None:
    document = (await house.http.get(OPENID)).json()
    assert document["request_uri_parameter_supported"] is False
    assert document["claims_parameter_supported"] is True


@pytest.mark.requirement("OIDC-64", proves="refused")
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"request_uri": "https://client.example/request.jwt"}, "request_uri_not_supported"),
        ({"request": "a.b.c"}, "invalid_request"),
        ({"request": "a.b.c", "request_uri": ...}, "request_not_supported"),
    ],
)
async def test_what_is_said_to_be_false_is_refused(house: House, query: dict[str, Any], error: str) -> None:
    pushed = await house.agent.push()
    with house.agent.lying(authorize=query), pytest.raises(Stuck) as stuck:
        await house.agent.authorize(pushed, username="alice", password=PASSWORD)
    assert (stuck.value.page.status, stuck.value.error) == (400, error)


@pytest.mark.requirement("OIDC-65", proves="holds")
def test_a_key_is_published_before_it_signs_and_after_its_last_token(keyring: Keyring, clock: FrozenClock) -> None:
    signer = keyring.signer("default")
    keyring.rotate("default", stamp(clock))
    assert len(kids(signer)) == 2
    first = signed_by(signer)
    clock.advance(6 * 60)
    assert signed_by(signer) != first
    clock.advance(10 * 60)
    assert first in kids(signer)


@pytest.mark.requirement("OIDC-65", proves="refused")
@pytest.mark.parametrize("seconds", [0, 30, 59])
def test_no_key_signs_before_peers_could_fetch_it_and_none_overtakes_one_that_waits(
    keyring: Keyring, clock: FrozenClock, seconds: int
) -> None:
    keyring.rotate("default", stamp(clock))
    before = keyring.list("default")
    clock.advance(seconds)
    with pytest.raises(AlreadyRotating):
        keyring.rotate("default", stamp(clock))
    assert keyring.list("default") == before


def kids(signer: Any) -> set[str]:
    return {key["kid"] for key in signer.public_jwks()["keys"]}


def signed_by(signer: Any) -> str:
    token = signer.sign({"iat": NOW}, typ="at+jwt")
    assert claims_of(token) == {"iat": NOW}
    return str(header_of(token)["kid"])
