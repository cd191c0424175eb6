"""Whom a tenant trusts to certify its clients: files that change, chains that peers send, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from fapi_as.adapters.tls import client_trust
from fapi_as.adapters.tls.client_trust import CHAIN_LIMIT, ClientTrust, NoTrust
from fapi_as.adapters.tls.watched_file import SIZE_LIMIT, UnusableFile, WatchedFile
from rs_kit.protocol import jwk
from tests.support.certificates import EPOCH, SERVER_AUTH, Authority, Key, Shown, ec_key, pem, self_signed, usage

DAY: Final = 86_400


@pytest.fixture
def root() -> Authority:
    return Authority("CN=Root")


@pytest.fixture
def trust(tmp_path: Path, root: Authority) -> ClientTrust:
    return trusting(tmp_path, root.certificate)


def trusting(directory: Path, *certificates: x509.Certificate, lists: bytes | None = None) -> ClientTrust:
    ca_file, crl_file = directory / "ca.pem", directory / "crl.pem"
    ca_file.write_bytes(pem(*certificates))
    if lists is None:
        return ClientTrust.open(ca_file)
    crl_file.write_bytes(lists)
    return ClientTrust.open(ca_file, crl_file)


def judged(trust: ClientTrust, shown: Shown, *, now: int = EPOCH) -> str | None:
    return trust.refusal(shown.der, shown.chain, now)


def test_without_authorities_nobody_is_trusted(root: Authority) -> None:
    assert judged(NoTrust(), root.issue()) == "no authority is trusted"  # type: ignore[arg-type] # another trust


@pytest.mark.parametrize(
    "key",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        ec_key,
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate,
    ],
    ids=["RSA", "P-256", "P-384", "P-521", "Ed25519"],
)
def test_every_strong_kind_of_key_may_certify_and_be_certified(tmp_path: Path, key: Callable[[], Key]) -> None:
    authority = Authority("CN=Root", key=key())
    trust = trusting(tmp_path, authority.certificate)
    assert judged(trust, authority.issue(key=key())) is None


def test_an_authority_that_is_trusted_needs_nobody_above_it(tmp_path: Path, root: Authority) -> None:
    below = Authority("CN=Below", issuer=root)
    trust = trusting(tmp_path, below.certificate)
    assert judged(trust, below.issue().sending()) is None
    assert judged(trust, root.issue()) is not None


def test_a_chain_is_found_in_any_order_and_beside_other_things(trust: ClientTrust, root: Authority) -> None:
    upper = Authority("CN=Upper", issuer=root)
    lower = Authority("CN=Lower", issuer=upper)
    shown = lower.issue()
    others = (self_signed().certificate, Authority("CN=Root").certificate, root.certificate)
    assert judged(trust, shown.sending(*others, upper.certificate, lower.certificate)) is None
    assert judged(trust, shown.sending(lower.certificate)) is not None
    assert trust.refusal(shown.der, (b"", b"\x30\x82", b"x" * 20_000, *shown.chain), EPOCH) is None


def test_what_a_peer_may_send_is_bounded(trust: ClientTrust, root: Authority) -> None:
    shown = root.issue()
    assert judged(trust, shown.sending(*[root.certificate] * CHAIN_LIMIT)) is None
    assert (
        judged(trust, shown.sending(*[root.certificate] * (CHAIN_LIMIT + 1))) == "the peer sent too many certificates"
    )


def test_a_chain_is_no_longer_than_six(trust: ClientTrust, root: Authority) -> None:
    authority = root
    for number in range(4):
        authority = Authority(f"CN=A{number}", issuer=authority)
    assert judged(trust, authority.issue()) is None
    assert judged(trust, Authority("CN=A4", issuer=authority).issue()) == "the chain is too long"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"usage": usage(crl_sign=True)}, "unable to get local issuer certificate"),
        ({"eku": [SERVER_AUTH]}, "unable to get local issuer certificate"),
        ({"constraints": None}, "unable to get local issuer certificate"),
        ({"key": rsa.generate_private_key(65537, 4104)}, "unable to get local issuer certificate"),
        ({"days": -0.5}, "certificate has expired"),
        ({"begins": 1}, "certificate is not yet valid or the system clock is incorrect"),
    ],
    ids=["not for certificates", "for servers", "no authority", "a giant key", "expired", "not yet valid"],
)
def test_an_authority_that_is_none_helps_nobody(
    trust: ClientTrust, root: Authority, changes: dict[str, object], reason: str
) -> None:
    below = Authority("CN=Below", issuer=root, **changes)  # type: ignore[arg-type]
    assert judged(trust, below.issue()) == f"the certificate is not trusted: {reason}"


def test_an_authority_with_a_weak_key_helps_nobody(trust: ClientTrust, root: Authority) -> None:
    below = Authority("CN=Below", issuer=root, key=rsa.generate_private_key(65537, 1024))
    assert judged(trust, below.issue()) == "a certificate has a key that is too weak: modulus"


def test_an_authority_for_any_purpose_certifies_clients(trust: ClientTrust, root: Authority) -> None:
    below = Authority("CN=Below", issuer=root, eku=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    assert judged(trust, below.issue()) is None


def test_of_two_trusted_authorities_of_one_name_each_vouches_for_its_own(tmp_path: Path) -> None:
    """A key that follows another: certificates name the key of their issuer (RFC 5280 §4.2.1.1)."""
    old, new = (with_identifier("CN=Root") for _ in range(2))
    trust = trusting(tmp_path, old.certificate, new.certificate)
    for authority in (old, new):
        claimed = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())  # type: ignore[arg-type]
        assert judged(trust, authority.issue(extensions=[(claimed, False)])) is None


def with_identifier(name: str) -> Authority:
    key = ec_key()
    return Authority(name, key=key, extensions=[(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)])


# --- what is kept


def test_what_was_verified_is_not_verified_again_until_something_ends(
    trust: ClientTrust, root: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, times = root.issue(days=1), []
    verify = client_trust._path
    monkeypatch.setattr(client_trust, "_path", lambda *arguments: times.append(1) or verify(*arguments))
    assert [judged(trust, shown) for _ in range(3)] == [None, None, None]
    assert len(times) == 1
    assert judged(trust, shown, now=EPOCH + DAY) is None
    assert judged(trust, shown, now=EPOCH + DAY + 1) == "the certificate has expired"
    assert judged(trust, shown, now=EPOCH - 1) is None  # the clock was set back: it is asked again
    assert len(times) == 3
    assert judged(trust, shown.sending(root.certificate)) is None
    assert len(times) == 4  # with something else beside it, it is another question


def test_what_is_kept_is_bounded(trust: ClientTrust, root: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_trust, "KEPT", 2)
    for _ in range(4):
        assert judged(trust, root.issue()) is None
        assert judged(trust, self_signed()) is not None
    assert len(trust._accepted) == 2
    assert len(trust._refused) <= 2


@pytest.mark.attack("MTL-17")
def test_who_is_refused_is_judged_once_a_second_however_often_it_asks(
    trust: ClientTrust, root: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, times = root.issue(begins=1 / DAY), []
    verify = client_trust._path
    monkeypatch.setattr(client_trust, "_path", lambda *arguments: times.append(1) or verify(*arguments))
    assert {judged(trust, shown) for _ in range(100)} == {"the certificate is not valid yet"}
    assert len(times) == 1
    assert judged(trust, shown, now=EPOCH + 1) is None
    assert judged(trust, shown) == "the certificate is not valid yet"  # the clock was set back


@pytest.mark.attack("MTL-17")
def test_the_keys_of_a_chain_that_leads_nowhere_are_not_examined(
    trust: ClientTrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = Authority("CN=Nobody", key=rsa.generate_private_key(65537, 2048))
    sent, examined = [Authority(f"CN={n}", issuer=above).certificate for n in range(CHAIN_LIMIT - 1)], []
    examine = jwk.from_public_key
    monkeypatch.setattr(jwk, "from_public_key", lambda key: examined.append(1) or examine(key))
    assert judged(trust, above.issue().sending(above.certificate, *sent)) is not None
    assert examined == []


def test_a_new_authority_vouches_for_who_was_refused_in_the_same_second(tmp_path: Path, root: Authority) -> None:
    file = tmp_path / "authorities.pem"
    file.write_bytes(pem(Authority("CN=Other").certificate))
    trust, shown = ClientTrust.open(file), root.issue()
    assert judged(trust, shown) is not None
    file.write_bytes(pem(Authority("CN=Other").certificate, root.certificate))
    assert judged(trust, shown) is None


def test_a_trusted_authority_has_its_dates_too(tmp_path: Path) -> None:
    """It is the operator's word that it is trusted, and its own until when."""
    root = Authority("CN=Root", days=1)
    trust, shown = trusting(tmp_path, root.certificate), root.issue(days=30)
    assert judged(trust, shown) is None
    assert judged(trust, shown, now=EPOCH + DAY + 1) == "the certificate is not trusted: certificate has expired"
    early = trusting(tmp_path, Authority("CN=Root", key=root.key, begins=1).certificate)
    assert "not yet valid" in (judged(early, shown) or "")


