"""How every refusal of the guard looks, checked in one place."""

from __future__ import annotations

from typing import Any

import httpx2

from tests.support.guarded_bank import Bank, Line

PRM = "https://mcp.bank.example/.well-known/oauth-protected-resource/mcp"
ALGORITHMS = "PS256 ES256 EdDSA Ed25519"


def challenge_of(response: httpx2.Response) -> tuple[str, dict[str, str]]:
    """The one challenge of a refusal, as its scheme and its parameters."""
    values = response.headers.get_list("www-authenticate")
    assert len(values) == 1
    scheme, _, rest = values[0].partition(" ")
    pairs = [part.partition("=") for part in rest.split(", ")]
    assert len({name for name, _, _ in pairs}) == len(pairs)
    return scheme, {name: value.strip('"') for name, _, value in pairs}


async def refused(
    bank: Bank,
    line: Line,
    headers: list[tuple[str, str]] | None,
    error: str | None,
    *,
    status: int = 401,
    message: Any = None,
    **more: Any,
) -> httpx2.Response:
    """The call is refused with this code, one observation, no tool run and nothing of the reason on the wire."""
    before = len(bank.observer.refusals)
    response = await line.send(headers, message, **more)
    assert response.status_code == status, response.text
    assert bank.done == []
    assert len(bank.observer.refusals) == before + 1
    told = bank.observer.refusals[-1].error
    said = response.json()
    if "jsonrpc" in said:
        assert said["error"]["message"] == told.description
    else:
        assert said == {
            name: text for name, text in (("error", told.error), ("error_description", told.description)) if text
        }
    assert response.headers["cache-control"] == "no-store"
    if status in (401, 403):
        scheme, parameters = challenge_of(response)
        assert scheme == "DPoP"
        assert parameters.get("error") == error
        assert parameters["resource_metadata"] == PRM
        assert parameters["algs"] == ALGORITHMS
    return response
