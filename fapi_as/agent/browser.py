"""Sending a person to a page: the browser that their machine prefers, started without a shell (MCP CL18)."""

from __future__ import annotations

import threading
import webbrowser

from fapi_as.agent.address import secure


def open_page(url: str) -> None:
    """Open an https address in the person's browser, which may take as long as it likes.

    Raises:
        InsecureAddress: it is not https, or has characters that no address has.
    """
    secure(url, "page")
    # a browser that stays in the foreground must not keep this program from ending: hence a daemon
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True, name="browser").start()
