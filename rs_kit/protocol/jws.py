"""Compact JWS: form, type and algorithm are settled before a key is touched (RFC 7515, RFC 8725)."""

# typing.override came with Python 3.12, and dunder methods have no other parent than object
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple, Self

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from rs_kit.protocol import base64url
from rs_kit.protocol.algorithms import canonical
from rs_kit.protocol.errors import InvalidJwk, InvalidJws, NoVerificationKey
from rs_kit.protocol.jwk import KID_LIMIT, PublicJwk, from_public_key
from rs_kit.protocol.strict_json import JOSE_DEPTH, InvalidJson, parse_object

PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey

HEADER_LIMIT: Final = 4096  # characters, JOSE-12
SIGNATURE_LIMIT: Final = 1024  # characters; RSA-4096 needs 683
# JOSE-13: we understand no extension, so every crit is refused; JOSE-14: keys never come from a header;
# JOSE-17: nothing is nested; RFC 7797 §7: a JWT is not unencoded; RFC 8725 §3.6: nothing is inflated
_REFUSED: Final = frozenset({"crit", "b64", "zip", "cty", "jku", "x5u", "x5c"})
_ECDSA: Final = ECDSA(SHA256())
_SHA256: Final = SHA256()
_PSS: Final = PSS(mgf=MGF1(SHA256()), salt_length=32)  # JOSE-7
_HEADERS_KEPT: Final = 16
_encode_json: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class UnverifiedJws(NamedTuple):
    """A JWS of the right form; until `verify`, its claims may only help to find the keys (JOSE-18)."""

    header: Mapping[str, object]
    claims: Mapping[str, object]
    algorithm: str
    kid: str | None
    signing_input: bytes
    signature: bytes

    def __repr__(self) -> str:
        return f"UnverifiedJws(algorithm={self.algorithm!r}, kid={self.kid!r}, ***)"  # its parts are the token again


class VerifiedJws(NamedTuple):
    """What a key of the expected signer signed."""

    header: Mapping[str, object]
    claims: Mapping[str, object]
    key: PublicJwk


def parse_compact(
    token: str | bytes,
    *,
    algorithms: frozenset[str],
    types: frozenset[str],
    type_required: bool = True,
    max_length: int,
) -> UnverifiedJws:
    """Read a compact JWS of an expected type (RFC 7515 §7.1); `types` without the `application/` prefix.

    Raises:
        InvalidJws: size, alphabet, JSON, `typ`, `alg`, or a header parameter that we refuse.
    """
    header_segment, payload, signing_input, signature = split(token, max_length=max_length)
    header = _keyless_header(header_segment)
    check_type(header, types, required=type_required)
    return UnverifiedJws(
        header=header,
        claims=parse_claims(payload),
        algorithm=check_algorithm(header, algorithms),
        kid=_kid(header),
        signing_input=signing_input,
        signature=signature,
    )


def verify(unverified: UnverifiedJws, keys: Sequence[PublicJwk]) -> VerifiedJws:
    """Verify with the keys that the header selects, several of one name included (FAPI2-JWKS-4).

    Raises:
        NoVerificationKey: no such key, or no kid where there are several (JOSE-32).
        InvalidJws: another signature.
    """
    candidates = [
        key
        for key in keys
        if key.algorithm == unverified.algorithm and (unverified.kid is None or key.kid == unverified.kid)
    ]
    if not candidates:
        raise NoVerificationKey("no key with this kid and alg")
    if unverified.kid is None and len(candidates) > 1:
        raise NoVerificationKey("several keys with this alg and no kid")
    for key in candidates:
        if key.verify(unverified.signature, unverified.signing_input):
            return VerifiedJws(header=unverified.header, claims=unverified.claims, key=key)
    raise InvalidJws("signature")


def split(token: str | bytes, *, max_length: int) -> tuple[bytes, bytes, bytes, bytes]:
    """Header segment, payload segment, signing input, signature octets; three parts, none empty (JOSE-10, JOSE-11).

    Raises:
        InvalidJws: too long, not ASCII, another number of parts, or a signature that is not base64url.
    """
    if len(token) > max_length:
        raise InvalidJws("length")
    try:
        encoded = token.encode("ascii") if isinstance(token, str) else token
        signing_input, _, signature = encoded.rpartition(b".")
        header, _, payload = signing_input.partition(b".")
        if not header or not payload or not signature or b"." in payload:
            raise InvalidJws("parts")
        if len(header) > HEADER_LIMIT or len(signature) > SIGNATURE_LIMIT:
            raise InvalidJws("length")
        return header, payload, signing_input, base64url.decode(signature)
    except ValueError:
        raise InvalidJws("base64url") from None


def parse_header(segment: bytes) -> dict[str, object]:
    """The JOSE header (RFC 7515 §4); unknown parameters are ignored.

    Raises:
        InvalidJws: not a strict JSON object, or a parameter that we refuse.
    """
    header = _parse_segment(segment)
    if not _REFUSED.isdisjoint(header):
        raise InvalidJws("a header parameter is refused")
    return header


@lru_cache(maxsize=128)  # small: what nobody has verified yet may grow 20-fold when it is parsed
def _keyless_header(segment: bytes) -> Mapping[str, object]:
    """The header of everything but a DPoP proof; the same for all that one key signs, so it is not read every time."""
    header = parse_header(segment)
    if "jwk" in header:
        raise InvalidJws("jwk in the header")  # JOSE-14: only a DPoP proof brings its key
    return MappingProxyType(header)


