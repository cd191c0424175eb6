"""Names with one spelling, and passwords that are not the first that everybody tries."""

from __future__ import annotations

import pytest

from fapi_as.protocol.local_user import InvalidUser, require_password, require_personal_data, require_username


@pytest.mark.parametrize("name", ["alice", "a", "alice@example.com", "alice.b-c_d+e9", "a" * 64])
def test_a_name_in_one_spelling_is_accepted(name: str) -> None:
    assert require_username(name) == name


@pytest.mark.parametrize(
    "name", ["", "Alice", "a b", "älice", "\u0430lice", ".alice", "alice.", "a" * 65, "alice\n", "a\x00"]
)
def test_a_name_that_could_be_mistaken_for_another_is_refused(name: str) -> None:
    with pytest.raises(InvalidUser, match="user name"):
        require_username(name)


@pytest.mark.requirement("LOG-8", proves="holds")
@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "a long passphrase",
        "ünïcödé wörds hélp",
        "x1" * 3 + "-other-",
        "p" + "q w e r t y " * 21,
    ],
)
def test_a_long_passphrase_is_accepted_whatever_its_characters(password: str) -> None:
    assert require_password(password, "alice") == password


@pytest.mark.requirement("LOG-8", proves="refused")
@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "elevenchars",
        "x y " * 65,
        "password1234",
        "PassWord1234",
        "correctHorseBatteryStaple",
        "aaaaaaaaaaaaaaaa",
        "121212121212",
        "alice-alice-alice",
        "alice1234567",
        "two\nlines of text",
    ],
)
def test_a_short_or_well_known_password_is_refused(password: str) -> None:
    with pytest.raises(InvalidUser, match="the password"):
        require_password(password, "alice")


@pytest.mark.parametrize(
    ("name", "email"), [(None, None), ("Zoë O'Neil-Ångström 李", "a.b+c@mail.example"), ("A", None)]
)
def test_a_name_and_an_address_may_be_told(name: str | None, email: str | None) -> None:
    data = require_personal_data(name, email)
    assert (data.name, data.email) == (name, email)


@pytest.mark.parametrize(
    ("name", "email"),
    [
        ("", None),
        (" Alice", None),
        ("Alice\n", None),
        ("Al\u202eice", None),
        ("a" * 129, None),
        (None, ""),
        (None, "alice"),
        (None, "alice@"),
        (None, "a b@example.com"),
        (None, "älice@example.com"),
        (None, "alice@example.com\n"),
        (None, "a" * 250 + "@b.example"),
    ],
)
def test_what_could_not_be_shown_or_is_no_address_is_refused(name: str | None, email: str | None) -> None:
    with pytest.raises(InvalidUser):
        require_personal_data(name, email)
