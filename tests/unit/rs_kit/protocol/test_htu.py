"""The normal form of request URIs, and what it may not make equal."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rs_kit.protocol.htu import InvalidUri, htu_matches, normalise

EQUAL = {
    "https://rs.example": "https://rs.example/",
    "https://rs.example/": "https://rs.example/",
    "HTTPS://RS.Example:443/x": "https://rs.example/x",
    "http://rs.example:80": "http://rs.example/",
    "http://rs.example:443/": "http://rs.example:443/",
    "https://rs.example:8443/mcp?a=b#c": "https://rs.example:8443/mcp",
    "https://rs.example/mcp#x?y": "https://rs.example/mcp",
    "https://rs.example?x": "https://rs.example/",
    "https://rs.example/%7euser/%2f%3a": "https://rs.example/~user/%2F%3A",
    "https://rs.example/a/./b/../c": "https://rs.example/a/c",
    "https://rs.example/a/%2e%2E/b": "https://rs.example/b",
    "https://rs.example/a/..": "https://rs.example/",
    "https://rs.example/a/b/.": "https://rs.example/a/b/",
    "https://rs.example/../../x": "https://rs.example/x",
    "https://rs.example//x": "https://rs.example//x",
    "https://rs.example/.well-known/x": "https://rs.example/.well-known/x",
    "https://rs.example/x/": "https://rs.example/x/",
    "https://[2001:DB8::1]:443/x": "https://[2001:db8::1]/x",
    "https://[::1]:8445/mcp": "https://[::1]:8445/mcp",
}


@pytest.mark.parametrize(("url", "expected"), EQUAL.items())
@pytest.mark.requirement("DPOP-10", proves="holds")
def test_equal_by_syntax_and_scheme_is_equal(url: str, expected: str) -> None:
    assert normalise(url) == expected
    assert htu_matches(url, expected)


@pytest.mark.parametrize(
    "url",
    [
        "https://rs.example/mcp/",
        "https://rs.example/MCP",
        "https://rs.example/mc%50",
        "https://rs.example./mcp",
        "https://rs.example:8443/mcp",
        "http://rs.example/mcp",
        "http://rs.example:443/mcp",
        "https://rs.example//mcp",
        "https://rs.example/mcp;x",
        "https://rs.example/mcp%2F",
        "https://evil.example/mcp",
        "https://rs.example/mcp/../other",
    ],
)
@pytest.mark.requirement("DPOP-10", proves="refused")
def test_another_resource_stays_another_one(url: str) -> None:
    assert not htu_matches(url, "https://rs.example/mcp")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/mcp",
        "//rs.example/mcp",
        "ftp://rs.example/mcp",
        "https:/rs.example/mcp",
        "https:///mcp",
        "https://:443/mcp",
        "https://rs@evil.example/mcp",
        "https://rs:pw@rs.example/mcp",
        "https://rs.example\\@evil.example/mcp",
        "https://rs\\@evil.example/mcp",
        "https://rs.example:/mcp",
        "https://rs.example:0/mcp",
        "https://rs.example:0443/mcp",
        "https://rs.example:65536/mcp",
        "https://rs.example:443x/mcp",
        "https://rs.ex\u00e4mple/mcp",
        "https://rs.example/m\u0441p",
        "https://[fe80::1%25eth0]/mcp",
        "https://[::1/mcp",
        "https://[1:2]/mcp",
        "https://rs.example/m cp",
        "https://rs.example/m%c",
        "https://rs.example/m%zz",
        'https://rs.example/"',
        "https://rs.example/\x00",
        "https://rs.example/\nx",
        "https://rs.example/mcp\n",
        "https://rs.example/mcp?\u00e9",
        "https://rs.example/mcp?a b",
        "https://rs.example/mcp#a\tb",
        "https://rs.example/" + "a" * 4096,
    ],
)
def test_what_is_no_plain_request_uri_is_refused(url: str) -> None:
    with pytest.raises(InvalidUri):
        normalise(url)
    assert not htu_matches(url, "https://rs.example/mcp")


@example("HTTP://..")
@given(
    st.text(max_size=50)
    | st.from_regex(r"https?://[a-zA-Z.:0-9\[\]]{0,12}(/[%a-fA-F0-9.~]{0,6}){0,4}[?#]?", fullmatch=True),
)
def test_any_text_gives_a_fixed_point_or_the_one_error(url: str) -> None:
    try:
        normal = normalise(url)
    except InvalidUri:
        return
    assert normalise(normal) == normal
    assert not {"?", "#"} & set(normal)
    _, _, _, *segments = normal.split("/")
    assert not {".", ".."} & set(segments)  # a host may be called so (RFC 3986 §3.2.2: reg-name)