def parse_claims(segment: bytes) -> dict[str, object]:
    """The claims (RFC 7519 §4).

    Raises:
        InvalidJws: not a strict JSON object.
    """
    return _parse_segment(segment)


def check_type(header: Mapping[str, object], types: frozenset[str], *, required: bool) -> None:
    """RFC 8725 §3.11: `typ` is one of these, compared as a media type (RFC 7515 §4.1.9).

    Raises:
        InvalidJws: it is another, or missing where it must be there.
    """
    if "typ" not in header and not required:
        return
    typ = header.get("typ")
    if not isinstance(typ, str):
        raise InvalidJws("typ")
    if typ not in types and typ.lower().removeprefix("application/") not in {known.lower() for known in types}:
        raise InvalidJws("typ")


def check_algorithm(header: Mapping[str, object], algorithms: frozenset[str]) -> str:
    """The RFC 9864 name of `alg`, which must be one that the caller chose beforehand (RFC 8725 §3.1).

    Raises:
        InvalidJws: it is another one, `none` among them.
    """
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or canonical(algorithm) not in algorithms:
        raise InvalidJws("alg")
    return canonical(algorithm)


def numeric_date(value: object) -> int | None:
    """A NumericDate that every parser reads alike: an integer value in [0, 2^33), else None (JOS-14)."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**33:
        return value
    return None


def _parse_segment(segment: bytes) -> dict[str, object]:
    try:
        data = base64url.decode(segment)
        members: dict[str, object] = parse_object(data, max_depth=JOSE_DEPTH)
    except InvalidJson as error:
        raise InvalidJws(f"JSON: {error}") from None
    except ValueError:
        raise InvalidJws("base64url") from None
    if b"\\u0000" in data:
        raise InvalidJws("NUL")  # ends a string for somebody else (JOS-16)
    return members


def _kid(header: Mapping[str, object]) -> str | None:
    kid = header.get("kid")
    if kid is None and "kid" not in header:
        return None
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_LIMIT:
        raise InvalidJws("kid")
    return kid


class SigningKey:
    """A private key with its one algorithm; shows nothing of itself."""

    __slots__ = ("_headers", "_sign", "public")

    def __init__(self, public: PublicJwk, sign_octets: Callable[[bytes], bytes]) -> None:
        self.public = public
        self._sign = sign_octets
        self._headers: dict[tuple[str, str], bytes] = {}

    @classmethod
    def from_private_key(cls, private_key: PrivateKey, *, alg: str | None = None, kid: str | None = None) -> Self:
        """Take a key of the `cryptography` package.

        Raises:
            InvalidJwk: a key that may not sign here, or another `alg` than its own.
        """
        if not isinstance(private_key, EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey):
            raise InvalidJwk("key type")
        public = from_public_key(private_key.public_key(), kid=kid)
        if alg is not None and canonical(alg) != public.algorithm:
            raise InvalidJwk("alg")
        return cls(public, _signer(private_key))

    @property
    def alg(self) -> str:
        """The RFC 9864 name of the algorithm."""
        return self.public.algorithm

    @property
    def kid(self) -> str | None:
        """The key's name in its set."""
        return self.public.kid

    @property
    def thumbprint(self) -> str:
        """RFC 7638 with SHA-256."""
        return self.public.thumbprint

    def public_jwk(self) -> dict[str, str]:
        """The RFC 7517 members of the public key."""
        return self.public.to_jwk()

    def sign_segment(self, header: bytes, claims: Mapping[str, object]) -> str:
        """A compact JWS under an encoded header segment that the caller keeps."""
        message = header + b"." + base64url.encode(_encode_json(claims).encode()).encode("ascii")
        return f"{message.decode('ascii')}.{base64url.encode(self._sign(message))}"

    def header_segment(self, typ: str, alg: str | None = None) -> bytes:
        """The encoded header of a type, kept for the next signature; `alg` is another name of the key's algorithm."""
        name = alg or self.alg
        segment = self._headers.get((typ, name))
        if segment is None:
            if canonical(name) != self.alg:
                raise ValueError(f"the key signs with {self.alg}")
            header = {"alg": name, "typ": typ} | ({} if self.kid is None else {"kid": self.kid})
            segment = encode_header(header)
            if len(self._headers) < _HEADERS_KEPT:
                self._headers[typ, name] = segment
        return segment

    def __repr__(self) -> str:
        return f"SigningKey(alg={self.alg!r}, kid={self.kid!r})"


def sign(key: SigningKey, claims: Mapping[str, object], *, typ: str, header: Mapping[str, object] | None = None) -> str:
    """A compact JWS over `claims`; `header` adds parameters to alg, typ and kid."""
    if header is None:
        return key.sign_segment(key.header_segment(typ), claims)
    named: dict[str, object] = {"alg": key.alg, "typ": typ}
    if key.kid is not None:
        named["kid"] = key.kid
    return key.sign_segment(encode_header({**header, **named}), claims)


def encode_header(header: Mapping[str, object]) -> bytes:
    """The header segment of a JWS."""
    return base64url.encode(_encode_json(header).encode()).encode("ascii")


def _signer(private_key: PrivateKey) -> Callable[[bytes], bytes]:
    if isinstance(private_key, EllipticCurvePrivateKey):

        def es256(message: bytes) -> bytes:
            r, s = decode_dss_signature(private_key.sign(message, _ECDSA))
            return r.to_bytes(32) + s.to_bytes(32)

        return es256
    if isinstance(private_key, RSAPrivateKey):

        def ps256(message: bytes) -> bytes:
            return private_key.sign(message, _PSS, _SHA256)

        return ps256
    return private_key.sign
