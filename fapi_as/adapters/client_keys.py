"""The ClientKeys port: what was registered by value is at hand, what lies behind a jwks_uri is fetched and kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fapi_as.adapters.patience import patiently
from fapi_as.ports import Fetch, PublishesKeys
from fapi_as.protocol.client import ClientKeySet, KeysUnavailable
from fapi_as.protocol.client_key_set import KEY_SET_LIMIT, InvalidKeySet, parse_key_set
from fapi_as.protocol.fetched_document import FetchFailed
from rs_kit.adapters.clock import monotonic_seconds

MAX_AGE: Final = 300.0  # JOSE-33, SSR-11: a key that was removed stops working within 5 minutes, whatever fails
MIN_AGE: Final = 30.0  # however little its host allows: a client's requests are not the host's requests
UNKNOWN_KID_PAUSE: Final = 60.0  # FAPI2-JWKS-5
FAILURE_PAUSE: Final = 10.0
OWNERS_KEPT: Final = 1024

_logger: Final = logging.getLogger("fapi_as.client_keys")


class RegisteredKeys:
    """The ClientKeys port for keys that were registered by value."""

    async def keys(self, owner: PublishesKeys, kid: str | None) -> ClientKeySet:  # noqa: ARG002 - the port's signature
        """The registered set.

        Raises:
            KeysUnavailable: a jwks_uri was registered.
        """
        if owner.jwks_uri is not None:
            raise KeysUnavailable("jwks_uri is not fetched")
        return ClientKeySet(keys=owner.keys, certificates=owner.certificates)


@dataclass(slots=True, kw_only=True)
class _Published:
    """What is known of one jwks_uri, as one version of its owner's registration names it."""

    owner: str
    version: int
    url: str
    document: bytes = b""
    found: ClientKeySet | None = None
    fetched_at: float = float("-inf")
    good_for: float = 0.0
    attempted_at: float = float("-inf")
    looked_for_kid_at: float = float("-inf")
    failure: str | None = None
    running: asyncio.Task[None] | None = None

    def within(self, age: float, now: float) -> ClientKeySet | None:
        """The set, if it is younger than this."""
        return self.found if now - self.fetched_at < age else None

    def is_running(self) -> bool:
        """Whether a fetch is under way in this loop."""
        running = self.running
        return running is not None and not running.done() and running.get_loop() is asyncio.get_running_loop()


class PublishedKeys:
    """The ClientKeys port of one tenant.

    A set is used for as long as its host allows, at least 30 seconds and at most five minutes; then it is fetched again
    before it is used. While the host fails, the last good set is used up to five minutes of age and asked for again
    every ten seconds; after that the client has no keys. A kid that the set does not know is looked for once in a
    minute. One fetch at a time serves all who wait. A change of the registration forgets what was kept.

    Args:
        fetch: how documents are had.
        monotonic: replaces the clock in tests.
    """

    def __init__(self, fetch: Fetch, *, monotonic: Callable[[], float] = monotonic_seconds) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._published: OrderedDict[str, _Published] = OrderedDict()

    async def keys(self, owner: PublishesKeys, kid: str | None) -> ClientKeySet:
        """The keys and certificates as they are now.

        Raises:
            KeysUnavailable: there is no set that may still be trusted.
        """
        if owner.jwks_uri is None:
            return ClientKeySet(keys=owner.keys, certificates=owner.certificates)
        published = self._of(owner, owner.jwks_uri)
        found = published.within(published.good_for, self._monotonic())
        if found is not None:
            return found if _knows(found, kid) else await self._look_for_kid(published, found)
        if published.is_running() or published.failure is None or self._is_over(published.attempted_at, FAILURE_PAUSE):
            await self._wait_for(published)
        found = published.within(MAX_AGE, self._monotonic())
        if found is None:
            raise KeysUnavailable(published.failure or "the keys behind the jwks_uri are too old, or take too long")
        if not _knows(found, kid):  # it was just asked for
            published.looked_for_kid_at = published.attempted_at
        return found

    async def _look_for_kid(self, published: _Published, found: ClientKeySet) -> ClientKeySet:
        """What the set is after it was fetched again, where that may be."""
        if not published.is_running():
            if not self._is_over(published.looked_for_kid_at, UNKNOWN_KID_PAUSE):
                return found
            published.looked_for_kid_at = self._monotonic()
        await self._wait_for(published)
        return published.within(MAX_AGE, self._monotonic()) or found

    async def _wait_for(self, published: _Published) -> None:
        """Until it is fetched, or the request that waits has no patience left and makes do with what there is."""
        with contextlib.suppress(TimeoutError):
            await patiently(self._renewal(published))

    def _of(self, owner: PublishesKeys, url: str) -> _Published:
        published = self._published.get(owner.key_owner)
        if published is None or published.version != owner.version or published.url != url:
            published = self._published[owner.key_owner] = _Published(
                owner=owner.key_owner, version=owner.version, url=url
            )
        self._published.move_to_end(owner.key_owner)
        while len(self._published) > OWNERS_KEPT:
            self._published.popitem(last=False)
        return published

    def _is_over(self, since: float, pause: float) -> bool:
        return self._monotonic() - since >= pause

    def _renewal(self, published: _Published) -> asyncio.Task[None]:
        """The one fetch under way (single flight), started if there is none."""
        if published.running is None or not published.is_running():
            published.attempted_at = self._monotonic()
            published.running = asyncio.get_running_loop().create_task(self._renew(published))
        return published.running

    async def _renew(self, published: _Published) -> None:
        try:
            fetched = await self._fetch.get(published.url, max_bytes=KEY_SET_LIMIT)
            if published.found is None or fetched.body != published.document:
                # large RSA keys take their time, and nobody else waits for them
                published.found = await asyncio.to_thread(parse_key_set, fetched.body)
                published.document = fetched.body
        except (FetchFailed, InvalidKeySet) as error:
            published.failure = str(error)
            told = {"owner": published.owner, "detail": published.failure}
            _logger.warning("published keys cannot be had", extra=told)
            return
        published.failure = None
        published.fetched_at = published.attempted_at  # the age counts from the question, not from the answer
        allowed = MAX_AGE if fetched.max_age is None else float(fetched.max_age)
        published.good_for = min(max(allowed, MIN_AGE), MAX_AGE)


def _knows(found: ClientKeySet, kid: str | None) -> bool:
    return kid is None or any(key.kid == kid for key in found.keys)
