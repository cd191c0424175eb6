"""The vectors of Wycheproof for JSON Web Signature, Key and Encryption; they lie beside the repository, or do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, NamedTuple

import pytest

from tests.support.requirement_rows import ROOT

VECTORS: Final = ROOT.parent / "shared" / "vectors" / "wycheproof"
JWS, JWK, JWE, CRYPTO = (f"json_web_{kind}_test.json" for kind in ("signature", "key", "encryption", "crypto"))


class Vector(NamedTuple):
    """One case: a token in whatever form, the key or the set of its group, and what Wycheproof says of it."""

    file: str
    number: int
    comment: str
    token: str
    document: dict[str, Any]
    is_valid: bool


def present(capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether the vectors are here; says so where they are not, because nothing is checked then."""
    if not VECTORS.exists():
        with capsys.disabled():
            print("\nWycheproof: its vectors are not beside the repository, nothing was checked with them")
        return False
    return True


@cache
def vectors(file: str) -> tuple[Vector, ...]:
    """All vectors of a file, in its order."""
    return tuple(_read(file))


def _read(file: str) -> Iterator[Vector]:
    for group in json.loads((VECTORS / file).read_text(encoding="utf-8"))["testGroups"]:
        for case in group["tests"]:
            token = case.get("jws", case.get("jwe"))
            yield Vector(
                file=file,
                number=case["tcId"],
                comment=case["comment"],
                token=token if isinstance(token, str) else json.dumps(token),  # the JSON serialisation
                document=group.get("public") or group["private"],
                is_valid=case["result"] == "valid",
            )
