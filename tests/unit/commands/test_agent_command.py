"""Who the agent of `fapi-as agent` is: options before the file, and a sentence for all that cannot be used."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fapi_as.agent.file_store import FileTokenStore
from fapi_as.agent.settings import AuthMethod, GrantType
from fapi_as.commands.agent_profile import read_profile
from fapi_as.commands.group import cli
from rs_kit.protocol.secret import Secret
from tests.support.agent_tokens import token_set
from tests.support.mutual_place import certificate_files
from tests.support.peer_keys import PeerKey

NOTHING = dict.fromkeys(
    [
        "config",
        "resource",
        "issuer",
        "endpoint_origins",
        "client_id",
        "key",
        "kid",
        "ca",
        "scope",
        "grant_type",
        "redirect_uri",
        "store",
    ]
)
FILE = """
resource = "https://mcp.example/mcp"
issuer = "https://as.example"
client_id = "agent"
key = "keys/agent.pem"
scope = "accounts:read openid"
endpoint_origins = "https://tokens.example https://par.example:8443"
store = "tokens"
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a key, in which nothing else is configured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys" / "agent.pem"
    key.touch(0o600)
    key.write_bytes(PeerKey.es256().private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return tmp_path


@pytest.fixture
def configured(desk: Path) -> Path:
    (desk / "fapi-agent.toml").write_text(FILE, encoding="utf-8")
    return desk


def refused(*arguments: str, stdin: str | None = None) -> str:
    done = CliRunner().invoke(cli, ["agent", *arguments], input=stdin, prog_name="fapi-as")
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_the_file_says_who_the_agent_is_with_paths_that_are_relative_to_it(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    profile = read_profile({**NOTHING, "config": configured / "fapi-agent.toml"})
    assert (profile.resource, profile.issuer, profile.client_id) == (
        "https://mcp.example/mcp",
        "https://as.example",
        "agent",
    )
    assert profile.scope == ("accounts:read", "openid")
    assert profile.grant_type is GrantType.AUTHORIZATION_CODE
    assert profile.redirect_uri == "http://127.0.0.1/callback"
    assert profile.endpoint_origins == ("https://tokens.example", "https://par.example:8443")
    assert profile.store == configured / "tokens"
    assert profile.key.alg == "ES256"


def test_a_file_that_anybody_can_change_is_not_taken_unless_it_is_named(configured: Path) -> None:
    (configured / "fapi-agent.toml").chmod(0o666)
    assert "somebody else, or anybody can change it" in refused("token")
    assert read_profile({**NOTHING, "config": configured / "fapi-agent.toml"}).client_id == "agent"


def test_a_file_of_somebody_else_is_not_taken_unless_it_is_named(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = configured / "fapi-agent.toml"
    if os.geteuid() == 0:
        os.chown(file, 1, -1)  # what root owns is anybody's to take
    monkeypatch.setattr("os.geteuid", lambda: file.stat().st_uid + 1)
    assert "somebody else" in refused("token")


def test_an_option_goes_before_the_file_and_is_enough_without_one(desk: Path) -> None:
    given = {"resource": "https://other.example/mcp", "issuer": "https://as.example", "client_id": "me"}
    options = {**NOTHING, **given, "key": Path("keys/agent.pem"), "kid": "one", "grant_type": "client_credentials"}
    for text in ("", FILE):
        if text:
            (desk / "fapi-agent.toml").write_text(text, encoding="utf-8")
        profile = read_profile(options)
        assert profile.resource == "https://other.example/mcp"
        assert profile.grant_type is GrantType.CLIENT_CREDENTIALS
        assert profile.key.kid == "one"
        assert profile.store == (Path("tokens") if text else desk / "home/.local/state/fapi-as/agent")


def test_the_state_directory_of_the_desktop_is_where_tokens_are_kept(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(desk / "state"))
    given = {
        "resource": "https://m.example/",
        "issuer": "https://a.example",
        "client_id": "me",
        "key": "keys/agent.pem",
    }
    assert read_profile({**NOTHING, **given}).store == desk / "state/fapi-as/agent"


def test_who_is_nobody_is_told_what_to_give(desk: Path) -> None:
    sentence = refused("token")
    assert "--resource, --issuer, --client-id, --key" in sentence
    assert "--key" in refused(
        "token", "--resource", "https://m.example", "--issuer", "https://a.example", "--client-id", "a"
    )


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda text: text + 'scpoe = "a"\n', "scpoe is no member"),
        (lambda text: text + "kid = 7\n", "kid is no string"),
        (lambda text: text + 'grant_type = "password"\n', "grant_type is authorization_code or client_credentials"),
        (lambda text: text + "= 1\n", "fapi-agent.toml: "),
        (lambda text: text.replace("keys/agent.pem", "keys/none.pem"), "keys/none.pem: No such file or directory"),
        (lambda text: text + 'ca = "none.pem"\n', "none.pem: no certificates of authorities"),
        (lambda text: text + 'ca = "keys/agent.pem"\n', "no certificates of authorities"),
        (lambda text: text.replace("https://mcp", "http://mcp"), "not an https address"),
        (lambda text: text.replace("https://as.example", "https://as.example/?x=1"), "the issuer has a query"),
        (lambda text: text.replace("https://par", "http://par"), "the endpoint origin is not an https address"),
        (lambda text: text.replace("https://par", "https://par.example/x https://par"), "is no origin"),
        (lambda text: text.replace("openid", "*"), "a wildcard is no scope"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_what_is_wrong(
    configured: Path, harm: Callable[[str], str], said: str
) -> None:
    (configured / "fapi-agent.toml").write_text(harm(FILE), encoding="utf-8")
    assert said in refused("token")


def test_a_file_that_is_named_and_not_there_is_missed(desk: Path) -> None:
    assert "other.toml: No such file or directory" in refused("token", "--config", "other.toml")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_private_key_that_others_can_reach_is_refused(configured: Path, mode: int) -> None:
    (configured / "keys" / "agent.pem").chmod(mode)
    assert "chmod 600" in refused("login")


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_private_key_is_refused_and_not_shown(configured: Path, content: bytes) -> None:
    (configured / "keys" / "agent.pem").write_bytes(content)
    sentence = refused("login")
    assert "no private key that the agent can use" in sentence
    assert "AAAA" not in sentence


def test_a_key_on_a_curve_that_nobody_knows_is_refused(configured: Path) -> None:
    der = PeerKey.es256().private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    unknown = der.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030177"))
    pem = b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(unknown) + b"-----END PRIVATE KEY-----\n"
    (configured / "keys" / "agent.pem").write_bytes(pem)
    assert "no private key that the agent can use" in refused("login")


CERTIFIED = """
resource = "https://mcp.example/mcp"
issuer = "https://as.example"
client_id = "agent"
token_endpoint_auth_method = "tls_client_auth"
certificate = "agent.pem"
certificate_key = "agent.key"
bound_to = "certificate"
ca = "ca.pem"
"""


@pytest.fixture
def certified(desk: Path) -> Path:
    """An agent that has a certificate and no key."""
    certificate_files(desk)
    (desk / "fapi-agent.toml").write_text(CERTIFIED, encoding="utf-8")
    return desk


def test_a_certificate_is_enough_to_say_who_the_agent_is(certified: Path) -> None:
    profile = read_profile(NOTHING)
    assert profile.certificate is not None
    assert profile.tls is profile.certificate.context
    assert (profile.key, profile.bound_to, profile.auth_method) == (None, "certificate", AuthMethod.TLS_CLIENT_AUTH)
    assert "sign in with `fapi-as agent login`" in refused("token")


def test_signed_messages_are_members_with_the_names_of_the_registration(configured: Path) -> None:
    given = {"request_object_signing_alg": "ES256", "authorization_signed_response_alg": "PS256"}
    assert read_profile({**NOTHING, **given}).signed == given
    assert "need a key for it" in refused("token", "--request-object-signing-alg", "PS256")
    assert "responses are signed with one of" in refused("token", "--authorization-signed-response-alg", "none")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda text: text.replace('"agent.key"', '"ca.pem"'), "no certificate that fits its private key"),
        (lambda text: text.replace('"agent.key"', '"none.key"'), "none.key: No such file or directory"),
        (lambda text: text.replace('"agent.pem"', '"none.pem"'), "none.pem is no certificate"),
        (lambda text: text.replace('"ca.pem"', '"agent.key"'), "no certificates of authorities"),
        (lambda text: text.replace("tls_client_auth", "client_secret_basic"), "token_endpoint_auth_method is one of"),
        (lambda text: text.replace('bound_to = "certificate"', 'bound_to = "nobody"'), "bound_to is one of"),
        (lambda text: text.replace('certificate = "agent.pem"\n', ""), "--certificate"),
        (lambda text: text.replace("tls_client_auth", "private_key_jwt"), "--key"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_refused_with_what_is_wrong(
    certified: Path, harm: Callable[[str], str], said: str
) -> None:
    (certified / "fapi-agent.toml").write_text(harm(CERTIFIED), encoding="utf-8")
    (certified / "ca.pem").chmod(0o600)
    assert said in refused("token")


def test_the_private_key_of_a_certificate_is_its_owners_alone(certified: Path) -> None:
    (certified / "agent.key").chmod(0o640)
    assert "agent.key: others than its owner can reach this private key" in refused("login")


@pytest.mark.parametrize("arguments", ["[]", "7", "{", "", '{"a": 1} x'])
@pytest.mark.parametrize("command", ["call", "trace"])
def test_arguments_that_are_no_object_are_refused_before_anything_is_sent(
    configured: Path, command: str, arguments: str
) -> None:
    assert "no JSON object" in refused(command, "get_balance", arguments)
    assert "no JSON object" in refused(command, "get_balance", "-", stdin=arguments)


def test_nobody_who_signed_in_nowhere_gets_a_token(configured: Path) -> None:
    assert "sign in with `fapi-as agent login`" in refused("token")
    assert not list((configured / "tokens").glob("*.json"))


def test_a_trace_that_fails_shows_how_far_it_came(configured: Path) -> None:
    (configured / "fapi-agent.toml").write_text(FILE.replace("mcp.example", "localhost:1"), encoding="utf-8")
    done = CliRunner().invoke(cli, ["agent", "trace", "get_balance", "--json"], prog_name="fapi-as")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["result"] is None
    assert [step["asked"] for step in document["steps"]] == ["POST https://localhost:1/mcp: ConnectError"]
    assert done.stderr == "Error: localhost:1 did not answer: ConnectError\n"


class Talkative:
    """An MCP server that repeats what it was told, and more, where the SDK's client and its caller look."""

    def __init__(self, where: str) -> None:
        self.where = where

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        message = json.loads(request.content)
        if "id" not in message:
            return httpx2.Response(202)
        said = f"\x07\u202e{request.headers['authorization']} {request.headers['dpop']}"
        reply: dict[str, object] = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "initialize":
            reply["result"] = {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "talkative", "version": "1"},
            }
        elif message["method"] == "tools/list":
            reply["result"] = {"tools": []}
        elif message["method"] == "tools/call" and self.where == "result":
            reply["result"] = {"content": [{"type": "text", "text": said}], "structuredContent": {"said": [said]}}
        elif message["method"] == "tools/call":
            reply["error"] = {"code": -32000, "message": said}
        else:
            reply["error"] = {"code": -32601, "message": "no such method"}
        return httpx2.Response(200, json=reply)


@pytest.fixture
def signed_in(configured: Path) -> Path:
    """Tokens of an earlier sign-in."""
    named = {"resource": "https://mcp.example/mcp", "issuer": "https://as.example", "client_id": "agent"}
    tokens = token_set(**named, access_token=Secret("s3cret-token"), expires_at=int(time.time()) + 3600)
    store = FileTokenStore(configured / "tokens", agent="https://as.example agent")
    asyncio.run(store.save("https://mcp.example/mcp", tokens))
    return configured


def test_an_agent_that_acts_for_itself_does_not_use_what_a_person_allowed_it(
    signed_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[httpx2.Request] = []

    async def nothing(_: httpx2.AsyncHTTPTransport, request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(404)

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", nothing)
    done = CliRunner().invoke(cli, ["agent", "token"], prog_name="fapi-as")
    assert "s3cret-token" in done.stdout

    assert "there is no protected resource metadata" in refused("token", "--grant-type", "client_credentials")
    assert sent


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("where", ["result", "error"])
def test_a_trace_gives_away_nothing_that_the_tool_repeats(
    signed_in: Path, where: str, as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = httpx2.MockTransport(Talkative(where).answer)
    monkeypatch.setattr(httpx2, "AsyncHTTPTransport", lambda **_: transport)
    arguments = ["agent", "trace", "get_balance", *(["--json"] if as_json else [])]

    done = CliRunner().invoke(cli, arguments, prog_name="fapi-as")

    assert done.exit_code == (0 if where == "result" else 1), done.stderr
    assert "DPoP ***" in (done.stdout if where == "result" else done.stderr)
    assert "s3cret-token" not in done.stdout + done.stderr
    assert "eyJ" not in done.stdout + done.stderr
    assert not {"\x07", "\u202e"} & {*done.stdout, *done.stderr}
    assert done.stderr.count("\n") <= 1
