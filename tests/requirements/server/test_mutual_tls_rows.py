"""Clients that authenticate with certificates (RFC 8705 §2), row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from fapi_as.adapters.client_keys import PublishedKeys
from fapi_as.ports import CertificateTrust
from fapi_as.protocol.client_metadata import parse_client, to_metadata
from fapi_as.protocol.fetched_document import FetchedDocument
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from tests.support.back_channel import BACK_CHANNEL, SUCCESS
from tests.support.certificate_scene import let_in, not_let_in
from tests.support.certificates import SERVER_AUTH, Authority, Shown, ec_key, self_signed
from tests.support.certified_client import (
    MUTUAL_TLS_URL,
    PKI,
    PRIVATE_KEY_JWT,
    SELF_SIGNED,
    CertifiedClient,
    CertifiedHouse,
)
from tests.support.client_members import client_members
from tests.support.client_members import refused as registration_refused
from tests.support.fake_fetch import FakeFetch
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD
from tests.support.peer_keys import PeerKey
from tests.support.token_scene import refused

BANK: Final = "CN=bank,O=Bank,C=GB"
everywhere = pytest.mark.parametrize("path", BACK_CHANNEL)


@pytest.fixture
def house(tmp_path: Path) -> CertifiedHouse:
    return CertifiedHouse(tmp_path)


# --- MTLS-1, MTLS-2: who it is, and that it holds the key


@pytest.mark.requirement("MTLS-1", proves="holds")
@everywhere
async def test_the_client_id_beside_a_certificate_says_whose_it_is(house: CertifiedHouse, path: str) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    answer = await bank.send(BACK_CHANNEL[path](bank))
    assert answer.status_code == SUCCESS[path]


@pytest.mark.requirement("MTLS-1", proves="refused")
async def test_a_certificate_without_a_client_id_is_nobodys(house: CertifiedHouse) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    await not_let_in(bank, "no client_id beside the certificate", client_id=...)


@pytest.mark.requirement("MTLS-2", proves="holds")
async def test_the_certificate_of_the_connection_is_the_credential(house: CertifiedHouse) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    assert (await let_in(bank))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-2", proves="refused")
@everywhere
async def test_without_a_certificate_there_is_no_credential(house: CertifiedHouse, path: str) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    with bank.showing(None):
        ask = lambda: bank.send(BACK_CHANNEL[path](bank))  # noqa: E731 - asked once
        answer = await refused(house, ask, 401, "invalid_client", reason="no assertion and no certificate")
    assert answer.headers["content-type"] == "application/json"


# --- MTLS-3: whom the PKI lets in


@pytest.mark.requirement("MTLS-3", proves="holds")
async def test_a_chain_to_an_authority_of_the_tenant_is_trusted(house: CertifiedHouse) -> None:
    below = Authority("CN=Bank CA 2,O=Authorities", issuer=house.authority, path_length=0)
    assert (await let_in(house.certified("bank", below.issue(BANK))))["client_id"] == "bank"


@pytest.mark.requirement("MTLS-3", proves="refused")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"begins": -30, "days": -1}, "certificate: the certificate has expired"),
        ({"begins": 1}, "certificate: the certificate is not valid yet"),
        ({"eku": [SERVER_AUTH]}, "certificate: the certificate is not for clients: no extended key usage clientAuth"),
        ({"eku": None}, "certificate: the certificate is not for clients: no extended key usage clientAuth"),
    ],
    ids=["expired", "not yet valid", "for servers", "for everything"],
)
async def test_a_certificate_that_the_pki_does_not_vouch_for_now_is_refused(
    house: CertifiedHouse, changes: dict[str, Any], reason: str
) -> None:
    await not_let_in(house.certified("bank", house.authority.issue(BANK, **changes)), reason)


@pytest.mark.requirement("MTLS-3", proves="refused")
async def test_another_authority_vouches_for_nobody(house: CertifiedHouse) -> None:
    stranger = Authority("CN=Stranger CA")
    reason = "certificate: the certificate is not trusted: unable to get local issuer certificate"
    await not_let_in(house.certified("bank", stranger.issue(BANK)), reason)


# --- MTLS-10: self-signed


URL: Final = "https://own.example/jwks"


def published(*shown: Shown) -> FetchedDocument:
    """What stands behind a jwks_uri; the key of each has the certificate as its x5c."""
    keys = [each.jwk(kid=f"certificate-{number}") for number, each in enumerate(shown)]
    return FetchedDocument(body=json.dumps({"keys": keys}).encode(), max_age=300)


@pytest.mark.requirement("MTLS-10", proves="holds")
async def test_a_registered_certificate_needs_nobody_to_vouch_for_it(house: CertifiedHouse) -> None:
    old, new = self_signed(eku=None, usage=None), self_signed("CN=new", eku=[SERVER_AUTH])
    keys = [old.jwk(kid="old"), new.jwk(kid="new")]
    own = house.certified("own", old, method=SELF_SIGNED, jwks={"keys": keys})
    for shown in (old, new):
        with own.showing(shown):
            assert (await let_in(own))["cnf"] == {"x5t#S256": shown.x5t}


@pytest.mark.requirement("MTLS-10", proves="holds")
async def test_a_certificate_that_is_new_behind_the_jwks_uri_is_found_there(house: CertifiedHouse) -> None:
    old, new, stranger = self_signed(), self_signed("CN=new"), self_signed("CN=stranger")
    fetch = FakeFetch(documents={URL: published(old)})
    keys = PublishedKeys(fetch, monotonic=lambda: float(house.clock.now()))
    object.__setattr__(house.context, "client_keys", keys)
    own = house.certified("own", old, method=SELF_SIGNED, jwks=..., jwks_uri=URL)
    await let_in(own)
    fetch.documents[URL] = published(new)
    with own.showing(new):
        assert (await let_in(own))["cnf"] == {"x5t#S256": new.x5t}
    assert len(fetch.asked) == 2
    for shown in (stranger, old):  # looked for once in a minute, as a kid is (FAPI2-JWKS-5)
        with own.showing(shown):
            await not_let_in(own, "certificate: the certificate is not registered")
    assert len(fetch.asked) == 2
    house.clock.advance(400)
    del fetch.documents[URL]
    with own.showing(new):
        await not_let_in(own, "keys: status 404")


@pytest.mark.requirement("MTLS-10", proves="refused")
@pytest.mark.parametrize("other", ["absent", "same subject", "same key"])
async def test_any_other_certificate_is_not_the_registered_one(house: CertifiedHouse, other: str) -> None:
    key = ec_key()
    mine = self_signed(BANK, key=key)
    own = house.certified("own", mine, method=SELF_SIGNED)
    shown = {
        "absent": self_signed("CN=other"),
        "same subject": self_signed(BANK),
        "same key": self_signed(BANK, key=key, days=29),
    }[other]
    with own.showing(shown):
        await not_let_in(own, "certificate: the certificate is not registered")


# --- MTLS-21: people need no certificate


@pytest.mark.requirement("MTLS-21", proves="holds")
async def test_a_person_authorizes_without_a_certificate(house: CertifiedHouse) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    done = await bank.authorize(await bank.push(), username="alice", password=PASSWORD)
    assert done.code
    pages = [path for method, path, _ in house.log if path in {"/authorize", "/login", "/consent"}]
    assert pages
    assert "authorization_endpoint" not in (await bank.discover())["mtls_endpoint_aliases"]


# --- FAPI2-AS-6, FAPI2-AS-7: these methods, and the registered one


@pytest.mark.requirement("FAPI2-AS-6", proves="holds")
@pytest.mark.parametrize("method", [PKI, SELF_SIGNED, PRIVATE_KEY_JWT])
async def test_certificates_and_assertions_authenticate(house: CertifiedHouse, method: str) -> None:
    shown = self_signed() if method == SELF_SIGNED else house.authority.issue(BANK)
    assert (await let_in(house.certified("bank", shown, method=method)))["client_id"] == "bank"


@pytest.mark.requirement("FAPI2-AS-6", proves="refused")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt", "none", ...])
def test_nothing_else_may_be_registered(method: object) -> None:
    assert "token_endpoint_auth_method" in registration_refused(token_endpoint_auth_method=method)


@pytest.mark.requirement("FAPI2-AS-7", proves="refused")
@pytest.mark.parametrize("method", [PKI, SELF_SIGNED, PRIVATE_KEY_JWT])
async def test_a_good_credential_of_another_kind_is_none(house: CertifiedHouse, method: str) -> None:
    """The certificate is registered and trusted, the key signs assertions, and each is for another method."""
    key = PeerKey.es256(seed=9)
    shown = house.authority.issue(BANK)
    keys = {"keys": [key.jwk(kid="client-key", use="sig"), shown.jwk(kid="certificate")]}
    bank = house.certified("bank", shown, method=method, jwks=keys)
    bank.client_key = key
    assert (await let_in(bank))["client_id"] == "bank"
    bank.method = PKI if method == PRIVATE_KEY_JWT else PRIVATE_KEY_JWT
    await not_let_in(bank, "not the registered authentication method" if method != PRIVATE_KEY_JWT else NOT_THIS)


NOT_THIS: Final = "certificate: not the registered authentication method"


@pytest.mark.requirement("FAPI2-AS-7", proves="holds")
async def test_two_clients_with_the_same_certificate_are_two_clients(house: CertifiedHouse) -> None:
    """Each is let in by its own method, whatever else the certificate would be good for."""
    shown = house.authority.issue(BANK)
    one = house.certified("one", shown)
    two = house.certified("two", shown, method=SELF_SIGNED)
    assert [(await let_in(each))["client_id"] for each in (one, two)] == ["one", "two"]


# --- FAPI2-NET-11, FAPI2-NET-12


@pytest.mark.requirement("FAPI2-NET-11", proves="holds")
async def test_the_aliases_are_there_for_clients_with_assertions_too(house: CertifiedHouse) -> None:
    document = (await house.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    posted_to = {
        endpoint.metadata_member: MUTUAL_TLS_URL + path
        for path, endpoint in house.endpoints.items()
        if "POST" in endpoint.methods and endpoint.face.value == "protocol" and endpoint.metadata_member
    }
    assert document["mtls_endpoint_aliases"] == posted_to
    bank = house.certified("bank", house.authority.issue(BANK), method=PRIVATE_KEY_JWT)
    for path, build in BACK_CHANNEL.items():
        bank.metadata = document
        url, headers, body = build(bank)
        answer = await bank.send(type(build(bank))(MUTUAL_TLS_URL + path, headers, body))
        assert (url.startswith((MUTUAL_TLS_URL, ISSUER)), answer.status_code) == (True, SUCCESS[path])


@pytest.mark.requirement("FAPI2-NET-12", proves="holds")
@pytest.mark.parametrize("said", [True, False, ...])
def test_whether_a_client_uses_the_aliases_is_kept_and_told(said: object) -> None:
    client = parse_client(client_members(use_mtls_endpoint_aliases=said), client_id="c", version=1)
    assert to_metadata(client)["use_mtls_endpoint_aliases"] is (said is True)


@pytest.mark.requirement("FAPI2-NET-12", proves="refused")
@pytest.mark.parametrize("said", ["true", 1, "false", []])
def test_whether_a_client_uses_the_aliases_is_a_boolean(said: object) -> None:
    assert "use_mtls_endpoint_aliases" in registration_refused(InvalidClientMetadata, use_mtls_endpoint_aliases=said)


# --- FAPI2-DISC-9


@pytest.mark.requirement("FAPI2-DISC-9", proves="holds")
async def test_what_is_on_is_published(house: CertifiedHouse) -> None:
    document = (await house.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert document["tls_client_certificate_bound_access_tokens"] is True
    assert document["token_endpoint_auth_methods_supported"] == [PRIVATE_KEY_JWT, PKI, SELF_SIGNED]
    assert set(document["mtls_endpoint_aliases"]) < set(document)


async def test_an_error_of_a_refused_client_says_nothing_of_its_certificate(house: CertifiedHouse) -> None:
    bank = house.certified("bank", Authority("CN=Stranger CA").issue(BANK))
    with pytest.raises(Refused) as raised:
        await bank.client_credentials()
    assert isinstance(raised.value.response, httpx2.Response)
    assert raised.value.response.json() == {
        "error": "invalid_client",
        "error_description": "client authentication failed",
    }


class CountingTrust:
    """The CertificateTrust port, and how often it was asked."""

    def __init__(self, trust: CertificateTrust) -> None:
        self.trust = trust
        self.asked = 0

    def refusal(self, leaf: bytes, chain: tuple[bytes, ...], now: int) -> str | None:
        self.asked += 1
        return self.trust.refusal(leaf, chain, now)


@pytest.mark.parametrize("client_id", ["pki", "own", "agent", "no such client"])
async def test_a_chain_is_verified_whoever_it_is_for(house: CertifiedHouse, client_id: str) -> None:
    """CA-3: what costs most is done for every certificate that is refused, so time does not tell clients apart."""
    house.certified("pki", house.authority.issue(BANK))
    house.certified("own", self_signed(), method=SELF_SIGNED)
    trust = CountingTrust(house.context.certificate_trust)
    object.__setattr__(house.context, "certificate_trust", trust)
    asking = CertifiedClient(
        house.http, shown=self_signed("CN=x"), issuer=ISSUER, client_id=client_id, client_key=house.agent.client_key
    )
    assert (await asking.send(asking.credentials_request())).status_code == 401
    assert trust.asked == 1
