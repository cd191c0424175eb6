"""`fapi-as trust`: whom a server believes about clients, each change with one audit fact."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.command_line import CLIENT, CommandLine

ISSUER = "https://directory.example"
AUTHORITY: dict[str, Any] = {
    "issuer": ISSUER,
    "jwks": CLIENT["jwks"],
    "policy": {"scope": ["accounts:read"], "clients_per_software": 3},
}


def _add(place: CommandLine, *options: str, **changes: object) -> Any:
    members = {name: value for name, value in {**AUTHORITY, **changes}.items() if value is not ...}
    return place.json("trust", "add", "-", *options, stdin=json.dumps(members))


def _refused(place: CommandLine, **changes: object) -> str:
    members = {name: value for name, value in {**AUTHORITY, **changes}.items() if value is not ...}
    return place.refused("trust", "add", "-", stdin=json.dumps(members))


def test_an_authority_is_trusted_from_a_file_and_shown_with_what_holds(place: CommandLine) -> None:
    file = place.directory / "authority.json"
    file.write_text(json.dumps(AUTHORITY), encoding="utf-8")
    shown = place.json("trust", "add", str(file))
    assert (shown["issuer"], shown["enabled"], shown["clients"]) == (ISSUER, True, 0)
    assert shown["policy"]["scope"] == ["accounts:read"]
    assert shown["policy"]["clients_per_software"] == 3
    assert shown["policy"]["uses_per_statement"] == 1
    assert "client_name" in shown["may_assert"]
    assert place.json("trust", "show", ISSUER) == shown
    assert place.json("trust", "list") == [shown]
    assert place.run("trust", "list").out.splitlines()[1].split()[:3] == [ISSUER, "yes", "0"]


def test_an_authority_is_suspended_resumed_and_removed(place: CommandLine) -> None:
    _add(place)
    assert place.json("trust", "suspend", ISSUER) == {"issuer": ISSUER, "enabled": False}
    assert place.json("trust", "show", ISSUER)["enabled"] is False
    assert place.json("trust", "list")[0]["enabled"] is False
    assert place.run("trust", "resume", ISSUER).out == f"authority {ISSUER} is trusted again\n"
    assert place.run("trust", "remove", ISSUER).out == f"authority {ISSUER} is removed\n"
    assert place.refused("trust", "show", ISSUER) == f"there is no authority {ISSUER}"
    assert place.json("trust", "list") == []


def test_an_authority_is_replaced_only_when_that_is_said_and_a_suspended_one_stays_so(place: CommandLine) -> None:
    _add(place)
    place.json("trust", "suspend", ISSUER)
    assert _refused(place, policy={}) == f"stdin: authority {ISSUER} is trusted already"
    assert place.json("trust", "show", ISSUER)["policy"]["clients_per_software"] == 3
    replaced = _add(place, "--replace", policy={"clients_per_software": 1})
    assert (replaced["policy"]["clients_per_software"], replaced["enabled"]) == (1, False)
    assert "scope" not in replaced["policy"]


def test_every_change_leaves_one_fact_with_the_command_and_the_operator(place: CommandLine) -> None:
    _add(place)
    _add(place, "--replace")
    for verb in ("suspend", "resume", "remove"):
        place.json("trust", verb, ISSUER)
    facts = place.json("audit", "tail")
    assert [fact["detail"] for fact in facts] == [
        f"{ISSUER} {done}" for done in ("added", "replaced", "suspended", "enabled", "removed")
    ]
    assert {fact["event"] for fact in facts} == {"authority.changed"}
    assert [fact["endpoint"] for fact in facts] == [
        f"fapi-as trust {verb}" for verb in ("add", "add", "suspend", "resume", "remove")
    ]
    assert all(fact["source"].startswith("uid:") for fact in facts)


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"issuer": "http://directory.example"}, "issuer"),
        ({"issuer": ...}, "issuer is required"),
        ({"issuer": "https://localhost:8443"}, "issuer is this server"),
        ({"issuer": "https://localhost:8444"}, "issuer is this server"),
        ({"jwks": ...}, "either jwks or jwks_uri"),
        ({"jwks_uri": "https://directory.example/jwks"}, "either jwks or jwks_uri"),
        ({"jwks": {"keys": [{**CLIENT["jwks"]["keys"][0], "d": "AQAB"}]}}, "private"),
        ({"jwks": ..., "jwks_uri": "https://10.0.0.1/jwks"}, "jwks_uri"),
        ({"jwks": ..., "jwks_uri": "https://keys.localhost/jwks"}, "fetch.allowed_private_hosts may name it"),
        ({"status_uri": "https://status.internal.localhost/"}, "fetch.allowed_private_hosts may name it"),
        ({"may_assert": ["client_id"]}, "may_assert may hold"),
        ({"policy": {"clients": 3}}, "policy has no member"),
        ({"policy": {"algorithms": ["RS256"]}}, "algorithms may hold"),
        ({"policy": {"grant_types": ["urn:openid:params:grant-type:ciba"]}}, "grant_types may hold authorization_code"),
        ({"policy": {"token_endpoint_auth_methods": ["tls_client_auth"]}}, "holds none of private_key_jwt"),
        ({"policy": []}, "policy must be an object"),
        ({"open": True}, "an authority has no member"),
    ],
)
def test_an_authority_that_cannot_be_meant_is_refused_by_name_and_nothing_is_stored(
    place: CommandLine, changes: dict[str, object], about: str
) -> None:
    sentence = _refused(place, **changes)
    assert sentence.startswith("stdin: ")
    assert about in sentence
    assert place.json("trust", "list") == []
    assert place.json("audit", "tail") == []


@pytest.mark.parametrize("policy", [{"mutual_tls": True}, {"sender_constraints": ["mtls"]}])
def test_certificates_that_nobody_is_asked_for_are_no_condition(place: CommandLine, policy: dict[str, object]) -> None:
    assert _add(place, policy=policy)["enabled"]
    place.change("#enabled = true\nport", "enabled = false\nport")
    assert "this server asks nobody for certificates" in _refused(place, issuer="https://other.example", policy=policy)
    assert "this server asks nobody for certificates" in place.refused(
        "registration-token", "issue", "-", stdin=json.dumps(policy)
    )


@pytest.mark.parametrize("verb", ["show", "suspend", "resume", "remove"])
def test_an_authority_that_is_not_there_is_one_sentence(place: CommandLine, verb: str) -> None:
    assert place.refused("trust", verb, ISSUER) == f"there is no authority {ISSUER}"
    assert place.json("audit", "tail") == []


def test_an_initial_access_token_is_no_authority(place: CommandLine) -> None:
    token = place.json("registration-token", "issue", "-", stdin="{}")
    for verb in ("show", "suspend", "resume", "remove"):
        assert place.refused("trust", verb, f"token:{token['id']}") == f"there is no authority token:{token['id']}"
    assert place.json("trust", "list") == []
    assert place.json("registration-token", "list")[0]["enabled"] is True
