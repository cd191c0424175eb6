"""What `import rs_kit` brings with it: the base dependencies and nothing else, at a price that is measured."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from importlib.metadata import distribution, requires
from pathlib import Path
from statistics import median

import pytest

import rs_kit

ROOT = Path(rs_kit.__file__).parent.parent
HEAVY = ("quart", "hypercorn", "sqlmodel", "sqlalchemy", "pydantic", "httpx", "httpx2", "mcp", "starlette", "structlog")
EVERY_NAME = "import rs_kit; [getattr(rs_kit, name) for name in dir(rs_kit)]"
PAIRS = 9


def base_distributions() -> set[str]:
    """The base dependencies of the project and all that they need."""
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[(.*?)^\]", declared, re.DOTALL | re.MULTILINE)
    assert block is not None
    left = re.findall(r'"([A-Za-z0-9_.-]+)', block.group(1))
    found: set[str] = set()
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            needs = [line for line in requires(name) or () if "extra ==" not in line]
            left += [re.split(r"[^A-Za-z0-9_.-]", line)[0] for line in needs if _applies(line)]
    return found


def _applies(requirement: str) -> bool:
    from packaging.requirements import Requirement  # noqa: PLC0415 - comes with pytest

    marker = Requirement(requirement).marker
    return marker is None or marker.evaluate()


@pytest.fixture(scope="module")
def base_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages in which only the base dependencies and the kit itself stand."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "rs_kit").symlink_to(ROOT / "rs_kit")
    for name in base_distributions():
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top != ".." and not top.endswith((".dist-info", ".pth")) and not (folder / top).exists():
                (folder / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    return folder


def run(program: str, packages: Path | None) -> str:
    """What a fresh interpreter prints, with these packages and the standard library or with the whole environment."""
    if packages is None:
        command = [sys.executable, "-c", program]
    else:
        paths = [str(packages), sysconfig.get_path("stdlib"), str(Path(sysconfig.get_path("stdlib")) / "lib-dynload")]
        command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:] = {paths!r}\n{program}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_with_the_base_dependencies_alone_every_public_name_works(base_only: Path) -> None:
    program = f"{EVERY_NAME}\nimport importlib.util as u; print([n for n in {HEAVY} if u.find_spec(n)])"
    assert run(program, base_only).strip() == "[]"


@pytest.mark.parametrize("program", ["import rs_kit", EVERY_NAME], ids=["the import", "every name"])
def test_nothing_heavy_is_imported_even_where_it_is_installed(program: str) -> None:
    assert run(f"{program}\nimport sys; print(sorted(set({HEAVY}) & set(sys.modules)))", None).strip() == "[]"


def cpu_seconds(statement: str, packages: Path) -> float:
    return float(
        run(f"import time; begun = time.process_time()\n{statement}\nprint(time.process_time() - begun)", packages)
    )


def test_the_import_costs_at_most_twice_that_of_the_jose_library(base_only: Path) -> None:
    def ratio(statement: str) -> float:
        pairs = [
            (cpu_seconds(statement, base_only), cpu_seconds("import joserfc.jwk, joserfc.jws", base_only))
            for _ in range(PAIRS)
        ]
        return median(ours / theirs for ours, theirs in pairs)

    assert ratio("import rs_kit") <= 2.0
    assert ratio("import rs_kit; rs_kit.assemble_guard, rs_kit.RsKit, rs_kit.MemoryUsedOnce") <= 2.0


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'secrets'"):
        rs_kit.secrets  # noqa: B018 - the access is the test
    assert "Guard" in dir(rs_kit)


def test_what_type_checkers_see_is_what_there_is() -> None:
    source = (ROOT / "rs_kit" / "__init__.py").read_text(encoding="utf-8")
    shown = dict(reversed(pair) for pair in re.findall(r"from ([\w.]+) import (\w+) as \2", source))
    assert shown == rs_kit._HOME
