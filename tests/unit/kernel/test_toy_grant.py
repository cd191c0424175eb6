"""A new grant takes one package and one entry in the list; routing, parameters and metadata follow by themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fapi_as.features import ENABLED
from fapi_as.kernel import capabilities
from fapi_as.kernel.door import answer
from fapi_as.kernel.messages import EndpointRequest, EndpointResponse, Page, SeeOther
from fapi_as.kernel.seam import Context
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_assertion import ASSERTION_TYPE
from fapi_as.protocol.profile import DPOP_NONCE_WINDOW
from fapi_as.protocol.resource import RegisteredResource
from rs_kit.protocol import jws, nonce
from rs_kit.protocol.dpop import make_proof
from rs_kit.protocol.jws import SigningKey
from tests.support import toy_ping
from tests.support.fakes import ISSUER, NONCE_KEY, NOW, context
from tests.support.memory_store import MemoryStore
from tests.support.requirement_rows import ROOT

FEATURES: Final = (*ENABLED, toy_ping.FEATURE)  # the one entry
RESOURCE: Final = "https://bank.example/mcp"
KEY: Final = SigningKey.from_private_key(ec.derive_private_key(7, ec.SECP256R1()), kid="client-1")
LIST: Final = "fapi_as/features/__init__.py"


def a_context(*, grant_types: frozenset[str] = frozenset({"urn:example:ping"})) -> Context:
    store = MemoryStore()
    store.put_resource(
        RegisteredResource(resource=RESOURCE, version=1, resource_name="Bank", scopes={"accounts:read": "See accounts"})
    )
    store.put_client(
        RegisteredClient(
            client_id="agent",
            version=1,
            client_name="Agent",
            token_endpoint_auth_method="private_key_jwt",
            token_endpoint_auth_signing_alg=None,
            redirect_uris=(),
            grant_types=grant_types,
            scope=frozenset({"accounts:read"}),
            keys=(KEY.public,),
        )
    )
    return context(store, features=FEATURES)


async def asked(server: Context, **parameters: str) -> tuple[int, dict[str, Any]]:
    """What the token endpoint answers."""
    assertion = {"iss": "agent", "sub": "agent", "aud": ISSUER, "jti": "a-1", "iat": NOW, "exp": NOW + 60}
    form = {
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": jws.sign(KEY, assertion, typ="client-authentication+jwt"),
        "resource": RESOURCE,
        **parameters,
    }
    proof_nonce = nonce.issue(
        NONCE_KEY, now=NOW, jkt=KEY.thumbprint, window_seconds=int(DPOP_NONCE_WINDOW.total_seconds())
    )
    proof = make_proof(KEY, method="POST", url=f"{ISSUER}/token", jti="p-1", issued_at=NOW, nonce=proof_nonce)
    request = EndpointRequest(
        method="POST",
        path="/token",
        headers=((b"content-type", b"application/x-www-form-urlencoded"), (b"dpop", proof.encode())),
        body=urlencode(form).encode(),
        now=NOW,
        correlation_id="c-1",
        source="192.0.2.1",
    )
    response = await answer(server, capabilities.endpoints(server.features)["/token"], request, render_page=no_page)
    return response.status, json.loads(response.body)


def no_page(page: Page | SeeOther, request: EndpointRequest) -> EndpointResponse:
    raise AssertionError(f"{request.path} is no page: {page}")


async def test_the_new_grant_issues_a_bound_token() -> None:
    status, payload = await asked(a_context(), grant_type="urn:example:ping", ping="pong")
    assert status == 200
    assert payload["token_type"] == "DPoP"
    assert payload["scope"] == "accounts:read"


async def test_its_rule_refuses() -> None:
    status, payload = await asked(a_context(), grant_type="urn:example:ping", ping="ping")
    assert (status, payload["error"]) == (400, "invalid_grant")


async def test_a_client_that_is_not_registered_for_it_is_refused() -> None:
    server = a_context(grant_types=frozenset({"client_credentials"}))
    status, payload = await asked(server, grant_type="urn:example:ping", ping="pong")
    assert (status, payload["error"]) == (400, "unauthorized_client")


def test_the_metadata_follows() -> None:
    server = a_context()
    before = capabilities.metadata(ENABLED, server.policy)
    after = capabilities.metadata(FEATURES, server.policy)
    assert "urn:example:ping" not in before["grant_types_supported"]
    assert after == {**before, "grant_types_supported": sorted([*before["grant_types_supported"], "urn:example:ping"])}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages with one package more, and with one entry more in the list."""
    for package in ("fapi_as", "rs_kit"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "tests/support/toy_ping", tmp_path / "fapi_as/features/ping")
    init = tmp_path / "fapi_as/features/ping/__init__.py"
    init.write_text(init.read_text("utf-8").replace("tests.support.toy_ping", "fapi_as.features.ping"), "utf-8")
    the_list = (tmp_path / LIST).read_text("utf-8")
    assert the_list.count("    health,\n") == the_list.count("    health.FEATURE,\n") == 1
    the_list = the_list.replace("    health,\n", "    health,\n    ping,\n")
    (tmp_path / LIST).write_text(
        the_list.replace("    health.FEATURE,\n", "    health.FEATURE,\n    ping.FEATURE,\n"), "utf-8"
    )
    return tmp_path


def said_by(tree: Path, *command: str) -> str:
    """The output of a Python command in that tree, which must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    answered = subprocess.run(
        [sys.executable, *command], cwd=tree, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert answered.returncode == 0, answered.stdout + answered.stderr
    return answered.stdout


def test_the_house_takes_it_as_a_package_like_the_others(tree: Path) -> None:
    program = (
        "import fapi_as, json; from fapi_as.features import ENABLED; from fapi_as.kernel.capabilities import metadata;"
        "from fapi_as.protocol.policy import Policy;"
        "print(fapi_as.__file__); print(json.dumps(metadata(ENABLED, Policy(tenant='t', issuer='https://as.example'))))"
    )
    place, document = said_by(tree, "-c", program).splitlines()
    assert place.startswith(str(tree))
    assert "urn:example:ping" in json.loads(document)["grant_types_supported"]
    said_by(tree, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache", "--no-logo")
