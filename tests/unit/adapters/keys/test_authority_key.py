"""The key file of an authority: fresh, its owner's alone, and nothing that somebody else put there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fapi_as.adapters.keys import UnusableAuthorityKey, read_authority_key, write_authority_key
from rs_kit.protocol import jws
from rs_kit.protocol.jwk import parse_public


def _written(path: Path, private_key: object) -> Path:
    path.touch(0o600)
    path.write_bytes(private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))  # type: ignore[attr-defined]
    return path


def test_a_key_that_is_written_is_the_one_that_is_read_and_its_owners_alone(tmp_path: Path) -> None:
    written = write_authority_key(tmp_path / "authority.key")
    read = read_authority_key(tmp_path / "authority.key")
    assert stat.S_IMODE((tmp_path / "authority.key").stat().st_mode) == 0o600
    assert (read.thumbprint, read.kid, read.alg) == (written.thumbprint, written.thumbprint, "ES256")
    signed = jws.sign(read, {"iss": "x"}, typ="JWT")
    unverified = jws.parse_compact(signed, algorithms=frozenset({"ES256"}), types=frozenset({"JWT"}), max_length=1024)
    jws.verify(unverified, [parse_public(written.public_jwk())])


def test_keys_are_all_different_and_none_is_overwritten(tmp_path: Path) -> None:
    first = write_authority_key(tmp_path / "one.key")
    assert write_authority_key(tmp_path / "two.key").thumbprint != first.thumbprint
    with pytest.raises(UnusableAuthorityKey, match="never overwritten"):
        write_authority_key(tmp_path / "one.key")
    assert read_authority_key(tmp_path / "one.key").thumbprint == first.thumbprint
    with pytest.raises(UnusableAuthorityKey, match="cannot be written"):
        write_authority_key(tmp_path / "none" / "one.key")


@pytest.mark.parametrize(
    ("private_key", "alg"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (rsa.generate_private_key(65537, 2048), "PS256"),
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
    ],
    ids=["Ed25519", "RSA", "P-256"],
)
def test_every_kind_of_key_that_may_sign_here_is_read(tmp_path: Path, private_key: object, alg: str) -> None:
    assert read_authority_key(_written(tmp_path / "authority.key", private_key)).alg == alg


@pytest.mark.parametrize(
    "private_key",
    [
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP521R1()),
        x25519.X25519PrivateKey.generate(),
    ],
    ids=["RSA of 1024 bits", "P-521", "X25519"],
)
def test_a_key_that_may_not_sign_here_is_refused(tmp_path: Path, private_key: object) -> None:
    with pytest.raises(UnusableAuthorityKey, match="cannot sign here"):
        read_authority_key(_written(tmp_path / "authority.key", private_key))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    write_authority_key(tmp_path / "authority.key")
    (tmp_path / "authority.key").chmod(mode)
    with pytest.raises(UnusableAuthorityKey, match="can be read by others"):
        read_authority_key(tmp_path / "authority.key")


def test_a_key_that_somebody_else_put_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_authority_key(tmp_path / "authority.key")
    owner = (tmp_path / "authority.key").stat().st_uid
    if owner == 0:
        os.chown(tmp_path / "authority.key", 4321, 4321)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(UnusableAuthorityKey, match="belongs to another user"):
        read_authority_key(tmp_path / "authority.key")
