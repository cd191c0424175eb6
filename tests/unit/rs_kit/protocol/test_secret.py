"""A secret does not show itself."""

from __future__ import annotations

import copy
import pickle

import pytest

from rs_kit.protocol.secret import Secret


def test_only_reveal_shows_the_value() -> None:
    secret = Secret("s3cr3t")
    assert secret.reveal() == "s3cr3t"
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret:>40}", "%s %r" % (secret, secret), repr([secret])):  # noqa: UP031 - as logging does
        assert "s3cr3t" not in shown


def test_equal_values_are_equal_secrets_and_no_string() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_secret_is_neither_pickled_nor_copied() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("a"))
    with pytest.raises(TypeError):
        copy.copy(Secret("a"))
