"""Every file stands in a room that somebody named, and none is too large to be read."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.requirement_rows import ROOT

ROOMS: Final[dict[str, Any]] = tomllib.loads((ROOT / "tests/house/rooms.toml").read_text(encoding="utf-8"))
NAMED: Final = ROOMS["architecture"] | ROOMS["explained"]
GENERATED: Final = {".git", "__pycache__", "build", "dist"}
FORBIDDEN_NAMES: Final = re.compile(r"^(utils?|helpers?|common|base|manager)(_.*)?$")
LARGEST_MODULE: Final = 400


def files() -> Iterator[str]:
    """Every file of the repository but what tools generate (hidden folders other than .ci, and what git ignores)."""
    for folder, below, names in os.walk(ROOT):
        below[:] = sorted(
            name for name in below if name not in GENERATED and (not name.startswith(".") or name == ".ci")
        )
        for name in sorted(names):
            path = str((Path(folder) / name).relative_to(ROOT))
            if not re.search(r"(^\.coverage|^certs/.*\.(pem|key)$|\.egg-info)", path):
                yield path


def stands_in(path: str, room: str) -> bool:
    """Whether a file is that room, or lies in that folder."""
    if room.endswith("/**"):
        return path.startswith(room.removesuffix("**"))
    pattern = re.escape(room).replace(r"\*", "[a-z][a-z0-9_]*")
    return re.fullmatch(pattern + ("[^/]+" if room.endswith("/") else ""), path) is not None


def test_every_file_stands_in_a_named_room() -> None:
    homeless = [path for path in files() if not any(stands_in(path, room) for room in NAMED)]
    assert homeless == []


def test_a_file_without_a_room_is_found() -> None:
    for path in ("fapi_as/utils/b64.py", "fapi_as/extra.py", "notes.md", "rs_kit/core/jws.py", "fapi_as/features/x.py"):
        assert not any(stands_in(path, room) for room in NAMED)


@pytest.mark.parametrize("room", sorted(ROOMS["explained"]))
def test_a_room_that_came_later_has_its_decision(room: str) -> None:
    number = ROOMS["explained"][room]["decision"]
    found = list((ROOT / "docs/decisions").glob(f"{number}-*.md"))
    assert len(found) == 1
    assert room.removesuffix("/") in found[0].read_text(encoding="utf-8")


def test_no_two_decisions_have_one_number() -> None:
    numbers = [path.name.partition("-")[0] for path in sorted((ROOT / "docs/decisions").glob("*.md"))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def test_no_module_is_longer_than_400_lines() -> None:
    long = {
        path: count
        for path in files()
        if path.endswith(".py") and (count := (ROOT / path).read_text(encoding="utf-8").count("\n")) > LARGEST_MODULE
    }
    assert long == {}


def test_no_room_is_called_utils_helpers_common_base_or_manager() -> None:
    parts = {part.removesuffix(".py") for path in files() if path.endswith(".py") for part in path.split("/")}
    assert sorted(part for part in parts if FORBIDDEN_NAMES.match(part)) == []


def test_no_room_is_empty() -> None:
    empty = [
        path
        for path in files()
        if path.endswith("/__init__.py")
        and not [other for other in files() if other.startswith(str(Path(path).parent) + "/") and other != path]
    ]
    assert empty == []
