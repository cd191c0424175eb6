"""Names that people would read as another one."""

from __future__ import annotations

import pytest

from fapi_as.protocol.look_alikes import confusing, resembles, skeleton


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Ledger agent",
            "Été & Söhne",
            "代理 agent",
            "Банк",
            "Τράπεζα",
            "بنك",
            "Xファイル",
            "Agent 007",
            "ledger-agent_2",
        ),
        *("한국 은행", "Ærø Straße", "R2D2", "Альфа Bank"),
    ],
)
def test_a_name_in_the_letters_of_one_script_is_read_as_it_is(name: str) -> None:
    assert confusing(name) is None


@pytest.mark.parametrize("name", ["B\u0430nk", "\u0391ccess", "Ledg\u0435r agent", "\u13aaPI x\u0430", "p\u03bf"])
def test_letters_of_several_scripts_in_one_word_are_a_riddle(name: str) -> None:
    assert confusing(name) == "mixes letters of several scripts in one word"


@pytest.mark.parametrize("name", ["\U0001d401ank", "\uff22ank", "o\ufb03ce", "\u2102ommerz", "5 \u00b5m", "\u210cotel"])
def test_letters_in_disguise_are_a_riddle(name: str) -> None:
    assert confusing(name) == "has letters that are another one in disguise"


@pytest.mark.parametrize(
    "name",
    [
        *("Good Bank", "good bank", "GOOD-BANK", "The Good Bank agent", "G00d B@nk", "Göòd Bânk", "g o o d b a n k"),
        *("\u0413ood \u0412\u0430n\u043a".replace("\u0413", "G"), "Good\u2014Bank", "Go0dbank24"),
    ],
)
def test_a_reserved_name_is_found_however_it_is_dressed(name: str) -> None:
    assert resembles(name, ["Good Bank"])


@pytest.mark.parametrize("name", ["Ledger agent", "Bank", "Good", "Godbank", "Goods of a banker"])
def test_another_name_is_another_name(name: str) -> None:
    assert not resembles(name, ["Good Bank"])


@pytest.mark.parametrize(("name", "is_one"), [("ING agent", True), ("1NG", True), ("Booking", False), ("i-n-g", True)])
def test_a_short_name_is_a_word_and_not_a_part_of_one(name: str, *, is_one: bool) -> None:
    assert resembles(name, ["ing"]) is is_one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Barn", "Bam"),
        ("paypaI", "paypal"),
        ("vvallet", "wallet"),
        ("\u0440\u0430\u0443", "pay"),
        ("\u0397\u039f\u039c\u0395", "home"),
    ],
)
def test_what_looks_alike_has_one_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)
