"""What waits in real time: begun when the folder begins, judged when the rest of it has passed the time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.authorization_server import PASSWORD, USERNAME, register
from tests.support.authorization_server import AuthorizationServer as Server
from tests.support.fapi_client import Callback, FapiClient, Pushed, Tokens
from tests.support.processes import running

CODE_SECONDS: Final = 62.0  # the suite's own wait; the lifetime here is the default
REFRESH_SECONDS: Final = 31.0
REQUEST_URI_SECONDS: Final = 45  # the suite waits for expires_in, whatever it is


@dataclass(kw_only=True)
class Waiting:
    """A real `fapi-as serve`, and what was begun there at `since`."""

    server: Server
    client: FapiClient
    pushed: Pushed
    code: Callback
    code_of: Pushed
    tokens: Tokens
    since: float

    def seconds_left(self, seconds: float) -> float:
        return max(0.0, self.since + seconds - time.monotonic())


@contextlib.asynccontextmanager
async def waiting(directory: Path) -> AsyncIterator[Waiting]:
    """Start a process of its own, and begin."""
    registered = register(directory)
    environment = {"FAPI_AS__LIFETIMES__REQUEST_URI": str(REQUEST_URI_SECONDS)}
    with running(registered.serving(1), directory, environment=environment) as process:
        server = registered.running(process)
        async with server.http() as http:
            client = server.client(http)
            tokens = await client.obtain(username=USERNAME, password=PASSWORD)
            await client.refresh(tokens.refresh_token or "")
            code_of = await client.push()
            code = await client.authorize(code_of, username=USERNAME, password=PASSWORD)
            pushed = await client.push()
            yield Waiting(
                server=server,
                client=client,
                pushed=pushed,
                code=code,
                code_of=code_of,
                tokens=tokens,
                since=time.monotonic(),
            )
