"""Hostile URLs that a stranger can make a server ask for, by what is wrong with them, and where their names lead.

`{door}` in a URL stands for the way in, so that every door has names of its own. What leads to PUBLIC meets a host of
the bench there; nothing may ever leave for another address.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

DOMAIN: Final = "example"  # every value has a name below it, so that none waits for another's site
_STRANGER: Final = f"hostile.{DOMAIN}"
PUBLIC: Final = "9.20.30.40"
SILENT: Final = 8443  # a port that accepts and never says anything
DRIBBLE: Final = 8444  # a port whose handshake comes byte by byte
CLOSED: Final = 8445  # a port at which nobody listens

# RFC 6890 and the registries behind it, and the addresses at which clouds answer their own machines; a list of its own
_FORBIDDEN: Final = (
    *map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "168.63.129.16/32"),
        ),
    ),
    *map(
        IPv6Network,
        (
            *("::/8", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16"),
            *("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
        ),
    ),
)


def is_forbidden(address: str) -> bool:
    """Whether no stranger may make us send a packet there."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return True
    return not found.is_global or any(found in network for network in _FORBIDDEN if network.version == found.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """One value.

    Args:
        leads: the answers of the name server, one per question of one kind in turn; None when it never answers.
        meets: whether the host at the public address is asked.
        slow: whether it lasts as long as the server is patient.
    """

    name: str
    url: str
    leads: tuple[tuple[str, ...], ...] | None = ((),)
    meets: bool = False
    slow: bool = False

    def at(self, door: str) -> str:
        """The URL as it is said at one door."""
        return self.url.replace("{door}", door)


def _spelt(name: str, url: str) -> Hostile:
    return Hostile(name=name, url=url)


def _named(name: str, *leads: tuple[str, ...]) -> Hostile:
    return Hostile(name=name, url=f"https://{name}-{{door}}.{DOMAIN}/honest", leads=leads)


def _met(name: str, *, port: str = "", slow: bool = False, path: str | None = None) -> Hostile:
    url = f"https://{name}-{{door}}.{DOMAIN}{port}/{path or name}"
    return Hostile(name=name, url=url, leads=((PUBLIC,),), meets=not port, slow=slow)


_ADDRESSES: Final = {
    "loopback": "127.0.0.1",
    "short": "127.1",
    "decimal": "2130706433",
    "octal": "0177.0.0.1",
    "octal-number": "017700000001",
    "hexadecimal": "0x7f.0.0.1",
    "hexadecimal-number": "0x7f000001",
    "long": "127.0.0.000001",
    "dot-at-the-end": "127.0.0.1.",
    "unspecified": "0.0.0.0",
    "ten": "10.0.0.1",
    "one-seven-two": "172.16.0.1",
    "one-nine-two": "192.168.0.1",
    "carrier": "100.64.0.1",
    "metadata-of-alibaba": "100.100.100.200",
    "metadata": "169.254.169.254",
    "metadata-decimal": "2852039166",
    "metadata-of-oracle": "192.0.0.192",
    "metadata-of-azure": "168.63.129.16",
    "benchmark": "198.18.0.1",
    "multicast": "224.0.0.1",
    "broadcast": "255.255.255.255",
    "future": "240.0.0.1",
    "six-loopback": "[::1]",
    "six-loopback-long": "[0:0:0:0:0:0:0:1]",
    "six-unspecified": "[::]",
    "six-mapped": "[::ffff:127.0.0.1]",
    "six-mapped-hexadecimal": "[::ffff:7f00:1]",
    "six-mapped-metadata": "[::ffff:169.254.169.254]",
    "six-compatible": "[::127.0.0.1]",
    "six-translated": "[64:ff9b::7f00:1]",
    "six-to-four": "[2002:7f00:1::]",
    "six-link": "[fe80::1]",
    "six-zone": "[fe80::1%lo]",
    "six-zone-escaped": "[fe80::1%25lo]",
    "six-unique": "[fc00::1]",
    "six-metadata": "[fd00:ec2::254]",
    "six-site": "[fec0::1]",
    "six-multicast": "[ff02::1]",
    "six-documentation": "[2001:db8::1]",
}
_INSIDE: Final = {
    "localhost": "localhost",
    "localhost-upper": "LOCALHOST",
    "localhost-dot": "localhost.",
    "below-localhost": "a.localhost",
    "metadata-name": "metadata.google.internal",
    "no-dot": "metadata",
    "printer": "printer.local",
    "cluster": "kubernetes.default.svc.cluster.local",
    "router": "router.home.arpa",
}
_TRICKS: Final = {
    "user": f"https://{_STRANGER}@127.0.0.1/honest",
    "password": f"https://{_STRANGER}:443@127.0.0.1/honest",
    "backslash": f"https://127.0.0.1\\@{_STRANGER}/honest",
    "fragment": f"https://{_STRANGER}#@127.0.0.1/honest",
    "no-tls": f"http://{_STRANGER}/honest",
    "port-of-others": f"https://{_STRANGER}:22/honest",
    "escaped-host": f"https://127.0.0.1%2f.{_STRANGER}/honest",
    "escaped-null": f"https://127.0.0.1%00.{_STRANGER}/honest",
    "tab": "https://127.0.\t0.1/honest",
    "line": f"https://{_STRANGER}/honest\r\nHost: 127.0.0.1",
    "three-slashes": "https:///127.0.0.1/honest",
    "wide-digits": "https://\uff11\uff12\uff17.0.0.1/honest",
    "circled": "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/honest",
    "wide-dots": "https://127\u30020\u30020\u30021/honest",
}
_LEADING: Final = (
    _named("to-loopback", ("127.0.0.1",)),
    _named("to-ten", ("10.0.0.1",)),
    _named("to-metadata", ("169.254.169.254",)),
    _named("to-carrier", ("100.64.0.1",)),
    _named("to-azure", ("168.63.129.16",)),
    _named("to-zero", ("0.0.0.0",)),
    _named("to-broadcast", ("255.255.255.255",)),
    _named("to-multicast", ("224.0.0.1",)),
    _named("to-six-loopback", ("::1",)),
    _named("to-mapped", ("::ffff:127.0.0.1",)),
    _named("to-translated", ("64:ff9b::7f00:1",)),
    _named("to-six-to-four", ("2002:7f00:1::",)),
    _named("to-unique", ("fd00:ec2::254",)),
    _named("to-link", ("fe80::1",)),
    _named("one-of-two", (PUBLIC, "127.0.0.1")),
    _named("one-of-each", (PUBLIC, "::1")),
    _named("last-of-twenty", (*(f"9.20.30.{last}" for last in range(41, 60)), "10.0.0.1")),
)
# answered with a public address first, and with one of ours a moment later
REBINDING: Final = (
    *(
        Hostile(
            name=f"rebinding-{name}",
            url=f"https://rebinding-{name}-{{door}}.{DOMAIN}/rebinding",
            leads=((PUBLIC,), (inside,)),
            meets=True,
        )
        for name, inside in {"loopback": "127.0.0.1", "metadata": "169.254.169.254", "ten": "10.0.0.1"}.items()
    ),
    # a document that names a key set at its own origin, which is elsewhere by then
    Hostile(
        name="two-stage",
        url=f"https://two-stage-{{door}}.{DOMAIN}/two-stage",
        leads=((PUBLIC,), ("10.0.0.1",)),
        meets=True,
    ),
)
REDIRECTS: Final = {
    f"redirect-{status}-{number}": (status, to)
    for status in (301, 302, 303, 307, 308)
    for number, to in enumerate(("https://10.0.0.1/honest", "http://169.254.169.254/latest/meta-data/"))
} | {"redirect-six": (302, "https://[::1]/honest"), "redirect-name": (302, "https://localhost/honest")}
_CUT: Final = ("told-10-gb", "untold-10-gb", "chunked-10-gb", "endless-head", "endless-interim")
_BOMBS: Final = ("gzip", "gzip-untold", "gzip-transfer", "deep", "long-number", "other-type", "utf-16")
_DRIPS: Final = ("drip-head", "drip-body", "drip-chunk", "nothing", "slow-twice")
SLOW_SECONDS: Final = 4.0  # of a document that names keys which take as long
HOSTILE: Final = (
    *(_spelt(name, f"https://{host}/honest") for name, host in (_ADDRESSES | _INSIDE).items()),
    *(_spelt(name, url) for name, url in _TRICKS.items()),
    *_LEADING,
    *REBINDING,
    *(_met(name) for name in (*REDIRECTS, *_CUT, *_BOMBS)),
    *(_met(name, slow=True) for name in _DRIPS),
    _met("silent", port=f":{SILENT}", slow=True),
    _met("dribble", port=f":{DRIBBLE}", slow=True),
    _met("closed", port=f":{CLOSED}"),
    Hostile(name="hanging-name", url=f"https://hanging-name-{{door}}.{DOMAIN}/honest", leads=None, slow=True),
)
HONEST: Final = _met("honest", path="honest-{door}")


def leads(name: str, times_asked: int) -> tuple[str, ...] | None:
    """Where a name leads when it is asked for once more; None when the question is never answered."""
    first, _, rest = name.lower().rstrip(".").partition(".")
    if rest != DOMAIN:
        return ()
    for value in (*HOSTILE, HONEST):
        if first.rpartition("-")[0] == value.name:
            return None if value.leads is None else value.leads[times_asked % len(value.leads)]
    return ()
