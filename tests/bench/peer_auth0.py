"""One peer in a process and an environment of its own: auth0-api-python, as its documentation uses it.

Told `run FIRST LAST`, `raw FIRST LAST` or `same`, a line each, it answers with CPU seconds, or with how often it
accepted one and the same request. It takes RS256 access tokens and no others, so it gets those.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from auth0_api_python import ApiClient, ApiClientOptions
from auth0_api_python.errors import BaseAuthError
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256


def octets(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(text: str) -> int:
    return int.from_bytes(octets(text))


def rsa_check(token: str, jwk: dict[str, str]) -> Callable[[], None]:
    key = RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
    message, _, signature = token.rpartition(".")
    signed, over, pad, digest = octets(signature), message.encode(), padding.PKCS1v15(), SHA256()
    return lambda: key.verify(signed, over, pad, digest)


def ec_check(proof: str) -> Callable[[], None]:
    message, _, signature = proof.rpartition(".")
    jwk = json.loads(octets(message.partition(".")[0]))["jwk"]
    key = EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), SECP256R1()).public_key()
    raw, over, how = octets(signature), message.encode(), ECDSA(SHA256())
    signed = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    return lambda: key.verify(signed, over, how)


class Peer:
    def __init__(self, told: dict[str, Any]) -> None:
        self.url, self.calls, self.same = told["url"], told["calls"], told["same"]
        issuer, jwks = told["issuer"], told["jwks"]
        documents = {f"{issuer}jwks": jwks}

        async def fetch(url: str) -> dict[str, Any]:
            return documents.get(url, {"issuer": issuer, "jwks_uri": f"{issuer}jwks"})

        host = issuer.removeprefix("https://").rstrip("/")
        options = ApiClientOptions(domain=host, audience=self.url, dpop_required=True, custom_fetch=fetch)
        self.client = ApiClient(options)
        self.checks = [
            (rsa_check(call["authorization"].partition(" ")[2], jwks["keys"][0]), ec_check(call["dpop"]))
            for call in self.calls
        ]

    async def accept(self, call: dict[str, str]) -> None:
        await self.client.verify_request(call, http_method="POST", http_url=self.url)

    async def run(self, first: int, last: int) -> float:
        before = time.process_time()
        for call in self.calls[first:last]:
            await self.accept(call)
        return time.process_time() - before

    def raw(self, first: int, last: int) -> float:
        before = time.process_time()
        for token, proof in self.checks[first:last]:
            token()
            proof()
        return time.process_time() - before

    async def accepted(self) -> int:
        count = 0
        for _ in range(16):
            try:
                await self.accept(self.same)
            except BaseAuthError:
                continue
            count += 1
        return count


async def main(peer: Peer) -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        what, *numbers = line.split()
        if what == "same":
            print(await peer.accepted(), flush=True)
        elif what == "raw":
            print(peer.raw(*map(int, numbers)), flush=True)
        else:
            print(await peer.run(*map(int, numbers)), flush=True)


asyncio.run(main(Peer(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
