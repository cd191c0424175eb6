"""The certificate that a TLS-terminating proxy hands on: RFC 9440, strictly, and the names that came before it."""

from __future__ import annotations

import binascii
from typing import Final, NamedTuple

from rs_kit.protocol.errors import InvalidRequest
from rs_kit.protocol.http import Headers, once

CLIENT_CERT: Final = b"client-cert"
CLIENT_CERT_CHAIN: Final = b"client-cert-chain"
CERTIFICATE_LIMIT: Final = 16 * 1024  # bytes of one certificate
CHAIN_LIMIT: Final = 8  # certificates, without the leaf
_BLANKS: Final = b" \t"  # around the commas of a list, RFC 8941 §4.2.1
_SEQUENCE: Final = 0x30
_SHORT: Final = 0x80
# What proxies called it, each in its own encoding (and what they say beside it): nothing of that is believed.
_FORGEABLE: Final = (
    *(b"client-cert", b"x-client-cert", b"clientcert", b"x-clientcert", b"x-arr-clientcert", b"cf-client-cert"),
    *(b"ssl-client-", b"x-ssl-", b"x-tls-client-", b"tls-client-", b"http-ssl-client-", b"x-client-dn"),
    *(b"x-client-verify", b"x-forwarded-client-cert", b"x-forwarded-ssl-client", b"x-forwarded-tls-client"),
    *(b"x-amzn-mtls-", b"x-envoy-peer-", b"x-original-client-cert"),
)


class ClientCertificate(NamedTuple):
    """DER of the certificate that a client has shown to the proxy, and of what else it sent."""

    leaf: bytes
    chain: tuple[bytes, ...] = ()


def client_certificate(headers: Headers) -> ClientCertificate | None:
    """RFC 9440 §2: one `Client-Cert`, a Byte Sequence, and at most one `Client-Cert-Chain`, a list of them.

    Stricter than RFC 8941 §4.2.7 asks: base64 in the one form that an encoder gives, no parameters, and DER of one
    ASN.1 sequence, so that no two readers see different certificates. Whether the sender may say so is not judged here.

    Raises:
        InvalidRequest: a field is repeated, malformed or too long, or there is a chain and no certificate.
    """
    leaf, chain = once(headers, CLIENT_CERT), once(headers, CLIENT_CERT_CHAIN)
    if leaf is None:
        if chain is not None:
            raise InvalidRequest("Client-Cert-Chain without Client-Cert")
        return None
    if chain is None:
        return ClientCertificate(_certificate(leaf.strip(b" ")))
    members = chain.strip(b" ").split(b",", CHAIN_LIMIT)
    if len(members) > CHAIN_LIMIT:
        raise InvalidRequest("Client-Cert-Chain is too long")
    # no pattern looks for the blanks: over a run of them that ends in no comma it would take its length squared
    others = tuple(_certificate(member.strip(_BLANKS)) for member in members)
    return ClientCertificate(_certificate(leaf.strip(b" ")), others)


def may_forge_certificate(name: bytes) -> bool:
    """Whether a field of this name (lower case) is one that some reader takes for the client's certificate.

    Underscores count as hyphens: gateways make the same variable of both.
    """
    return name.replace(b"_", b"-").startswith(_FORGEABLE)


def _certificate(item: bytes) -> bytes:
    """DER from a Byte Sequence (RFC 8941 §3.3.5).

    Raises:
        InvalidRequest: it is none, or not DER of exactly one sequence.
    """
    encoded = item[1:-1]
    if len(item) < len(b"::") or item[:1] != b":" or item[-1:] != b":":
        raise InvalidRequest("Client-Cert is no byte sequence")
    if len(encoded) > CERTIFICATE_LIMIT // 3 * 4:
        raise InvalidRequest("Client-Cert is too long")
    try:
        der = binascii.a2b_base64(encoded, strict_mode=True)
    except binascii.Error:
        raise InvalidRequest("Client-Cert is no base64") from None
    if binascii.b2a_base64(der, newline=False) != encoded:
        raise InvalidRequest("Client-Cert is not canonical base64")
    if not _is_one_sequence(der):
        raise InvalidRequest("Client-Cert is no DER sequence")
    return der


def _is_one_sequence(der: bytes) -> bool:
    """X.690 §8.1.3, §10.1: a SEQUENCE with a definite length in its shortest form, and nothing after it."""
    if len(der) < 2 or der[0] != _SEQUENCE:  # noqa: PLR2004 - tag and length
        return False
    if der[1] < _SHORT:
        return len(der) == 2 + der[1]
    count = der[1] - _SHORT
    length = int.from_bytes(der[2 : 2 + count], "big")
    shortest = 1 if length < 1 << 8 else 2
    return count == shortest and length >= _SHORT and len(der) == 2 + count + length
