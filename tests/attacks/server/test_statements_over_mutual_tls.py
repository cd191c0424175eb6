"""Statements and keys are for whoever has the certificate or the key: nobody else registers with them (DCR-20)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from fapi_as.adapters.tls.client_trust import ClientTrust
from fapi_as.protocol.authority_registration import parse_authority
from tests.support.certificates import Authority, pem, self_signed
from tests.support.registration_attack import (
    METADATA,
    NO_STATEMENT,
    NO_TOKEN,
    AttackedHouse,
    refused,
)
from tests.support.registration_house import MUTUAL_TLS_URL, POLICY
from tests.support.registration_scene import SOFTWARE, WIDE, Registrant

SECOND: Final = 31_556_952 * 10  # ten years


@pytest.fixture
def house() -> AttackedHouse:
    return AttackedHouse()


# --- DCR-20: the certificate of whoever brings it


def _over_mutual_tls(agent: Registrant, shown: Any) -> Registrant:
    agent.metadata["registration_endpoint"] = f"{MUTUAL_TLS_URL}/register"
    agent.shown = shown
    return agent


@pytest.fixture
def trusted(tmp_path: Path) -> Authority:
    return Authority()


@pytest.fixture
def certified(tmp_path: Path, trusted: Authority) -> AttackedHouse:
    bundle = tmp_path / "authority.pem"
    bundle.write_bytes(pem(trusted.certificate))
    return AttackedHouse(policy=replace(POLICY, client_authorities=True), certificate_trust=ClientTrust(bundle))


@pytest.mark.attack("DCR-20")
async def test_where_a_certificate_is_demanded_nobody_comes_without(house: AttackedHouse) -> None:
    house.trust(mutual_tls=True)
    agent = house.registrant()
    await refused(house, agent.register(), NO_TOKEN, "no certificate")
    _over_mutual_tls(agent, None)
    await refused(house, agent.register(), NO_TOKEN, "no certificate")
    with agent.lying(
        headers=[("x-client-cert", "MIIB"), ("client-cert", ":MIIB:"), ("x-ssl-client-verify", "SUCCESS")]
    ):
        await refused(house, agent.register(), NO_TOKEN, "no certificate")


@pytest.mark.attack("DCR-20")
async def test_a_statement_for_a_certificate_comes_over_no_other(certified: AttackedHouse, trusted: Authority) -> None:
    own, others = trusted.issue("CN=software-1,O=Bank,C=GB"), trusted.issue("CN=software-1,O=Bank,C=GB")
    agent = certified.registrant()
    cnf = {"x5t#S256": own.x5t}
    await refused(certified, agent.register(statement=agent.statement(cnf=cnf)), NO_STATEMENT, "x5t#S256")
    _over_mutual_tls(agent, others)
    await refused(certified, agent.register(statement=agent.statement(cnf=cnf)), NO_STATEMENT, "x5t#S256")
    for bent in ({}, {"x5t#S256": ""}, {"x5t#S256": [own.x5t]}, {"x5t": own.x5t}, {"kid": "x"}, None, own.x5t):
        await refused(certified, agent.register(statement=agent.statement(cnf=bent)), NO_STATEMENT)
    _over_mutual_tls(agent, own)
    await agent.registered(statement=agent.statement(cnf=cnf))


@pytest.mark.attack("DCR-20")
async def test_a_statement_for_a_key_comes_with_no_other(house: AttackedHouse) -> None:
    agent, thief = house.registrant(), house.registrant(seed=666)
    statement = agent.statement(cnf={"jkt": agent.dpop_key.thumbprint})
    await refused(house, thief.register(statement=statement), NO_STATEMENT, "jkt")
    thief.binds = True
    await refused(house, thief.register(statement=statement), NO_STATEMENT, "jkt")
    agent.binds = True
    proof = agent.proof("POST", agent.address("registration_endpoint"))
    await agent.registered(statement=statement)
    with thief.lying(proof=proof):
        response = await thief.register(statement=agent.statement(cnf={"jkt": agent.dpop_key.thumbprint}))
        assert response.status_code == 400
    assert thief.client_id == ""


@pytest.mark.attack("DCR-20")
@pytest.mark.parametrize("member", ["tls_client_auth_subject_dn", "tls_client_auth_san_dns"])
async def test_the_certificate_of_another_organisation_registers_nothing(
    certified: AttackedHouse, trusted: Authority, member: str
) -> None:
    certified.trust(mutual_tls=True)
    mine = {"tls_client_auth_subject_dn": "CN=agent,O=Bank,C=GB", "tls_client_auth_san_dns": "agent.example"}[member]
    subject = {"token_endpoint_auth_method": "tls_client_auth", "jwks": ..., member: mine}
    agent = certified.registrant()
    _over_mutual_tls(agent, trusted.issue("CN=agent,O=Another,C=GB"))
    await refused(certified, agent.register(statement=agent.statement(**subject)), NO_STATEMENT)


@pytest.mark.attack("DCR-20")
@pytest.mark.parametrize("demanded", [True, False])  # where the policy demands none, this guard stands alone
async def test_names_in_a_certificate_that_nobody_vouches_for_are_nobodys(
    certified: AttackedHouse, trusted: Authority, demanded: bool
) -> None:
    certified.trust(mutual_tls=demanded)
    subject = {
        "token_endpoint_auth_method": "tls_client_auth",
        "jwks": ...,
        "tls_client_auth_subject_dn": "CN=agent,O=Bank,C=GB",
    }
    agent = certified.registrant()
    _over_mutual_tls(agent, self_signed("CN=agent,O=Bank,C=GB"))
    await refused(certified, agent.register(statement=agent.statement(**subject)), NO_STATEMENT, "certificate")
    _over_mutual_tls(agent, Authority().issue("CN=agent,O=Bank,C=GB"))  # another one of the same name
    await refused(certified, agent.register(statement=agent.statement(**subject)), NO_STATEMENT, "certificate")
    _over_mutual_tls(agent, trusted.issue("CN=agent,O=Bank,C=GB"))
    await agent.registered(statement=agent.statement(**subject))


@pytest.mark.attack("DCR-20")
@pytest.mark.parametrize("door", ["statement", "token"])
async def test_a_demanded_certificate_is_none_that_anybody_could_make(
    certified: AttackedHouse, trusted: Authority, door: str
) -> None:
    certified.trust(mutual_tls=True)
    agent = certified.registrant()
    token = certified.token(mutual_tls=True)

    async def register(**claims: Any) -> Any:
        if door == "statement":
            return await agent.register(statement=agent.statement(**claims))
        return await agent.register(statement=None, token=token, **agent.described())

    expected = NO_STATEMENT if door == "statement" else NO_TOKEN
    for shown in (self_signed(), Authority().issue(), self_signed("CN=Test CA")):
        _over_mutual_tls(agent, shown)
        await refused(certified, register(), expected, "not trusted")
    if door == "statement":  # but one that the authority names itself may be signed by nobody else
        own = self_signed()
        _over_mutual_tls(agent, own)
        assert (await register(cnf={"x5t#S256": own.x5t})).status_code == 201
        return
    _over_mutual_tls(agent, trusted.issue())
    assert (await register()).status_code == 201


@pytest.mark.attack("DCR-20")
async def test_keys_that_are_vouched_for_are_not_swapped_for_a_certificate(certified: AttackedHouse) -> None:
    """A statement is no secret: whoever finds one has no client of that software with credentials of his own."""
    agent = certified.registrant()
    statement = agent.statement(token_endpoint_auth_method=...)
    thiefs = {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_subject_dn": "CN=thief,O=Thief,C=GB"}
    await refused(certified, agent.register(statement=statement, **thiefs), METADATA)
    await agent.registered(statement=statement, token_endpoint_auth_method="private_key_jwt")


@pytest.mark.attack("DCR-20")
async def test_a_certificate_that_only_says_it_is_of_the_directory_registers_nothing(
    certified: AttackedHouse, trusted: Authority
) -> None:
    """Where the names in a certificate are the organisation's, whoever signs his own is not of that organisation."""
    directory = certified.authority.members(policy=WIDE | {"mutual_tls": True}, claims="open_banking")
    certified.store.approvers.put_authority(parse_authority(directory, version=99))
    agent = certified.registrant()
    said = {
        "software_redirect_uris": [agent.redirect_uri],
        "software_jwks_endpoint": "https://agent.example/jwks",
        "software_client_name": "Ledger agent",
        "org_id": "org-1",
    }
    names = f"CN={SOFTWARE},OU=org-1,C=GB"
    members = agent.described(jwks=..., redirect_uris=..., client_name=...)
    wrong = [
        self_signed(names),
        Authority().issue(names),
        trusted.issue(f"CN={SOFTWARE},OU=org-2,C=GB"),
        trusted.issue("CN=software-2,OU=org-1,C=GB"),
        trusted.issue("CN=agent,O=Bank,C=GB"),
    ]
    for shown in wrong:
        _over_mutual_tls(agent, shown)
        await refused(
            certified, agent.register(statement=agent.statement(**said), **members), NO_STATEMENT, "certificate"
        )
    _over_mutual_tls(agent, trusted.issue(names))
    await agent.registered(statement=agent.statement(**said), **members)
