"""The secret that makes the nonces of one worker good at another."""

from __future__ import annotations

from pathlib import Path

import pytest

from rs_kit.adapters.assembly import read_nonce_key


def file_with(directory: Path, content: bytes, mode: int = 0o600) -> Path:
    path = directory / "nonce.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [bytes(range(32)), b"\n" * 64])
def test_the_key_is_the_bytes_of_the_file(tmp_path: Path, content: bytes) -> None:
    assert read_nonce_key(file_with(tmp_path, content)) == content
    assert read_nonce_key(str(file_with(tmp_path, content, 0o400))) == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622, 0o644])
def test_a_key_that_others_may_read_or_write_stops_the_start(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ValueError, match="chmod 600"):
        read_nonce_key(file_with(tmp_path, bytes(32), mode))


@pytest.mark.parametrize("length", [0, 31])
def test_a_key_that_can_be_guessed_stops_the_start(tmp_path: Path, length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        read_nonce_key(file_with(tmp_path, bytes(length)))


def test_a_key_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_nonce_key(tmp_path / "nonce.key")