@pytest.mark.parametrize("key", [ed448.Ed448PrivateKey.generate, lambda: dsa.generate_private_key(2048)])
def test_a_key_of_another_kind_is_none(
    tmp_path: Path, trust: ClientTrust, root: Authority, key: Callable[[], Key]
) -> None:
    assert judged(trust, root.issue(key=key())) == "a certificate has a key of an unknown kind"
    (tmp_path / "odd.pem").write_bytes(pem(Authority("CN=Odd", issuer=root, key=key()).certificate))
    with pytest.raises(UnusableFile, match="a key of an unknown kind"):
        ClientTrust.open(tmp_path / "odd.pem")


def test_an_end_of_an_authority_is_an_end_of_what_it_vouches_for(trust: ClientTrust, root: Authority) -> None:
    below = Authority("CN=Below", issuer=root, days=1)
    shown = below.issue(days=30)
    assert judged(trust, shown) is None
    assert judged(trust, shown, now=EPOCH + DAY + 1) is not None


# --- the files


def test_an_authority_that_is_taken_out_of_the_file_vouches_for_nobody(tmp_path: Path, root: Authority) -> None:
    other = Authority("CN=Other")
    trust, shown = trusting(tmp_path, root.certificate, other.certificate), root.issue()
    assert judged(trust, shown) is None
    (tmp_path / "ca.pem").write_bytes(pem(other.certificate))
    assert judged(trust, shown) == "the certificate is not trusted: unable to get local issuer certificate"
    (tmp_path / "ca.pem").write_bytes(pem(other.certificate, root.certificate))
    assert judged(trust, shown) is None


