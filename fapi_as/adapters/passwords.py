"""argon2id on a bounded pool: guessing passwords may cost neither the event loop nor all memory (EXH-08)."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from fapi_as.protocol.errors import TooManyRequests
from rs_kit.protocol import base64url


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordCost:
    """RFC 9106 §4, second recommended option, on one lane: 64 MiB and three passes."""

    memory_kibibytes: int = 64 * 1024
    passes: int = 3
    lanes: int = 1


class Argon2Passwords:
    """The Passwords port.

    Args:
        cost: of new hashes, and of the comparison for an unknown user.
        threads: how many passwords are hashed at the same time; each takes the memory of `cost`.
        waiting_limit: how many more may wait; one more is refused.
    """

    def __init__(self, cost: PasswordCost | None = None, *, threads: int = 2, waiting_limit: int = 32) -> None:
        self._cost = cost or PasswordCost()
        self._hasher = PasswordHasher(
            time_cost=self._cost.passes,
            memory_cost=self._cost.memory_kibibytes,
            parallelism=self._cost.lanes,
            type=Type.ID,
        )
        self._nobody = _hash_of_nobody(self._cost)
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="passwords")
        self._room = threading.BoundedSemaphore(threads + waiting_limit)

    def hash(self, password: str) -> str:
        """A salted hash in the PHC string format."""
        return self._hasher.hash(_octets(password))

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is right; None costs the same time and is never right (SES-08).

        Raises:
            TooManyRequests: the pool's queue is full.
        """
        if not self._room.acquire(blocking=False):
            raise TooManyRequests("the password pool is full")
        work = self._pool.submit(self._verify, password_hash or self._nobody, password)
        # room again when the work ends, not when the caller goes away: a hash that runs cannot be stopped
        work.add_done_callback(lambda _: self._room.release())
        is_right = await asyncio.wrap_future(work)
        return is_right and password_hash is not None

    def close(self) -> None:
        """Refuse new work and let the running work end."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, _octets(password))
        except (VerificationError, InvalidHashError):
            return False


def _octets(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")


def _hash_of_nobody(cost: PasswordCost) -> str:
    """A hash of the same cost that no password is known for, made without hashing."""
    parameters = f"m={cost.memory_kibibytes},t={cost.passes},p={cost.lanes}"
    salt, digest = base64url.encode(bytes(16)), base64url.encode(bytes(32))  # zeros are the same in both alphabets
    return f"$argon2id$v=19${parameters}${salt}${digest}"
