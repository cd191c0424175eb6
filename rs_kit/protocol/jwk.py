"""Public JWKs: what may verify here, imported once, with its RFC 7638 thumbprint (RFC 7517, FAPI2 §5.4)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from rs_kit.protocol import base64url, x5c
from rs_kit.protocol.algorithms import ALGORITHM_OF_KEY_TYPE, canonical
from rs_kit.protocol.errors import InvalidJwk

PublicKey = EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey
Verifier = Callable[[bytes, bytes], bool]

KID_LIMIT: Final = 256  # characters, JOSE-15
SET_LIMIT: Final = 32  # keys in one set
_PRIVATE_MEMBERS: Final = frozenset(
    {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}
)  # RFC 7518 §6.2.2, §6.3.2, §6.4
RSA_BITS_LIMIT: Final = 4096
_RSA_BITS: Final = range(2048, RSA_BITS_LIMIT + 1)  # FAPI2 §5.4.1, JOSE-6
_RSA_EXPONENTS: Final = range(65537, 2**32)  # JOSE-6: neither small nor so large that verifying is work
_COORDINATE_BYTES: Final = 32
_ED25519_BYTES: Final = 32
_ES256_BYTES: Final = 64
_ECDSA: Final = ECDSA(SHA256())
_SHA256: Final = SHA256()
_PSS: Final = PSS(mgf=MGF1(SHA256()), salt_length=32)  # RFC 7518 §3.5: the salt is as long as the hash
_ROCA_PRIMES: Final = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)  # CVE-2017-15361
_SMALL_FACTOR_LIMIT: Final = 752  # SP 800-89 §5.3.3 (f)
_CLOSE_PRIMES_STEPS: Final = 16  # CVE-2022-26320 fell in the first ones
_ED25519_FIELD: Final = 2**255 - 19
# Points of Ed25519 whose order divides 8, without their sign bit: under such a key one signature fits many messages
_SMALL_ORDER: Final = frozenset(
    bytes.fromhex(encoded)
    for encoded in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicJwk:
    """A validated public key with the one algorithm that it may verify (JOSE-5).

    `alg` and `kid` are as registered; `verify(signature, message)` is bound once, because it is the hot path.
    """

    kid: str | None
    alg: str | None
    key_type: str
    algorithm: str
    thumbprint: str
    required: Mapping[str, str] = field(repr=False, hash=False)
    public_key: PublicKey = field(repr=False, compare=False)
    verify: Verifier = field(repr=False, compare=False)

    def to_jwk(self) -> dict[str, str]:
        """The RFC 7517 form that we publish."""
        members = dict(self.required) | {"use": "sig", "alg": self.alg or self.algorithm}
        return members if self.kid is None else {"kid": self.kid, **members}


def parse_public(members: Mapping[str, object]) -> PublicJwk:
    """One public signature key.

    Raises:
        InvalidJwk: private or symmetric, weak, off its curve, of another use, or for another algorithm.
    """
    if not _PRIVATE_MEMBERS.isdisjoint(members):
        raise InvalidJwk("the key is private or symmetric")
    key_type = members.get("kty")
    importer = _IMPORTERS.get(key_type) if isinstance(key_type, str) else None
    if not isinstance(key_type, str) or importer is None:
        raise InvalidJwk("kty")
    kid, alg = _purpose(members, ALGORITHM_OF_KEY_TYPE[key_type])
    required, public_key, verify = importer(members)
    _check_certificate(members, required)
    return PublicJwk(
        kid=kid,
        alg=alg,
        key_type=key_type,
        algorithm=ALGORITHM_OF_KEY_TYPE[key_type],
        thumbprint=thumbprint(required),
        required=required,
        public_key=public_key,
        verify=verify,
    )


def parse_set(document: object) -> tuple[PublicJwk, ...]:
    """The signature keys of a set that somebody registers; keys for other uses are passed over (RFC 7517 §5).

    Raises:
        InvalidJwk: no set, too large, nothing that verifies, a bad key, or two keys that kid and algorithm do not
            tell apart (DCR-09); one kid for keys of different algorithms is fine (FAPI2-JWKS-4).
    """
    entries = _entries(document)
    if any(not _PRIVATE_MEMBERS.isdisjoint(members) for members in entries):  # whatever the entry is for
        raise InvalidJwk("a key is private or symmetric")
    keys = tuple(parse_public(members) for members in entries if _is_for_signatures(members))
    if not keys:
        raise InvalidJwk("no signature key")
    names = [(key.kid, key.algorithm) for key in keys if key.kid is not None]
    if len(set(names)) != len(names):
        raise InvalidJwk("a kid is repeated")
    return keys


def usable_keys(document: object) -> tuple[PublicJwk, ...]:
    """The usable keys of a set that was fetched: one bad entry does not take the others with it (JOSE-31).

    Raises:
        InvalidJwk: no set, or too large.
    """
    usable: list[PublicJwk] = []
    for members in _entries(document):
        try:
            usable.append(parse_public(members))
        except InvalidJwk:
            continue
    return tuple(usable)


def is_secret(members: Mapping[str, object]) -> bool:
    """Whether an entry of a set shows a private or symmetric key, whatever it is for."""
    return not _PRIVATE_MEMBERS.isdisjoint(members)


def from_public_key(public_key: PublicKey, *, kid: str | None = None) -> PublicJwk:
    """The JWK of a key that we hold.

    Raises:
        InvalidJwk: a key that may not sign here.
    """
    return parse_public(_members_of(public_key) | ({} if kid is None else {"kid": kid}))


def thumbprint(required: Mapping[str, str]) -> str:
    """RFC 7638 §3: SHA-256 over the required members in lexicographic order; their values need no escaping."""
    text = ",".join(f'"{name}":"{required[name]}"' for name in sorted(required))
    return base64url.encode(hashlib.sha256(f"{{{text}}}".encode("ascii")).digest())


def _entries(document: object) -> list[Mapping[str, object]]:
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, list) or not all(isinstance(members, Mapping) for members in keys):
        raise InvalidJwk("not a JWK set")
    if len(keys) > SET_LIMIT:
        raise InvalidJwk("too many keys")
    return keys


def _is_for_signatures(members: Mapping[str, object]) -> bool:
    key_type = members.get("kty")
    return members.get("use", "sig") == "sig" and isinstance(key_type, str) and key_type in _IMPORTERS


def _purpose(members: Mapping[str, object], algorithm: str) -> tuple[str | None, str | None]:
    kid, alg, use, operations = (members.get(name) for name in ("kid", "alg", "use", "key_ops"))
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= KID_LIMIT):
        raise InvalidJwk("kid")
    if alg is not None and not (isinstance(alg, str) and canonical(alg) == algorithm):
        raise InvalidJwk("alg")
    if use is not None and use != "sig":
        raise InvalidJwk("use")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise InvalidJwk("key_ops")
    return kid, alg


def _octets(members: Mapping[str, object], name: str) -> tuple[str, bytes]:
    value = members.get(name)
    if not isinstance(value, str):
        raise InvalidJwk(f"{name} is missing")
    try:
        return value, base64url.decode(value)
    except ValueError:
        raise InvalidJwk(f"{name} is not base64url") from None


Imported = tuple[Mapping[str, str], PublicKey, Verifier]


def _ec(members: Mapping[str, object]) -> Imported:
    if members.get("crv") != "P-256":
        raise InvalidJwk("crv")
    x, x_octets = _octets(members, "x")
    y, y_octets = _octets(members, "y")
    if len(x_octets) != _COORDINATE_BYTES or len(y_octets) != _COORDINATE_BYTES:  # RFC 7518 §6.2.1.2
        raise InvalidJwk("coordinate length")
    required = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    try:
        key = ECKey.import_key({**required}).public_key
    except (ValueError, JoseError):
        raise InvalidJwk("the point is not on the curve") from None
    check = key.verify

    def verify(signature: bytes, message: bytes) -> bool:
        if len(signature) != _ES256_BYTES:
            return False
        try:
            check(_dss_signature(signature), message, _ECDSA)
        except InvalidSignature:
            return False
        return True

    return required, key, verify


def _dss_signature(signature: bytes) -> bytes:
    """The DER form of two 32-byte integers (RFC 3279 §2.2.3), at half the cost of going through Python's integers."""
    r, s = signature[:32].lstrip(b"\x00") or b"\x00", signature[32:].lstrip(b"\x00") or b"\x00"
    if r[0] > 0x7F:  # noqa: PLR2004 - the sign bit of a DER integer
        r = b"\x00" + r
    if s[0] > 0x7F:  # noqa: PLR2004 - as above
        s = b"\x00" + s
    return b"0%c\x02%c%b\x02%c%b" % (len(r) + len(s) + 4, len(r), r, len(s), s)