def test_while_the_file_is_broken_nobody_is_trusted(tmp_path: Path, root: Authority) -> None:
    trust, shown = trusting(tmp_path, root.certificate), root.issue()
    assert judged(trust, shown) is None
    (tmp_path / "ca.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    assert "must hold certificates of authorities in PEM" in (judged(trust, shown) or "")
    (tmp_path / "ca.pem").unlink()
    assert "cannot be read" in (judged(trust, shown) or "")
    (tmp_path / "ca.pem").write_bytes(pem(root.certificate))
    assert judged(trust, shown) is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "must hold certificates of authorities in PEM"),
        (pem(self_signed().certificate), "holds a certificate that may not certify clients"),
        (pem(Authority("CN=TLS", eku=[SERVER_AUTH]).certificate), "an authority may not certify clients"),
        (pem(Authority("CN=Weak", key=rsa.generate_private_key(65537, 1024)).certificate), "a key that is too weak"),
        (pem(Authority("CN=Odd", key=ec.generate_private_key(ec.SECP256K1())).certificate), "a key on a weak curve"),
        (pem(*[Authority("CN=Many").certificate] * 257), "must hold at most 256 certificates"),
    ],
    ids=["empty", "a client's", "for servers", "weak", "another curve", "many"],
)
def test_a_file_that_holds_no_authorities_is_told_at_the_start(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(UnusableFile, match=sentence):
        ClientTrust.open(tmp_path / "ca.pem")


def test_a_watched_file_is_read_when_it_changed_and_not_otherwise(tmp_path: Path) -> None:
    path, read = tmp_path / "watched", []
    path.write_bytes(b"one")
    watched = WatchedFile(path, lambda content: read.append(content) or content)
    assert [watched.current(), watched.current()] == [b"one", b"one"]
    path.write_bytes(b"two")
    assert watched.current() == b"two"
    assert read == [b"one", b"two"]
    with path.open("wb") as large:
        large.truncate(SIZE_LIMIT + 1)
    with pytest.raises(UnusableFile, match="is larger than"):
        watched.current()
