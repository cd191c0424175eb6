"""`fapi-as client`: register, show, switch off and remove, each with one audit fact."""

from __future__ import annotations

import json

import pytest

from tests.support.certificates import Authority, pem
from tests.support.command_line import CLIENT, PASSWORD, CommandLine


def _add(place: CommandLine, **changes: object) -> None:
    members = {**CLIENT, **changes}
    place.json(
        "client", "add", "-", stdin=json.dumps({name: value for name, value in members.items() if value is not ...})
    )


def test_a_client_is_registered_from_a_file_and_echoed_with_what_holds(place: CommandLine) -> None:
    file = place.directory / "client.json"
    file.write_text(json.dumps(CLIENT), encoding="utf-8")
    shown = place.json("client", "add", str(file))
    assert shown["client_id"] == "ledger-agent"
    assert shown["response_types"] == ["code"]
    assert shown["dpop_bound_access_tokens"] is True
    assert (shown["enabled"], shown["state"]) == (True, "active")
    assert [shown[name] for name in ("approver", "last_used_at", "expires_at")] == [None] * 3
    assert place.json("client", "show", "ledger-agent") == shown


def test_a_client_without_an_id_gets_one_that_nobody_can_guess(place: CommandLine) -> None:
    ids = set()
    for _ in range(3):
        members = {name: value for name, value in CLIENT.items() if name != "client_id"}
        ids.add(place.json("client", "add", "-", stdin=json.dumps(members))["client_id"])
    assert len(ids) == 3
    assert all(len(client_id) >= 22 and not client_id.startswith("https://") for client_id in ids)


def test_for_people_a_client_is_shown_line_by_line(place: CommandLine) -> None:
    _add(place)
    lines = place.run("client", "show", "ledger-agent").out.splitlines()
    assert ["client_name", "Ledger", "agent"] in [line.split() for line in lines]


def test_the_list_shows_live_clients_and_all_of_them_when_asked(place: CommandLine) -> None:
    _add(place)
    _add(place, client_id="other")
    place.json("client", "disable", "other")
    assert [row["client_id"] for row in place.json("client", "list")] == ["ledger-agent"]
    assert [row["client_id"] for row in place.json("client", "list", "--inactive")] == ["ledger-agent", "other"]
    table = place.run("client", "list", "--inactive").out.splitlines()
    assert table[0].startswith("client id")
    assert "suspended" in table[2].split()
    assert "active" in table[1].split()


def test_a_client_is_disabled_enabled_and_removed(place: CommandLine) -> None:
    _add(place)
    assert place.json("client", "disable", "ledger-agent") == {"client_id": "ledger-agent", "enabled": False}
    assert place.json("client", "show", "ledger-agent")["enabled"] is False
    assert place.json("client", "enable", "ledger-agent") == {"client_id": "ledger-agent", "enabled": True}
    assert place.run("client", "remove", "ledger-agent").out == "client ledger-agent is removed\n"
    assert place.refused("client", "show", "ledger-agent") == "there is no client ledger-agent"


DOCUMENT = "https://agents.example/ledger.json"


def test_a_client_that_only_has_a_document_is_kept_out_and_let_in_by_its_url(place: CommandLine) -> None:
    assert place.json("client", "disable", DOCUMENT) == {"client_id": DOCUMENT, "enabled": False}
    assert place.run("client", "disable", DOCUMENT).out == f"client {DOCUMENT} is disabled\n"
    assert place.json("client", "list") == []
    (row,) = place.json("client", "list", "--inactive")
    assert (row["client_id"], row["state"], row["enabled"]) == (DOCUMENT, "suspended", False)
    assert DOCUMENT in place.run("client", "list", "--inactive").out
    assert place.json("client", "enable", DOCUMENT) == {"client_id": DOCUMENT, "enabled": True}
    assert place.refused("client", "enable", DOCUMENT) == f"the client {DOCUMENT} was not blocked"
    assert place.json("client", "list", "--inactive") == []
    facts = [(fact["event"], fact["client_id"], fact["detail"]) for fact in place.json("audit", "tail")]
    assert facts == [("client.changed", DOCUMENT, done) for done in ("blocked", "unblocked")]


@pytest.mark.parametrize(
    "spelling",
    [
        "HTTPS://agents.example/ledger.json",
        "https://Agents.example/ledger.json",
        "https://agents.example:443/ledger.json",
        "https://agents.example/a/../ledger.json",
        "https://agents.example/ledger.json?",
        "https://agents.example",
        "https://10.0.0.1/ledger.json",
        "https://[::1/ledger.json",
    ],
)
@pytest.mark.parametrize("verb", ["disable", "enable", "show", "remove"])
def test_a_url_that_no_client_can_have_is_refused_and_blocks_nobody(
    place: CommandLine, verb: str, spelling: str
) -> None:
    assert place.refused("client", verb, spelling).startswith("client_id: ")
    assert place.json("client", "list", "--inactive") == []
    assert place.json("audit", "tail") == []


@pytest.mark.parametrize("verb", ["show", "remove"])
def test_what_is_not_registered_is_neither_shown_nor_removed(place: CommandLine, verb: str) -> None:
    assert place.refused("client", verb, DOCUMENT) == f"{DOCUMENT} is not registered here: its document says what it is"


