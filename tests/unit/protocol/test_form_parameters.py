"""Request parameters: what a body or a query may say, and every trick that makes two readers see two things."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.errors import InvalidRequest
from fapi_as.protocol.parameters import FORM_TYPE, Parameters, once, parse, parse_form
from fapi_as.protocol.profile import PARAMETER_LIMIT
from rs_kit.protocol.http import single

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


def refusal(encoded: bytes) -> str:
    with pytest.raises(InvalidRequest) as raised:
        parse(encoded)
    return raised.value.detail


# --- each at most once


@pytest.mark.requirement("OA-EP-1", proves="holds")
def test_resource_alone_may_be_repeated_and_keeps_its_order() -> None:
    found = parse(b"resource=https%3A%2F%2Fb.example&scope=a&resource=https%3A%2F%2Fa.example")
    assert found.resources == ("https://b.example", "https://a.example")
    assert dict(found.values) == {"scope": "a"}


@pytest.mark.requirement("OA-EP-1", proves="refused")
@pytest.mark.attack("PAR-14")
@pytest.mark.parametrize("name", ["scope", "redirect_uri", "state", "client_id", "code", "grant_type", "made_up"])
@pytest.mark.parametrize("second", ["same", "other", ""], ids=["equal", "different", "empty"])
def test_any_other_parameter_is_refused_the_second_time(name: str, second: str) -> None:
    assert refusal(f"{name}=same&x=1&{name}={second}".encode()) == "a parameter is repeated"


@pytest.mark.requirement("FAPI2-AZ-25", proves="refused")
@pytest.mark.parametrize("encoded", [b"scope=a&scope=b", b"scope=a&scope=a", b"scope=&scope=a", b"scope=a&scope"])
def test_two_scope_parameters_are_never_joined_and_none_of_them_wins(encoded: bytes) -> None:
    assert refusal(encoded) == "a parameter is repeated"


@pytest.mark.parametrize(
    "encoded", [b"scope=a&%73cope=b", b"%73%63%6f%70%65=a&scope=b", b"+=1&%20=2", b"=1&=2", b"a&a", b"a&a=", b"a=&a"]
)
def test_a_second_spelling_of_a_name_is_the_same_name(encoded: bytes) -> None:
    assert refusal(encoded) == "a parameter is repeated"


def test_a_name_that_only_looks_alike_is_another_and_unknown_one() -> None:
    found = parse(b"Scope=A&scope[]=B&scope%20=C&sc%D0%BEpe=D&%EF%BB%BFscope=E")
    assert found.get("scope") is None
    assert len(found.values) == 5


# --- empty and unknown


@pytest.mark.requirement("OA-EP-2", proves="holds")
def test_an_empty_value_is_no_value_and_unknown_names_disturb_nobody() -> None:
    found = parse(b"foo=1&state=&scope&resource=&code=c")
    assert (found.get("state"), found.get("scope"), found.resources) == (None, None, ())
    assert found.require("code") == "c"


@pytest.mark.requirement("OA-EP-2", proves="refused")
@pytest.mark.parametrize("encoded", [b"", b"scope=", b"scope", b"scopes=a", b"&&&"])
def test_what_is_required_is_missing_when_it_is_empty(encoded: bytes) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(encoded).require("scope")
    assert raised.value.description == "scope is required"


def test_a_grant_reads_what_it_declares_and_nothing_else() -> None:
    found = parse(b"code=c&scope=s&client_secret=x&resource=https%3A%2F%2Fa.example")
    narrow, wide = found.only(frozenset({"code"})), found.only(frozenset({"code", "resource"}))
    assert (dict(narrow.values), narrow.resources) == ({"code": "c"}, ())
    assert wide.resources == ("https://a.example",)


def test_nobody_can_change_what_was_sent() -> None:
    with pytest.raises(TypeError):
        parse(b"a=1").values["a"] = "2"  # type: ignore[index]


# --- encoding


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (b"v=a+b", "a b"),
        (b"v=a%2Bb", "a+b"),
        (b"v=a%20b", "a b"),
        (b"v=%2561", "%61"),  # decoded once
        (b"v=%E2%82%AC", "€"),
        (b"v=a=b", "a=b"),
        (b"v=%26x%3D1", "&x=1"),
        (b"v=%3B", ";"),
        (b"v=%zz", "%zz"),
        (b"v=%4", "%4"),
        (b"v=a\tb\r\n", "a\tb\r\n"),
        (b"&&v=1&&", "1"),
        (b"v=%F0%9F%98%80", "😀"),
    ],
)
def test_a_value_is_decoded_once_and_not_trimmed(encoded: bytes, value: str) -> None:
    assert dict(parse(encoded).values) == {"v": value}


@pytest.mark.parametrize(
    "encoded",
    [
        b"v=%C0%AF",  # overlong
        b"v=%C3%28",
        b"v=%ED%A0%80",  # a surrogate
        b"v=%FF%FE",
        b"v=%F8%88%80%80%80",
        b"%C3=1",
        b"v=\xc3\xbc",  # not percent-encoded
        "v=１".encode(),  # noqa: RUF001 - a full-width digit
        b"\xef\xbb\xbfv=1",
        "v=1".encode("utf-16"),
        "v=1".encode("utf-16-le"),
        "v=1".encode("utf-16-be"),
        "v=1".encode("utf-32"),
        b"v=a%00",
        b"v%00=a",
        b"v=a\x00b",
        b"%00",
        b"resource=a%00",
    ],
)
def test_what_another_reader_could_read_differently_is_refused(encoded: bytes) -> None:
    assert refusal(encoded)


@pytest.mark.parametrize("encoded", [b"a=1;b=2", b"a=1%3Bb=2", b"a=1%3bb%3D2"])
def test_a_semicolon_is_data_however_it_is_written(encoded: bytes) -> None:
    assert dict(parse(encoded).values) == {"a": "1;b=2"}


# --- bounds


def test_64_parameters_are_read_and_the_65th_is_refused() -> None:
    names = [f"p{number}=1" for number in range(PARAMETER_LIMIT + 1)]
    assert len(parse("&".join(names[:-1]).encode()).values) == 64
    assert refusal("&".join(names).encode()) == "form does not parse: ValueError"


@pytest.mark.parametrize("encoded", [b"&" * 64, b"a" * 10 + b"&" * 60_000, b"resource=a&" * 65], ids=len)
def test_separators_count_even_when_nothing_stands_between_them(encoded: bytes) -> None:
    assert refusal(encoded) == "form does not parse: ValueError"


@pytest.mark.parametrize("encoded", [b"n" * 60_000 + b"=1", b"v=" + b"%41" * 20_000, b"%" * 60_000], ids=len)
def test_one_long_parameter_is_read_as_it_is(encoded: bytes) -> None:
    assert len(parse(encoded).values) + (b"=" not in encoded) == 1


@pytest.mark.parametrize("encoded", [b"secret-value=1&secret-value=2", b"a=%FFsecret-value", b"secret-value\x00"])
def test_no_refusal_repeats_what_was_sent(encoded: bytes) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(encoded)
    assert "secret" not in f"{raised.value.detail} {raised.value.description}"


# --- the form of a POST


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "APPLICATION/X-WWW-Form-Urlencoded",
        "application/x-www-form-urlencoded;charset=UTF-8",
        'application/x-www-form-urlencoded ; charset="utf-8"',
        "application/x-www-form-urlencoded;",
        "application/x-www-form-urlencoded; unknown=1",
    ],
)
def test_a_form_is_read_by_its_media_type(content_type: str) -> None:
    assert parse_form(content_type, b"a=1").get("a") == "1"


@pytest.mark.attack("HTT-12")
@pytest.mark.parametrize(
    "fields",
    [
        (),
        (b"",),
        (b"application/json",),
        (b"text/plain",),
        (b"multipart/form-data; boundary=x",),
        (b"application/x-www-form-urlencoded-not",),
        (b"application/json; application/x-www-form-urlencoded",),
        (b"application/x-www-form-urlencoded, application/json",),
        (b"application/x-www-form-urlencoded; charset=utf-16",),
        (b"application/x-www-form-urlencoded; CHARSET=iso-8859-1",),
        (b"application/x-www-form-urlencoded; charset=utf-8; charset=utf-7",),
        (b"application/x-www-form-urlencoded; charset=",),
        (b"application/x-www-form-urlencoded", b"application/x-www-form-urlencoded"),
        (b"application/x-www-form-urlencoded", b"application/json"),
    ],
)
def test_any_other_body_is_never_read_as_a_form(fields: tuple[bytes, ...]) -> None:
    headers = tuple((b"content-type", field) for field in fields)
    with pytest.raises(InvalidRequest):
        parse_form(single(headers, b"content-type"), b"a=1")


# --- properties


@given(st.binary(max_size=400))
def test_every_body_gives_parameters_or_the_one_error(encoded: bytes) -> None:
    try:
        found = parse(encoded)
    except InvalidRequest:
        return
    assert isinstance(found, Parameters)
    assert all("\x00" not in name and value and "\x00" not in value for name, value in found.values.items())


@given(st.lists(st.sampled_from(["a", "%61", "b", "resource", "+", "%00", "=", "&", ";", "%C3", "\xff"]), max_size=20))
def test_every_mix_of_separators_gives_parameters_or_the_one_error(pieces: list[str]) -> None:
    encoded = "".join(pieces).encode("latin-1")
    try:
        found = parse(encoded)
    except InvalidRequest:
        return
    # a second reader that keeps lists sees one value at most, too
    lists = parse_qs(encoded.decode(), keep_blank_values=True, errors="strict")
    assert {name: [value] for name, value in found.values.items()} == {
        name: values for name, values in lists.items() if name != "resource" and values != [""]
    }


@given(st.one_of(st.none(), st.text(), st.text().map(lambda more: f"{FORM_TYPE};{more}")), st.binary(max_size=40))
def test_every_content_type_gives_parameters_or_the_one_error(content_type: str | None, body: bytes) -> None:
    try:
        found = parse_form(content_type, body)
    except InvalidRequest:
        return
    assert content_type is not None
    assert content_type.lower().startswith(FORM_TYPE)
    assert isinstance(found, Parameters)


@given(st.dictionaries(TEXT, TEXT, max_size=20))
def test_what_a_form_encoder_writes_is_read_back(values: dict[str, str]) -> None:
    values.pop("resource", None)
    expected = {name: value for name, value in values.items() if value}
    assert dict(parse(urlencode(values).encode()).values) == expected


@given(st.lists(st.tuples(TEXT, TEXT), max_size=8))
def test_pairs_are_taken_once_or_refused(pairs: list[tuple[str, str]]) -> None:
    names = [name for name, _ in pairs if name != "resource"]
    if len(set(names)) == len(names):
        assert once(pairs).resources == tuple(value for name, value in pairs if name == "resource" and value)
    else:
        with pytest.raises(InvalidRequest):
            once(pairs)
