"""Tokens that are bound to certificates, to DPoP keys, or to both (RFC 8705 §3, RFC 7800 §3.1), row by row."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from fapi_as.protocol.access_token import Binding
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.client_metadata import parse_client, to_metadata
from rs_kit.protocol.confirmation import parse, require_proved
from rs_kit.protocol.errors import InvalidToken
from tests.support.certificates import Shown, self_signed
from tests.support.certified_client import PKI, PRIVATE_KEY_JWT, SELF_SIGNED, CertifiedClient, CertifiedHouse
from tests.support.client_members import client_members
from tests.support.client_members import refused as registration_refused
from tests.support.fapi_client import Refused, Tokens
from tests.support.house import PASSWORD
from tests.support.token_scene import claims_of, refresh_token_of, refused

BANK: Final = "CN=bank,O=Bank,C=GB"
METHODS: Final = (PKI, SELF_SIGNED, PRIVATE_KEY_JWT)
Get = Callable[[CertifiedClient], Awaitable[Tokens]]


async def by_code(client: CertifiedClient) -> Tokens:
    return await client.obtain(username="alice", password=PASSWORD)


async def by_refresh(client: CertifiedClient) -> Tokens:
    return await client.refresh(refresh_token_of(await by_code(client)))


async def by_itself(client: CertifiedClient) -> Tokens:
    return await client.client_credentials()


GRANTS: Final[dict[str, Get]] = {"code": by_code, "refresh": by_refresh, "client credentials": by_itself}
every_grant = pytest.mark.parametrize("get", GRANTS.values(), ids=GRANTS)
every_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture
def house(tmp_path: Path) -> CertifiedHouse:
    return CertifiedHouse(tmp_path)


def of_method(house: CertifiedHouse, method: str, **more: Any) -> tuple[CertifiedClient, Shown]:
    shown = self_signed() if method == SELF_SIGNED else house.authority.issue(BANK)
    return house.certified("bank", shown, method=method, **more), shown


def cnf(tokens: Tokens) -> dict[str, Any]:
    return dict(claims_of(tokens.access_token)["cnf"])


# --- CNF-1, MTLS-12: what is in the token


@pytest.mark.requirement("CNF-1", proves="holds")
@every_grant
@every_method
@pytest.mark.parametrize("proves", [False, True])
@pytest.mark.parametrize("bound", [False, True])
async def test_a_token_is_bound_to_what_was_proved_and_registered(
    house: CertifiedHouse, get: Get, method: str, proves: bool, bound: bool
) -> None:
    if not proves and not bound:
        with pytest.raises(Exception, match="bearer tokens are not offered"):
            of_method(house, method, proves=False, bound=False)
        return
    client, shown = of_method(house, method, proves=proves, bound=bound)
    tokens = await get(client)
    expected = {"jkt": client.dpop_key.thumbprint} if proves else {}
    assert cnf(tokens) == expected | ({"x5t#S256": shown.x5t} if bound else {})
    assert tokens.token_type == ("DPoP" if proves else "Bearer")
    fact = house.store.facts_of(AuditEvent.TOKEN_ISSUED)[-1]
    assert (fact.jkt, fact.x5t) == (expected.get("jkt"), shown.x5t if bound else None)


@pytest.mark.requirement("CNF-1", proves="refused")
async def test_a_certificate_binds_nothing_that_was_not_registered_for_it(house: CertifiedHouse) -> None:
    """Neither flag means DPoP: the certificate is shown, and the token is the proof's alone."""
    for method in METHODS:
        client, _ = of_method(house, method, proves=True, bound=False)
        client.bound = True  # goes to the alias, whatever it registered
        assert set(cnf(await by_itself(client))) == {"jkt"}
        with client.lying(proof=...):
            await refused(house, client.client_credentials, 400, "invalid_dpop_proof", reason="no proof")
    with pytest.raises(ValueError, match="must be bound"):
        Binding()


@pytest.mark.requirement("MTLS-12", proves="holds")
async def test_the_thumbprint_is_base64url_of_sha_256_over_the_certificate(house: CertifiedHouse) -> None:
    client, shown = of_method(house, PKI)
    expected = urlsafe_b64encode(hashlib.sha256(shown.der).digest()).decode().rstrip("=")
    assert cnf(await by_itself(client)) == {"x5t#S256": expected}
    assert len(expected) == 43


# --- MTLS-15, MTLS-20: another certificate


