"""Agents that make themselves known at a real server: by hand and in code, and what they do with a registration."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fapi_as.agent import (
    AgentAuth,
    AgentSettings,
    GrantType,
    Identity,
    MemoryRegistrationStore,
    Misconfigured,
    Registrant,
    Registrar,
    RegistrationNeeded,
    ServerRefused,
    trust,
)
from fapi_as.agent.certificate import ClientCertificate
from fapi_as.agent.settings import AuthMethod
from rs_kit.protocol.jws import SigningKey
from rs_kit.protocol.secret import Secret
from tests.support.agent_desk import ALLOWED, MORE, Desk, desk
from tests.support.authorization_server import register
from tests.support.document_host import document, document_host
from tests.support.peer_keys import PeerKey
from tests.support.person import answered
from tests.support.processes import running

pytestmark = pytest.mark.xdist_group("agent-registers-itself")
CALLBACK = "http://127.0.0.1/callback"
POLICY = {"grant_types": ["client_credentials"], "scope": [ALLOWED]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("registering")) as place:
        yield place


def new_key() -> SigningKey:
    return SigningKey.from_private_key(ec.generate_private_key(ec.SECP256R1()), kid="own")


def statement(place: Desk, software_id: str, claims: Mapping[str, object], *options: str) -> Secret:
    """What the development authority of this run signs."""
    file = place.directory.parent / f"{software_id}.json"
    file.write_text(json.dumps(claims), encoding="utf-8")
    arguments = ("statement", "issue", "--software-id", software_id, "--claims", str(file), *options)
    return Secret(place.server.commands.json(*arguments)["software_statement"])


def initial_token(place: Desk, *options: str, **policy: object) -> Secret:
    """What the operator gives to somebody who has no authority."""
    issued = place.server.commands.json("registration-token", "issue", "-", *options, stdin=json.dumps(POLICY | policy))
    return Secret(issued["initial_access_token"])


def robot(place: Desk, **changes: Any) -> Registrant:
    """An agent for itself that has a key."""
    identity = Identity(issuer=place.server.issuer, client_id="", key=changes.pop("key", None) or new_key())
    members: dict[str, Any] = {"identity": identity, "grant_type": GrantType.CLIENT_CREDENTIALS}
    members["metadata"] = {"client_name": "Night robot", "scope": ALLOWED}
    return Registrant(**{**members, **changes})


@asynccontextmanager
async def registrar(place: Desk, store: MemoryRegistrationStore | None = None) -> AsyncIterator[Registrar]:
    async with httpx2.AsyncClient(verify=trust(place.authorities)) as back_channel:
        yield Registrar(back_channel=back_channel, store=store if store is not None else MemoryRegistrationStore())


async def token_of(place: Desk, registrant: Registrant, store: MemoryRegistrationStore) -> dict[str, Any]:
    """What an agent gets with what it registered; its tokens are looked at and not used."""
    settings = AgentSettings(
        resource=place.resource, registrants=(registrant,), scope=(ALLOWED,), grant_type=registrant.grant_type
    )
    certificate = registrant.identity.certificate
    verify = certificate.context if certificate is not None else trust(place.authorities)
    async with httpx2.AsyncClient(verify=verify) as back_channel:
        tokens = await AgentAuth(settings, back_channel=back_channel, registrations=store).sign_in()
    return {"client_id": tokens.client_id, "type": tokens.token_type, "scope": tokens.scope}


# --- at a command line


def test_at_a_command_line_an_agent_registers_changes_its_key_and_leaves(place: Desk) -> None:
    here = place.directory / "by-hand"
    here.mkdir()
    for name in ("old.pem", "new.pem"):
        file = here / name
        file.touch(0o600)
        private = PeerKey.es256().private
        file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    claims = {"client_name": "Hand agent", "application_type": "native", "scope": ALLOWED}
    said = statement(place, "by-hand", claims, "--redirect-uri", CALLBACK)
    (here / "statement.jwt").write_text(f"{said.reveal()}\n", encoding="ascii")
    known = [
        *("--resource", place.resource, "--issuer", place.server.issuer, "--ca", str(place.authorities)),
        *("--software-statement", str(here / "statement.jwt"), "--store", str(here / "tokens")),
        *("--kid", "desk", "--config", str(_empty(here))),
    ]
    old, new = (["--key", str(here / name)] for name in ("old.pem", "new.pem"))
    first = place.document("register", *known, *old)
    assert place.document("register", *known, *old) == first
    assert first["client_id"].startswith("client-")
    assert place.document("register", "--show", *known, *old)["client_name"] == "Hand agent"
    assert place.document("register", "--update", *known, *new)["client_id"] == first["client_id"]
    assert "which allowed" in place.agent("login", *known, *new).stdout
    assert "invalid_client" in place.refused("login", *known, *old)
    assert "1250 EUR" in place.agent("call", "get_balance", '{"account": "checking"}', *known, *new).stdout
    assert "invalid_software_statement" in place.refused("register", "--again", *known, *new)  # it was good for one
    place.document("register", "--delete", *known, *new)
    assert "could manage" in place.refused("register", "--show", *known, *new)
    assert "invalid_software_statement" in place.refused("call", "get_balance", *known, *new)  # nothing is left to use
    assert said.reveal() not in place.agent("trace", "get_balance", *known, *new).stdout


def test_an_agent_that_somebody_registered_does_not_register(place: Desk) -> None:
    assert "which somebody registered: leave client_id out" in place.refused("register")


def test_a_token_that_others_can_read_is_not_used(place: Desk) -> None:
    file = place.directory / "initial-token"
    file.write_text("initial-token\n", encoding="ascii")
    file.chmod(0o644)
    options = ["--config", str(_empty(place.directory)), "--issuer", place.server.issuer, "--resource", place.resource]
    options += ["--key", str(place.directory / "key.pem"), "--initial-access-token", str(file)]
    assert "others than its owner can reach this token; chmod 600 it" in place.refused("register", *options)


# --- in code


async def test_an_operators_token_brings_one_registration_which_is_bound_to_a_key(place: Desk) -> None:
    store, asking = MemoryRegistrationStore(), robot(place, initial_access_token=initial_token(place))
    async with registrar(place, store) as clerk:
        made = await clerk.introduced(asking)
        assert made.jkt is not None
        assert (await clerk.read(asking))["client_name"] == "Night robot"
        with pytest.raises(ServerRefused, match="401 invalid_token"):
            await clerk.register(asking)
    assert await token_of(place, asking, store) == {
        "client_id": made.client_id,
        "type": "DPoP",
        "scope": (ALLOWED,),
    }


async def test_an_operators_token_for_a_key_needs_that_key(place: Desk) -> None:
    key = new_key()
    token = initial_token(place, "--jkt", key.thumbprint)
    async with registrar(place) as clerk:
        for other in (None, new_key()):
            with pytest.raises(ServerRefused, match="401 invalid_token"):
                await clerk.introduced(robot(place, initial_access_token=token, proof_key=other))
        asking = robot(place, initial_access_token=token, proof_key=key)
        assert (await clerk.introduced(asking)).jkt == key.thumbprint
        assert (await clerk.read(asking))["scope"] == ALLOWED


async def test_a_statement_for_a_key_is_no_use_to_who_has_another(place: Desk) -> None:
    key = new_key()
    claims = {"client_name": "Bound robot", "grant_types": ["client_credentials"], "scope": ALLOWED}
    said = statement(place, "bound-robot", claims, "--jkt", key.thumbprint)
    store = MemoryRegistrationStore()
    async with registrar(place, store) as clerk:
        with pytest.raises(ServerRefused, match="400 invalid_software_statement"):
            await clerk.introduced(robot(place, software_statement=said, metadata={}))
        asking = robot(place, key=key, software_statement=said, metadata={})
        made = await clerk.introduced(asking)
        assert made.jkt == key.thumbprint
    assert (await token_of(place, asking, store))["client_id"] == made.client_id


async def test_a_request_is_signed_where_the_policy_demands_it(place: Desk) -> None:
    token = initial_token(place, "--uses", "2", signed_request=True)
    described = {"client_name": "Signing robot", "scope": ALLOWED, "software_id": "signing-robot"}
    async with registrar(place) as clerk:
        plain = robot(place, initial_access_token=token, metadata=described)
        with pytest.raises(ServerRefused, match="400 invalid_client_metadata"):
            await clerk.introduced(plain)
        signed = robot(place, initial_access_token=token, metadata=described, signed=True)
        assert (await clerk.introduced(signed)).client_id
        assert (await clerk.update(signed)).is_managed


async def test_an_agent_with_a_certificate_registers_where_it_shows_it(place: Desk) -> None:
    certificates = place.server.directory / "certs"
    certificate = ClientCertificate(
        certificates / "agent.pem", certificates / "agent.key", authority=certificates / "ca.pem"
    )
    claims = {
        "client_name": "Vault robot",
        "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "agent.localhost",
        "tls_client_certificate_bound_access_tokens": True,
        "scope": ALLOWED,
    }
    said = statement(place, "vault-robot", claims, "--certificate", str(certificates / "agent.pem"))
    identity = Identity(
        issuer=place.server.issuer,
        client_id="",
        token_endpoint_auth_method=AuthMethod.TLS_CLIENT_AUTH,
        certificate=certificate,
        tls_client_certificate_bound_access_tokens=True,
    )
    asking = Registrant(identity=identity, grant_type=GrantType.CLIENT_CREDENTIALS, software_statement=said)
    store = MemoryRegistrationStore()
    async with httpx2.AsyncClient(verify=certificate.context) as back_channel:
        clerk = Registrar(back_channel=back_channel, store=store)
        made = await clerk.introduced(asking)
        assert str(made.registration_client_uri).startswith(f"https://localhost:{place.server.port + 1}/register/")
        assert (await clerk.read(asking))["client_name"] == "Vault robot"
    assert (await token_of(place, asking, store))["type"] == "Bearer"


async def test_an_agent_that_asks_for_more_than_it_may_is_told_so(place: Desk) -> None:
    token = initial_token(place)
    asking = robot(place, initial_access_token=token, metadata={"client_name": "Greedy", "scope": f"{ALLOWED} {MORE}"})
    async with registrar(place) as clerk:
        with pytest.raises(ServerRefused, match="400 invalid_client_metadata: scope"):
            await clerk.introduced(asking)
        modest = robot(place, initial_access_token=token)
        assert (await clerk.introduced(modest)).client_id  # the refusal used nothing up


async def test_without_any_approval_a_person_is_asked_for(place: Desk) -> None:
    async with registrar(place) as clerk:
        with pytest.raises(RegistrationNeeded, match="have this agent registered there"):
            await clerk.introduced(robot(place, client_id_metadata_document="https://agent.example/client.json"))


async def test_many_agents_of_one_machine_register_once(place: Desk) -> None:
    store, asking = MemoryRegistrationStore(), robot(place, initial_access_token=initial_token(place))
    found = await asyncio.gather(*(token_of(place, asking, store) for _ in range(6)))
    assert len({one["client_id"] for one in found}) == 1


async def test_a_deleted_registration_is_good_for_nothing(place: Desk) -> None:
    store, asking = MemoryRegistrationStore(), robot(place, initial_access_token=initial_token(place))
    async with registrar(place, store) as clerk:
        made = await clerk.introduced(asking)
        await clerk.unregister(asking)
        with pytest.raises(Misconfigured):
            await clerk.read(asking)
    await store.save(place.server.issuer, made)
    with pytest.raises(ServerRefused, match="invalid_client"):
        await token_of(place, asking, store)
    async with registrar(place, store) as clerk:
        with pytest.raises(ServerRefused, match="401 invalid_token"):
            await clerk.unregister(asking)
    assert await store.load(place.server.issuer) is None


def _empty(directory: Path) -> Path:
    """A configuration in which nothing is said, so that the options say everything."""
    file = directory / "empty.toml"
    file.write_text("", encoding="utf-8")
    return file


# --- by the address of a document


async def test_an_agent_is_known_by_its_document_where_the_server_takes_one(tmp_path: Path) -> None:
    key = new_key()
    with document_host(tmp_path) as publisher:
        url = publisher.url("/agent.json")
        described = {
            "client_id": url,
            "client_name": "Published agent",
            "application_type": "native",
            "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": {"keys": [key.public_jwk()]},
        }
        publisher.answers["/agent.json"] = document(json.dumps(described).encode())
        registered = register(tmp_path)
        registered.commands.change('# ca_file = "authorities.pem"', f'ca_file = "{publisher.ca_file}"')
        registered.commands.change("#allowed_private_hosts = []", 'allowed_private_hosts = ["localhost"]')
        registered.commands.change(
            "#enabled = false\n#hosts = []\n#scopes = []",
            f'enabled = true\nhosts = ["localhost:{publisher.port}"]\nscopes = ["openid"]',
        )
        authorities = str(tmp_path / "certs" / "ca.pem")
        identity = Identity(
            issuer=registered.issuer, client_id="", key=key, redirect_uri="http://127.0.0.1:7123/callback"
        )
        asking = Registrant(identity=identity, client_id_metadata_document=url)
        settings = AgentSettings(resource=registered.issuer, registrants=(asking,), scope=("openid",))
        store = MemoryRegistrationStore()

        async def authorize(page: str) -> str:
            return await answered(authorities, page)

        with running(registered.serving(1), tmp_path):
            async with httpx2.AsyncClient(verify=trust(authorities)) as back_channel:
                auth = AgentAuth(settings, back_channel=back_channel, authorize=authorize, registrations=store)
                tokens = await auth.sign_in()
                assert tokens.client_id == url
                assert tokens.subject == (await auth.userinfo())["sub"]
        kept = await store.load(registered.issuer)
        assert kept is not None
        assert kept.is_a_document
        assert publisher.asked("/agent.json") == 1
