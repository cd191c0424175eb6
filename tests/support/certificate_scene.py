"""What tests of clients with certificates do over and over: one is let in, or refused everywhere with one reason."""

from __future__ import annotations

from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from tests.support.back_channel import BACK_CHANNEL
from tests.support.certificates import Authority, Shown, der_of, ec_key, resigned_der
from tests.support.certified_client import CertifiedClient, CertifiedHouse
from tests.support.token_scene import refused

STRINGS: Final = x509.name._ASN1Type  # which string type carries a value is said nowhere else
CN: Final = NameOID.COMMON_NAME
ORGANIZATION: Final = NameOID.ORGANIZATION_NAME
COUNTRY: Final = NameOID.COUNTRY_NAME
GB: Final = [(COUNTRY, "GB", STRINGS.PrintableString)]


def name(*rdns: list[tuple[Any, str, Any]]) -> x509.Name:
    """A name whose values have chosen string types, in the order of a certificate."""
    return x509.Name(
        x509.RelativeDistinguishedName(
            [x509.NameAttribute(oid, value, _type=kind, _validate=False) for oid, value, kind in rdn]
        )
        for rdn in rdns
    )


def named(house: CertifiedHouse, shown: Shown, kind: str, value: str) -> CertifiedClient:
    """A client of the PKI that registered this one subject."""
    return house.certified("bank", shown, **{"tls_client_auth_subject_dn": ..., kind: value})


async def let_in(client: CertifiedClient) -> dict[str, Any]:
    """What its token says."""
    await client.client_credentials()
    return dict(house_of(client).signer.signed[-1][1])


async def not_let_in(client: CertifiedClient, reason: str, **form: Any) -> None:
    """A token request of this client is one that nobody is known by."""
    house = house_of(client)
    with client.lying(form=form):
        answer = await refused(house, client.client_credentials, 401, "invalid_client", reason=reason)
    assert answer.json()["error_description"] == "client authentication failed"


async def out(client: CertifiedClient, shown: Shown | None, reason: str | None = None) -> None:
    """This certificate does not let the client in anywhere, and its own does afterwards."""
    house = house_of(client)
    for build in BACK_CHANNEL.values():
        with client.showing(shown):
            await refused(house, lambda build=build: client.send(build(client)), 401, "invalid_client", reason=reason)
    assert (await client.client_credentials()).access_token


def house_of(client: CertifiedClient) -> CertifiedHouse:
    """Where the client is registered."""
    transport = client.http._transport
    assert isinstance(transport, CertifiedHouse)
    return transport


class Der(Shown):
    """A certificate that only its octets can tell; nobody could parse it."""

    def __init__(self, octets: bytes, above: tuple[x509.Certificate, ...] = ()) -> None:
        super().__init__(certificate=None, key=ec_key(), above=above)  # type: ignore[arg-type]
        object.__setattr__(self, "octets", octets)

    @property
    def der(self) -> bytes:
        return bytes(self.octets)  # type: ignore[attr-defined]


def signed_with_sha1(authority: Authority, subject: str) -> bytes:
    """ECDSA with SHA-1, which no builder makes any more: the algorithm's OID is changed in both places."""
    strong, weak = bytes.fromhex("300a06082a8648ce3d040302"), bytes.fromhex("300906072a8648ce3d0401")
    whole = authority.issue(subject).certificate.tbs_certificate_bytes
    inner = der_of(0x30, whole[2 + (whole[1] & 0x7F) :].replace(strong, weak, 1))
    assert isinstance(authority.key, ec.EllipticCurvePrivateKey)
    signature = authority.key.sign(inner, ec.ECDSA(hashes.SHA1()))
    return der_of(0x30, inner + weak + der_of(0x03, b"\x00" + signature))


def with_explicit_curve(shown: Shown, authority: Authority) -> bytes:
    """P-256 spelt out, as a curve with a generator of choice would be, which makes any key one's own (CVE-2020-0601)"""
    public = shown.key.public_key()
    named = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    field = der_of(0x30, bytes.fromhex("06072a8648ce3d0101") + der_of(0x02, b"\x00" + _P))
    curve = der_of(0x30, der_of(0x04, _A) + der_of(0x04, _B))
    numbers = der_of(0x02, b"\x01") + field + curve + der_of(0x04, b"\x04" + _G) + der_of(0x02, b"\x00" + _N)
    algorithm = der_of(0x30, bytes.fromhex("06072a8648ce3d0201") + der_of(0x30, numbers + der_of(0x02, b"\x01")))
    explicit = der_of(0x30, algorithm + der_of(0x03, b"\x00" + point))

    def spelt_out(tbs: bytes) -> bytes:
        assert named in tbs
        return der_of(0x30, tbs[2 + (tbs[1] & 0x7F) :].replace(named, explicit))

    return resigned_der(shown, spelt_out, authority)


_P = bytes.fromhex("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff")
_A = bytes.fromhex("ffffffff00000001000000000000000000000000fffffffffffffffffffffffc")
_B = bytes.fromhex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")
_N = bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
_G = bytes.fromhex(
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