@pytest.mark.requirement("MTLS-15", proves="holds")
@every_method
async def test_a_refreshed_token_is_bound_to_the_certificate_of_the_refresh(house: CertifiedHouse, method: str) -> None:
    client, old = of_method(house, method)
    refresh_token = refresh_token_of(await by_code(client))
    new = renewed(house, client, method)
    with client.showing(new):
        assert cnf(await client.refresh(refresh_token)) == {"x5t#S256": new.x5t}
    assert new.x5t != old.x5t


@pytest.mark.requirement("MTLS-15", proves="refused")
@every_method
async def test_a_refresh_token_alone_refreshes_nothing(house: CertifiedHouse, method: str) -> None:
    client, _ = of_method(house, method)
    refresh_token = refresh_token_of(await by_code(client))
    credentials: dict[str, Any] = {"client_assertion": ..., "client_assertion_type": ...}
    shown = client.shown if method == PRIVATE_KEY_JWT else None
    with client.showing(shown), client.lying(form=credentials):
        await refused(house, lambda: client.refresh(refresh_token), 401, "invalid_client")
    assert (await client.refresh(refresh_token)).access_token


@pytest.mark.requirement("MTLS-20", proves="holds")
async def test_a_renewed_certificate_gets_a_token_that_it_can_use(house: CertifiedHouse) -> None:
    client, _ = of_method(house, PKI)
    refresh_token = refresh_token_of(await by_code(client))
    new = renewed(house, client, PKI)
    with client.showing(new):
        tokens = await client.refresh(refresh_token)
    require_proved(parse(cnf(tokens)), jkt=None, certificate=new.der)


@pytest.mark.requirement("MTLS-20", proves="refused")
async def test_an_old_token_is_nothing_with_the_renewed_certificate(house: CertifiedHouse) -> None:
    client, old = of_method(house, PKI)
    tokens = await by_code(client)
    require_proved(parse(cnf(tokens)), jkt=None, certificate=old.der)
    with pytest.raises(InvalidToken):
        require_proved(parse(cnf(tokens)), jkt=None, certificate=renewed(house, client, PKI).der)


def renewed(house: CertifiedHouse, client: CertifiedClient, method: str) -> Shown:
    """The client's next certificate; a self-signed one is registered beside the old one."""
    if method != SELF_SIGNED:
        return house.authority.issue(BANK)
    assert client.shown is not None
    old, new = client.shown, self_signed("CN=renewed")
    keys = {"keys": [old.jwk(kid="old"), new.jwk(kid="new")]}
    house.store.put_client(parse_client(client.registration(jwks=keys), client_id=client.client_id, version=2))
    return new


# --- MTLS-16: the flag


@pytest.mark.requirement("MTLS-16", proves="holds")
@pytest.mark.parametrize("said", [True, False, ...])
def test_the_flag_is_a_boolean_that_is_false_by_default(said: object) -> None:
    client = parse_client(client_members(tls_client_certificate_bound_access_tokens=said), client_id="c", version=1)
    told = to_metadata(client)
    assert told["tls_client_certificate_bound_access_tokens"] is (said is True)
    assert told["dpop_bound_access_tokens"] is (said is not True)  # neither flag means DPoP


@pytest.mark.requirement("MTLS-16", proves="refused")
@pytest.mark.parametrize("said", ["true", 1, "false", {}])
def test_the_flag_is_nothing_else(said: object) -> None:
    told = registration_refused(tls_client_certificate_bound_access_tokens=said)
    assert "tls_client_certificate_bound_access_tokens" in told


@pytest.mark.requirement("MTLS-16", proves="refused")
@every_grant
async def test_a_client_with_the_flag_and_without_a_certificate_gets_no_token(house: CertifiedHouse, get: Get) -> None:
    client, shown = of_method(house, PRIVATE_KEY_JWT)
    refresh_token = refresh_token_of(await by_code(client))
    pushed = await client.push()
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    ask: dict[Get, Callable[[], Awaitable[Tokens]]] = {
        by_code: lambda: client.redeem(done, pushed),
        by_refresh: lambda: client.refresh(refresh_token),
        by_itself: client.client_credentials,
    }
    with client.showing(None):
        answer = await refused(house, ask[get], 400, "invalid_request", reason="no certificate to bind to")
    assert "mtls_endpoint_aliases" in answer.json()["error_description"]
    with client.showing(shown):
        assert (await ask[get]()).access_token  # the code and the assertion were not used up by it


@pytest.mark.requirement("MTLS-16", proves="refused")
@pytest.mark.parametrize("method", [PKI, SELF_SIGNED])
async def test_where_the_certificate_was_the_credential_the_client_is_not_known(
    house: CertifiedHouse, method: str
) -> None:
    client, _ = of_method(house, method)
    with client.showing(None):
        await refused(house, client.client_credentials, 401, "invalid_client")


