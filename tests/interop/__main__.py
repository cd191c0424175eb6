"""`make interop`: clients by others, unmodified, complete their flows against a running server."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.interop.openid_client import Flow, FlowFailed, completed, faults, held_for, registration
from tests.support.authorization_server import AuthorizationServer, Registered, register
from tests.support.certificates import Authority, pem
from tests.support.node_peers import MODULES, NoPeers, node_with_peers
from tests.support.processes import NotReady, running

FLOWS: Final = (
    Flow(name="private_key_jwt + DPoP"),
    Flow(name="private_key_jwt + DPoP, PS256", alg="PS256"),
    Flow(name="private_key_jwt + DPoP, Ed25519", alg="Ed25519"),
    Flow(name="private_key_jwt + mTLS-bound", bound_by="mtls"),
    Flow(name="mTLS + mTLS-bound", authentication="tls_client_auth", bound_by="mtls"),
    Flow(name="self-signed mTLS + mTLS-bound", authentication="self_signed_tls_client_auth", bound_by="mtls"),
    Flow(name="mTLS + DPoP", authentication="tls_client_auth"),
    Flow(name="JAR + JARM", jar=True, jarm=True),
    Flow(name="JAR + JARM, PS256", jar=True, jarm=True, alg="PS256"),
    Flow(name="JAR + JARM, Ed25519", jar=True, jarm=True, alg="Ed25519"),
    Flow(name="OpenID Connect, private_key_jwt + DPoP", openid=True),
    Flow(name="OpenID Connect, PS256", openid=True, alg="PS256"),
    Flow(name="OpenID Connect, mTLS + mTLS-bound", authentication="tls_client_auth", bound_by="mtls", openid=True),
    Flow(name="OpenID Connect, JAR + JARM, Ed25519", jar=True, jarm=True, openid=True, alg="Ed25519"),
    Flow(name="JAR + JARM, self-signed mTLS", authentication="self_signed_tls_client_auth", jar=True, jarm=True),
)


_CONTROL: Final = Flow(name="control", jar=True)


def _prepared(directory: Path, authority: Authority) -> Registered:
    registered = register(directory)
    trusted = directory / "client-ca.pem"
    trusted.write_bytes(pem(authority.certificate))
    config = registered.commands.config
    text = config.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "client_ca_file =" not in line]
    at = lines.index("[mtls]") + 1
    config.write_text("\n".join([*lines[:at], f'client_ca_file = "{trusted}"', *lines[at:]]) + "\n", encoding="utf-8")
    return registered


def _flow(node: str, flow: Flow, served: AuthorizationServer, authority: Authority) -> list[str]:
    """What is wrong with one flow, with nothing known of the client before."""
    held = held_for(flow, authority)
    served.commands.json("client", "add", "-", stdin=json.dumps(registration(flow, held)))
    try:
        return faults(flow, held, completed(node, flow, held, served))
    except FlowFailed as failed:
        return [str(failed)]


def _control(node: str, served: AuthorizationServer, authority: Authority) -> bool:
    """The same client, told not to sign where it must: a run that would not notice shows nothing."""
    held = held_for(_CONTROL, authority)
    served.commands.json("client", "add", "-", stdin=json.dumps(registration(_CONTROL, held)))
    try:
        completed(node, replace(_CONTROL, jar=False), held, served)
    except FlowFailed as failed:
        return '"error": "invalid_request"' in str(failed)
    return False


def main() -> int:
    """Print a line for each flow; 1 when one did not end well, or nothing can be run."""
    try:
        node = node_with_peers()
        version = json.loads((MODULES / "openid-client" / "package.json").read_text(encoding="utf-8"))["version"]
        authority = Authority("CN=Interop CA,O=Authorities", now=int(time.time()))
        with tempfile.TemporaryDirectory(prefix="interop-") as scratch:
            registered = _prepared(Path(scratch), authority)
            with running(registered.serving(1), Path(scratch)) as server:
                print(f"openid-client {version} against {registered.issuer}", flush=True)
                wrong = 0
                for flow in FLOWS:
                    problems = _flow(node, flow, registered.running(server), authority)
                    wrong += bool(problems)
                    print(f"  {flow.name:40} {'completed' if not problems else 'FAILED'}", flush=True)
                    for problem in problems:
                        print(f"    {problem}")
                caught = _control(node, registered.running(server), authority)
                print(f"  control, unsigned where it must sign: {'refused, as it must be' if caught else 'NOT SEEN'}")
    except (NoPeers, NotReady) as error:
        print(f"make interop cannot run: {error}")
        return 1
    print(f"{len(FLOWS) - wrong} of {len(FLOWS)} flows completed")
    return 1 if wrong or not caught else 0


if __name__ == "__main__":
    sys.exit(main())
