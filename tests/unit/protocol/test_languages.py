"""Which languages a person would like to read."""

from __future__ import annotations

import pytest

from fapi_as.protocol.languages import preferred_languages


@pytest.mark.parametrize(
    ("field", "languages"),
    [
        ("", ()),
        ("fr", ("fr",)),
        ("fr-CH, fr;q=0.9, en;q=0.8, *;q=0.5", ("fr-CH", "fr", "en")),
        ("en;q=0.5, de", ("de", "en")),
        ("en;q=0.5,de;q=0.5", ("en", "de")),
        ("en;q=0, de;q=0.000, fr;q=0.001", ("fr",)),
        ("en ; Q=0.4,\tde", ("de", "en")),
        ("en;q=1.001, de;q=-1, fr;q=x, it;q=, es;level=1, pt", ("pt",)),
        ("<script>, en_US, abcdefghi, \u00e4, de", ("de",)),
        (", ,,de,", ("de",)),
        (",".join(f"en-{number}" for number in range(99)), tuple(f"en-{number}" for number in range(16))),
        ("de, " + "a" * 1024, ()),
    ],
)
def test_the_dearest_comes_first_and_what_is_malformed_says_nothing(field: str, languages: tuple[str, ...]) -> None:
    assert preferred_languages(field) == languages
