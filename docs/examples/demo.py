"""The main job, once, end to end: tool calls that only the right agents can make, and a thief who cannot.

Starts the real processes on free ports over TLS in a scratch directory, has an authority approve the agents, which
then register themselves, lets a person sign in and allow the agent, calls a tool, and shows every theft failing. Exits
0 only if every step did what it says.

    python demo.py            the demo
    python demo.py --dev      the same parts, left running until Ctrl-C
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from newcomers import said_of_the_agent, said_of_the_robot
from place import (
    ALLOWED,
    CLIENT_KEY_ID,
    CLIENT_NAME,
    NOT_ALLOWED,
    PASSWORD,
    ROBOT,
    ROBOT_SOFTWARE,
    SOFTWARE,
    USERNAME,
    Place,
    StepFailed,
    done,
)
from processes import Processes, ProcessFailed, free_port

SECONDS: Final = 120.0
EXAMPLES: Final = Path(__file__).resolve().parent
DEV_PORTS: Final = (8443, 8445)


def place_for(directory: Path, ports: tuple[int, int] | None) -> Place:
    """Addresses on these ports, or on free ones."""
    server, bank = ports or (free_port(), free_port())
    return Place(directory=directory, issuer=f"https://localhost:{server}", resource=f"https://localhost:{bank}/mcp")


def start_servers(processes: Processes, place: Place) -> float:
    """Start the authorization server and the MCP server; gives the seconds until both answered."""
    started = time.perf_counter()
    processes.start("authorization-server", "-m", "fapi_as", "serve", "--workers", "2")
    processes.start(
        "mcp-server",
        str(EXAMPLES / "mcp_server.py"),
        *("--resource", place.resource, "--issuer", place.issuer, "--ca", str(place.authority)),
        *("--certificate", str(place.certificates / "mcp-server.pem")),
        *("--private-key", str(place.certificates / "mcp-server.key")),
    )
    metadata = place.resource.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")
    addresses = {"authorization-server": f"{place.issuer}/readyz", "mcp-server": metadata}
    processes.wait_until_ready(addresses, place.trust())
    return time.perf_counter() - started


def register(processes: Processes, place: Place) -> None:
    """Tell the authorization server about the MCP server and the person, and have the two agents approved."""
    resource = {
        "resource": place.resource,
        "resource_name": "Demo bank",
        "scopes": {ALLOWED: "See the balances of your accounts", NOT_ALLOWED: "Move money between your accounts"},
        "refresh_tokens": True,
    }
    _new_client_key(place)
    certificate = ("--certificate", str(place.certificates / "agent.pem"))
    with ThreadPoolExecutor(4) as beside:  # four commands at once: each is one transaction of its own
        registered = {
            place.resource: beside.submit(_add, processes, place, resource),
            USERNAME: beside.submit(
                processes.command_json, "user", "add", USERNAME, "--password-stdin", stdin=PASSWORD + "\n"
            ),
            SOFTWARE: beside.submit(_approve, processes, place, SOFTWARE, said_of_the_agent(place)),
            ROBOT_SOFTWARE: beside.submit(
                _approve, processes, place, ROBOT_SOFTWARE, said_of_the_robot(), *certificate
            ),
        }
    for name, shown in registered.items():
        document = shown.result()
        if not isinstance(document, dict) or name not in document.values():
            raise StepFailed(f"{name} is not in what fapi-as showed for it: {document}")


def _approve(
    processes: Processes, place: Place, software_id: str, claims: Mapping[str, object], *options: str
) -> object:
    """Let the development authority sign what it says about a piece of software; nothing is told to the server."""
    file = place.directory / f"{software_id}.json"
    file.write_text(json.dumps(claims, indent=2), "utf-8")
    shown = processes.command_json("statement", "issue", "--software-id", software_id, "--claims", str(file), *options)
    if isinstance(shown, dict):
        place.statement(software_id).write_text(f"{shown['software_statement']}\n", "ascii")
    return shown


def _add(processes: Processes, place: Place, resource: Mapping[str, object]) -> object:
    file = place.directory / "bank.json"
    file.write_text(json.dumps(resource, indent=2), "utf-8")
    return processes.command_json("resource", "add", str(file))


def _new_client_key(place: Place) -> None:
    private_key = ec.generate_private_key(ec.SECP256R1())
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    place.client_key.touch(mode=0o600)
    place.client_key.write_bytes(pem)


def demo(directory: Path) -> None:
    """Everything, once.

    Raises:
        StepFailed, ProcessFailed: what went wrong.
    """
    started = time.perf_counter()
    place = place_for(directory, None)
    with Processes(directory) as processes, _explained(processes):
        with ThreadPoolExecutor(1) as beside:
            init = beside.submit(processes.command, "init", "--dev", "--issuer", place.issuer)
            from scene import show  # noqa: PLC0415 - it brings the MCP SDK, which takes as long as `init` does

            init.result()
        done(f"configuration, sealing key and certificates written to {directory}")
        servers = start_servers(processes, place)
        done(f"authorization server {place.issuer} and MCP server {place.resource} answer over TLS")
        register(processes, place)
        done(f"MCP server and user {USERNAME} registered through the command line, and no agent")
        done(f"an authority that the server trusts signed a software statement for {CLIENT_NAME} and one for {ROBOT}")
        asyncio.run(asyncio.wait_for(show(processes, place), SECONDS))
    whole = time.perf_counter() - started
    done(f"servers started in {servers:.1f} s, whole demo {whole:.1f} s")


def develop(directory: Path) -> None:
    """The same parts, left running.

    Raises:
        ProcessFailed: what went wrong.
    """
    place = place_for(directory, DEV_PORTS)
    with Processes(directory) as processes, _explained(processes):
        processes.command("init", "--dev", "--issuer", place.issuer)
        start_servers(processes, place)
        register(processes, place)
        print(f"authorization server  {place.issuer}")
        print(f"with a certificate    {place.mutual_tls}")
        print(f"MCP server            {place.resource}")
        print(f"user                  {USERNAME}, password: {PASSWORD}")
        print(f"certificates, logs    {directory}")
        print("call a tool           " + _call_by_hand(place))
        print("Ctrl-C stops all.", flush=True)
        signal.pause()


def _call_by_hand(place: Place) -> str:
    return (
        f"{sys.executable} {EXAMPLES / 'agent.py'} --resource {place.resource} --issuer {place.issuer} "
        f"--software-statement {place.statement(SOFTWARE)} --key {place.client_key} --kid {CLIENT_KEY_ID} "
        f"--ca {place.authority} --store {place.directory / 'agent-store'} --scope {ALLOWED} "
        """get_balance '{"account": "checking"}'"""
    )


@contextlib.contextmanager
def _explained(processes: Processes) -> Iterator[None]:
    """Show what the processes said when something goes wrong."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        processes.stop()
        print(processes.logs(), file=sys.stderr)
        raise


def _stop(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo; the exit code tells whether every step did what it says."""
    parser = argparse.ArgumentParser(description="The main job, once, end to end.")
    parser.add_argument("--dev", action="store_true", help="leave the servers running until Ctrl-C")
    parser.add_argument("--keep", action="store_true", help="keep the scratch directory")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no tick shows a question mark
    directory = Path(tempfile.mkdtemp(prefix="fapi-as-demo-"))
    try:
        if options.dev:
            develop(directory)
        else:
            demo(directory)
    except KeyboardInterrupt:
        return 0 if options.dev else 130
    except (StepFailed, ProcessFailed, TimeoutError) as error:
        print(f"\u2717 {error}" if str(error) else "\u2717 it took too long", file=sys.stderr)
        return 1
    finally:
        if not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
