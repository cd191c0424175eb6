"""What one call was shown of a token is what the next call is shown."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from rs_kit.protocol.frozen_json import frozen, thawed

PLAIN: dict[str, Any] = {"sub": "alice", "aud": ["one", {"x": [1]}], "cnf": {"jkt": "thumb", "deep": {"y": [2]}}}

WRITERS: dict[str, Callable[[Any], object]] = {
    "set": lambda claims: claims.__setitem__("sub", "mallory"),
    "delete": lambda claims: claims.__delitem__("sub"),
    "update": lambda claims: claims.update(sub="mallory"),
    "merge": lambda claims: claims.__ior__({"sub": "mallory"}),
    "pop": lambda claims: claims.pop("sub"),
    "popitem": lambda claims: claims.popitem(),
    "clear": lambda claims: claims.clear(),
    "setdefault": lambda claims: claims.setdefault("admin", True),
    "nested": lambda claims: claims["cnf"].__setitem__("jkt", "mallory's"),
    "deeply nested": lambda claims: claims["cnf"]["deep"].update(y=[]),
    "array": lambda claims: claims["aud"].append("everywhere"),
    "object in an array": lambda claims: claims["aud"][1].clear(),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_nobody_writes(write: Callable[[Any], object]) -> None:
    claims = frozen(PLAIN)
    with pytest.raises((TypeError, AttributeError)):
        write(claims)
    assert thawed(claims) == PLAIN


def test_everybody_reads_as_from_a_dict() -> None:
    claims = frozen(PLAIN)
    assert isinstance(claims, dict)
    assert json.loads(json.dumps(claims)) == PLAIN
    assert claims["cnf"] == PLAIN["cnf"] | {"deep": {"y": (2,)}}
    for same in (copy.copy(claims), copy.deepcopy(claims), pickle.loads(pickle.dumps(claims))):
        assert same == claims
        with pytest.raises(TypeError):
            same["sub"] = "mallory"


def test_a_thawed_copy_belongs_to_its_owner() -> None:
    claims = frozen(PLAIN)
    mine = thawed(claims)
    mine["aud"].append("mine")
    mine["cnf"]["jkt"] = "mine"
    assert thawed(claims) == PLAIN
