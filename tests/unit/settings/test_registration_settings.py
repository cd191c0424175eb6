"""Clients that no operator registers: what the configuration says of them, and the sentence that stops the start."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from fapi_as.protocol import profile
from fapi_as.protocol.policy import DocumentPolicy
from fapi_as.settings import ConfigurationError, Settings, load

MINIMAL = '[server]\nissuer = "https://as.example"\n'
NOTHING_ALLOWED = (
    "client_id_metadata.enabled is on and nothing is allowed: it needs client_id_metadata.hosts and "
    "client_id_metadata.scopes"
)


def loaded(directory: Path, text: str = "", **environ: str) -> Settings:
    path = directory / "fapi-as.toml"
    path.write_text(MINIMAL + text, encoding="utf-8")
    return load(path, {f"FAPI_AS__{name.upper()}": value for name, value in environ.items()})


def test_clients_may_register_and_no_url_is_a_client_when_nothing_is_said(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert settings.registration.enabled
    policy = settings.policy()
    assert policy.documents is None
    assert policy.pending_client_lifetime == profile.PENDING_CLIENT_LIFETIME
    assert policy.unused_client_lifetime == profile.UNUSED_CLIENT_LIFETIME
    assert policy.registrations_per_source == profile.REGISTRATIONS_PER_SOURCE
    assert policy.allowed_private_hosts == frozenset()


def test_rules_are_told_what_is_said_of_registration(tmp_path: Path) -> None:
    text = "[registration]\npending_hours = 1\nunused_days = 7\nper_source_per_hour = 3\n"
    policy = loaded(tmp_path, text + '[fetch]\nallowed_private_hosts = ["inside.example"]\n').policy()
    assert policy.pending_client_lifetime == timedelta(hours=1)
    assert policy.unused_client_lifetime == timedelta(days=7)
    assert policy.registrations_per_source == 3
    assert policy.allowed_private_hosts == {"inside.example"}


def test_documents_are_those_of_named_hosts_for_named_scopes(tmp_path: Path) -> None:
    text = '[client_id_metadata]\nenabled = true\nhosts = ["agents.example"]\nscopes = ["accounts:read"]\n'
    assert loaded(tmp_path, text).policy().documents == DocumentPolicy(
        hosts=frozenset({"agents.example"}), scope=frozenset({"accounts:read"})
    )
    settings = loaded(
        tmp_path,
        text,
        client_id_metadata__hosts="agents.example, others.example",
        client_id_metadata__statement_required="true",
    )
    documents = settings.policy().documents
    assert documents is not None
    assert (documents.hosts, documents.statement_required) == ({"agents.example", "others.example"}, True)
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_what_is_written_and_switched_off_is_nobodys_client(tmp_path: Path) -> None:
    text = '[client_id_metadata]\nhosts = ["agents.example"]\nscopes = ["accounts:read"]\n'
    assert loaded(tmp_path, text).policy().documents is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[registration]\npending_hours = 0\n", "registration.pending_hours is 0 and must be 1 to 168"),
        ("[registration]\npending_hours = 169\n", "registration.pending_hours is 169 and must be 1 to 168"),
        ("[registration]\nunused_days = 366\n", "registration.unused_days is 366 and must be 1 to 365"),
        ("[registration]\nper_source_per_hour = 0\n", "registration.per_source_per_hour is 0 and must be 1 to 100000"),
        ("[registration]\nopen = true\n", "registration.open is not a setting; did you mean registration?"),
        ("[client_id_metadata]\nenabled = true\n", NOTHING_ALLOWED),
        ('[client_id_metadata]\nenabled = true\nscopes = ["accounts:read"]\n', NOTHING_ALLOWED),
        (
            '[client_id_metadata]\nenabled = true\nhosts = ["agents.example"]\n',
            NOTHING_ALLOWED,
        ),
        *(
            (
                f'[client_id_metadata]\nhosts = ["{host}"]\n',
                "client_id_metadata.hosts must be names of hosts in lower case, with a port where it is not 443",
            )
            for host in (
                "*",
                "*.example",
                "Agents.example",
                "agents.example:443",
                "agents.example:22",
                "agents.example:",
                "https://agents.example",
                "10.0.0.1",
            )
        ),
        (
            '[client_id_metadata]\nscopes = ["accounts:read openid"]\n',
            "client_id_metadata.scopes must be scope values of RFC 6749, section 3.3",
        ),
    ],
)
def test_what_would_let_anybody_in_is_refused_by_name(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, text)
    assert str(caught.value) == sentence
