"""The page that tells how to add a capability shows the code that the toy grant's tests run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_shows_the_code_that_is_tested() -> None:
    page = (ROOT / "docs/add-a-feature.md").read_text(encoding="utf-8")
    rules, init = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    toy = ROOT / "tests/support/toy_ping"
    assert rules == (toy / "rules.py").read_text(encoding="utf-8")
    tested = (toy / "__init__.py").read_text(encoding="utf-8")
    assert init == tested.replace("tests.support.toy_ping", "fapi_as.features.ping")
