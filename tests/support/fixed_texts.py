"""The sentences that an error may say: literals of the source, and for secret checks exactly one each.

A sentence that is made from what came in is none of these, so reflecting input is noticed by whoever compares.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_SOURCES: Final = ("fapi_as/protocol", "fapi_as/kernel", "fapi_as/features", "fapi_as/adapters/web", "rs_kit")
_NAME: Final = r"[a-z][a-z0-9_]{1,40}"  # what a sentence may be completed with: the name of a parameter, or a number
# what `wrong` completes a sentence with: names, lists of them, or why something is wrong; no markup and no quotes
_SAID: Final = r"[A-Za-z0-9 _.,:;'()/#+-]{1,200}"
_WIRE: Final = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")  # RFC 6749 §5.2

# whoever fails a check of a secret learns that it failed, and nothing about which one
PINNED: Final = {
    "invalid_client": frozenset({"client authentication failed"}),
    "invalid_grant": frozenset({"the grant is not valid"}),
}


@functools.cache
def sentences() -> dict[str, frozenset[str]]:
    """By wire code: patterns of the sentences that its classes and the places that raise them spell out."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for name in _SOURCES for path in (ROOT / name).rglob("*.py")]
    public: dict[str, str] = {}
    codes: dict[str, str] = {}
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for _ in range(3):  # a class may take the code of its base
        for found in classes:
            members = _constants(found)
            bases = [base.id for base in found.bases if isinstance(base, ast.Name)]
            inherited = next((base for base in bases if base in codes), "")
            if "error" in members or inherited:
                codes[found.name] = members.get("error", codes.get(inherited, ""))
                public[found.name] = members.get("public", public.get(inherited, ""))
    texts: dict[str, set[str]] = {code: set() for code in codes.values()}
    for name, code in codes.items():
        texts[code].add(re.escape(public[name]))
    for tree in trees:
        for name, pattern in _raised(tree):
            if name in codes:
                texts[codes[name]].add(pattern)
            if name == "wrong":  # the one function that makes an error: its sentence is told as it is
                texts[codes["InvalidClientMetadata"]].add(pattern.replace(f"(?:{_NAME}|[0-9]+)", _SAID))
    texts[codes["InvalidRedirectUri"]] |= set(_refusals(trees))
    return {code: frozenset(PINNED.get(code, patterns)) for code, patterns in texts.items()}


def is_fixed(error: str, description: str) -> bool:
    """Whether this code may say this sentence; a page begins it with a capital."""
    known = sentences().get(error)
    if known is None or not _WIRE.fullmatch(description):
        return False
    spellings = {description, description[:1].lower() + description[1:]}
    return any(re.fullmatch(pattern, spelling) for pattern in known for spelling in spellings)


def _constants(found: ast.ClassDef) -> dict[str, str]:
    return {
        node.target.id: node.value.value
        for node in found.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def _raised(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            named = [keyword.value for keyword in node.keywords if keyword.arg == "description"]
            told = node.args[:1] if node.func.id == "wrong" else node.args[1:2]
            for said in [*told, *named]:
                pattern = _pattern(said)
                if pattern is not None:
                    yield node.func.id, pattern


def _refusals(trees: Sequence[ast.AST]) -> Iterator[str]:
    """Why a redirect URI may not be registered: what `refusal` returns, or is made."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    said = [
        node.value for found in nodes if _is_named(found) for node in ast.walk(found) if isinstance(node, ast.Return)
    ]
    said += [node.value for node in nodes if isinstance(node, ast.Assign) and _is_named(node.targets[0])]
    yield from (pattern for pattern in map(_pattern, filter(None, said)) if pattern is not None)


def _is_named(node: ast.AST) -> bool:
    return "refusal" in {getattr(node, "id", None), getattr(node, "name", None)}


def _pattern(said: ast.expr) -> str | None:
    if isinstance(said, ast.Constant) and isinstance(said.value, str):
        return re.escape(said.value)
    if isinstance(said, ast.JoinedStr):
        parts = [
            re.escape(str(part.value)) if isinstance(part, ast.Constant) else f"(?:{_NAME}|[0-9]+)"
            for part in said.values
        ]
        return "".join(parts)
    if isinstance(said, ast.IfExp):
        both = [pattern for pattern in (_pattern(said.body), _pattern(said.orelse)) if pattern is not None]
        return "|".join(both) or None
    return None
