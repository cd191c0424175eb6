"""Which URLs of others may be fetched, and at which addresses."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fapi_as.protocol.outbound_url import (
    InvalidOutboundUrl,
    OutboundUrl,
    is_public,
    parse_outbound_url,
    require_address,
    require_name,
    site,
)

NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("https://client.example/jwks.json", "client.example", 443, "/jwks.json"),
        ("https://Client.Example", "client.example", 443, "/"),
        ("https://client.example:8443/a/b?c=d&e=%20", "client.example", 8443, "/a/b?c=d&e=%20"),
        ("https://client.example?x", "client.example", 443, "/?x"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "/"),
        ("https://8.8.8.8/jwks", "8.8.8.8", 443, "/jwks"),
        ("https://[2606:4700::1111]:8443/jwks", "2606:4700::1111", 8443, "/jwks"),
    ],
)
def test_a_plain_https_url_has_one_reading(url: str, host: str, port: int, target: str) -> None:
    parsed = parse_outbound_url(url)
    assert (parsed.host, parsed.port, parsed.target) == (host, port, target)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "client.example",
        "http://client.example/",
        "HTTPS://client.example/",
        "file:///etc/passwd",
        "gopher://client.example/",
        "ftp://client.example/",
        "https:/client.example",
        "https:client.example",
        "https:///jwks",
        "https://user@client.example/",
        "https://user:pass@client.example/",
        "https://client.example@127.0.0.1/",
        "https://client.example/#fragment",
        "https://client.example\\@evil.example/",
        "https://client.example/a b",
        "https://client.example/\r\nHost: other",
        "https://client.example/\n",
        "https://client.example/\x00",
        "https://client.example/%zz",
        "https://client.example/é",
        "https://cl\u0131ent.example/",
        "https://client.example。/",
        "https://client%2eexample/",
        "https://client.example:443:443/",
        "https://client.example:0/",
        "https://client.example:22/",
        "https://client.example:0443/",
        "https://client.example:65536/",
        "https://client.example:/",
        "https://-client.example/",
        "https://client..example/",
        "https://.client.example/",
        "https://client_1.example/",
        f"https://client.example/{'a' * 2048}",
        f"https://{'a.' * 130}example/",
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidOutboundUrl) as raised:
        parse_outbound_url(url)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f.1", "0x7f000001", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1", "017700000001"),
        *("08.8.8.8", "8.8.8.8.", "client.example.", "localhost.", "256.1.1.1", "1.2.3.4.5", "client.0x", "a.1"),
        *("[::1%25lo]", "[fe80::1%eth0]", "[0:0:0:0:0:0:0:1]", "[2606:4700:0::1111]", "[::ffff:8.8.8.8]"),
        *("[]", "[::1", "::1", "[2606:4700::G]", "[8.8.8.8]"),
    ],
)
def test_an_address_in_another_spelling_is_refused(host: str) -> None:
    with pytest.raises(InvalidOutboundUrl):
        parse_outbound_url(f"https://{host}/jwks")


PRIVATE = [
    *("0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1"),
    *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    "168.63.129.16",
    *("::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::8.8.8.8", "64:ff9b::808:808", "64:ff9b:1::1", "100::1"),
    *("2001::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254"),
    *("fe80::1", "fec0::1", "ff02::1", "fe80::1%1", "2606:4700::1%1"),
]


@pytest.mark.parametrize("text", PRIVATE)
def test_an_address_that_is_not_everybodys_is_refused_as_literal_and_behind_a_name(text: str) -> None:
    address = ip_address(text)
    assert not is_public(address)
    with pytest.raises(InvalidOutboundUrl):
        require_address(parse_outbound_url("https://client.example/"), address, NOBODY)
    with pytest.raises(InvalidOutboundUrl):
        parse_outbound_url(f"https://[{text}]/" if ":" in text else f"https://{text}/")


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1"]
)
def test_an_address_that_is_everybodys_is_fetched_from(text: str) -> None:
    assert is_public(ip_address(text))
    require_address(parse_outbound_url("https://client.example/"), ip_address(text), NOBODY)


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "10.0.0.1", "192.168.0.1", "172.16.0.1", "fd12::1"])
def test_a_host_that_an_operator_named_may_be_private(text: str) -> None:
    url = parse_outbound_url("https://keys.inside/")
    require_address(url, ip_address(text), frozenset({"keys.inside"}))
    with pytest.raises(InvalidOutboundUrl):
        require_address(url, ip_address(text), frozenset({"inside", "other.inside"}))


@pytest.mark.parametrize(
    "text",
    ["169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200", "0.0.0.0", "::", "224.0.0.1", "fd12::1%1"],
)
def test_the_addresses_of_a_link_and_of_a_cloud_are_nobodys_to_allow(text: str) -> None:
    with pytest.raises(InvalidOutboundUrl):
        require_address(parse_outbound_url("https://keys.inside/"), ip_address(text), frozenset({"keys.inside"}))


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST", "a.localhost", "metadata", "metadata.google.internal", "printer.local"),
        *("router.home.arpa", "x.onion", "x.invalid", "as.lan"),
    ],
)
def test_a_name_for_the_inside_is_not_looked_up(host: str) -> None:
    url = parse_outbound_url(f"https://{host}/")
    with pytest.raises(InvalidOutboundUrl):
        require_name(url, NOBODY)
    require_name(url, frozenset({host.lower()}))


def test_a_name_like_others_and_a_public_address_are_looked_up() -> None:
    for url in (
        "https://client.example/",
        "https://8.8.8.8/",
        "https://local.example/",
        "https://mylocalhost.example/",
    ):
        require_name(parse_outbound_url(url), NOBODY)


def test_what_was_read_is_a_value() -> None:
    first = parse_outbound_url("https://client.example/a")
    assert first == OutboundUrl(host="client.example", port=443, target="/a")


@pytest.mark.parametrize(
    ("host", "whose"),
    [
        ("client.example", "client.example"),
        ("a.b.client.example", "client.example"),
        ("A.Client.Example", "client.example"),
        ("a.client.co.uk", "client.co.uk"),
        ("client.co.uk", "client.co.uk"),
        ("a.abc.de", "abc.de"),
        ("localhost", "localhost"),
        ("8.8.8.8", "8.8.8.8"),
        ("[2600:1:2:3:4::5]", "2600:1:2:3::/64"),
        ("[2600:1:2:3::6]", "2600:1:2:3::/64"),
    ],
)
def test_all_names_below_one_that_is_registered_are_one_site(host: str, whose: str) -> None:
    assert site(parse_outbound_url(f"https://{host}/")) == whose
