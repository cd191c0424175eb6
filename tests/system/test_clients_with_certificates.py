"""Clients with certificates over real sockets: each kind of subject, let in and refused, on TLS 1.2 and 1.3."""

from __future__ import annotations

import json
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.authorization_server import PASSWORD, USERNAME, ready
from tests.support.certificates import SERVER_AUTH, Authority, Shown, sans, self_signed
from tests.support.certified_client import PRIVATE_KEY_JWT, SELF_SIGNED
from tests.support.certified_server import VERSIONS, CertifiedServer, certified_server
from tests.support.fapi_client import Refused
from tests.support.load import at_once
from tests.support.token_scene import claims_of

NOW: Final = int(time.time())
COPIES: Final = 50
ROUNDS: Final = 3
# what is registered, whose certificate is let in, and whose merely looks like it
URI: Final = "https://bank.example/a"
MAIL: Final = "a@bank.example"
KINDS: Final[dict[str, tuple[str, dict[str, Any], dict[str, Any]]]] = {
    "subject_dn": ("CN=bank,O=Bank,C=GB", {}, {"subject": "C=GB,O=Bank,CN=bank"}),
    "san_dns": ("bank.example", {"san": sans(dns=["BANK.example"])}, {"san": sans(dns=["*.example"])}),
    "san_uri": (URI, {"san": sans(uri=[URI])}, {"san": sans(dns=["bank.example"])}),
    "san_ip": ("2001:db8::7", {"san": sans(ip=["2001:db8:0::7"])}, {"san": sans(ip=["2001:db8::70"])}),
    "san_email": (MAIL, {"san": sans(email=[MAIL])}, {"subject": f"CN=bank,1.2.840.113549.1.9.1={MAIL}"}),
}
versions = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
pytestmark = pytest.mark.xdist_group("certificates")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CertifiedServer]:
    with certified_server(tmp_path_factory.mktemp("certified"), workers=2) as server:
        for kind, (value, good, _) in KINDS.items():
            server.register(kind, issued(server, **good), **{DN: ..., f"tls_client_auth_{kind}": value})
        server.register("own", OWN, method=SELF_SIGNED)
        server.register("signer", None, method=PRIVATE_KEY_JWT)
        server.register("both", issued(server), proves=True)
        yield server


DN: Final = "tls_client_auth_subject_dn"
OWN: Final = self_signed("CN=own", now=NOW)


def issued(place: CertifiedServer, **changes: Any) -> Shown:
    return place.authority.issue(**{"subject": "CN=bank,O=Bank,C=GB", "now": NOW} | changes)


async def token(place: CertifiedServer, client_id: str, shown: Shown | None, version: ssl.TLSVersion) -> dict[str, Any]:
    """What the token of a client says that shows this certificate."""
    async with place.client(client_id, shown, version=version) as client:
        return claims_of((await client.client_credentials()).access_token)


async def refusal(
    place: CertifiedServer, client_id: str, shown: Shown | None, version: ssl.TLSVersion
) -> tuple[int, str | None]:
    """How a client is answered that shows this certificate, after a handshake that succeeds."""
    async with place.client(client_id, shown, version=version) as client:
        with pytest.raises(Refused) as raised:
            await client.client_credentials()
        with pytest.raises(Refused) as pushed:
            await client.push()
    assert (pushed.value.status, pushed.value.error) == (raised.value.status, raised.value.error)
    return raised.value.status, raised.value.error


@versions
@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_of_subject_lets_its_client_in_and_nobody_who_looks_like_it(
    place: CertifiedServer, kind: str, version: ssl.TLSVersion
) -> None:
    _, good, bad = KINDS[kind]
    shown = issued(place, **good)
    assert (await token(place, kind, shown, version))["cnf"] == {"x5t#S256": shown.x5t}
    assert await refusal(place, kind, issued(place, **bad), version) == (401, "invalid_client")


@versions
async def test_a_self_signed_client_is_let_in_by_its_very_certificate(
    place: CertifiedServer, version: ssl.TLSVersion
) -> None:
    assert (await token(place, "own", OWN, version))["cnf"] == {"x5t#S256": OWN.x5t}
    same_key = self_signed("CN=own", key=OWN.key, now=NOW)
    for shown in (same_key, self_signed("CN=own", now=NOW), issued(place), None):
        assert await refusal(place, "own", shown, version) == (401, "invalid_client")


@pytest.mark.requirement("MTLS-11", proves="refused")
@versions
async def test_a_chain_that_is_sent_is_followed_and_every_other_fault_is_told_in_http(
    place: CertifiedServer, version: ssl.TLSVersion
) -> None:
    below = Authority("CN=Below,O=Authorities", issuer=place.authority, now=NOW)
    shown = below.issue("CN=bank,O=Bank,C=GB")
    assert (await token(place, "subject_dn", shown, version))["client_id"] == "subject_dn"
    faulty = {
        "without its chain": shown.sending(),
        "of another authority": Authority("CN=Client CA,O=Authorities", now=NOW).issue("CN=bank,O=Bank,C=GB"),
        "by itself": self_signed("CN=bank,O=Bank,C=GB", now=NOW),
        "expired": issued(place, begins=-2, days=-1),
        "of tomorrow": issued(place, begins=1),
        "for servers": issued(place, eku=[SERVER_AUTH]),
        "none": None,
    }
    for what, each in faulty.items():
        assert await refusal(place, "subject_dn", each, version) == (401, "invalid_client"), what


