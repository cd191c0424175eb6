"""A statement that is bent, somebody else's, over, or used again and again: it approves nobody."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.support.fakes import NOW
from tests.support.fapi_client import error_of
from tests.support.peer_keys import PeerKey, b64, compact, unb64
from tests.support.registration_attack import (
    NO_STATEMENT,
    REDIRECT_URI,
    TOO_MANY,
    UNAPPROVED,
    AttackedHouse,
    refused,
    unmoved,
)
from tests.support.registration_house import ISSUER
from tests.support.registration_scene import SOFTWARE, Registrant, SoftwareAuthority

SECOND: Final = 31_556_952 * 10  # ten years


@pytest.fixture
def house() -> AttackedHouse:
    return AttackedHouse()


# --- DCR-02: signatures


def _tampered(agent: Registrant, **claims: Any) -> str:
    header, _, signature = agent.statement().split(".")
    return ".".join((header, b64(json.dumps(agent.claims(**claims)).encode()), signature))


def _mac(agent: Registrant, secret: bytes) -> str:
    header = {"alg": "HS256", "kid": agent.authority.kid}
    signed = compact(header, agent.claims(), b"").rpartition(".")[0]
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def _public(agent: Registrant) -> dict[str, Any]:
    key: dict[str, Any] = agent.authority.members()["jwks"]["keys"][0]
    return key


def _own_key_in_the_header(agent: Registrant) -> str:
    key = PeerKey.es256(seed=666)
    return agent.authority.signed(agent.claims(), key=key, jwk=key.jwk())


def _other_signature(statement: str) -> str:
    """The other one of two signatures that hold (ECDSA): the statement is still the same one."""
    head, _, signature = statement.rpartition(".")
    octets = unb64(signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other = (order - int.from_bytes(octets[32:])).to_bytes(32)
    return f"{head}.{b64(octets[:32] + other)}"


THIEF: Final = PeerKey.es256(seed=666)
FORGED: Final[dict[str, Callable[[Registrant], Any]]] = {
    "another key": lambda agent: agent.authority.signed(agent.claims(), key=THIEF),
    "another key without a kid": lambda agent: agent.authority.signed(agent.claims(), key=THIEF, kid=...),
    "a kid that nobody has": lambda agent: agent.authority.signed(agent.claims(), kid="another"),
    "the client's own key": lambda agent: agent.authority.signed(agent.claims(), key=agent.client_key),
    "claims changed": lambda agent: _tampered(agent, client_name="Another"),
    "none": lambda agent: compact({"alg": "none"}, agent.claims(), b""),
    "None": lambda agent: compact({"alg": "None", "kid": agent.authority.kid}, agent.claims(), b"x" * 64),
    "no signature": lambda agent: agent.statement().rpartition(".")[0] + ".",
    "two parts": lambda agent: agent.statement().rpartition(".")[0],
    "four parts": lambda agent: agent.statement() + ".x",
    "zeros": lambda agent: agent.statement().rpartition(".")[0] + "." + b64(bytes(64)),
    "RS256": lambda agent: agent.authority.signed(agent.claims(), key=PeerKey.ps256(), alg="RS256"),
    "PS256 with an EC key": lambda agent: agent.authority.signed(agent.claims(), alg="PS256"),
    "HS256 with the public key": lambda agent: _mac(agent, json.dumps(_public(agent)).encode()),
    "HS256 with x": lambda agent: _mac(agent, unb64(_public(agent)["x"])),
    "HS256 with nothing": lambda agent: _mac(agent, b""),
    "jwk in the header": _own_key_in_the_header,
    "x5c in the header": lambda agent: agent.authority.signed(agent.claims(), key=THIEF, x5c=["AAAA"]),
    "crit": lambda agent: agent.authority.signed(agent.claims(), crit=["exp"]),
    "b64 false": lambda agent: agent.authority.signed(agent.claims(), b64=False, crit=["b64"]),
    "an access token": lambda agent: agent.authority.signed(agent.claims(), typ="at+jwt"),
    "a proof": lambda agent: agent.authority.signed(agent.claims(), typ="dpop+jwt"),
    "an assertion": lambda agent: agent.authority.signed(agent.claims(), typ="client-authentication+jwt"),
    "no string": lambda agent: {"payload": agent.statement()},
    "a list": lambda agent: [agent.statement()],
    "empty": lambda agent: "",
    "true": lambda agent: True,
    "spaces around it": lambda agent: f" {agent.statement()} ",
    "a line": lambda agent: agent.statement() + "\n",
    "padded": lambda agent: agent.statement() + "=",
    "as DER": lambda agent: agent.statement().rpartition(".")[0] + "." + b64(b"\x30\x06\x02\x01\x01\x02\x01\x01"),
    "20 KiB": lambda agent: agent.statement(client_name="x" * 20_480),
    "nested 64 levels": lambda agent: agent.statement(extra=json.loads("[" * 64 + "]" * 64)),
}


@pytest.mark.attack("DCR-02")
@pytest.mark.parametrize("forgery", FORGED)
async def test_a_statement_that_its_authority_did_not_sign_is_refused(house: AttackedHouse, forgery: str) -> None:
    agent = house.registrant()
    await refused(house, agent.register(statement=FORGED[forgery](agent)), NO_STATEMENT, "statement: ")
    assert (await agent.register()).status_code == 201


@pytest.mark.attack("DCR-02")
async def test_the_other_signature_of_a_statement_is_no_other_statement(house: AttackedHouse) -> None:
    agent = house.registrant()
    claims = agent.claims(jti="one")
    await agent.registered(statement=agent.authority.signed(claims))
    head, _, signature = agent.authority.signed(claims).rpartition(".")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    octets = unb64(signature)
    other = f"{head}.{b64(octets[:32] + (order - int.from_bytes(octets[32:])).to_bytes(32))}"
    for again in (other, agent.authority.signed(claims), agent.authority.signed(claims | {"exp": NOW + 3601})):
        await refused(house, house.registrant(seed=2).register(statement=again), NO_STATEMENT, "used before")


# --- DCR-03: an authority of one's own


STRANGERS: Final[dict[str, dict[str, Any]]] = {
    "unknown": {"issuer": "https://evil.example"},
    "a slash more": {"issuer": "https://authority.example/"},
    "in capitals": {"issuer": "https://AUTHORITY.example"},
    "its port": {"issuer": "https://authority.example:443"},
    "our own": {"issuer": ISSUER},
    "a client": {"issuer": "agent"},
    "an initial access token": {"issuer": "token:invitation"},
    "a name with a NUL": {"issuer": "https://authority.example\x00"},
    "a quote": {"issuer": "' OR 1=1 --"},
    "a percent": {"issuer": "https://%"},
    "a wildcard": {"issuer": "*"},
    "an internal address": {"issuer": "http://169.254.169.254/latest"},
}


@pytest.mark.attack("DCR-03")
@pytest.mark.parametrize("stranger", STRANGERS)
async def test_an_authority_that_nobody_trusts_is_not_even_asked_for_its_keys(
    house: AttackedHouse, stranger: str
) -> None:
    house.token()
    authority = SoftwareAuthority(**STRANGERS[stranger], key=THIEF)
    agent = house.registrant(authority=authority)
    places = {"jku": f"{authority.issuer}/jwks", "x5u": f"{authority.issuer}/x5c"}
    expected = NO_STATEMENT if "\x00" in authority.issuer else UNAPPROVED
    await refused(house, agent.register(), expected)
    for name, url in places.items():
        with unmoved(house):
            response = await agent.register(statement=authority.signed(agent.claims(), **{name: url}))
            assert (response.status_code, error_of(response)) in {UNAPPROVED, NO_STATEMENT}
    assert house.network.asked == []


@pytest.mark.attack("DCR-03")
@pytest.mark.parametrize("name", ["jku", "x5u", "jwks_uri", "iss"])
async def test_no_header_says_where_the_keys_of_a_trusted_authority_are(house: AttackedHouse, name: str) -> None:
    agent = house.registrant()
    forged = agent.authority.signed(agent.claims(), key=THIEF, **{name: "https://evil.example/jwks"})
    await refused(house, agent.register(statement=forged), NO_STATEMENT)
    assert house.network.asked == []


@pytest.mark.attack("DCR-03")
async def test_one_trusted_authority_speaks_for_no_other(house: AttackedHouse) -> None:
    other = house.trust(SoftwareAuthority("https://other.example", key=PeerKey.es256(seed=90_002)))
    agent = house.registrant()
    forged = agent.authority.signed(agent.claims(), key=other.key)
    await refused(house, agent.register(statement=forged), NO_STATEMENT)
    forged = other.signed(agent.claims(iss=other.issuer), key=agent.authority.key)
    await refused(house, agent.register(statement=forged), NO_STATEMENT)
    for iss in ([agent.authority.issuer], {"": agent.authority.issuer}, None, 1, "", "x" * 513, ...):
        await refused(house, agent.register(statement=agent.statement(iss=iss)), NO_STATEMENT)


@pytest.mark.attack("DCR-03")
async def test_a_suspended_authority_and_what_it_withdrew_are_not_approved(house: AttackedHouse) -> None:
    agent = house.registrant()
    statement = agent.statement(jti="withdrawn")
    house.store.withdraw("statement", agent.authority.issuer, "withdrawn", version=50)
    await refused(house, agent.register(statement=statement), UNAPPROVED, "withdrawn")
    house.store.withdraw("software", agent.authority.issuer, SOFTWARE, version=51)
    await refused(house, agent.register(), UNAPPROVED, "withdrawn")
    other = house.registrant(software_id="software-2")
    house.store.suspend(agent.authority.issuer)
    await refused(house, other.register(), UNAPPROVED, "suspended")


# --- DCR-04, TIM-05, TIM-07: times, and for whom


UNTIMELY: Final[dict[str, dict[str, Any]]] = {
    "over": {"iat": NOW - 100, "exp": NOW - 10},
    "no exp": {"exp": ...},
    "no iat": {"iat": ...},
    "no jti": {"jti": ...},
    "from tomorrow": {"iat": NOW + 86_400, "exp": NOW + 90_000},
    "just too early": {"iat": NOW + 31},
    "not yet": {"nbf": NOW + 31},
    "for ten years": {"exp": NOW + SECOND},
    "for ten years, from nine years ago": {"iat": NOW - SECOND // 10 * 9, "exp": NOW + SECOND // 10},
    "backwards": {"iat": NOW, "exp": NOW},
    "in milliseconds": {"iat": NOW * 1000, "exp": (NOW + 60) * 1000},
    "as text": {"exp": str(NOW + 60)},
    "as a list": {"exp": [NOW + 60]},
    "with a fraction": {"exp": NOW + 60.5},
    "1970": {"iat": 0, "exp": 60},
    "negative": {"iat": -1},
    "9999": {"iat": NOW, "exp": 253_402_300_799},
    "no number that fits": {"exp": 10**400},
    "true": {"exp": True},
    "null": {"exp": None},
}


@pytest.mark.attack("DCR-04")
@pytest.mark.attack("TIM-07")
@pytest.mark.parametrize("time", UNTIMELY)
async def test_a_statement_that_does_not_hold_now_is_refused(house: AttackedHouse, time: str) -> None:
    agent = house.registrant()
    await refused(house, agent.register(statement=agent.statement(**UNTIMELY[time])), NO_STATEMENT)


@pytest.mark.attack("TIM-05")
@pytest.mark.parametrize(("age", "counts"), [(3600, True), (3609, True), (3610, False), (3611, False)])
async def test_a_statement_ends_at_its_second_as_everything_does(house: AttackedHouse, age: int, counts: bool) -> None:
    agent = house.registrant()
    statement = agent.statement()
    house.clock.advance(age)
    if counts:
        assert (await agent.register(statement=statement)).status_code == 201
    else:
        await refused(house, agent.register(statement=statement), NO_STATEMENT, "expired")


AUDIENCES: Final[list[Any]] = [
    *("https://other.example", f"{ISSUER}/", f"{ISSUER}/register", f"{ISSUER}.evil.example", "as.example", ""),
    *(["https://other.example"], [ISSUER, 1], [[ISSUER]], {ISSUER: True}, None, [], 1),
]


@pytest.mark.attack("DCR-04")
@pytest.mark.parametrize("aud", AUDIENCES)
async def test_a_statement_for_another_server_is_none_here(house: AttackedHouse, aud: Any) -> None:
    agent = house.registrant()
    await refused(house, agent.register(statement=agent.statement(aud=aud)), NO_STATEMENT, "aud")
    assert (await agent.register(statement=agent.statement(aud=ISSUER))).status_code == 201


@pytest.mark.attack("TIM-02")
async def test_a_clock_that_steps_forward_and_back_gives_no_statement_a_second_life(house: AttackedHouse) -> None:
    agent = house.registrant()
    statement = agent.statement()
    await agent.registered(statement=statement)
    for step in (3600, -3600, 7200, -7200, -100, 100):
        house.clock.advance(step)
        response = await house.registrant(seed=2).register(statement=statement)
        assert (response.status_code, error_of(response)) == NO_STATEMENT
    await house.registrant(seed=3).registered()  # and nobody is locked out by it
    assert (await agent.manage("GET")).status_code == 200


# --- DCR-05, DCR-23: again and again, and somebody else's


@pytest.mark.attack("DCR-05")
async def test_a_thousand_registrations_by_one_statement_are_as_many_as_it_allows(house: AttackedHouse) -> None:
    house.trust(uses_per_statement=3, clients_per_software=100)
    agent = house.registrant()
    statement, statuses = agent.statement(), []
    for number in range(1000):
        house.source = f"192.0.{number // 90}.1"  # a thief has many addresses
        statuses.append((await agent.register(statement=statement)).status_code)
    assert statuses == [201] * 3 + [400] * 997
    assert len(house.kept) == 3
    assert len(house.store.rows.attempts) <= 20  # and nothing is counted of what was refused


@pytest.mark.attack("DCR-05")
async def test_another_signature_makes_no_other_statement(house: AttackedHouse) -> None:
    agent = house.registrant()
    statement = agent.statement()
    other = _other_signature(statement)
    assert other != statement
    await agent.registered(statement=other)
    await refused(house, agent.register(statement=statement), NO_STATEMENT)


@pytest.mark.attack("DCR-05")
async def test_one_statement_after_another_is_held_by_the_number_of_clients(house: AttackedHouse) -> None:
    house.trust(clients_per_software=2)
    agent = house.registrant()
    for _ in range(2):
        await agent.registered()
    kept = agent.statement()
    await refused(house, agent.register(statement=kept), TOO_MANY)
    await agent.manage("DELETE")
    await agent.registered(statement=kept)  # what was refused is not used up


@pytest.mark.attack("DCR-05")
async def test_a_statement_is_one_of_its_authority_alone(house: AttackedHouse) -> None:
    """The jti of one authority is not used up by another that chooses the same."""
    other = house.trust(SoftwareAuthority("https://other.example", key=PeerKey.es256(seed=90_002)))
    agent, second = house.registrant(), house.registrant(seed=2, authority=other)
    await agent.registered(statement=agent.statement(jti="same"))
    await second.registered(statement=second.statement(jti="same"))


@pytest.mark.attack("DCR-23")
@pytest.mark.parametrize(
    "uri",
    [
        "https://victim.example/callback",
        "https://agent.example.victim.example/callback",
        "https://agent.example:8443/callback",
    ],
)
async def test_redirect_uris_of_somebody_elses_statement_are_not_had(house: AttackedHouse, uri: str) -> None:
    agent = house.registrant()
    for asked in ([uri], [agent.redirect_uri, uri]):
        await refused(house, agent.register(redirect_uris=asked), REDIRECT_URI)
    victim = house.registrant(seed=2, software_id="software-2", redirect_uri=uri)
    await victim.registered()
    spoken = {"statement": agent.statement(), "redirect_uris": victim.information["redirect_uris"]}
    await refused(house, agent.register(**spoken), REDIRECT_URI)
