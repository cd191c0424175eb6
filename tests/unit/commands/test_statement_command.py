"""`fapi-as statement`: signed with a local key as this server believes it, withdrawn at once, and told in the audit."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from joserfc import jwk, jws

from fapi_as.commands.development_authority import AUTHORITY_FILE, KEY_FILE, ensure_development_authority
from tests.support.certificates import Authority, pem
from tests.support.command_line import CommandLine

ISSUER = "https://development-authority.invalid"
THUMBPRINT = "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
Issue = Callable[..., dict[str, Any]]


@pytest.fixture
def signing(place: CommandLine) -> CommandLine:
    """A place whose database trusts the authority of this directory."""
    ensure_development_authority(place.directory)
    place.json("trust", "add", str(place.directory / AUTHORITY_FILE))
    return place


def _claims(place: CommandLine, compact: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, verified with the published key by another library."""
    published = json.loads((place.directory / AUTHORITY_FILE).read_text(encoding="utf-8"))["jwks"]["keys"][0]
    verified = jws.deserialize_compact(compact, jwk.ECKey.import_key(published), algorithms=["ES256"])
    return dict(verified.headers()), json.loads(verified.payload)


def test_a_statement_is_printed_alone_and_verifies_with_the_published_key(signing: CommandLine) -> None:
    done = signing.run("statement", "issue", "--software-id", "ledger", "--redirect-uri", "https://agent.example/cb")
    assert done.code == 0, done.err
    header, claims = _claims(signing, done.out.strip())
    assert header["typ"] == "software-statement+jwt"
    assert (claims["iss"], claims["aud"]) == (ISSUER, "https://localhost:8443")
    assert (claims["software_id"], claims["redirect_uris"]) == ("ledger", ["https://agent.example/cb"])
    assert claims["exp"] - claims["iat"] == 3600
    assert "cnf" not in claims


def test_what_is_asserted_stands_in_a_file_and_in_options(signing: CommandLine) -> None:
    (signing.directory / "claims.json").write_text('{"scope": "accounts:read", "client_name": "Ledger"}')
    made = signing.json(
        *("statement", "issue", "--software-id", "ledger", "--software-version", "2", "--claims"),
        *(str(signing.directory / "claims.json"), "--expires-in", "60", "--jkt", THUMBPRINT),
    )
    _, claims = _claims(signing, made["software_statement"])
    assert (claims["scope"], claims["client_name"], claims["software_version"]) == ("accounts:read", "Ledger", "2")
    assert claims["cnf"] == {"jkt": THUMBPRINT}
    assert (made["jti"], made["expires_at"]) == (claims["jti"], claims["exp"])
    assert claims["exp"] - claims["iat"] == 60


def test_two_statements_have_two_names(signing: CommandLine) -> None:
    made = [signing.json("statement", "issue", "--software-id", "ledger") for _ in range(2)]
    assert made[0]["jti"] != made[1]["jti"]


def test_a_statement_can_be_for_one_certificate(signing: CommandLine) -> None:
    file = signing.directory / "agent.pem"
    file.write_bytes(pem(Authority().certificate))
    made = signing.json("statement", "issue", "--software-id", "ledger", "--certificate", str(file))
    _, claims = _claims(signing, made["software_statement"])
    der = ssl.PEM_cert_to_DER_cert(file.read_text())
    digest = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
    assert claims["cnf"] == {"x5t#S256": digest}


def test_the_key_of_another_authority_is_found_under_the_name_that_it_publishes(signing: CommandLine) -> None:
    members = json.loads((signing.directory / AUTHORITY_FILE).read_text(encoding="utf-8"))
    members["jwks"]["keys"][0]["kid"] = "two-thousand"
    other = signing.directory / "directory.json"
    other.write_text(json.dumps({**members, "issuer": "https://directory.example"}), encoding="utf-8")
    made = signing.json("statement", "issue", "--software-id", "ledger", "--authority", str(other))
    header = json.loads(base64.urlsafe_b64decode(made["software_statement"].partition(".")[0] + "=="))
    assert (header["kid"], made["iss"]) == ("two-thousand", "https://directory.example")


@pytest.mark.parametrize(
    ("claims", "about"),
    [
        ('{"jti": "mine"}', "jti is said by an option"),
        ('{"iss": "https://directory.example"}', "iss is said by an option"),
        ('{"exp": 4000000000}', "exp is said by an option"),
        ('{"cnf": {}}', "cnf is said by an option"),
        ('{"redirect_uris": ["https://b.example/cb"]}', "redirect_uris is said by an option"),
        ("[]", "no JSON object"),
    ],
)
def test_a_file_that_contradicts_the_options_signs_nothing(signing: CommandLine, claims: str, about: str) -> None:
    asked = ("--software-id", "ledger", "--redirect-uri", "https://a.example/cb", "--claims", "-")
    assert about in signing.refused("statement", "issue", *asked, stdin=claims)


@pytest.mark.parametrize(
    "asked",
    [
        ("--software-id", "led\u202eger"),
        ("--software-id", "l" * 256),
        ("--software-id", "ledger", "--jkt", "short"),
        ("--software-id", "ledger", "--software-version", " "),
    ],
)
def test_what_this_server_would_not_believe_is_not_signed(signing: CommandLine, asked: tuple[str, ...]) -> None:
    assert "software statement" in signing.refused("statement", "issue", *asked)