def _rsa(members: Mapping[str, object]) -> Imported:
    n, n_octets = _octets(members, "n")
    e, e_octets = _octets(members, "e")
    if n_octets[:1] == b"\x00" or e_octets[:1] == b"\x00":  # RFC 7518 §6.3.1: the minimum of octets
        raise InvalidJwk("leading zero")
    modulus, exponent = int.from_bytes(n_octets), int.from_bytes(e_octets)
    if modulus.bit_length() not in _RSA_BITS or modulus % 2 == 0:
        raise InvalidJwk("modulus")
    if exponent not in _RSA_EXPONENTS or exponent % 2 == 0:
        raise InvalidJwk("exponent")
    if all(modulus % prime in residues for prime, residues in _roca_residues()):
        raise InvalidJwk("a modulus of the ROCA family")
    if math.gcd(modulus, _small_primes()) != 1 or _primes_are_close(modulus):
        raise InvalidJwk("a modulus that can be factored")
    required = {"e": e, "kty": "RSA", "n": n}
    key = RSAKey.import_key({**required}).public_key
    check = key.verify

    def verify(signature: bytes, message: bytes) -> bool:
        try:
            check(signature, message, _PSS, _SHA256)
        except InvalidSignature:
            return False
        return True

    return required, key, verify


def _okp(members: Mapping[str, object]) -> Imported:
    if members.get("crv") != "Ed25519":
        raise InvalidJwk("crv")
    x, octets = _octets(members, "x")
    if len(octets) != _ED25519_BYTES:
        raise InvalidJwk("key length")
    if octets[:31] + bytes((octets[31] & 0x7F,)) in _SMALL_ORDER:
        raise InvalidJwk("a point of small order")
    if not _is_on_edwards_curve(octets):
        raise InvalidJwk("the point is not on the curve, or another spelling of one")
    required = {"crv": "Ed25519", "kty": "OKP", "x": x}
    key = cast(Ed25519PublicKey, OKPKey.import_key({**required}).public_key)  # by its crv
    check = key.verify

    def verify(signature: bytes, message: bytes) -> bool:
        try:
            check(signature, message)
        except InvalidSignature:
            return False
        return True

    return required, key, verify


