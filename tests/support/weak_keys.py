"""Keys that nobody may use here, each with the best signature that its holder, or a forger, can make with it."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.peer_keys import PeerKey, as_json, b64, unb64

P256_FIELD: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
P256_B: Final = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
ED25519_FIELD: Final = 2**255 - 19
CLOSE_PRIMES: Final = (3 * 2**1022 + 1037, 3 * 2**1022 + 1697)  # CVE-2022-26320
ROCA_PRIMES: Final = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)  # CVE-2017-15361


@dataclass(frozen=True)
class WeakKey:
    """The members of a JWK, and what signs with it; `case` is the catalogue's."""

    case: str
    members: dict[str, Any]
    alg: str
    signature: Callable[[bytes], bytes]

    @property
    def is_public(self) -> bool:
        return "d" not in self.members

    def sign(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        message = f"{b64(as_json({**header, 'alg': self.alg}))}.{b64(as_json(claims))}".encode()
        return f"{message.decode()}.{b64(self.signature(message))}"


def weak_keys() -> dict[str, WeakKey]:
    """By name."""
    return {**_rsa_keys(), **_ec_keys(), **_ed25519_keys(), **_contradictions()}


def _of(case: str, key: PeerKey, **changes: Any) -> WeakKey:
    return WeakKey(case, key.jwk(**changes), key.alg, key.signature)


@cache
def _private(bits: int, exponent: int = 65537) -> PeerKey:
    return PeerKey(rsa.generate_private_key(public_exponent=exponent, key_size=bits), "PS256")  # type: ignore[arg-type]


def _made_of(p: int, q: int) -> PeerKey:
    """A private key of primes that somebody chose."""
    e, phi = 65537, (p - 1) * (q - 1)
    d = pow(e, -1, phi)
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(e, p * q)
    )
    return PeerKey(numbers.private_key(unsafe_skip_rsa_key_validation=True), "PS256")


def _roca() -> int:
    product = math.prod(ROCA_PRIMES)
    modulus = pow(65537, 12345, product) + (2**2047 // product + 1) * product
    return modulus if modulus % 2 else modulus + product


def _number(value: int) -> str:
    return b64(value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def _rsa_keys() -> dict[str, WeakKey]:
    strong = PeerKey.ps256()
    n = int.from_bytes(unb64(strong.jwk()["n"]), "big")
    return {
        "RSA of 1024 bits": _of("JOS-09", _private(1024)),
        "RSA of 2047 bits": _of("JOS-09", _made_of(2**1024 - 105, 2**1022 + 1443)),
        "RSA of 4104 bits": _of("JOS-09", _private(4104)),
        "RSA with e = 3": _of("JOS-09", _private(2048, 3)),
        "RSA with e = 1": _of("JOS-09", strong, e="AQ"),
        "RSA with an even e": _of("JOS-09", strong, e=_number(65536)),
        "RSA with a huge e": _of("JOS-09", strong, e=_number(n - 2)),
        "RSA with an even n": _of("JOS-09", strong, n=_number(n - 1)),
        "RSA of close primes": _of("JOS-09", _made_of(*CLOSE_PRIMES)),
        "RSA with a small factor": _of("JOS-09", strong, n=_number(3 * (n // 3 | 1))),
        "RSA of the ROCA family": _of("JOS-09", strong, n=_number(_roca())),
        "RSA with a zero before n": _of("JOS-09", strong, n=b64(b"\x00" + unb64(strong.jwk()["n"]))),
    }


def _point(x: int, y: int) -> dict[str, str]:
    return {"x": b64(x.to_bytes(32, "big")), "y": b64(y.to_bytes(32, "big"))}


def _twist() -> dict[str, str]:
    """An x that no point of P-256 has: it is on the quadratic twist."""
    for x in range(1, 100):
        square = (x**3 - 3 * x + P256_B) % P256_FIELD
        if pow(square, (P256_FIELD - 1) // 2, P256_FIELD) != 1:
            return _point(x, pow(square, (P256_FIELD + 1) // 4, P256_FIELD))
    raise AssertionError("half of all x are on the twist")


def _ec_keys() -> dict[str, WeakKey]:
    key = PeerKey.es256(seed=51)
    x, y = (int.from_bytes(unb64(key.jwk()[name]), "big") for name in "xy")
    return {
        "EC off the curve": _of("JOS-10", key, **_point(x, y ^ 1)),
        "EC on the twist": _of("JOS-10", key, **_twist()),
        "EC at infinity": _of("JOS-10", key, **_point(0, 0)),
        "EC beyond the field": _of("JOS-10", key, **_point(x, P256_FIELD)),
        "EC with a short coordinate": _of("JOS-10", key, x=b64(unb64(key.jwk()["x"])[1:])),
        "EC with padding": _of("JOS-10", key, x=key.jwk()["x"] + "="),
        "EC on P-384": _of("JOS-10", PeerKey(ec.derive_private_key(51, ec.SECP384R1()), "ES256")),
        "EC on secp256k1": _of("JOS-10", PeerKey(ec.derive_private_key(51, ec.SECP256K1()), "ES256"), crv="P-256"),
    }


def _edwards(y: int) -> str:
    return b64(y.to_bytes(32, "little"))


def _ed25519_keys() -> dict[str, WeakKey]:
    neutral = (1).to_bytes(32, "little")

    def forged(message: bytes) -> bytes:
        return neutral + bytes(32)  # R is the neutral element and S zero: good for every message under such a key

    def of(x: str) -> WeakKey:
        return WeakKey("JOS-10", {"kty": "OKP", "crv": "Ed25519", "x": x}, "Ed25519", forged)

    return {
        "Ed25519 at the neutral element": of(_edwards(1)),
        "Ed25519 of order two": of(_edwards(ED25519_FIELD - 1)),
        "Ed25519 of order four": of(_edwards(0)),
        "Ed25519 at the neutral element, spelled otherwise": of(_edwards(ED25519_FIELD + 1)),
        "Ed25519 off the curve": of(_edwards(2)),
        "Ed25519 spelled otherwise": of(_edwards(ED25519_FIELD + 3)),
        "Ed25519 that is short": of(b64(bytes(31))),
        "X25519": WeakKey("JOS-10", {"kty": "OKP", "crv": "X25519", "x": _edwards(9)}, "Ed25519", forged),
    }


def certificate(public_key: Any) -> str:
    """A certificate for a key as a member of `x5c`, signed by somebody."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(
        subject_name=name,
        issuer_name=name,
        public_key=public_key,
        serial_number=1,
        not_valid_before=now,
        not_valid_after=now + timedelta(days=3650),
    )
    der = builder.sign(ec.derive_private_key(99, ec.SECP256R1()), SHA256()).public_bytes(Encoding.DER)
    return base64.b64encode(der).decode()


def _contradictions() -> dict[str, WeakKey]:
    key, other = PeerKey.es256(seed=52), PeerKey.es256(seed=53)
    return {
        "a key with the certificate of another": _of("JOS-23", key, x5c=[certificate(other.private.public_key())]),
        "a key with what is no certificate": _of("JOS-23", key, x5c=["AAAA"]),
        "a key for encryption": _of("JOS-23", key, use="enc"),
        "a key to sign with": _of("JOS-23", key, key_ops=["sign"]),
        "a key for another algorithm": _of("JOS-23", key, alg="ES384"),
        "a key with its secret": WeakKey("JOS-23", key.private_jwk(), key.alg, key.signature),
    }
