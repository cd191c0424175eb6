"""What is served: plain values, because they cross from the supervisor to its workers as one JSON line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class ServePlan:
    """One application on one address.

    `application` is "module:function"; a worker calls it with `argument` and serves the ASGI application it gives.
    Port 0 picks a free one. `addresses` are told when all workers are ready, "{port}" in them is replaced; by default
    the address that is listened on.
    """

    application: str
    argument: str
    host: str
    port: int
    certfile: str | None = None
    keyfile: str | None = None
    addresses: tuple[str, ...] = ()
    body_bytes: int = 256 * 1024
    graceful_seconds: float = 15.0

    def told(self, port: int) -> tuple[str, ...]:
        """The addresses as they are printed."""
        scheme = "https" if self.certfile is not None else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        addresses = self.addresses or (f"{scheme}://{host}:{{port}}",)
        return tuple(address.replace("{port}", str(port)) for address in addresses)

    def to_line(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read back what `to_line` wrote."""
        members = json.loads(line)
        members["addresses"] = tuple(members["addresses"])
        return cls(**members)