def test_every_change_leaves_one_fact_with_the_command_and_the_operator(place: CommandLine) -> None:
    _add(place)
    for verb in ("disable", "enable", "remove"):
        place.json("client", verb, "ledger-agent")
    place.json("client", "list")
    facts = place.json("audit", "tail")
    assert [fact["detail"] for fact in facts] == ["added", "disabled", "enabled", "removed"]
    assert {fact["event"] for fact in facts} == {"client.changed"}
    assert {fact["client_id"] for fact in facts} == {"ledger-agent"}
    assert [fact["endpoint"] for fact in facts] == [
        f"fapi-as client {verb}" for verb in ("add", "disable", "enable", "remove")
    ]
    assert all(fact["source"].startswith("uid:") for fact in facts)
    assert len({fact["correlation_id"] for fact in facts}) == 4


def test_a_second_client_of_the_same_id_is_refused_and_the_first_stays(place: CommandLine) -> None:
    _add(place)
    sentence = place.refused("client", "add", "-", stdin=json.dumps({**CLIENT, "client_name": "Impostor"}))
    assert "registered already" in sentence
    assert place.json("client", "show", "ledger-agent")["client_name"] == "Ledger agent"


@pytest.mark.parametrize("verb", ["show", "disable", "enable", "remove"])
def test_an_argument_that_is_no_text_is_one_sentence(place: CommandLine, verb: str) -> None:
    assert place.refused("client", verb, "agent-\udcff") == "an argument is not UTF-8"
    assert place.json("audit", "tail") == []


@pytest.mark.parametrize("verb", ["show", "disable", "enable", "remove"])
def test_a_client_that_is_not_there_is_one_sentence(place: CommandLine, verb: str) -> None:
    assert place.refused("client", verb, "nobody") == "there is no client nobody"
    assert place.json("audit", "tail") == []


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"redirect_uris": ["http://agent.example/cb"]}, "redirect_uri must be https"),
        ({"redirect_uris": ...}, "redirect_uris is required"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "token_endpoint_auth_method"),
        ({"jwks": {"keys": [{**CLIENT["jwks"]["keys"][0], "d": "AQAB"}]}}, "private"),
        ({"grant_types": ["password"]}, "grant_types"),
        ({"grant_types": ["urn:openid:params:grant-type:ciba"]}, "this server offers authorization_code"),
        ({"jwks": ..., "jwks_uri": "https://localhost:8443/jwks"}, "jwks_uri must not be at an address of this server"),
        ({"client_id": "https://agent.example/client"}, "client_id must not be a URL"),
        ({"client_id": "with space"}, "client_id must be"),
        ({"client_name": "kna\u202eB"}, "client_name"),
    ],
)
def test_metadata_that_may_not_be_registered_is_refused_by_name_and_nothing_is_stored(
    place: CommandLine, changes: dict[str, object], about: str
) -> None:
    members = {name: value for name, value in {**CLIENT, **changes}.items() if value is not ...}
    sentence = place.refused("client", "add", "-", stdin=json.dumps(members))
    assert sentence.startswith("stdin: ")
    assert about in sentence
    assert place.json("client", "list", "--inactive") == []
    assert place.json("audit", "tail") == []


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"client_id": "a", "client_id": "b"}', b'{"a": NaN}', b"\xff\xfe{}", b'"text"', b" " * 70_000],
)
def test_a_file_that_is_no_plain_json_object_is_refused(place: CommandLine, content: bytes) -> None:
    assert place.refused("client", "add", "-", stdin=content).startswith("stdin is ")


def test_a_file_that_is_not_there_is_one_sentence(place: CommandLine) -> None:
    assert place.refused("client", "add", "none.json") == "none.json cannot be read: No such file or directory"


@pytest.mark.requirement("OA-REG-2", proves="refused")
def test_a_client_may_not_be_called_like_the_subject_of_a_user(place: CommandLine) -> None:
    subject = place.json("user", "add", "alice", "--password-stdin", stdin=PASSWORD)["subject"]
    sentence = place.refused("client", "add", "-", stdin=json.dumps({**CLIENT, "client_id": subject}))
    assert sentence == "stdin: client_id is the subject of a user, choose another"


PKI = {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "agent.example", "jwks": ...}
BOUND = {"tls_client_certificate_bound_access_tokens": True}


@pytest.mark.parametrize("changes", [PKI, BOUND], ids=["authenticates", "is bound"])
def test_a_client_of_certificates_is_refused_where_nobody_is_asked_for_them(
    place: CommandLine, changes: dict[str, object]
) -> None:
    members = {name: value for name, value in {**CLIENT, **changes}.items() if value is not ...}
    place.change("#enabled = true", "enabled = false")
    assert "see mtls" in place.refused("client", "add", "-", stdin=json.dumps(members))
    place.change("enabled = false", "enabled = true")
    if changes is PKI:
        told = place.refused("client", "add", "-", stdin=json.dumps(members))
        assert "this server offers private_key_jwt, self_signed_tls_client_auth; see mtls" in told
        (place.directory / "ca.pem").write_bytes(pem(Authority("CN=Clients").certificate))
        place.change("# client_ca_file", "client_ca_file")
        place.change("client-authorities.pem", "ca.pem")
    assert place.json("client", "add", "-", stdin=json.dumps(members))["client_id"] == CLIENT["client_id"]
