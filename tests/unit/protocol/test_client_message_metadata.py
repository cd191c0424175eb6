"""What may be registered about certificates, signed messages and OpenID Connect."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fapi_as.protocol.client_metadata import parse_client, to_metadata
from tests.support.client_members import client_members, ec_jwk, ed_jwk, refused


def _self_signed() -> str:
    private_key = ec.derive_private_key(0x1234567, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agent")])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private_key.public_key())
    builder = builder.serial_number(7).not_valid_before(begin).not_valid_after(begin + timedelta(days=900))
    return base64.b64encode(builder.sign(private_key, hashes.SHA256()).public_bytes(Encoding.DER)).decode()


SUBJECTS = (
    ("tls_client_auth_subject_dn", "CN=agent,O=Bank,C=GB"),
    ("tls_client_auth_san_dns", "agent.example"),
    ("tls_client_auth_san_uri", "https://agent.example/id"),
    ("tls_client_auth_san_ip", "192.0.2.7"),
    ("tls_client_auth_san_email", "agent@bank.example"),
)


@pytest.mark.parametrize(("member", "value"), SUBJECTS)
def test_one_subject_is_registered_for_tls_client_auth_and_reads_back(member: str, value: str) -> None:
    members = client_members(token_endpoint_auth_method="tls_client_auth", jwks=..., **{member: value})
    client = parse_client(members, client_id="c", version=1)
    assert client.certificate_subject is not None
    assert (str(client.certificate_subject.kind), client.certificate_subject.value) == (member, value)
    assert to_metadata(parse_client(to_metadata(client), client_id="c", version=1)) == to_metadata(client)


@pytest.mark.parametrize(("member", "value"), [*SUBJECTS[1:], ("client_name", "Ledger agent")])
def test_no_subject_or_two_are_refused_for_tls_client_auth(member: str, value: str) -> None:
    first = {} if member == "client_name" else dict(SUBJECTS[:1])
    assert "subject" in refused(token_endpoint_auth_method="tls_client_auth", **first, **{member: value})


def test_a_self_signed_certificate_is_registered_in_x5c_and_reads_back() -> None:
    certificate = _self_signed()
    members = client_members(
        token_endpoint_auth_method="self_signed_tls_client_auth", jwks={"keys": [ec_jwk(x5c=[certificate])]}
    )
    client = parse_client(members, client_id="c", version=1)
    assert client.certificates == (base64.b64decode(certificate),)
    again = parse_client(json.loads(json.dumps(to_metadata(client))), client_id="c", version=1)
    assert again.certificates == client.certificates


def test_self_signed_tls_client_auth_without_a_certificate_is_refused() -> None:
    assert "x5c" in refused(token_endpoint_auth_method="self_signed_tls_client_auth")


def test_a_certificate_of_another_key_is_refused() -> None:
    assert "jwks" in refused(jwks={"keys": [ed_jwk(x5c=[_self_signed()])]})


def test_a_client_may_have_its_keys_behind_an_address() -> None:
    client = parse_client(client_members(jwks=..., jwks_uri="https://agent.example/jwks"), client_id="c", version=1)
    assert (client.keys, client.jwks_uri) == ((), "https://agent.example/jwks")


def test_a_certificate_bound_client_needs_no_dpop_and_may_have_both() -> None:
    bound = parse_client(client_members(tls_client_certificate_bound_access_tokens=True), client_id="c", version=1)
    assert (bound.tls_client_certificate_bound_access_tokens, bound.dpop_bound_access_tokens) == (True, False)
    both = parse_client(
        client_members(tls_client_certificate_bound_access_tokens=True, dpop_bound_access_tokens=True),
        client_id="c",
        version=1,
    )
    assert both.dpop_bound_access_tokens


def test_signed_messages_and_openid_members_are_registered_and_read_back() -> None:
    members = client_members(
        require_signed_request_object=True,
        request_object_signing_alg="ES256",
        authorization_signed_response_alg="PS256",
        response_modes=["jwt"],
        id_token_signed_response_alg="EdDSA",
        userinfo_signed_response_alg="ES256",
        subject_type="pairwise",
        default_max_age=300,
        require_auth_time=True,
        post_logout_redirect_uris=["https://agent.example/bye"],
        use_mtls_endpoint_aliases=True,
    )
    client = parse_client(members, client_id="c", version=1)
    assert client.response_modes == ("jwt",)
    registered = to_metadata(client)
    assert {name: registered[name] for name in members if name not in {"jwks", "scope"}} == {
        name: value for name, value in members.items() if name not in {"jwks", "scope"}
    }
    assert to_metadata(parse_client(json.loads(json.dumps(registered)), client_id="c", version=1)) == registered


def test_a_pairwise_client_of_several_hosts_names_its_sector() -> None:
    uris = ["https://a.example/cb", "https://b.example/cb"]
    assert "sector_identifier_uri" in refused(redirect_uris=uris, subject_type="pairwise")
    members = client_members(
        redirect_uris=uris, subject_type="pairwise", sector_identifier_uri="https://a.example/sector.json"
    )
    assert parse_client(members, client_id="c", version=1).sector_identifier_uri == "https://a.example/sector.json"
