"""Who the agent of `fapi-as agent` is when nobody registered it: what stands in the place of a client_id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fapi_as.agent.errors import Misconfigured
from fapi_as.commands.agent_profile import read_profile
from fapi_as.commands.group import cli
from tests.support.peer_keys import PeerKey
from tests.support.registering_peer import statement

FILE = """
resource = "https://mcp.example/mcp"
issuer = "https://as.example"
key = "agent.pem"
kid = "one"
store = "tokens"
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a key, a statement and a token of the operator."""
    monkeypatch.chdir(tmp_path)
    key = tmp_path / "agent.pem"
    key.touch(0o600)
    key.write_bytes(PeerKey.es256().private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "statement.jwt").write_text(f"{statement()}\n", encoding="ascii")
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("initial-token-1\n", encoding="ascii")
    return tmp_path


def profile(desk: Path, text: str, **options: Any) -> Any:
    (desk / "fapi-agent.toml").write_text(FILE + text, encoding="utf-8")
    return read_profile({"config": None, **options})


def test_a_statement_stands_in_the_place_of_a_client_id(desk: Path) -> None:
    who = profile(desk, 'software_statement = "statement.jwt"\nscope = "accounts:read"')
    made = who.registrant("http://127.0.0.1:7000/callback")
    assert who.client_id is None
    assert made.software_statement.reveal() == statement()
    assert made.name == "ledger-software"
    asked = made.asked()
    assert asked["redirect_uris"] == ["http://127.0.0.1/callback"]  # without the port of this one time
    assert asked["application_type"] == "native"
    assert asked["jwks"]["keys"][0]["kid"] == "one"
    assert "scope" not in asked  # the statement says it


def test_a_token_of_the_operator_does_and_the_agent_says_the_rest(desk: Path) -> None:
    text = 'initial_access_token = "token"\nclient_name = "Ledger"\nsoftware_id = "ledger"\nscope = "a:read b:read"'
    made = profile(desk, text).registrant("http://127.0.0.1/callback")
    assert made.initial_access_token.reveal() == "initial-token-1"
    asked = made.asked()
    assert (asked["client_name"], asked["software_id"], asked["scope"]) == ("Ledger", "ledger", "a:read b:read")


def test_the_registration_is_signed_where_the_file_or_the_option_says_so(desk: Path) -> None:
    told = 'initial_access_token = "token"\nsoftware_id = "ledger"\n'
    assert not profile(desk, told).registrant("http://127.0.0.1/callback").signed
    assert profile(desk, f"{told}sign_registration = true").registrant("http://127.0.0.1/callback").signed
    assert profile(desk, told, sign_registration=True).registrant("http://127.0.0.1/callback").signed
    assert not profile(desk, f"{told}sign_registration = false").registrant("http://127.0.0.1/callback").signed


def test_what_switches_is_true_or_false_and_a_signed_registration_names_the_software(desk: Path) -> None:
    told = 'initial_access_token = "token"\n'
    with pytest.raises(click.ClickException, match="sign_registration is neither true nor false"):
        profile(desk, f'{told}sign_registration = "true"')
    with pytest.raises(click.ClickException, match="software_id is no string"):
        profile(desk, f"{told}software_id = true")
    with pytest.raises(Misconfigured, match="needs the agent's key and the software_id"):
        profile(desk, f"{told}sign_registration = true").registrant("http://127.0.0.1/callback")


def test_a_metadata_document_does(desk: Path) -> None:
    document = "https://agent.example/client.json"
    made = profile(desk, f'client_id_metadata_document = "{document}"').registrant("http://127.0.0.1/callback")
    assert (made.client_id_metadata_document, made.name) == (document, document)


def test_who_has_a_client_id_is_that_whatever_else_there_is(desk: Path) -> None:
    who = profile(desk, 'software_statement = "statement.jwt"', client_id="agent")
    assert who.identity(None).client_id == "agent"


def test_who_has_nothing_is_told_what_is_missing(desk: Path) -> None:
    with pytest.raises(click.ClickException, match="give --client-id, or a fapi-agent"):
        profile(desk, "")


@pytest.mark.parametrize("content", ["", "\n", "two words", "two\nlines", "ü", "a" * 70_000])
def test_what_is_neither_a_statement_nor_a_token_is_told(desk: Path, content: str) -> None:
    (desk / "statement.jwt").write_text(content, encoding="utf-8")
    with pytest.raises(click.ClickException, match="neither a software statement nor a token"):
        profile(desk, 'software_statement = "statement.jwt"')


def test_a_file_that_is_missing_is_named(desk: Path) -> None:
    with pytest.raises(click.ClickException, match=r"nowhere\.jwt: No such file"):
        profile(desk, 'software_statement = "nowhere.jwt"')


def test_a_token_that_others_can_read_is_not_used(desk: Path) -> None:
    (desk / "token").chmod(0o640)
    with pytest.raises(click.ClickException, match=r"others than its owner can reach this token; chmod 600"):
        profile(desk, 'initial_access_token = "token"')


def test_two_approvals_are_one_too_many(desk: Path) -> None:
    who = profile(desk, 'software_statement = "statement.jwt"\ninitial_access_token = "token"')
    with pytest.raises(Misconfigured, match="one approval is enough"):
        who.registrant("http://127.0.0.1/callback")


def test_what_the_agent_was_told_is_one_sentence(desk: Path) -> None:
    (desk / "fapi-agent.toml").write_text(FILE + 'software_statement = "statement.jwt"', encoding="utf-8")
    (desk / "statement.jwt").write_text(statement(aud="https://other.example"), encoding="ascii")
    done = CliRunner().invoke(cli, ["agent", "register"], prog_name="fapi-as")
    assert done.exit_code == 1
    assert done.stderr == "Error: the software statement is for another issuer than https://as.example\n"
