"""Every way for an agent to show who it is, with every binding of its tokens, at a real server and a guarded bank."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from fapi_as.agent import (
    AgentAuth,
    AgentSettings,
    AuthMethod,
    ClientCertificate,
    GrantType,
    Identity,
    MemoryTokenStore,
    ServerRefused,
    trust,
)
from rs_kit.protocol.jws import SigningKey
from tests.support.agent_desk import ALLOWED, Desk, desk
from tests.support.peer_keys import PeerKey
from tests.support.person import answered

pytestmark = pytest.mark.xdist_group("agent-variants")
REDIRECT_URI: Final = "http://127.0.0.1:8400/callback"
CALL: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "get_balance", "arguments": {"account": "checking"}},
}
ACCEPT: Final = {"accept": "application/json, text/event-stream"}
METHODS: Final = tuple(AuthMethod)
BINDINGS: Final = ("key", "certificate", "both")
SIGNED: Final = {"request_object_signing_alg": "ES256", "authorization_signed_response_alg": "ES256"}


@dataclass(frozen=True, kw_only=True)
class Variants:
    """The servers, and what the agents of all variants have: one key, and a certificate of each kind."""

    place: Desk
    key: SigningKey
    certified: ClientCertificate
    self_signed: ClientCertificate

    def certificate(self, method: AuthMethod) -> ClientCertificate:
        return self.self_signed if method is AuthMethod.SELF_SIGNED_TLS_CLIENT_AUTH else self.certified

    def identity(self, method: AuthMethod, binding: str, **changes: Any) -> Identity:
        needs_certificate = method is not AuthMethod.PRIVATE_KEY_JWT or binding != "key"
        members: dict[str, Any] = {
            "issuer": self.place.server.issuer,
            "client_id": client_id(method, binding),
            "key": self.key,
            "redirect_uri": REDIRECT_URI,
            "token_endpoint_auth_method": method,
            "certificate": self.certificate(method) if needs_certificate else None,
            "dpop_bound_access_tokens": binding != "certificate",
            "tls_client_certificate_bound_access_tokens": binding != "key",
        }
        return Identity(**{**members, **changes})

    async def called(
        self, identity: Identity, store: MemoryTokenStore, **changes: Any
    ) -> tuple[httpx2.Response, AgentAuth]:
        """One call of a tool by a new process of this agent."""
        settings = AgentSettings(
            **{"resource": self.place.resource, "identities": (identity,), "scope": (ALLOWED,), **changes}
        )
        tls = identity.certificate.context if identity.certificate is not None else trust(self.place.authorities)

        async def authorize(url: str) -> str:
            return await answered(str(self.place.authorities), url)

        async with httpx2.AsyncClient(verify=tls) as back_channel:
            auth = AgentAuth(settings, back_channel=back_channel, authorize=authorize, store=store)
            async with httpx2.AsyncClient(verify=tls, auth=auth, timeout=20.0) as client:
                return await client.post(self.place.resource, json=CALL, headers=ACCEPT), auth


def client_id(method: AuthMethod, binding: str) -> str:
    return f"{method.value}-{binding}".replace("_", "-")


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Variants]:
    directory = tmp_path_factory.mktemp("variants")
    with desk(tmp_path_factory.mktemp("servers")) as place:
        key, certificates = PeerKey.es256(), place.server.directory / "certs"
        certified = ClientCertificate(
            certificates / "agent.pem", certificates / "agent.key", authority=place.authorities
        )
        self_signed, entry = _self_signed(directory, place.authorities)
        jwks = {"keys": [key.jwk(kid="variant-1"), entry]}
        for method in METHODS:
            for binding in BINDINGS:
                members = _registration(method, binding) | {"jwks": jwks}
                place.server.commands.json("client", "add", "-", stdin=json.dumps(members))
        signing = SigningKey.from_private_key(key.private, kid="variant-1")
        yield Variants(place=place, key=signing, certified=certified, self_signed=self_signed)


def _registration(method: AuthMethod, binding: str) -> dict[str, Any]:
    members: dict[str, Any] = {
        "client_id": client_id(method, binding),
        "client_name": "Variant",
        "application_type": "native",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_method": method.value,
        "scope": f"{ALLOWED} openid",
    }
    if method is AuthMethod.TLS_CLIENT_AUTH:
        members["tls_client_auth_san_dns"] = "agent.localhost"
    if binding != "key":
        members["tls_client_certificate_bound_access_tokens"] = True
    if binding != "certificate":
        members["dpop_bound_access_tokens"] = True
    return members


def _self_signed(directory: Path, authorities: Path) -> tuple[ClientCertificate, dict[str, Any]]:
    """A certificate that no authority knows, and the JWK that registers it."""
    key, now = PeerKey.es256(), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "variant")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key.private, hashes.SHA256())
    )
    file = directory / "self-signed.pem"
    private = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    entry = key.jwk(kid="variant-certificate") | {"x5c": [base64.b64encode(made.public_bytes(Encoding.DER)).decode()]}
    return ClientCertificate(file, authority=authorities), entry


# sign-ins are 20 a minute for one source
@pytest.mark.parametrize(
    ("method", "binding", "signed"),
    [
        *((method, binding, False) for method in METHODS for binding in BINDINGS),
        *((method, binding, True) for method, binding in zip(METHODS, BINDINGS, strict=True)),
    ],
)
async def test_an_agent_calls_a_tool_for_a_person_and_again_with_a_renewed_token(
    variants: Variants, method: AuthMethod, binding: str, signed: bool
) -> None:
    identity = variants.identity(method, binding, **(SIGNED if signed else {}))
    scope = (ALLOWED, "openid") if signed else (ALLOWED,)
    store = MemoryTokenStore()

    response, auth = await variants.called(identity, store, scope=scope)
    assert "1250 EUR" in response.text

    first = auth.agent.tokens
    assert first is not None
    assert first.token_type == ("Bearer" if binding == "certificate" else "DPoP")
    assert (first.certificate is not None) == (binding != "key")
    assert (first.subject is not None) == signed
    await store.save(variants.place.resource, replace(first, expires_at=0))  # as if an hour had passed
    response, auth = await variants.called(identity, store, scope=scope)
    assert "1250 EUR" in response.text
    second = auth.agent.tokens
    assert second is not None
    assert second.access_token != first.access_token
    assert (second.subject, second.certificate) == (first.subject, first.certificate)


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("method", METHODS)
async def test_an_agent_calls_a_tool_for_itself(variants: Variants, method: AuthMethod, binding: str) -> None:
    identity = variants.identity(method, binding)
    response, _ = await variants.called(identity, MemoryTokenStore(), grant_type=GrantType.CLIENT_CREDENTIALS)
    assert "1250 EUR" in response.text


@pytest.mark.parametrize("method", [AuthMethod.TLS_CLIENT_AUTH, AuthMethod.SELF_SIGNED_TLS_CLIENT_AUTH])
async def test_an_agent_with_the_certificate_of_another_kind_of_registration_is_refused(
    variants: Variants, method: AuthMethod
) -> None:
    other = next(one for one in METHODS[1:] if one is not method)
    identity = variants.identity(method, "certificate", certificate=variants.certificate(other))
    with pytest.raises(ServerRefused, match="401 invalid_client"):
        await variants.called(identity, MemoryTokenStore(), grant_type=GrantType.CLIENT_CREDENTIALS)


@pytest.mark.parametrize("binding", BINDINGS)
async def test_userinfo_tells_about_the_person_of_the_id_token(variants: Variants, binding: str) -> None:
    identity = variants.identity(AuthMethod.PRIVATE_KEY_JWT, binding)
    tls = identity.certificate.context if identity.certificate is not None else trust(variants.place.authorities)
    settings = AgentSettings(resource=identity.issuer, identities=(identity,), scope=("openid",))

    async def authorize(url: str) -> str:
        return await answered(str(variants.place.authorities), url)

    async with httpx2.AsyncClient(verify=tls) as back_channel:
        auth = AgentAuth(settings, back_channel=back_channel, authorize=authorize)
        tokens = await auth.sign_in()
        assert (await auth.userinfo())["sub"] == tokens.subject