# --- MTLS-17: an assertion authenticates, a certificate binds


@pytest.mark.requirement("MTLS-17", proves="holds")
@pytest.mark.parametrize("proves", [False, True])
async def test_any_certificate_binds_the_tokens_of_a_client_with_an_assertion(
    house: CertifiedHouse, proves: bool
) -> None:
    """It needs no authority and no registration: who holds its key is all that matters (RFC 8705 §3)."""
    client, _ = of_method(house, PRIVATE_KEY_JWT, proves=proves)
    with client.showing(self_signed("CN=nobody knows it", eku=None, usage=None)) as showing:
        assert showing.shown is not None
        tokens = await by_code(client)
        assert cnf(tokens)["x5t#S256"] == showing.shown.x5t
        assert ("jkt" in cnf(tokens)) is proves


@pytest.mark.requirement("MTLS-17", proves="holds")
async def test_a_push_with_an_assertion_needs_no_certificate(house: CertifiedHouse) -> None:
    client, _ = of_method(house, PRIVATE_KEY_JWT)
    with client.showing(None):
        assert (await client.push()).request_uri
    assert client.address("pushed_authorization_request_endpoint").startswith(client.issuer + "/")


@pytest.mark.requirement("MTLS-17", proves="holds")
async def test_a_proof_that_nobody_asked_for_binds_too(house: CertifiedHouse) -> None:
    client, shown = of_method(house, PRIVATE_KEY_JWT)
    client.proves = True
    tokens = await by_itself(client)
    assert cnf(tokens) == {"jkt": client.dpop_key.thumbprint, "x5t#S256": shown.x5t}
    assert tokens.token_type == "DPoP"


@pytest.mark.requirement("MTLS-17", proves="refused")
async def test_what_is_bound_to_both_is_nothing_with_one_of_them(house: CertifiedHouse) -> None:
    client, shown = of_method(house, PRIVATE_KEY_JWT, proves=True)
    confirmation = parse(cnf(await by_itself(client)))
    jkt = client.dpop_key.thumbprint
    require_proved(confirmation, jkt=jkt, certificate=shown.der)
    for proved in ({"jkt": jkt, "certificate": self_signed().der}, {"jkt": jkt, "certificate": None}):
        with pytest.raises(InvalidToken):
            require_proved(confirmation, **proved)
    with pytest.raises(InvalidToken):
        require_proved(confirmation, jkt=None, certificate=shown.der)


# --- FAPI2-AS-4 where certificates are: no token without a proof of possession, whatever the grant


@every_grant
@every_method
async def test_who_registered_for_proofs_sends_one_beside_the_certificate(
    house: CertifiedHouse, get: Get, method: str
) -> None:
    client, _ = of_method(house, method, proves=True)
    await get(client)
    with client.lying(proof=...), pytest.raises(Refused) as raised:
        await by_itself(client)
    assert (raised.value.status, raised.value.error) == (400, "invalid_dpop_proof")


async def test_what_is_bound_to_both_needs_both_at_the_token_endpoint(house: CertifiedHouse) -> None:
    client, _ = of_method(house, PRIVATE_KEY_JWT, proves=True)
    await by_itself(client)
    with client.showing(None):
        await refused(house, client.client_credentials, 400, "invalid_request", reason="no certificate to bind to")


@every_method
async def test_a_proof_is_judged_even_where_none_is_needed(house: CertifiedHouse, method: str) -> None:
    client, _ = of_method(house, method)
    client.proves = True
    await by_itself(client)
    with client.lying(htm="GET"):
        await refused(house, client.client_credentials, 400, "invalid_dpop_proof")


@pytest.mark.parametrize("htu", ["https://as.example/token", "https://as.example:8444/par"])
async def test_at_the_alias_a_proof_names_the_alias(house: CertifiedHouse, htu: str) -> None:
    client, _ = of_method(house, PKI, proves=True)
    assert (await by_itself(client)).access_token
    with client.lying(htu=htu):
        await refused(house, client.client_credentials, 400, "invalid_dpop_proof")


async def test_a_code_that_is_bound_to_a_key_is_redeemed_with_that_key_only(house: CertifiedHouse) -> None:
    client, _ = of_method(house, PKI, proves=True)
    pushed = await client.push()
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    house.change_client("bank", dpop_bound_access_tokens=False)
    with client.lying(proof=...):
        await refused(house, lambda: client.redeem(done, pushed), 400, "invalid_dpop_proof")
