"""What the clients of a variant register, and the certificates that they show."""

from __future__ import annotations

import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.expectations.variants import Variant
from tests.support.peer_keys import PeerKey

_VALIDITY: Final = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


class ClientAuthority:
    """Certifies clients; the server is told to trust it."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("Authority of the suite")
        builder = x509.CertificateBuilder(
            self._name, self._name, self._key.public_key(), x509.random_serial_number(), *_VALIDITY
        )
        signs = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._certificate = builder.add_extension(signs, critical=True).sign(self._key, SHA256())

    @property
    def pem(self) -> bytes:
        return self._certificate.public_bytes(Encoding.PEM)

    def certify(self, client_id: str, host: str) -> ClientCertificate:
        """A certificate for a client whose subject is a DNS name."""
        private = ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateBuilder(
            self._name, _named(host), private.public_key(), x509.random_serial_number(), *_VALIDITY
        )
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        purpose = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(purpose, critical=False)
        return ClientCertificate.of(client_id, builder.sign(self._key, SHA256()), private, host=host)


@dataclass(frozen=True)
class ClientCertificate:
    """A certificate, its key, and for whom it is; without a host it chains to nothing."""

    client_id: str
    der: bytes
    pem: bytes
    key_pem: bytes
    key: PeerKey
    host: str | None

    @classmethod
    def self_signed(cls, client_id: str) -> ClientCertificate:
        private, name = ec.generate_private_key(ec.SECP256R1()), _named("A client of the suite")
        builder = x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number(), *_VALIDITY)
        return cls.of(client_id, builder.sign(private, SHA256()), private, host=None)

    @classmethod
    def of(
        cls, client_id: str, made: x509.Certificate, private: ec.EllipticCurvePrivateKey, *, host: str | None
    ) -> ClientCertificate:
        return cls(
            client_id=client_id,
            der=made.public_bytes(Encoding.DER),
            pem=made.public_bytes(Encoding.PEM),
            key_pem=private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            key=PeerKey(private, "ES256"),
            host=host,
        )

    @contextlib.asynccontextmanager
    async def http(self, directory: Path, trust: ssl.SSLContext) -> AsyncIterator[httpx2.AsyncClient]:
        """An HTTP client that shows it wherever it is asked for one."""
        path = directory / f"{self.client_id}.pem"
        path.write_bytes(self.key_pem + self.pem)
        context = ssl.create_default_context(cadata="".join(map(ssl.DER_cert_to_PEM_cert, _authorities(trust))))
        context.load_cert_chain(path)
        async with httpx2.AsyncClient(verify=context, timeout=20.0, trust_env=False) as client:
            yield client


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _authorities(trust: ssl.SSLContext) -> list[bytes]:
    return trust.get_ca_certs(binary_form=True)


def scope_of(variant: Variant, scopes: tuple[str, ...]) -> str:
    return " ".join((*(("openid",) if variant.is_openid else ()), *scopes))


def registration(
    variant: Variant,
    *,
    number: int,
    key: PeerKey,
    redirect_uri: str,
    resource: str,
    scopes: tuple[str, ...],
    certificate: ClientCertificate | None,
) -> dict[str, Any]:
    """RFC 7591 metadata of one client of the suite."""
    # what may be asked for by a claim, or beside the scope that a test asks for by itself
    more = ("profile", "email", "offline_access") if variant.is_openid else ()
    jwks = [key.jwk(kid=f"suite-{number}", use="sig", alg=key.alg)]
    members: dict[str, Any] = {
        "client_name": f"Suite client {number}",
        "token_endpoint_auth_method": "private_key_jwt",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "scope": scope_of(variant, (*scopes, *more)),
        "default_resource": resource,
        "dpop_bound_access_tokens": variant.sender == "dpop",
    }
    if variant.client_auth == "mtls":
        assert certificate is not None
        if certificate.host is not None:
            members["token_endpoint_auth_method"] = "tls_client_auth"
            members["tls_client_auth_san_dns"] = certificate.host
        else:
            members["token_endpoint_auth_method"] = "self_signed_tls_client_auth"
            shown = base64.b64encode(certificate.der).decode()
            jwks.append(certificate.key.jwk(kid="certificate", use="sig", alg="ES256", x5c=[shown]))
    if variant.sender == "mtls":
        members["tls_client_certificate_bound_access_tokens"] = True
    if variant.is_signed:
        members |= {"require_signed_request_object": True, "request_object_signing_alg": key.alg}
    if variant.is_jarm:
        members["authorization_signed_response_alg"] = "ES256"
    return members | {"jwks": {"keys": jwks}}
