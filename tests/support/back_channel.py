"""Every endpoint where a client authenticates, asked in the same way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import httpx2

from fapi_as.kernel.seam import Face
from tests.support.fapi_client import FapiClient, Message
from tests.support.house import House

BACK_CHANNEL: Final[dict[str, Callable[[FapiClient], Message]]] = {
    "/par": lambda client: client.push_request(code_verifier="v" * 43, state="s"),
    "/token": lambda client: client.credentials_request(),
}
# clients post to a protected resource, and to the endpoint where they become clients, and do not authenticate there
OTHERS: Final = {"/userinfo", "/register"}
SUCCESS: Final = {"/par": 201, "/token": 200}


def authenticating(house: House) -> set[str]:
    """The paths that a client posts to, as the server has them."""
    return {
        path
        for path, endpoint in house.endpoints.items()
        if endpoint.face is Face.PROTOCOL and "POST" in endpoint.methods and path not in OTHERS
    }


async def asked(house: House, path: str, *, client: FapiClient | None = None, **lies: Any) -> httpx2.Response:
    """One request to one endpoint, right in everything but the lies."""
    client = client or house.agent
    with client.lying(**lies):
        return await client.send(BACK_CHANNEL[path](client))


def seen(response: httpx2.Response) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """All that a peer sees of an answer."""
    return response.status_code, tuple(sorted(response.headers.items())), response.content
