"""What a client says of itself to people: kept in every language, and never able to hide or reorder anything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fapi_as.protocol.client import ClientDescription
from fapi_as.protocol.client_metadata import parse_client, to_metadata
from tests.support.client_members import client_members, ec_jwk, refused

PAGES = ("client_uri", "logo_uri", "policy_uri", "tos_uri")
SAID: dict[str, Any] = {
    **{name: f"https://agent.example/{name}" for name in PAGES},
    "client_name#fr": "Agent du grand livre",
    "client_name#ja-Hani-JP": "台帳エージェント",
    "tos_uri#de": "https://agent.example/agb",
    "contacts": ["security@agent.example", "Zoë, +44 20 7946 0000"],
    "software_id": "4NRB1-0XZABZI9E6-5SM3R",
    "software_version": "2.1",
}


def test_what_it_says_is_kept_and_reads_back() -> None:
    keys = {"keys": [ec_jwk(kid="one", alg="ES256")]}
    client = parse_client(client_members(**SAID, jwks=keys), client_id="c", version=1)
    told = to_metadata(client)
    assert told.items() >= SAID.items()
    assert parse_client(json.loads(json.dumps(told)), client_id="c", version=1) == client


@pytest.mark.requirement("DCR-15", proves="holds")
@pytest.mark.parametrize(
    ("language", "name"),
    [
        ("fr", "Agent du grand livre"),
        ("FR", "Agent du grand livre"),
        ("fr-CA", "Agent du grand livre"),
        ("ja-Hani-JP", "台帳エージェント"),
        ("ja-hani-jp-x-private", "台帳エージェント"),
        ("ja", None),
        ("f", None),
        ("frr", None),
        ("", None),
        ("*", None),
    ],
)
def test_a_name_is_found_in_its_language_or_a_part_of_it(language: str, name: str | None) -> None:
    client = parse_client(client_members(**SAID), client_id="c", version=1)
    assert client.description.name_for(language) == name


def test_whoever_says_nothing_has_no_description() -> None:
    client = parse_client(client_members(), client_id="c", version=1)
    assert client.description == ClientDescription()


@pytest.mark.requirement("DCR-15", proves="refused")
@pytest.mark.parametrize("tag", ["<script>", "", "fr_FR", "fr-", "-fr", "1", "é", "fr#de", " fr", "a" * 9, "fr\n"])
def test_a_language_that_is_none_is_refused(tag: str) -> None:
    assert (
        refused(**{f"client_name#{tag}": "Agent"})
        == "client_name: what stands behind # must be a language tag of BCP 47"
    )


def test_one_language_stands_there_once() -> None:
    assert "twice" in refused(**{"client_name#fr": "Agent", "client_name#FR": "Banque"})


def test_there_are_not_more_languages_than_anybody_needs() -> None:
    many = {f"client_name#{first}{second}": "Agent" for first in "abcd" for second in "abcde"}
    assert "languages" in refused(**many)
    assert "language tag" in refused(**{f"client_name#{'-'.join(['abcdefgh'] * 5)}": "Agent"})


@pytest.mark.parametrize("name", ["", " Agent", "kna\u202eB", "Ba\u200bnk", "A\r\nB", "x" * 101])
def test_a_name_in_another_language_hides_nothing_either(name: str) -> None:
    assert refused(**{"client_name#fr": name}).startswith("client_name ")


@pytest.mark.requirement("DCR-12", proves="holds")
@pytest.mark.parametrize("name", [*PAGES, "logo_uri#fr", "jwks_uri", "sector_identifier_uri"])
def test_a_page_on_a_public_host_is_registered_and_never_fetched(name: str) -> None:
    changes: dict[str, Any] = {"jwks": ...} if name == "jwks_uri" else {}
    uri = "https://agent.example/page?of=it"
    told = to_metadata(parse_client(client_members(**changes, **{name: uri}), client_id="c", version=1))
    assert told[name] == uri


@pytest.mark.requirement("DCR-12", proves="refused")
@pytest.mark.parametrize(
    "uri",
    [
        *("http://agent.example/x", "http://169.254.169.254/", "https://169.254.169.254/", "https://127.0.0.1/"),
        *(
            "https://10.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://2130706433/",
            "https://0x7f.1/",
        ),
        *(
            "https://user@agent.example/",
            "https://agent.example:22/",
            "https://agent.example/#x",
            "https://agent.example.",
        ),
        *(
            "javascript:alert(1)",
            "data:text/html,x",
            "//agent.example/x",
            "https://agent.example/\r\nx",
            "https://é.example",
        ),
        *("https://agent.example/<b>", "file:///etc/passwd", "", "https://agent.example/" + "x" * 2048),
    ],
)
@pytest.mark.parametrize("name", [*PAGES, "logo_uri#fr", "jwks_uri", "sector_identifier_uri"])
def test_a_page_that_is_not_public_or_not_https_is_refused(name: str, uri: str) -> None:
    changes: dict[str, Any] = {"jwks": ...} if name == "jwks_uri" else {}
    assert refused(**changes, **{name: uri}).startswith(f"{name.partition('#')[0]}: ")


@pytest.mark.parametrize("contacts", [["x" * 255], ["a\u202eb"], [""], ["a\nb"], [str(number) for number in range(11)]])
def test_contacts_are_a_few_lines_that_people_can_read(contacts: list[str]) -> None:
    assert "contacts" in refused(contacts=contacts)


@pytest.mark.parametrize("name", ["software_id", "software_version"])
@pytest.mark.parametrize("value", ["", " ", "a\u202eb", "x" * 256])
def test_the_name_and_the_version_of_software_are_readable(name: str, value: str) -> None:
    assert name in refused(**{name: value})
