"""Programs from npm that run beside ours: Node and the locked packages, or the sentence that says what is missing."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.support.processes import ROOT

PEERS: Final = ROOT / "build" / "peers"
MODULES: Final = PEERS / "node_modules"
_LOCKED: Final = ("package.json", "package-lock.json")
_INSTALL_SECONDS: Final = 600
_OLDEST_NODE: Final = 22


class NoPeers(Exception):
    """One sentence that says what is missing."""


def node_with_peers() -> str:
    """Install what .ci/package-lock.json has, once, and give a Node that is recent enough to run it.

    Raises:
        NoPeers: there is no npm, no registry, or no such Node.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise NoPeers(
            "npm is missing; on Debian: apt-get install npm (it brings a Node, and ours comes with the peers)"
        )
    _install(npm)
    for node in (shutil.which("node"), *map(str, sorted(MODULES.glob("node-*/bin/node")))):
        if node is not None and _major(node) >= _OLDEST_NODE:
            return node
    raise NoPeers(f"Node {_OLDEST_NODE} or later is needed, and none is locked for this machine; install it by hand")


def _major(node: str) -> int:
    try:
        told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):  # a binary for another machine
        return 0
    return int(told.strip().removeprefix("v").partition(".")[0])


def _install(npm: str) -> None:
    files = {name: (ROOT / ".ci" / name).read_bytes() for name in _LOCKED}
    digest = hashlib.sha256(b"".join(files.values())).hexdigest()
    installed = PEERS / "installed"
    if installed.is_file() and installed.read_text() == digest:
        return
    PEERS.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (PEERS / name).write_bytes(content)
    print("Installing the peers from npm into build/peers (once; about 200 MB, a minute or so) ...", flush=True)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(
            command,
            cwd=PEERS,
            capture_output=True,
            text=True,
            check=False,
            timeout=_INSTALL_SECONDS,
            env={**os.environ, "npm_config_engine_strict": "false"},
        )
    except subprocess.TimeoutExpired:
        raise NoPeers(f"npm ci did not end within {_INSTALL_SECONDS} s: is the registry within reach?") from None
    if done.returncode != 0:
        told = re.search(r"npm error code (\S+)", done.stderr)
        why = told.group(1) if told is not None else " ".join(done.stderr.split())[-200:]
        raise NoPeers(f"npm ci failed ({why}); the npm registry, or a mirror named in npm's configuration, is needed")
    installed.write_text(digest)


def package(name: str) -> Path:
    """Where an installed package is."""
    return MODULES / name
