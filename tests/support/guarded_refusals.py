"""How every refusal of the guard looks, checked in one place."""

from __future__ import annotations

from typing import Any

import httpx2

from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.protocol.confirmation import SenderConstraint
from rs_kit.protocol.errors import InsufficientScope, ProtocolError
from tests.support.guarded_bank import Bank, Line

PRM = "https://mcp.bank.example/.well-known/oauth-protected-resource/mcp"
ALGORITHMS = "PS256 ES256 EdDSA Ed25519"
SCHEMES = {
    SenderConstraint.DPOP: ["DPoP"],
    SenderConstraint.CERTIFICATE: ["Bearer"],
    SenderConstraint.EITHER: ["DPoP", "Bearer"],
}


def challenge_of(response: httpx2.Response) -> tuple[str, dict[str, str]]:
    """The one challenge of a refusal, as its scheme and its parameters."""
    values = response.headers.get_list("www-authenticate")
    assert len(values) == 1
    scheme, _, rest = values[0].partition(" ")
    pairs = [part.partition("=") for part in rest.split(", ")]
    assert len({name for name, _, _ in pairs}) == len(pairs)
    return scheme, {name: value.strip('"') for name, _, value in pairs}


def expected_challenges(bank: Bank, error: str | None, told: ProtocolError) -> list[str]:
    """Every WWW-Authenticate of a refusal, written here a second time."""
    scopes = told.scope if isinstance(told, InsufficientScope) else bank.base
    parameters = {
        "error": error,
        "error_description": told.description if error else None,
        "scope": " ".join(scopes),
        "resource_metadata": PRM,
    }
    said = [f'{name}="{value}"' for name, value in parameters.items() if value]
    about_proofs = error in ("invalid_dpop_proof", "use_dpop_nonce")
    schemes = ["DPoP"] if about_proofs else SCHEMES[bank.constraint]
    algorithms = {"DPoP": [f'algs="{ALGORITHMS}"'], "Bearer": []}
    return [f"{scheme} " + ", ".join([*said, *algorithms[scheme]]) for scheme in schemes]


async def still_works(bank: Bank, line: Line) -> None:
    """A good call runs its tool once, whatever was refused before; it leaves no trace for the test."""
    admitted, refusals = len(bank.observer.admissions), len(bank.observer.refusals)
    path = line.path
    response = await line.send(path=path)
    assert response.status_code == (200 if path == "/mcp" else 404), response.text
    assert len(bank.observer.admissions) == admitted + 1
    assert len(bank.observer.refusals) == refusals
    assert bank.done == (["get_balance"] if path == "/mcp" else [])
    bank.done.clear()
    bank.seen.clear()
    del bank.observer.admissions[admitted:]


async def refused(
    bank: Bank,
    line: Line,
    headers: list[tuple[str, str]] | None,
    error: str | None,
    *,
    status: int = 401,
    message: Any = None,
    works: bool | None = None,
    **more: Any,
) -> httpx2.Response:
    """Refused in exactly this way: one fact with a reason, nothing run, admitted or spent, and a good call works.

    `works=False` where a port that every call needs is broken; by default that is what 503 says.
    """
    refusals, admitted, spent = len(bank.observer.refusals), len(bank.observer.admissions), _spent(bank)
    response = await line.send(headers, message, **more)
    assert response.status_code == status, response.text
    assert bank.done == []
    assert _spent(bank) == spent
    assert len(bank.observer.admissions) == admitted
    assert len(bank.observer.refusals) == refusals + 1
    told = bank.observer.refusals[-1].error
    assert told.detail, "a refusal without a private reason"
    said = response.json() if response.content else {}
    if "jsonrpc" in said:
        assert said["error"]["message"] == told.description
    elif response.request.method != "HEAD":
        assert said == {
            name: text for name, text in (("error", told.error), ("error_description", told.description)) if text
        }
    assert response.headers["cache-control"] == "no-store"
    if status in (401, 403):
        assert told.error == (error or "")
        assert response.headers.get_list("www-authenticate") == expected_challenges(bank, error, told)
    else:
        assert "www-authenticate" not in response.headers
    if status != 503 if works is None else works:
        await still_works(bank, line)
    return response


def _spent(bank: Bank) -> int | None:
    return len(bank.used_once) if isinstance(bank.used_once, MemoryUsedOnce) else None