@versions
async def test_a_revoked_certificate_is_refused_by_every_worker_at_once(
    place: CertifiedServer, version: ssl.TLSVersion
) -> None:
    shown = issued(place)
    lines = [place.client("subject_dn", shown, version=version) for _ in range(6)]
    for line in lines:
        async with line as client:
            assert (await client.client_credentials()).access_token
    place.revoke(shown)
    try:
        for _ in range(6):
            assert await refusal(place, "subject_dn", shown, version) == (401, "invalid_client")
        assert (await token(place, "subject_dn", issued(place), version))["client_id"] == "subject_dn"
        place.revoke(days=-0.5, begins=-2)
        assert await refusal(place, "subject_dn", issued(place), version) == (401, "invalid_client")
        assert (await token(place, "own", OWN, version))["client_id"] == "own"
    finally:
        place.revoke()
    assert (await token(place, "subject_dn", shown, version))["client_id"] == "subject_dn"


@versions
async def test_the_whole_code_flow_with_a_certificate_and_a_refresh_with_the_next_one(
    place: CertifiedServer, version: ssl.TLSVersion
) -> None:
    first, second = issued(place), issued(place)
    async with place.client("subject_dn", first, version=version) as client:
        tokens = await client.obtain(username=USERNAME, password=PASSWORD)
        assert (tokens.token_type, claims_of(tokens.access_token)["cnf"]) == ("Bearer", {"x5t#S256": first.x5t})
        assert tokens.refresh_token is not None
    async with place.client("subject_dn", second, version=version) as client:
        renewed = await client.refresh(tokens.refresh_token)
        assert claims_of(renewed.access_token)["cnf"] == {"x5t#S256": second.x5t}


@versions
async def test_a_certificate_and_a_proof_bind_together_and_the_proof_names_the_alias(
    place: CertifiedServer, version: ssl.TLSVersion
) -> None:
    shown = issued(place)
    async with place.client("both", shown, version=version) as client:
        tokens = await client.obtain(username=USERNAME, password=PASSWORD)
        assert claims_of(tokens.access_token)["cnf"] == {"jkt": client.dpop_key.thumbprint, "x5t#S256": shown.x5t}
        with client.lying(htu=f"{client.issuer}/token"), pytest.raises(Refused) as raised:
            await client.client_credentials()
    assert (raised.value.status, raised.value.error) == (400, "invalid_dpop_proof")


async def test_an_assertion_pushes_without_a_certificate_and_gets_bound_tokens_with_one(place: CertifiedServer) -> None:
    shown = self_signed("CN=whoever", now=NOW)
    async with place.client("signer", shown) as client:
        pushed = await client.push()
        done = await client.authorize(pushed, username=USERNAME, password=PASSWORD)
        tokens = await client.redeem(done, pushed)
        assert claims_of(tokens.access_token)["cnf"] == {"x5t#S256": shown.x5t}
    async with place.client("signer", None) as client:
        with pytest.raises(Refused) as raised:
            await client.client_credentials()
    assert (raised.value.status, raised.value.error) == (400, "invalid_request")


async def test_a_client_of_certificates_is_nobody_at_the_first_address(place: CertifiedServer) -> None:
    async with place.client("subject_dn", issued(place)) as client:
        del client.metadata["mtls_endpoint_aliases"]["token_endpoint"]
        client.mtls_http = None
        with pytest.raises(Refused) as raised:
            await client.client_credentials()
    assert (raised.value.status, raised.value.error) == (401, "invalid_client")


async def test_the_metadata_tells_the_addresses_and_methods_that_are_there(place: CertifiedServer) -> None:
    async with place.client("subject_dn", issued(place)) as client:
        document = await client.discover()
    assert document["token_endpoint_auth_methods_supported"] == [PRIVATE_KEY_JWT, "tls_client_auth", SELF_SIGNED]
    assert document["tls_client_certificate_bound_access_tokens"] is True
    aliases = document["mtls_endpoint_aliases"]
    assert aliases["token_endpoint"] == f"https://localhost:{place.alias_port}/token"
    assert set(aliases) <= {name for name in document if name.endswith("_endpoint")} - {"authorization_endpoint"}


@pytest.mark.attack("RAC-01")
async def test_one_code_50_times_at_once_over_certificates_gives_one_token(place: CertifiedServer) -> None:
    """There is no jti to lose at: the code itself has one winner, and its replays end what it brought (OA-AC-7)."""
    shown = issued(place)
    lines = await place.connections(COPIES, shown)
    async with place.client("subject_dn", shown) as client:
        for _ in range(ROUNDS):
            pushed = await client.push()
            done = await client.authorize(pushed, username=USERNAME, password=PASSWORD)
            copies = [ready(client.code_request(done.code or "", pushed)) for _ in lines]
            replies = await at_once(lines, copies)
            told = Counter((reply.status, json.loads(reply.body).get("error")) for reply in replies)
            assert told == {(200, None): 1, (400, "invalid_grant"): COPIES - 1}
            winner = next(json.loads(reply.body) for reply in replies if reply.status == 200)
            with pytest.raises(Refused) as raised:
                await client.refresh(winner["refresh_token"])
            assert raised.value.error == "invalid_grant"
    for line in lines:
        await line.close()
