"""What the authorization server costs: real requests over kept-alive TLS, CPU time of the server's processes.

`ratio_to_crypto` is the CPU time of the same number of bare `cryptography` calls (verify the assertion, verify the
proof, sign the token; ES256) over that of the whole request. Requests are signed before the clock starts; the load and
the bare calls take turns in slices of one run, and the lower quartile of each is compared: what else the machine does
meets both and only ever adds.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support.authorization_server import PASSWORD, USERNAME, AuthorizationServer, ready
from tests.support.certified_server import CertifiedServer, certified_server
from tests.support.fapi_client import FapiClient, Pushed
from tests.support.load import Connection, Prepared, Reply, drive

Figures = dict[str, dict[str, float]]

CONNECTIONS: Final = 32
CLIENTS: Final = 4
SLICES: Final = 20
REQUESTS: Final = 5000
CODES: Final = 320
_BARE_CALLS: Final = 200
_ECDSA: Final = ECDSA(SHA256())


def _bare_seconds(verifies: int, signs: int) -> float:
    """CPU seconds of the bare signatures of one request."""
    key = generate_private_key(SECP256R1())
    message = b"m" * 300
    signature, verify = key.sign(message, _ECDSA), key.public_key().verify
    before = time.process_time()
    for _ in range(_BARE_CALLS):
        for _ in range(verifies):
            verify(signature, message, _ECDSA)
        for _ in range(signs):
            key.sign(message, _ECDSA)
    return (time.process_time() - before) / _BARE_CALLS


def _lower_quartile(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=4)[0]


async def _measure(
    server: AuthorizationServer,
    lines: Sequence[Connection],
    requests: Sequence[Prepared],
    *,
    expected: int,
    crypto: tuple[int, int],
) -> dict[str, float]:
    bare: list[float] = []
    ours: list[float] = []
    replies: list[Reply] = []
    length = len(requests) // SLICES
    for start in range(0, length * SLICES, length):
        bare.append(_bare_seconds(*crypto))
        before = server.server.cpu_seconds()
        got = await drive(lines, requests[start : start + length])
        ours.append((server.server.cpu_seconds() - before) / length)
        bare.append(_bare_seconds(*crypto))
        replies += got
    wrong = [reply for reply in replies if reply.status != expected]
    assert not wrong, wrong[0]
    hundredths = quantiles([reply.seconds for reply in replies], n=100)
    return {
        "ratio_to_crypto": round(_lower_quartile(bare) / _lower_quartile(ours), 3),
        "per_cpu_second": round(1 / _lower_quartile(ours)),
        "p50_ms": round(hundredths[49] * 1000, 2),
        "p99_ms": round(hundredths[98] * 1000, 2),
    }


async def _all(server: AuthorizationServer) -> Figures:
    lines = await server.connections(CONNECTIONS)
    async with server.http() as http:
        clients = [server.client(http, client_id) for client_id in server.client_keys]
        for client in clients:
            await client.client_credentials()  # learns the nonce, warms what is kept per key
        warm = [ready(clients[n % CLIENTS].credentials_request()) for n in range(CONNECTIONS * 8)]
        await drive(lines, warm)
        figures = {
            "as.token.client_credentials": await _credentials(server, lines, clients),
            "as.par": await _pushes(server, lines, clients),
            "as.token.authorization_code": await _codes(server, lines, clients),
        }
    for line in lines:
        await line.close()
    return figures


async def _certificates(server: CertifiedServer) -> Figures:
    """Tokens that are bound to the certificate of a kept-alive connection, which authenticates the client, too."""
    shown = server.authority.issue("CN=bench")
    server.register("bench", shown)
    lines = await server.connections(CONNECTIONS, shown)
    async with server.client("bench", shown) as client:
        await client.client_credentials()
        warm = [ready(client.credentials_request()) for _ in range(CONNECTIONS * 8)]
        await drive(lines, warm)
        requests = [ready(client.credentials_request()) for _ in range(REQUESTS)]
        figure = await _measure(server.server, lines, requests, expected=200, crypto=(0, 1))
    for line in lines:
        await line.close()
    return {"as.token.certificate": figure}


async def _credentials(
    server: AuthorizationServer, lines: Sequence[Connection], clients: Sequence[FapiClient]
) -> dict[str, float]:
    requests = [ready(clients[n % CLIENTS].credentials_request()) for n in range(REQUESTS)]
    return await _measure(server, lines, requests, expected=200, crypto=(2, 1))


async def _pushes(
    server: AuthorizationServer, lines: Sequence[Connection], clients: Sequence[FapiClient]
) -> dict[str, float]:
    requests = [
        ready(clients[n % CLIENTS].push_request(code_verifier="v" * 43, state=f"state-{n}")) for n in range(REQUESTS)
    ]
    return await _measure(server, lines, requests, expected=201, crypto=(2, 0))


async def _codes(
    server: AuthorizationServer, lines: Sequence[Connection], clients: Sequence[FapiClient]
) -> dict[str, float]:
    client = clients[0]
    redeemable: list[tuple[str, Pushed]] = []
    for _ in range(CODES):  # all of them are redeemed within the 60 s that a code lives
        pushed = await client.push()
        callback = await client.authorize(pushed, username=USERNAME, password=PASSWORD)
        assert callback.code is not None
        redeemable.append((callback.code, pushed))
    requests = [ready(client.code_request(code, pushed)) for code, pushed in redeemable]
    return await _measure(server, lines, requests, expected=200, crypto=(2, 1))


def one_worker() -> Figures:
    """Every figure of the server, with one worker and a durable database."""
    with (
        tempfile.TemporaryDirectory() as directory,
        certified_server(Path(directory), workers=1, clients=CLIENTS) as server,
    ):
        return asyncio.run(_all(server.server)) | asyncio.run(_certificates(server))
