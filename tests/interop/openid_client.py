"""openid-client from npm, unmodified, as the client of a running server: flows as data, and what each must reach."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization

from tests.support.authorization_server import REDIRECT_URI, RESOURCE, SCOPE, AuthorizationServer
from tests.support.certificates import Authority, Shown, pem, self_signed
from tests.support.node_peers import MODULES
from tests.support.peer_keys import PeerKey, unb64
from tests.support.person import answered
from tests.support.processes import ROOT

SCRIPT: Final = ROOT / "tests" / "interop" / "openid_client_flow.mjs"
_SECONDS: Final = 60.0


class FlowFailed(Exception):
    """The client gave up; the message is what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One way to be a client: how it authenticates, what binds its tokens, what it signs."""

    name: str
    authentication: str = "private_key_jwt"
    bound_by: str = "dpop"  # or "mtls"
    alg: str = "ES256"
    jar: bool = False
    jarm: bool = False
    openid: bool = False

    @property
    def client_id(self) -> str:
        return "-".join(re.findall(r"\w+", self.name)).lower()

    @property
    def has_certificate(self) -> bool:
        return self.bound_by == "mtls" or self.authentication != "private_key_jwt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a client holds: its key, and a certificate where its flow wants one."""

    key: PeerKey
    shown: Shown | None = None


def held_for(flow: Flow, authority: Authority) -> Held:
    """A fresh key, and a certificate of this authority or of nobody."""
    if not flow.has_certificate:
        return Held(key=PeerKey.of(flow.alg))
    subject = f"CN={flow.client_id},O=Bank,C=GB"
    now = int(time.time())
    self_made = flow.authentication == "self_signed_tls_client_auth"
    shown = self_signed(subject, now=now) if self_made else authority.issue(subject, now=now)
    return Held(key=PeerKey.of(flow.alg), shown=shown)


def registration(flow: Flow, held: Held) -> dict[str, Any]:
    """RFC 7591 metadata of the flow's client."""
    jwk = held.key.jwk(alg=held.key.alg, use="sig", kid="client-key")
    members: dict[str, Any] = {
        "client_id": flow.client_id,
        "client_name": f"openid-client, {flow.name}",
        "token_endpoint_auth_method": flow.authentication,
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "scope": f"openid offline_access {SCOPE}" if flow.openid else SCOPE,
        "jwks": {"keys": [jwk]},
        "require_signed_request_object": flow.jar,
        "authorization_signed_response_alg": flow.alg,
        "response_modes": ["jwt"] if flow.jarm else ["query"],
        **({"request_object_signing_alg": flow.alg} if flow.jar else {}),
        **({"id_token_signed_response_alg": flow.alg} if flow.openid else {}),
    }
    if flow.bound_by == "mtls":
        members |= {"tls_client_certificate_bound_access_tokens": True, "use_mtls_endpoint_aliases": True}
    else:
        members["dpop_bound_access_tokens"] = True
    if held.shown is not None and flow.authentication == "tls_client_auth":
        members["tls_client_auth_subject_dn"] = held.shown.certificate.subject.rfc4514_string()
    if held.shown is not None and flow.authentication == "self_signed_tls_client_auth":
        members["jwks"] = {"keys": [jwk, held.shown.jwk(kid="certificate", use="sig")]}
    return members


def asked(flow: Flow, held: Held, served: AuthorizationServer) -> dict[str, Any]:
    """What the script is told."""
    metadata = {
        "use_mtls_endpoint_aliases": flow.has_certificate,
        "authorization_signed_response_alg": flow.alg,
        **({"id_token_signed_response_alg": flow.alg} if flow.openid else {}),
    }
    certificate = None
    if held.shown is not None:
        chain = pem(held.shown.certificate, *held.shown.above).decode()
        certificate = {"key": _private_pem(held.shown.key), "chain": chain}
    return {
        "modules": str(MODULES),
        "issuer": served.issuer,
        "ca": str(served.directory / "certs" / "ca.pem"),
        "client_id": flow.client_id,
        "metadata": metadata,
        "alg": flow.alg,
        "key": _private_pem(held.key.private),
        "kid": "client-key",
        "key_authenticates": flow.authentication == "private_key_jwt",
        "certificate": certificate,
        "dpop": flow.bound_by == "dpop",
        "jar": flow.jar,
        "jarm": flow.jarm,
        "openid": flow.openid,
        "redirect_uri": REDIRECT_URI,
        "resource": RESOURCE,
        "scope": "openid offline_access" if flow.openid else SCOPE,
        "own_scope": SCOPE,
    }


def _private_pem(key: Any) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return str(key.private_bytes(encoding, form, serialization.NoEncryption()).decode())


def completed(node: str, flow: Flow, held: Held, served: AuthorizationServer) -> dict[str, Any]:
    """Run the flow to its end, with a person who allows it, and give what was reached.

    Raises:
        FlowFailed: the client gave up, or did not end in time.
    """
    process = subprocess.Popen(
        [node, str(SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={"PATH": os.environ["PATH"]},
    )
    try:
        _tell(process, json.dumps(asked(flow, held, served)))
        url = _heard(process)["url"]
        location = asyncio.run(answered(str(Path(served.directory) / "certs" / "ca.pem"), url))
        _tell(process, location)
        reached: dict[str, Any] = _heard(process)["reached"]
        return reached
    finally:
        process.kill()
        process.communicate()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _heard(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        _, told = process.communicate(timeout=_SECONDS)
        raise FlowFailed(f"it ended: {told.strip()[-400:]}")
    said: dict[str, Any] = json.loads(line)
    if "failed" in said:
        raise FlowFailed(json.dumps(said["failed"]))
    return said


def faults(flow: Flow, held: Held, reached: dict[str, Any]) -> list[str]:
    """What of the outcome is not what this flow must reach; the client itself checked the rest."""
    found: list[str] = []
    expected = ["response"] if flow.jarm else ["code", "state", "iss"]
    if reached["came_back_with"] != expected:
        found.append(f"the browser came back with {reached['came_back_with']}")
    kind = "dpop" if flow.bound_by == "dpop" else "bearer"
    if reached["token_type"] != kind:
        found.append(f"token_type is {reached['token_type']}")
    member = "jkt" if flow.bound_by == "dpop" else "x5t#S256"
    for name in ("access_token", "renewed", "own"):
        confirmation = claims_of(reached[name]).get("cnf", {})
        if list(confirmation) != [member]:
            found.append(f"{name} is bound by {confirmation}")
        if held.shown is not None and flow.bound_by == "mtls" and confirmation.get(member) != held.shown.x5t:
            found.append(f"{name} is bound to another certificate")
    person, id_token = reached.get("person") or {}, reached.get("id_token") or {}
    if flow.openid is not bool(id_token) or person.get("sub") != id_token.get("sub"):
        found.append(f"the ID token is {id_token}, the person {person}")
    return found


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a compact JWS, unverified."""
    claims: dict[str, Any] = json.loads(unb64(token.split(".")[1]))
    return claims
