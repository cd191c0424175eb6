"""Keys of a peer, on bare `cryptography`: the second opinion on all that rs_kit signs or verifies."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

Json = dict[str, Any]
_REQUIRED = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def as_json(value: Any) -> bytes:
    """Text and bytes stay as they are, so that a test can write JSON that no encoder would."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, separators=(",", ":")).encode()


def compact(header: Any, payload: Any, signature: bytes) -> str:
    return f"{b64(as_json(header))}.{b64(as_json(payload))}.{b64(signature)}"


@lru_cache(maxsize=8)
def _rsa(bits: int, index: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


class PeerKey:
    """A key pair with one algorithm; ES256 unless another one is asked for."""

    def __init__(self, private: Any, alg: str) -> None:
        self.private = private
        self.alg = alg
        self._members = self._public_members()

    def __repr__(self) -> str:
        return f"PeerKey({self.alg})"  # in the names of tests: the same in every process

    @classmethod
    def es256(cls, seed: int | None = None) -> PeerKey:
        private = (
            ec.generate_private_key(ec.SECP256R1()) if seed is None else ec.derive_private_key(seed, ec.SECP256R1())
        )
        return cls(private, "ES256")

    @classmethod
    def ed25519(cls, seed: int | None = None) -> PeerKey:
        if seed is None:
            return cls(ed25519.Ed25519PrivateKey.generate(), "Ed25519")
        return cls(ed25519.Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big")), "Ed25519")

    @classmethod
    def ps256(cls, bits: int = 2048, index: int = 0) -> PeerKey:
        return cls(_rsa(bits, index), "PS256")

    @classmethod
    def of(cls, alg: str) -> PeerKey:
        return {"ES256": cls.es256, "PS256": cls.ps256, "Ed25519": cls.ed25519}[alg]()

    def _public_members(self) -> Json:
        public = self.private.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey):
            numbers, width = public.public_numbers(), (public.key_size + 7) // 8
            crv = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}.get(
                public.curve.name, public.curve.name
            )
            x, y = (b64(value.to_bytes(width, "big")) for value in (numbers.x, numbers.y))
            return {"kty": "EC", "crv": crv, "x": x, "y": y}
        if isinstance(public, rsa.RSAPublicKey):
            rsa_numbers = public.public_numbers()
            n = rsa_numbers.n.to_bytes((public.key_size + 7) // 8, "big")
            e = rsa_numbers.e.to_bytes((rsa_numbers.e.bit_length() + 7) // 8, "big")
            return {"kty": "RSA", "n": b64(n), "e": b64(e)}
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}

    def jwk(self, **more: Any) -> Json:
        return {**self._members, **more}

    def private_jwk(self, **more: Any) -> Json:
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            secret = {"d": b64(self.private.private_bytes_raw())}
        elif isinstance(self.private, rsa.RSAPrivateKey):
            numbers = self.private.private_numbers()
            secret = {
                name: b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))
                for name, value in {"d": numbers.d, "p": numbers.p, "q": numbers.q}.items()
            }
        else:
            value = self.private.private_numbers().private_value
            secret = {"d": b64(value.to_bytes((self.private.key_size + 7) // 8, "big"))}
        return {**self._members, **secret, **more}

    @property
    def thumbprint(self) -> str:
        required = {name: self._members[name] for name in _REQUIRED[self._members["kty"]]}
        return b64(hashlib.sha256(as_json(required)).digest())

    def signature(self, message: bytes) -> bytes:
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            width = (self.private.key_size + 7) // 8
            r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(SHA256())))
            return r.to_bytes(width, "big") + s.to_bytes(width, "big")
        if isinstance(self.private, rsa.RSAPrivateKey):
            if self.alg == "RS256":
                return self.private.sign(message, padding.PKCS1v15(), SHA256())
            return self.private.sign(message, padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32), SHA256())
        return self.private.sign(message)

    def sign(self, header: Any, payload: Any) -> str:
        """A compact JWS; `alg` is added to a header that is a dict and does not name one."""
        if isinstance(header, dict):
            header = {"alg": self.alg, **header}
        message = f"{b64(as_json(header))}.{b64(as_json(payload))}".encode()
        return f"{message.decode()}.{b64(self.signature(message))}"

    def verifies(self, token: str) -> bool:
        """Whether a compact JWS is signed by this key; raises when it is not."""
        message, _, signature = token.rpartition(".")
        octets, public = unb64(signature), self.private.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey):
            der = encode_dss_signature(int.from_bytes(octets[:32], "big"), int.from_bytes(octets[32:], "big"))
            public.verify(der, message.encode(), ec.ECDSA(SHA256()))
        elif isinstance(public, rsa.RSAPublicKey):
            public.verify(octets, message.encode(), padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32), SHA256())
        else:
            public.verify(octets, message.encode())
        return True
