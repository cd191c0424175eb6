"""Who counts as one source."""

from __future__ import annotations

import pytest

from fapi_as.protocol.source import site_of


@pytest.mark.parametrize(
    ("source", "site"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),  # an IPv4 peer of a listener for both
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_site(source: str, site: str) -> None:
    assert site_of(source) == site
