"""The smallest application that shows what a listener and a supervisor do to a request."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


def build(argument: str) -> Callable[..., Awaitable[None]]:
    """`argument` is a directory: `gate` in it lets slow requests end, `done` counts the ones that did."""
    directory = Path(argument)

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(directory, receive, send)
            return
        path = scope["path"]
        if path == "/early":
            await _answer(send, 200, b"early")
            return
        body = await _body(receive)
        if path == "/slow":
            _append(directory / "begun")
            while not (directory / "gate").exists():  # noqa: ASYNC110 - opened by another process
                await asyncio.sleep(0.01)
            _append(directory / "done")
        elif path == "/exit":
            os._exit(7)
        elif path == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for piece in (b"one", b"two", b"three"):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        elif path == "/tls":
            await _answer(send, 200, json.dumps(_of_connection(scope)).encode())
            return
        await _answer(send, 200, {"/pid": str(os.getpid()).encode()}.get(path, body or b"ok"))

    return application


def _of_connection(scope: dict[str, Any]) -> dict[str, Any]:
    """What the listener tells about the connection of a request, and by which process."""
    state = dict(scope["state"])
    certificate, chain = state.get("peer_certificate"), state.get("peer_chain", ())
    return {
        "pid": os.getpid(),
        "members": sorted(state),
        "certificate": None if certificate is None else certificate.hex(),
        "chain": [other.hex() for other in chain],
        "mutual_tls": state.get("mutual_tls", False),
        "extension": scope["extensions"].get("tls"),
    }


def refuse_to_start(argument: str) -> Callable[..., Awaitable[None]]:
    """An application that is configured wrongly."""
    raise ValueError(f"cannot start with {argument}")


def exit_at_start(argument: str) -> Callable[..., Awaitable[None]]:
    """Starts as long as the directory holds a file `healthy`."""
    if not (Path(argument) / "healthy").exists():
        os._exit(9)
    return build(argument)


async def _live(directory: Path, receive: Receive, send: Send) -> None:
    await receive()
    _append(directory / "started")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    _append(directory / "stopped")
    await send({"type": "lifespan.shutdown.complete"})


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")
