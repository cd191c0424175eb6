"""Sending a person to a page: the browser that their machine prefers, started without a shell (MCP CL18)."""

from __future__ import annotations

import subprocess
import sys

from fapi_as.agent.address import secure


def open_page(url: str) -> None:
    """Open an https address in the person's browser, or do nothing where there is none; returns at once.

    A process of its own chooses the browser (`webbrowser` of the standard library, `BROWSER` in the environment): what
    the browser prints does not get into our output, it holds no pipe of ours open, and Ctrl-C here is not meant for it.

    Raises:
        InsecureAddress: it is not https, or has characters that no address has.
    """
    secure(url, "page")
    subprocess.Popen(  # noqa: S603 - the standard library's own program, and an address that was just checked
        [sys.executable, "-I", "-m", "webbrowser", url],  # -I: not a module of that name in the current directory
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
