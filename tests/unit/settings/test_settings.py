"""What a configuration may say, and the one sentence that stops the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fapi_as.protocol import profile
from fapi_as.settings import ConfigurationError, Settings, load

MINIMAL = '[server]\nissuer = "https://as.example"\n'
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> Path:
        path = tmp_path / "fapi-as.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def _refused(path: Path, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ or {})
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_an_issuer_is_all_that_must_be_said_and_the_rest_is_the_hardened_default(write: Write) -> None:
    loaded = load(write(MINIMAL), {})
    policy = loaded.policy()
    assert policy.tenant == "default"
    assert policy.issuer == "https://as.example"
    assert policy.access_token_lifetime == profile.ACCESS_TOKEN_LIFETIME
    assert policy.authorization_code_lifetime == profile.AUTHORIZATION_CODE_LIFETIME
    assert policy.request_uri_lifetime == profile.REQUEST_URI_LIFETIME
    assert policy.dpop_proof_age == profile.DPOP_PROOF_AGE
    assert policy.dpop_nonces is True
    assert loaded.logging.format == "json"


def test_relative_paths_start_where_the_file_is(write: Write, tmp_path: Path) -> None:
    loaded = load(write(MINIMAL + '[keys]\nsealing_key_file = "secrets/sealing.key"\n'), {})
    assert loaded.keys.sealing_key_file == tmp_path / "secrets/sealing.key"
    assert loaded.server.certificate_file == tmp_path / "authorization-server.pem"
    assert loaded.database.path == tmp_path / "fapi-as.db"
    assert loaded.database.url == f"sqlite:///{tmp_path}/fapi-as.db"


def test_absolute_paths_stay(write: Write) -> None:
    text = MINIMAL + 'private_key_file = "/etc/fapi-as/tls.key"\n[database]\nurl = "sqlite:////var/lib/fapi-as.db"\n'
    loaded = load(write(text), {})
    assert loaded.server.private_key_file == Path("/etc/fapi-as/tls.key")
    assert loaded.database.path == Path("/var/lib/fapi-as.db")


def test_the_environment_overrides_the_file(write: Write) -> None:
    loaded = load(
        write(MINIMAL + "port = 9000\n[dpop]\nnonces = true\n"),
        {
            "FAPI_AS__SERVER__PORT": "9443",
            "FAPI_AS__DPOP__NONCES": "false",
            "FAPI_AS__LIFETIMES__ACCESS_TOKEN": "60",
            "FAPI_AS__LOGGING__FORMAT": "text",
            "PATH": "/bin",
            "FAPI_AS_PORT": "tcp://10.0.0.1:8443",  # what Kubernetes sets for a service named fapi-as
        },
    )
    assert loaded.server.port == 9443
    assert loaded.dpop.nonces is False
    assert loaded.policy().access_token_lifetime == timedelta(minutes=1)
    assert loaded.logging.format == "text"


def test_the_environment_can_carry_the_whole_configuration() -> None:
    assert load(None, {"FAPI_AS__SERVER__ISSUER": "https://as.example"}).policy().issuer == "https://as.example"


def test_settings_cannot_be_changed_afterwards(write: Write) -> None:
    loaded = load(write(MINIMAL), {})
    with pytest.raises(ValueError, match="frozen"):
        loaded.lifetimes.access_token = 3600  # type: ignore[misc]


@pytest.mark.parametrize(
    "issuer", ["https://localhost:8443", "https://as.example", "https://[::1]:8443", "https://10.0.0.1"]
)
def test_an_https_origin_is_an_issuer(write: Write, issuer: str) -> None:
    assert load(write(f'[server]\nissuer = "{issuer}"'), {}).server.issuer == issuer


@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        ("http://localhost:8443", "https"),
        ("as.example", "https"),
        ("HTTPS://as.example", "https"),
        ("https://as.example/", "slash"),
        ("https://as.example?x=1", "query"),
        ("https://as.example#x", "fragment"),
        ("https://user:pw@as.example", "user information"),
        ("https://As.example", "lower case"),
        ("https://as.example:443", "default port"),
        ("https://as.example:", "default port"),
        ("https://as.example/tenant", "path"),
        ("https://", "slash"),
        ("https://as.example:99999", "URL"),
        ("https://[::1", "URL"),
        ("https://as example", "spaces"),
        ("https://as.example\\n", "ASCII"),
        ("https://ás.example", "ASCII"),
        ("https://as..example", "host"),
        ("https://as.example:08443", "RFC 3986"),
        ("https://as.example:0", "RFC 3986"),
        ("https://[fe80::1%25eth0]:8443", "RFC 3986"),
        ("", "ASCII"),
    ],
)
def test_an_issuer_that_could_be_read_in_two_ways_is_refused(write: Write, issuer: str, reason: str) -> None:
    sentence = _refused(write(f'[server]\nissuer = "{issuer}"'))
    assert sentence.startswith(("server.issuer must ", "server.issuer is "))
    assert reason in sentence


def test_a_configuration_without_an_issuer_is_refused(write: Write) -> None:
    assert _refused(write("")) == "server.issuer is required"


_CEILINGS = [
    ("lifetimes.authorization_code", 60, "FAPI2-AS-13"),
    ("lifetimes.request_uri", 599, "FAPI2-AZ-15"),
    ("lifetimes.interaction", 600, "LOG-20"),
    ("lifetimes.session", 86_400, "LOG-14"),
    ("lifetimes.session_idle", 900, "LOG-14"),
    ("lifetimes.access_token", 600, "DPOP-AS-17"),
    ("lifetimes.refresh_token", 365 * 86_400, "RT-3"),
    ("dpop.proof_age", 300, "DPOP-12"),
]


@pytest.mark.parametrize(("key", "ceiling", "clause"), _CEILINGS)
def test_a_lifetime_above_its_ceiling_is_refused_with_key_value_ceiling_and_clause(
    write: Write, key: str, ceiling: int, clause: str
) -> None:
    section, name = key.split(".")
    sentence = _refused(write(f"{MINIMAL}[{section}]\n{name} = {ceiling + 1}\n"))
    assert sentence.startswith(f"{key} is {ceiling + 1} seconds, above its ceiling of {ceiling} seconds (")
    assert clause in sentence


@pytest.mark.parametrize(("key", "ceiling", "clause"), _CEILINGS)
def test_a_lifetime_at_its_ceiling_is_accepted(write: Write, key: str, ceiling: int, clause: str) -> None:
    section, name = key.split(".")
    loaded = load(write(f"{MINIMAL}[{section}]\n{name} = {ceiling}\n"), {})
    assert getattr(getattr(loaded, section), name) == ceiling


@pytest.mark.requirement("FAPI2-AZ-15", proves="refused")
@pytest.mark.parametrize("seconds", [600, 4, 0, -1])
def test_a_pushed_request_that_lives_for_ten_minutes_or_no_time_is_refused(write: Write, seconds: int) -> None:
    sentence = _refused(write(f"{MINIMAL}[lifetimes]\nrequest_uri = {seconds}\n"))
    assert "FAPI2-AZ-15" in sentence


def test_a_lifetime_above_its_ceiling_in_the_environment_is_refused_under_the_name_of_the_variable(
    write: Write,
) -> None:
    sentence = _refused(write(MINIMAL), {"FAPI_AS__LIFETIMES__ACCESS_TOKEN": "601"})
    assert sentence.startswith("FAPI_AS__LIFETIMES__ACCESS_TOKEN is 601 seconds, above its ceiling of 600 seconds")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[server]\nisuer = "https://as.example"\n', "server.isuer is not a setting; did you mean server.issuer?"),
        ('[srver]\nissuer = "https://as.example"\n', "srver is not a setting; did you mean server?"),
        (
            MINIMAL + "[lifetimes]\nacces_token = 60\n",
            "lifetimes.acces_token is not a setting; did you mean lifetimes.access_token?",
        ),
        ("debug = true\n" + MINIMAL, "debug is not a setting"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_one_that_was_meant(write: Write, text: str, sentence: str) -> None:
    assert _refused(write(text)) == sentence


@pytest.mark.parametrize("section", ["sign_in", "algorithms", "replay"])
def test_what_may_not_be_loosened_has_no_setting(write: Write, section: str) -> None:
    assert _refused(write(f"{MINIMAL}[{section}]\nattempts = 500\n")).startswith(f"{section} is not a setting")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FAPI_AS__SERVER__ISUER", "FAPI_AS__SERVER__ISSUER"),
        ("FAPI_AS__LIFETIMES__ACCES_TOKEN", "FAPI_AS__LIFETIMES__ACCESS_TOKEN"),
        ("FAPI_AS_SERVER__PORT", "FAPI_AS__SERVER__PORT"),
        ("fapi_as__server__port", "FAPI_AS__SERVER__PORT"),
    ],
)
def test_a_misspelt_environment_variable_is_refused_with_the_one_that_was_meant(
    write: Write, name: str, meant: str
) -> None:
    sentence = _refused(write(MINIMAL), {name: "1"})
    assert sentence == f"the environment variable {name} names no setting; did you mean {meant}?"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (MINIMAL + 'port = "8443"\n', "server.port must be a whole number"),
        (MINIMAL + "port = true\n", "server.port must be a whole number"),
        (MINIMAL + "port = 8443.5\n", "server.port must be a whole number"),
        (MINIMAL + "port = 0\n", "server.port is 0 and must be 1 to 65535"),
        (MINIMAL + "workers = 0\n", "server.workers is 0 and must be 1 to 64"),
        (MINIMAL + "certificate_file = 3\n", "server.certificate_file must be a text in quotes"),
        (MINIMAL + 'host = "not a host"\n', "server.host must be an IP address or a host name"),
        (MINIMAL + "[dpop]\nnonces = 1\n", "dpop.nonces must be true or false"),
        (MINIMAL + '[dpop]\nnonces = "no"\n', "dpop.nonces must be true or false"),
        (MINIMAL + '[logging]\nlevel = "loud"\n', "logging.level must be one of 'debug', 'info', 'warning' or 'error'"),
        ("server = 1\n", "server must be a table"),
        ("[server]\nissuer = 1\n", "server.issuer must be a text in quotes"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(write: Write, text: str, sentence: str) -> None:
    assert _refused(write(text)) == sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FAPI_AS__SERVER__PORT", "eight"),
        ("FAPI_AS__SERVER__PORT", ""),
        ("FAPI_AS__SERVER__PORT", "1e3"),
        ("FAPI_AS__DPOP__NONCES", "yes"),
        ("FAPI_AS__DPOP__NONCES", "1"),
    ],
)
def test_an_environment_variable_of_the_wrong_type_is_refused(write: Write, name: str, value: str) -> None:
    assert _refused(write(MINIMAL), {name: value}).startswith(f"{name} must be ")


@pytest.mark.parametrize(
    "url", ["postgresql://user:hunter2@db.example/as", "postgresql+asyncpg:///as", "mysql://db.example/as"]
)
def test_a_database_of_another_engine_is_refused_without_repeating_its_password(write: Write, url: str) -> None:
    sentence = _refused(write(f'{MINIMAL}[database]\nurl = "{url}"\n'))
    assert sentence.startswith(f"database.url names the engine {url.partition(':')[0].partition('+')[0]}, ")
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    "url",
    ["", "fapi-as.db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///a.db?mode=ro", "sqlite+x:///a.db"],
)
def test_a_database_that_workers_could_not_share_is_refused(write: Write, url: str) -> None:
    assert _refused(write(f'{MINIMAL}[database]\nurl = "{url}"\n')).startswith("database.url ")


@pytest.mark.parametrize("character", "?#%")
def test_a_directory_whose_name_would_change_the_url_is_refused(tmp_path: Path, character: str) -> None:
    directory = tmp_path / f"odd{character}41"
    directory.mkdir()
    (directory / "fapi-as.toml").write_text(MINIMAL, encoding="utf-8")
    assert _refused(directory / "fapi-as.toml").startswith("database.url and its directory must have none of")


def test_a_file_that_is_not_there_is_refused_with_what_writes_one(tmp_path: Path) -> None:
    assert _refused(tmp_path / "none.toml").endswith("none.toml does not exist; fapi-as init writes one")


@pytest.mark.parametrize("text", ["[server", "server = ", "a = 1\na = 2\n", "[server]\n[server]\n"])
def test_a_file_that_is_no_toml_is_refused(write: Write, text: str) -> None:
    assert "is not valid TOML" in _refused(write(text))


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000])
def test_a_value_that_the_parser_itself_cannot_take_is_refused(write: Write, value: str) -> None:
    assert _refused(write(f"server = {value}")).count("\n") == 0


@pytest.mark.parametrize("host", ["a..b", "a" * 64, ".".join(["a" * 60] * 5), "-a", "a."])
def test_a_host_that_no_resolver_would_take_is_refused(write: Write, host: str) -> None:
    assert _refused(write(f'{MINIMAL}host = "{host}"\n')) == "server.host must be an IP address or a host name"


@pytest.mark.parametrize("key", ["SERVER__CERTIFICATE_FILE", "KEYS__SEALING_KEY_FILE", "DATABASE__URL"])
@pytest.mark.parametrize("character", ["\udcff", "\0"])
def test_a_path_that_is_no_text_is_refused(write: Write, key: str, character: str) -> None:
    value = f"sqlite:///a{character}b"
    assert _refused(write(MINIMAL), {f"FAPI_AS__{key}": value}).startswith(f"FAPI_AS__{key} ")


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fapi-as.toml"
    path.write_bytes(b'[server]\nissuer = "https://as.example\xff"\n')
    assert "is not valid TOML" in _refused(path)


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    assert "cannot be read" in _refused(tmp_path)


def test_a_section_that_is_no_table_is_refused_whatever_the_environment_says(write: Write) -> None:
    assert _refused(write("server = 1\n"), {"FAPI_AS__SERVER__PORT": "8443"}) == "server must be a table"


_VALUES = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text("ahtps:/.x\\0 ", max_size=12)


@given(
    section=st.sampled_from(sorted(Settings.model_fields)),
    key=st.sampled_from(["issuer", "port", "url", "level", "nonces", "access_token", "sealing_key_file", "x"]),
    value=_VALUES,
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_environment_says_is_a_configuration_or_one_sentence(
    section: str, key: str, value: object
) -> None:
    name = f"FAPI_AS__{section}__{key}".upper()
    environ = {"FAPI_AS__SERVER__ISSUER": "https://as.example", name: str(value)}
    try:
        loaded = load(None, environ)
    except ConfigurationError as error:
        sentence = str(error)
    else:
        sentence = f"{name} {loaded.server.issuer}"
    assert name in sentence


# --- keys and documents of others


def test_a_key_waits_longer_than_peers_keep_the_set_before_it(write: Write) -> None:
    loaded = load(write(MINIMAL + "[keys]\njwks_max_age = 3\npublished_before_use = 4"), {})
    assert (loaded.keys.jwks_max_age, loaded.keys.published_before_use) == (3, 4)
    assert loaded.policy().jwks_max_age == timedelta(seconds=3)
    for text in ("jwks_max_age = 300\npublished_before_use = 300", "published_before_use = 60"):
        with pytest.raises(ConfigurationError, match=r"keys\.published_before_use must be longer than"):
            load(write(MINIMAL + f"[keys]\n{text}"), {})


@pytest.mark.parametrize("seconds", [0, 301])
def test_a_key_set_is_kept_by_peers_for_five_minutes_at_most(write: Write, seconds: int) -> None:
    with pytest.raises(ConfigurationError, match=r"keys\.jwks_max_age"):
        load(write(MINIMAL + f"[keys]\njwks_max_age = {seconds}"), {})


def test_private_hosts_are_named_in_the_file_or_in_a_variable(write: Write, tmp_path: Path) -> None:
    path = write(MINIMAL + '[fetch]\nca_file = "ca.pem"\nallowed_private_hosts = ["localhost", "keys.inside"]')
    assert load(path, {}).fetch.allowed_private_hosts == ("localhost", "keys.inside")
    assert load(path, {}).fetch.ca_file == tmp_path / "ca.pem"
    named = load(path, {"FAPI_AS__FETCH__ALLOWED_PRIVATE_HOSTS": "localhost, a.inside"})
    assert named.fetch.allowed_private_hosts == ("localhost", "a.inside")
    assert load(path, {"FAPI_AS__FETCH__ALLOWED_PRIVATE_HOSTS": ""}).fetch.allowed_private_hosts == ()
    assert Settings.model_validate_json(named.model_dump_json()) == named


@pytest.mark.parametrize(
    "host", ["LOCALHOST", "localhost:8443", "*.inside", "127.0.0.1", "[::1]", "", "a b", "inside."]
)
def test_what_is_no_name_of_a_host_is_not_allowed_to_be_private(write: Write, host: str) -> None:
    with pytest.raises(ConfigurationError, match="names of hosts"):
        load(write(MINIMAL + f'[fetch]\nallowed_private_hosts = ["{host}"]'), {})


def test_private_hosts_are_a_list(write: Write) -> None:
    with pytest.raises(ConfigurationError, match="must be a list of texts in quotes"):
        load(write(MINIMAL + '[fetch]\nallowed_private_hosts = "localhost"'), {})