def test_an_authority_that_may_not_assert_it_signs_nothing(signing: CommandLine) -> None:
    file = signing.directory / AUTHORITY_FILE
    members = json.loads(file.read_text(encoding="utf-8")) | {"may_assert": ["redirect_uris"]}
    file.write_text(json.dumps(members), encoding="utf-8")
    sentence = signing.refused(
        "statement", "issue", "--software-id", "ledger", "--claims", "-", stdin='{"scope": "accounts:read"}'
    )
    assert "may not assert" in sentence


def test_a_key_that_is_not_the_authoritys_signs_nothing(signing: CommandLine) -> None:
    (signing.directory / KEY_FILE).unlink()
    (signing.directory / AUTHORITY_FILE).rename(signing.directory / "kept.json")
    ensure_development_authority(signing.directory)  # another key
    (signing.directory / "kept.json").rename(signing.directory / AUTHORITY_FILE)
    assert "no key with this kid" in signing.refused("statement", "issue", "--software-id", "ledger")


def _public(path: Path) -> None:
    path.chmod(0o644)


def _gone(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _text(path: Path) -> None:
    path.write_text("no key")


def _encrypted(path: Path) -> None:
    key = load_pem_private_key(path.read_bytes(), password=None)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))


def _other_curve(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.mark.parametrize(
    ("spoil", "about"),
    [
        (_public, "can be read by others, set its mode to 0600"),
        (_gone, "cannot be read: No such file or directory"),
        (_folder, "cannot be read: Is a directory"),
        (_text, "must hold one private key as PEM, not encrypted"),
        (_encrypted, "must hold one private key as PEM, not encrypted"),
        (_other_curve, "cannot sign here"),
    ],
)
def test_a_key_file_that_cannot_be_used_signs_nothing(
    signing: CommandLine, spoil: Callable[[Path], None], about: str
) -> None:
    spoil(signing.directory / KEY_FILE)
    assert about in signing.refused("statement", "issue", "--software-id", "ledger")


def test_a_certificate_file_that_is_none_is_one_sentence(signing: CommandLine) -> None:
    (signing.directory / "agent.pem").write_text("nothing")
    asked = ("statement", "issue", "--software-id", "ledger", "--certificate")
    assert signing.refused(*asked, str(signing.directory / "agent.pem")).endswith("agent.pem holds no PEM certificate")
    assert "cannot be read" in signing.refused(*asked, str(signing.directory / "none.pem"))


def test_a_statement_and_a_software_are_withdrawn_once_and_told(signing: CommandLine) -> None:
    first = signing.json("statement", "revoke", "abc")
    assert first == {"issuer": ISSUER, "jti": "abc", "withdrawn": True, "counted_before": True}
    assert signing.run("statement", "revoke", "abc").out == f"statement abc of {ISSUER} was withdrawn before\n"
    assert signing.run("statement", "revoke", "--software", "ledger").out == (
        f"software ledger of {ISSUER} counts no more\n"
    )
    assert [(row["kind"], row["name"]) for row in signing.json("statement", "list")] == [
        ("software", "ledger"),
        ("statement", "abc"),
    ]
    assert signing.run("statement", "reinstate", "ledger").out == f"software ledger of {ISSUER} counts again\n"
    assert signing.refused("statement", "reinstate", "ledger") == f"software ledger of {ISSUER} was not withdrawn"
    assert [row["name"] for row in signing.json("statement", "list", "--issuer", ISSUER)] == ["abc"]
    facts = [fact for fact in signing.json("audit", "tail") if fact["event"] == "statement.changed"]
    assert [fact["detail"] for fact in facts] == [
        f"statement abc of {ISSUER} withdrawn",
        f"software ledger of {ISSUER} withdrawn",
        f"software ledger of {ISSUER} reinstated",
    ]


def test_whose_statement_it_is_must_be_clear(place: CommandLine) -> None:
    assert place.refused("statement", "revoke", "abc") == "no authority is trusted"
    members, _ = ensure_development_authority(place.directory)
    for issuer in ("https://one.example", "https://two.example"):
        place.json("trust", "add", "-", stdin=json.dumps({**members, "issuer": issuer}))
    assert (
        place.refused("statement", "revoke", "abc")
        == "--issuer must name one of https://one.example, https://two.example"
    )
    assert place.refused("statement", "revoke", "abc", "--issuer", ISSUER) == f"there is no authority {ISSUER}"
    assert place.json("statement", "revoke", "abc", "--issuer", "https://two.example")["counted_before"] is True
    assert place.json("statement", "list", "--issuer", "https://one.example") == []


@pytest.mark.parametrize("asked", [(), ("abc", "--software", "ledger")])
def test_either_a_statement_or_a_software_is_withdrawn(signing: CommandLine, asked: tuple[str, ...]) -> None:
    done = signing.run("statement", "revoke", *asked)
    assert (done.code, done.out) == (2, "")
    assert signing.json("statement", "list") == []


def test_the_development_authority_is_made_once_and_only_its_owner_reads_the_key(tmp_path: Path) -> None:
    members, written = ensure_development_authority(tmp_path)
    assert [path.name for path in written] == [KEY_FILE, AUTHORITY_FILE]
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert "d" not in members["jwks"]["keys"][0]
    before = [path.read_bytes() for path in written]
    again, nothing = ensure_development_authority(tmp_path)
    assert (again, nothing) == (members, ())
    assert [path.read_bytes() for path in written] == before
