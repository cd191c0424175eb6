"""An assertion and a certificate in one request: which of them counts, and what the other one may not add."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.back_channel import BACK_CHANNEL, SUCCESS
from tests.support.certificate_scene import out
from tests.support.certificates import Shown, self_signed
from tests.support.certified_client import PKI, PRIVATE_KEY_JWT, SELF_SIGNED, CertifiedClient, CertifiedHouse
from tests.support.fapi_messages import ASSERTION_TYPE
from tests.support.peer_keys import PeerKey
from tests.support.token_scene import refused

BANK: Final = "CN=bank,O=Bank,C=GB"
KEY: Final = PeerKey.es256(seed=90)


@pytest.fixture
def house(tmp_path: Path) -> CertifiedHouse:
    return CertifiedHouse(tmp_path)


def with_keys(house: CertifiedHouse, client_id: str, shown: Shown, method: str) -> CertifiedClient:
    """A client with a key for assertions and a certificate, registered for one of the two."""
    keys = [KEY.jwk(kid="client-key", use="sig"), shown.jwk(kid="certificate")]
    client = house.certified(client_id, shown, method=method, jwks={"keys": keys})
    client.client_key = KEY
    return client


@pytest.mark.attack("CLA-17")
@pytest.mark.parametrize("path", BACK_CHANNEL)
@pytest.mark.parametrize(
    "second",
    [
        {"form": {"client_id": "other"}},
        {"headers": [("authorization", "Basic YmFuazpzZWNyZXQ=")]},
        {"form": {"client_secret": "secret"}},
    ],
    ids=["the certificate of another", "Basic", "a secret"],
)
async def test_an_assertion_beside_another_credential_is_two_methods(
    house: CertifiedHouse, path: str, second: dict[str, Any]
) -> None:
    house.certified("other", house.authority.issue("CN=other"))
    signer = with_keys(house, "signer", house.authority.issue("CN=other"), PRIVATE_KEY_JWT)
    honest = BACK_CHANNEL[path](signer)
    assert (await signer.send(honest._replace(url=at_alias(honest.url)))).status_code == SUCCESS[path]

    async def ask() -> Any:
        with signer.lying(**second):
            message = BACK_CHANNEL[path](signer)
        return await signer.send(message._replace(url=at_alias(message.url)))

    await refused(house, ask, 400, "invalid_request")


@pytest.mark.attack("CLA-17")
@pytest.mark.parametrize("named", ["other", "nobody"])
async def test_the_id_of_another_client_is_no_credential_whatever_certificate_comes_along(
    house: CertifiedHouse, named: str
) -> None:
    house.certified("other", house.authority.issue("CN=other"))
    signer = with_keys(house, "signer", self_signed(), PRIVATE_KEY_JWT)
    honest = BACK_CHANNEL["/token"](signer)
    assert (await signer.send(honest._replace(url=at_alias(honest.url)))).status_code == SUCCESS["/token"]

    async def ask() -> Any:
        with signer.lying(form={"client_id": named}):
            message = BACK_CHANNEL["/token"](signer)
        return await signer.send(message._replace(url=at_alias(message.url)))

    await refused(house, ask, 401, "invalid_client")


def at_alias(url: str) -> str:
    return url.replace("https://as.example/", "https://as.example:8444/")


@pytest.mark.attack("CLA-17")
@pytest.mark.parametrize(
    "second", [{"headers": [("authorization", "Basic YmFuazpzZWNyZXQ=")]}, {"form": {"client_secret": "s"}}]
)
async def test_a_certificate_beside_another_credential_is_two_methods(
    house: CertifiedHouse, second: dict[str, Any]
) -> None:
    bank = house.certified("bank", house.authority.issue(BANK))
    with bank.lying(**second):
        await refused(house, bank.client_credentials, 400, "invalid_request")
    assert (await bank.client_credentials()).access_token


@pytest.mark.attack("CLA-18")
@pytest.mark.parametrize("method", [PKI, SELF_SIGNED])
async def test_a_client_of_certificates_does_not_get_in_by_a_good_assertion(house: CertifiedHouse, method: str) -> None:
    """With its good certificate beside it, with none, and with a stranger's."""
    shown = house.authority.issue(BANK) if method == PKI else self_signed()
    bank = with_keys(house, "bank", shown, method)
    assert (await bank.client_credentials()).access_token
    bank.method = PRIVATE_KEY_JWT
    for beside in (shown, None, self_signed("CN=stranger")):
        with bank.showing(beside):
            await refused(
                house, bank.client_credentials, 401, "invalid_client", reason="not the registered authentication method"
            )


@pytest.mark.attack("CLA-18")
async def test_a_client_of_assertions_does_not_get_in_by_a_good_certificate(house: CertifiedHouse) -> None:
    for shown in (house.authority.issue(BANK), self_signed()):
        bank = with_keys(house, "bank", shown, PRIVATE_KEY_JWT)
        assert (await bank.client_credentials()).access_token
        bank.method = PKI
        await refused(
            house,
            bank.client_credentials,
            401,
            "invalid_client",
            reason="certificate: not the registered authentication method",
        )


@pytest.mark.attack("CLA-19")
@pytest.mark.parametrize("garbage", ["unsigned", "another key", "another alg", "no JWT"])
async def test_an_assertion_that_proves_nothing_is_not_made_good_by_a_certificate(
    house: CertifiedHouse, garbage: str
) -> None:
    """Nothing is taken from what was not verified, and what is sent is what is judged."""
    bank = with_keys(house, "bank", house.authority.issue(BANK), PKI)
    good = bank.assertion()
    head, claims, signature = good.split(".")
    told = {
        "unsigned": f"{head}.{claims}.",
        "another key": PeerKey.es256(seed=91).sign({"alg": "ES256", "kid": "client-key"}, {"sub": "bank"}),
        "another alg": good.replace(head, "eyJhbGciOiJub25lIn0"),
        "no JWT": signature,
    }[garbage]
    beside = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": told}
    with bank.lying(form=beside):
        await refused(house, bank.client_credentials, 401, "invalid_client")
    await out(bank, None)


@pytest.mark.attack("MET-10")
async def test_the_plain_address_binds_to_no_certificate_whatever_is_claimed_there(house: CertifiedHouse) -> None:
    shown = house.authority.issue(BANK)
    signer = with_keys(house, "signer", shown, PRIVATE_KEY_JWT)
    item = f":{shown.jwk()['x5c'][0]}:"
    for claimed in ("client-cert", "x-ssl-client-cert", "x-forwarded-client-cert"):

        async def ask(claimed: str = claimed) -> Any:
            with signer.lying(headers=[(claimed, item)]):
                message = signer.credentials_request()
            return await signer.send(message._replace(url="https://as.example/token"))

        await refused(house, ask, 400, "invalid_request", reason="no certificate to bind to")
    assert (await signer.client_credentials()).access_token


@pytest.mark.attack("MET-10")
@pytest.mark.parametrize(
    ("url", "htu"),
    [
        ("https://as.example/token", "https://as.example:8444/token"),
        ("https://as.example:8444/token", "https://as.example/token"),
    ],
)
async def test_a_proof_for_one_address_is_none_at_the_other(house: CertifiedHouse, url: str, htu: str) -> None:
    signer = house.certified("signer", house.authority.issue(BANK), method=PRIVATE_KEY_JWT, bound=False, proves=True)
    await signer.client_credentials()

    async def ask() -> Any:
        with signer.lying(htu=htu):
            message = signer.credentials_request()
        return await signer.send(message._replace(url=url))

    await refused(house, ask, 400, "invalid_dpop_proof")
