"""How clients become known at a server: what the configuration says is what a worker offers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fapi_as import bootstrap
from fapi_as.adapters.entropy import SystemEntropy
from fapi_as.adapters.keys import write_sealing_key
from fapi_as.adapters.tls.dev_certificates import ensure_dev_certificates
from fapi_as.protocol.audit_events import Stamp
from fapi_as.settings import load
from tests.support.asgi_peer import Lifespan, call
from tests.support.fakes import NOW, FrozenClock

STAMP = Stamp(at=NOW, correlation_id="start", endpoint="fapi-as serve", source="uid:0")
OFF = "[registration]\nenabled = false\n"
DOCUMENTS = '[client_id_metadata]\nenabled = true\nhosts = ["agents.example"]\nscopes = ["accounts:read"]\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    certificates = ensure_dev_certificates(tmp_path / "certs", NOW).authority.parent
    for name in ("authorization-server.pem", "authorization-server.key"):
        shutil.copy(certificates / name, tmp_path)
    write_sealing_key(tmp_path / "sealing.key", SystemEntropy())
    return tmp_path


@pytest.mark.parametrize(
    ("text", "registers", "documents"),
    [("", True, False), (OFF, False, False), (DOCUMENTS, True, True), (OFF + DOCUMENTS, False, True)],
    ids=["as it is", "no registration", "documents", "documents alone"],
)
async def test_how_clients_become_known_is_what_the_configuration_says(
    place: Path, text: str, registers: bool, documents: bool
) -> None:
    (place / "fapi-as.toml").write_text(f'[server]\nissuer = "https://as.example"\n{text}', encoding="utf-8")
    settings = load(place / "fapi-as.toml", {})
    bootstrap.prepare(settings, STAMP)
    made = bootstrap.assemble(settings, FrozenClock())
    async with Lifespan(made):
        metadata = json.loads((await call(made, "GET", "/.well-known/oauth-authorization-server")).body)
        assert metadata.get("registration_endpoint") == ("https://as.example/register" if registers else None)
        assert ("registration_endpoint" in metadata["mtls_endpoint_aliases"]) is registers
        assert metadata.get("client_id_metadata_document_supported", False) is documents
        assert (await call(made, "POST", "/register")).status == (415 if registers else 404)
        assert (await call(made, "GET", "/register/anybody")).status == (401 if registers else 404)
