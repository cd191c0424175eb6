"""What is sealed opens with the same key for the same row, and the key file is for its owner only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.adapters.entropy import SystemEntropy
from fapi_as.adapters.keys import Sealing, UnusableSealingKey, read_sealing_key, write_sealing_key
from fapi_as.adapters.store.sealed_payload import BrokenSeal, associated_data
from fapi_as.protocol.effects import HandleKind
from tests.support.fakes import SeededEntropy

SEALING = Sealing(b"s" * 32)


@given(payload=st.binary(max_size=200), associated=st.binary(max_size=80))
def test_what_is_sealed_opens_for_the_same_row(payload: bytes, associated: bytes) -> None:
    assert SEALING.open(SEALING.seal(payload, associated), associated) == payload


@given(payload=st.binary(min_size=1, max_size=64), position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_changed_bit_anywhere_breaks_the_seal(payload: bytes, position: int, bit: int) -> None:
    sealed = bytearray(SEALING.seal(payload, b"row"))
    sealed[position % len(sealed)] ^= 1 << bit
    with pytest.raises(BrokenSeal):
        SEALING.open(bytes(sealed), b"row")


def test_another_row_another_key_and_nonsense_do_not_open() -> None:
    sealed = SEALING.seal(b"payload", b"row")
    for sealing, content, associated in (
        (SEALING, sealed, b"another row"),
        (Sealing(b"t" * 32), sealed, b"row"),
        (SEALING, b"", b"row"),
        (SEALING, b"\x01", b"row"),
        (SEALING, sealed[:-1], b"row"),
    ):
        with pytest.raises(BrokenSeal):
            sealing.open(content, associated)


def test_rows_with_the_same_payload_look_different() -> None:
    first, second = (SEALING.seal(b"payload" * 10, row) for row in (b"a", b"b"))
    assert first[1:] != second[1:]
    assert b"payload" not in first


def test_the_parts_of_the_associated_data_cannot_be_shifted_into_each_other() -> None:
    spellings = {
        associated_data(tenant, kind, digest)
        for tenant in ("a", "a:4:code", "")
        for kind in HandleKind
        for digest in (b"", b"d" * 32)
    }
    assert len(spellings) == 3 * len(HandleKind) * 2


def test_derived_keys_differ_by_purpose_and_tenant_and_are_shared_by_workers() -> None:
    keys = {
        SEALING.derive(purpose, tenant)
        for purpose, tenant in (("nonce", "default"), ("nonce", "other"), ("browser", "default"), ("nonced", "efault"))
    }
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}
    assert Sealing(b"s" * 32).derive("nonce", "default") == SEALING.derive("nonce", "default")
    assert Sealing(b"t" * 32).derive("nonce", "default") not in keys


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(UnusableSealingKey, match="32 octets"):
        Sealing(bytes(length))


def test_a_written_key_file_is_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "sealing.key"
    write_sealing_key(path, SystemEntropy())
    assert path.stat().st_mode & 0o777 == 0o600
    key = read_sealing_key(path)
    assert len(key) == 32
    other = tmp_path / "other.key"
    write_sealing_key(other, SystemEntropy())
    assert read_sealing_key(other) != key


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "sealing.key"
    write_sealing_key(path, SeededEntropy("first"))
    key = read_sealing_key(path)
    with pytest.raises(UnusableSealingKey, match="never overwritten"):
        write_sealing_key(path, SeededEntropy("second"))
    with pytest.raises(UnusableSealingKey, match="cannot be written"):
        write_sealing_key(tmp_path / "missing" / "sealing.key", SeededEntropy())
    assert read_sealing_key(path) == key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o644, 0o666])
def test_a_key_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "sealing.key"
    write_sealing_key(path, SeededEntropy())
    path.chmod(mode)
    with pytest.raises(UnusableSealingKey, match="0600"):
        read_sealing_key(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sealing.key"
    write_sealing_key(path, SeededEntropy())
    os.chown(path, 12345, 12345)
    with pytest.raises(UnusableSealingKey, match="another user"):
        read_sealing_key(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"A" * 42, b"A" * 44, b"!" * 43, b"k" * 32, b"A" * 1000])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sealing.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UnusableSealingKey, match="must hold 32 octets"):
        read_sealing_key(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.key", tmp_path):
        with pytest.raises(UnusableSealingKey, match="cannot be read"):
            read_sealing_key(path)
