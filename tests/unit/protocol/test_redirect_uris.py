"""Redirect URIs: what may be registered, exact comparison with its one exception, and what is appended."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.redirect_uri import form_action_source, is_registered, origin_of, refusal, with_parameters

REGISTERED = "https://client.example/callback"
LOOPBACK = "http://127.0.0.1/callback?device=1"


# --- what may be registered


@pytest.mark.requirement("FAPI2-AZ-8", proves="holds")
@pytest.mark.parametrize(
    ("uri", "application_type"),
    [
        (REGISTERED, "web"),
        (REGISTERED, "native"),
        ("https://client.example", "web"),
        ("https://client.example:8443/cb?x=1", "web"),
        ("https://client.example./cb", "web"),
        ("https://xn--bcher-kva.example/cb", "web"),
        ("https://[2001:db8::1]:8443/cb", "web"),
        ("HTTPS://Client.Example/cb", "web"),
        ("http://127.0.0.1:51000/cb", "native"),
        ("http://[::1]/cb", "native"),
        ("http://127.0.0.1", "native"),
    ],
)
def test_https_may_be_registered_and_loopback_http_by_native_clients(uri: str, application_type: str) -> None:
    assert refusal(uri, application_type) is None


@pytest.mark.requirement("FAPI2-AZ-8", proves="refused")
@pytest.mark.parametrize("application_type", ["web", "native"])
@pytest.mark.parametrize(
    "uri",
    ["http://client.example/cb", "http://localhost/cb", "com.example.app:/cb", "ftp://127.0.0.1/cb", "//c.example/cb"],
)
def test_no_other_scheme_and_no_open_network(uri: str, application_type: str) -> None:
    assert refusal(uri, application_type) is not None


@pytest.mark.requirement("FAPI2-AZ-8", proves="refused")
@pytest.mark.parametrize("uri", ["http://127.0.0.1/cb", "http://[::1]:8080/cb"])
def test_a_web_client_has_no_loopback(uri: str) -> None:
    assert refusal(uri, "web") is not None


@pytest.mark.requirement("OA-REG-7", proves="refused")
@pytest.mark.parametrize("application_type", ["web", "native"])
@pytest.mark.parametrize(
    "uri",
    [
        "myapp://cb",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "vbscript:x",
    ],
)
def test_private_schemes_are_refused(uri: str, application_type: str) -> None:
    assert refusal(uri, application_type) is not None


@pytest.mark.requirement("OA-REG-4", proves="refused")
@pytest.mark.parametrize(
    "uri", [f"{REGISTERED}#f", f"{REGISTERED}#", "https://c.example/?x#y", "/cb", "cb", "", "https:cb", "https://"]
)
def test_a_fragment_or_a_relative_reference_is_refused(uri: str) -> None:
    assert refusal(uri, "web") is not None


@pytest.mark.requirement("OA-EP-1", proves="refused")
@pytest.mark.parametrize(
    "query",
    [
        "code=mine",
        "x=1&state=s",
        "iss=https://evil.example",
        "error=",
        "error",
        "co%64e=1",
        "response=jwt",
        "error_uri=x",
    ],
)
def test_a_query_that_would_put_a_parameter_into_the_response_twice_is_refused(query: str) -> None:
    assert refusal(f"{REGISTERED}?{query}", "web") == "redirect_uri must not hold a parameter of the response"


@pytest.mark.parametrize("query", ["x=1", "codes=1", "Code=1", "", "x=code"])
def test_any_other_query_may_be_registered(query: str) -> None:
    assert refusal(f"{REGISTERED}?{query}", "web") is None


@pytest.mark.parametrize(
    "uri",
    [
        "https://good.example@evil.example/cb",
        "https://a:b@client.example/cb",
        "https://@client.example/cb",
        "https://client.example\\@evil.example/cb",
        "https://client.example\\.evil.example/cb",
        "https:\\\\client.example/cb",
        "https://client.example/c b",
        "https://client.example/cb\n",
        "https://client.example/\tcb",
        " https://client.example/cb",
        "https://client.example/cb\x00",
        "https://clienté.example/cb",
        "https://client。example/cb",
        "https://client.example/ü",
        "https://[::1/cb",
        "https://[not-an-address]/cb",
        "https://[fe80::1%25eth0]/cb",
        "https://client.example:99999/cb",
        "https://client.example:port/cb",
        "https://client.example:0/cb",
        "https://client.example:/cb",
        "https://client.example:+8/cb",
        "https:///cb",
        "https://:443/cb",
        "https://client%2eexample/cb",
        "https://client..example/cb",
        "https://.client.example/cb",
        "https://client_x.example/cb",
    ],
)
def test_what_a_browser_could_read_as_another_place_is_refused(uri: str) -> None:
    assert refusal(uri, "web") is not None
    assert refusal(uri, "native") is not None


@pytest.mark.parametrize("host", ["a;default-src", "a,script-src", "'self'", "*", "*.example", "a'b", "(x)", "a%b"])
def test_no_host_can_write_into_the_content_security_policy(host: str) -> None:
    assert refusal(f"https://{host}/cb", "web") == "redirect_uri must name a host"


@given(st.text(max_size=60), st.sampled_from(["web", "native"]))
def test_every_text_is_judged_with_a_printable_sentence(uri: str, application_type: str) -> None:
    for written in (uri, f"https://{uri}", f"http://127.0.0.1{uri}"):
        sentence = refusal(written, application_type)
        if sentence is None:
            assert written.isascii()
            assert "#" not in written
            assert urlsplit(written).scheme in ("https", "http")
        else:
            assert sentence.isascii()
            assert not set(sentence) & {'"', "\\"}


# --- comparison


@pytest.mark.requirement("OA-REG-3", proves="holds")
@pytest.mark.parametrize("application_type", ["web", "native"])
def test_the_registered_string_is_registered(application_type: str) -> None:
    assert is_registered(REGISTERED, ("https://other.example/cb", REGISTERED), application_type)


LOOKALIKES = [
    f"{REGISTERED}/",
    f"{REGISTERED}/more",
    f"{REGISTERED}?x=1",
    f"{REGISTERED}?",
    f"{REGISTERED}#",
    f"{REGISTERED}\n",
    f" {REGISTERED}",
    f"{REGISTERED}\x00",
    "https://client.example/callback/../callback",
    "https://client.example/./callback",
    "https://client.example//callback",
    "https://client.example/%63allback",
    "https://client.example/Callback",
    "https://CLIENT.example/callback",
    "HTTPS://client.example/callback",
    "https://client.example:443/callback",
    "https://client.example:8443/callback",
    "https://client.example./callback",
    "https://www.client.example/callback",
    "https://client.example.evil.example/callback",
    "https://client.example@evil.example/callback",
    "https://user@client.example/callback",
    "https://client.example\\@evil.example/callback",
    "https://сlient.example/callback",  # noqa: RUF001 - a Cyrillic letter
    "http://client.example/callback",
    "//client.example/callback",
    "",
]


@pytest.mark.requirement("OA-REG-3", proves="refused")
@pytest.mark.parametrize("uri", LOOKALIKES)
def test_nothing_that_only_means_the_same_is_registered(uri: str) -> None:
    assert not is_registered(uri, (REGISTERED,), "web")


@pytest.mark.requirement("FAPI2-AZ-9", proves="holds")
def test_one_of_several_registered_uris_may_be_asked_for() -> None:
    assert all(
        is_registered(uri, (REGISTERED, f"{REGISTERED}?x=1"), "web") for uri in (REGISTERED, f"{REGISTERED}?x=1")
    )


@pytest.mark.requirement("FAPI2-AZ-9", proves="refused")
@pytest.mark.parametrize("uri", LOOKALIKES)
def test_a_native_client_has_no_looser_comparison_of_https(uri: str) -> None:
    assert not is_registered(uri, (REGISTERED,), "native")


@pytest.mark.requirement("NAT-2", proves="holds")
@pytest.mark.parametrize("port", ["", ":1", ":80", ":51000", ":65535"])
def test_the_port_of_a_native_loopback_address_is_free(port: str) -> None:
    assert is_registered(f"http://127.0.0.1{port}/callback?device=1", (LOOPBACK,), "native")


@pytest.mark.requirement("NAT-2", proves="refused")
@pytest.mark.parametrize(
    ("uri", "registered", "application_type"),
    [
        ("https://client.example:8443/callback", REGISTERED, "native"),
        ("https://127.0.0.1:8443/cb", "https://127.0.0.1/cb", "native"),
        ("http://localhost:8080/cb", "http://localhost/cb", "native"),
        ("http://127.0.0.1:8080/callback?device=1", LOOPBACK, "web"),
    ],
)
def test_no_other_port_is_free(uri: str, registered: str, application_type: str) -> None:
    assert not is_registered(uri, (registered,), application_type)


@pytest.mark.requirement("OA-REG-6", proves="holds")
@pytest.mark.parametrize(
    ("uri", "registered"),
    [
        ("http://127.0.0.1:51000/cb", "http://127.0.0.1:8080/cb"),
        ("http://[::1]:51000/cb", "http://[::1]/cb"),
        ("http://127.0.0.1:51000", "http://127.0.0.1"),
    ],
)
def test_either_loopback_address_may_come_with_an_ephemeral_port(uri: str, registered: str) -> None:
    assert is_registered(uri, (registered,), "native")


@pytest.mark.requirement("OA-REG-6", proves="refused")
@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1:80@evil.example/cb",
        "http://127.1/cb",
        "http://127.0.0.2/cb",
        "http://127.000.000.001/cb",
        "http://0x7f000001/cb",
        "http://2130706433/cb",
        "http://[::1]/cb",
        "http://[0:0:0:0:0:0:0:1]/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://localhost/cb",
        "http://127.0.0.1/other",
        "http://127.0.0.1/cb/",
        "http://127.0.0.1/cb?x=1",
        "http://127.0.0.1/cb#f",
        "http://127.0.0.1/CB",
        "http://127.0.0.1\\cb",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:100000/cb",
        "http://127.0.0.1:８０８０/cb",  # noqa: RUF001 - digits to Python, and to a browser another port than it says
        "http://127.0.0.1:٨٠٨٠/cb",
        "http://127.0.0.1:-1/cb",
        "http://127.0.0.1/cb\n",
        "HTTP://127.0.0.1/cb",
        "https://127.0.0.1/cb",
    ],
)
def test_nothing_else_is_that_loopback_address(uri: str) -> None:
    assert not is_registered(uri, ("http://127.0.0.1/cb",), "native")


@given(st.text(max_size=40), st.sampled_from(["web", "native"]))
def test_only_the_registered_string_or_another_loopback_port_is_ever_registered(more: str, kind: str) -> None:
    registered = ("https://client.example/cb", "http://127.0.0.1/cb")
    for uri in (more, f"https://client.example/cb{more}", f"http://127.0.0.1{more}/cb", f"http://127.0.0.1:{more}/cb"):
        if is_registered(uri, registered, kind) and uri not in registered:
            assert kind == "native"
            assert uri.isascii()
            assert (urlsplit(uri).hostname, urlsplit(uri).path) == ("127.0.0.1", "/cb")


# --- what is appended, and what pages name


@pytest.mark.requirement("OA-REG-4", proves="holds")
@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://c/cb?x=1", "https://c/cb?x=1&code=C"),
        ("https://c/cb", "https://c/cb?code=C"),
        ("https://c", "https://c?code=C"),
        ("https://c/cb?", "https://c/cb?&code=C"),
        ("https://c/cb?a=%20b&a=c", "https://c/cb?a=%20b&a=c&code=C"),
    ],
)
def test_a_registered_query_is_kept_byte_for_byte(uri: str, expected: str) -> None:
    assert with_parameters(uri, "code=C") == expected
    assert dict(parse_qsl(urlsplit(expected).query))["code"] == "C"


@pytest.mark.parametrize(
    ("uri", "origin", "source"),
    [
        (REGISTERED, "https://client.example", "https://client.example"),
        ("https://client.example:8443?x=1", "https://client.example:8443", "https://client.example:8443"),
        ("http://127.0.0.1:51000/cb", "http://127.0.0.1:51000", "http://127.0.0.1:51000"),
        ("http://[::1]:51000/cb", "http://[::1]:51000", "http:"),
        ("https://[2001:db8::1]/cb", "https://[2001:db8::1]", "https:"),
    ],
)
def test_pages_name_the_origin_and_the_policy_what_a_browser_understands(uri: str, origin: str, source: str) -> None:
    assert origin_of(uri) == origin
    assert form_action_source(uri) == source
