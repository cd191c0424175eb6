"""What is served: plain values, because they cross from the supervisor to its workers as one JSON line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where one application is served; port 0 picks a free one."""

    host: str
    port: int
    certfile: str | None = None
    keyfile: str | None = None
    client_certificates: bool = False

    @property
    def url(self) -> str:
        """How it is printed where nothing else is said."""
        scheme = "https" if self.certfile is not None else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServePlan:
    """One application on one address, and on a second one where peers are asked for certificates.

    `application` is "module:function"; a worker calls it with `argument` and serves the ASGI application it gives.
    `told` is printed when all workers are ready; by default the addresses that are listened on.
    """

    application: str
    argument: str
    addresses: tuple[Address, ...]
    told: tuple[str, ...] = ()
    body_bytes: int = 256 * 1024
    graceful_seconds: float = 15.0

    def on(self, ports: Sequence[int]) -> Self:
        """The same plan once its ports are known."""
        known = (replace(address, port=port) for address, port in zip(self.addresses, ports, strict=True))
        return replace(self, addresses=tuple(known))

    def to_line(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read back what `to_line` wrote."""
        members = json.loads(line)
        members["addresses"] = tuple(Address(**address) for address in members["addresses"])
        members["told"] = tuple(members["told"])
        return cls(**members)