@lru_cache(maxsize=1)
def _roca_residues() -> tuple[tuple[int, frozenset[int]], ...]:
    """The powers of 65537 modulo each prime: a modulus that is one of them for all primes is of that generator."""
    return tuple((prime, frozenset(pow(65537, power, prime) for power in range(prime))) for prime in _ROCA_PRIMES)


@lru_cache(maxsize=1)
def _small_primes() -> int:
    """The product of all small primes: what has a divisor among them was never made of two large ones."""
    candidates = range(2, _SMALL_FACTOR_LIMIT)
    return math.prod(n for n in candidates if all(n % divisor for divisor in range(2, math.isqrt(n) + 1)))


def _primes_are_close(modulus: int) -> bool:
    """Whether Fermat's method splits the modulus at once, a square among them."""
    middle = math.isqrt(modulus - 1) + 1
    for candidate in range(middle, middle + _CLOSE_PRIMES_STEPS):
        square = candidate * candidate - modulus
        if math.isqrt(square) ** 2 == square:
            return True
    return False


def _is_on_edwards_curve(octets: bytes) -> bool:
    """Whether RFC 8032 §5.1.3 finds a point under its only encoding: y < p, and (y² - 1) / (dy² + 1) a square."""
    y = int.from_bytes(octets, "little") & (2**255 - 1)
    if y >= _ED25519_FIELD:
        return False
    d = -121665 * pow(121666, -1, _ED25519_FIELD)
    product = (y * y - 1) * (d * y * y + 1) % _ED25519_FIELD
    return pow(product, (_ED25519_FIELD - 1) // 2, _ED25519_FIELD) == 1


def _check_certificate(members: Mapping[str, object], required: Mapping[str, str]) -> None:
    certificates = x5c.chain(members)
    if not certificates:
        return
    key = x5c.public_key_of(certificates[0])
    if not isinstance(key, EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey) or _members_of(key) != required:
        raise InvalidJwk("x5c is for another key")
    x5c.check_digests(members, certificates[0])


def _members_of(public_key: PublicKey) -> dict[str, object]:
    if isinstance(public_key, EllipticCurvePublicKey):
        numbers = public_key.public_numbers()
        width = (public_key.key_size + 7) // 8
        crv = "P-256" if isinstance(public_key.curve, SECP256R1) else public_key.curve.name
        x, y = (base64url.encode(value.to_bytes(width)) for value in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": crv, "x": x, "y": y}
    if isinstance(public_key, RSAPublicKey):
        rsa_numbers = public_key.public_numbers()
        return {"kty": "RSA", "n": _minimal(rsa_numbers.n), "e": _minimal(rsa_numbers.e)}
    return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(public_key.public_bytes_raw())}


def _minimal(value: int) -> str:
    return base64url.encode(value.to_bytes((value.bit_length() + 7) // 8))


_IMPORTERS: Final[Mapping[str, Callable[[Mapping[str, object]], Imported]]] = {"EC": _ec, "RSA": _rsa, "OKP": _okp}
