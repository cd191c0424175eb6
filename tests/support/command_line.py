"""The command line in one process: a scratch directory, and what each command printed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from fapi_as.commands.group import cli

CLIENT: dict[str, Any] = {
    "client_id": "ledger-agent",
    "client_name": "Ledger agent",
    "token_endpoint_auth_method": "private_key_jwt",
    "redirect_uris": ["https://agent.example/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "scope": "accounts:read",
    # the public key of RFC 7515, appendix A.3
    "jwks": {
        "keys": [
            {
                "kty": "EC",
                "crv": "P-256",
                "kid": "one",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }
        ]
    },
}
RESOURCE: dict[str, Any] = {
    "resource": "https://mcp.example/mcp",
    "resource_name": "Ledger tools",
    "scopes": {"accounts:read": "See your balances"},
}
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document that was printed."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """`fapi-as` with one configuration file."""

    directory: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.directory / "fapi-as.toml"

    def run(self, *arguments: str, stdin: str | bytes | None = None, environ: dict[str, str] | None = None) -> Done:
        """Run one command with this configuration; a defect raises here."""
        result = CliRunner().invoke(
            cli, [*arguments, "--config", str(self.config)], input=stdin, env=environ, prog_name="fapi-as"
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(code=result.exit_code, out=result.stdout, err=result.stderr)

    def json(self, *arguments: str, stdin: str | None = None) -> Any:
        """Run one command that must go well, and give its JSON document."""
        done = self.run(*arguments, "--json", stdin=stdin)
        assert done.code == 0, done.err
        assert done.err == ""
        return done.document

    def refused(self, *arguments: str, stdin: str | bytes | None = None) -> str:
        """Run one command that must be refused, and give its sentence."""
        done = self.run(*arguments, stdin=stdin)
        assert done.code == 1, done.out
        assert done.out == ""
        assert done.err.startswith("Error: ")
        assert done.err.count("\n") == 1
        return done.err.removeprefix("Error: ").rstrip("\n")

    def change(self, old: str, new: str) -> None:
        """Change the configuration file."""
        text = self.config.read_text(encoding="utf-8")
        assert old in text
        self.config.write_text(text.replace(old, new), encoding="utf-8")
