"""The IssuerKeys port: fixed keys, and the JWKS of an issuer over HTTPS."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from rs_kit.adapters.bounded_fetch import Fetch, FetchFailed, HttpsGet
from rs_kit.adapters.clock import monotonic_seconds
from rs_kit.protocol import jwk, strict_json
from rs_kit.protocol.errors import InvalidJwk, Unavailable
from rs_kit.protocol.jwk import PublicJwk

FRESH_SECONDS: Final = 60.0  # older than this is renewed while it is still used
MAX_AGE_SECONDS: Final = 5 * FRESH_SECONDS  # RSV-3: a removed key stops working within 5 minutes, whatever fails
_FETCH_SECONDS: Final = 15.0

_logger: Final = logging.getLogger("rs_kit.issuer_keys")


class StaticIssuerKeys:
    """Keys that never change, for tests and for issuers whose keys are configuration.

    Args:
        jwks: the RFC 7517 set.

    Raises:
        InvalidJwk: the set is not valid.
    """

    __slots__ = ("_issuer", "_keys")

    def __init__(self, issuer: str, jwks: Mapping[str, object]) -> None:
        self._issuer = issuer
        self._keys = jwk.parse_set(jwks)

    @property
    def issuer(self) -> str:
        """The issuer whose keys these are."""
        return self._issuer

    def current(self) -> tuple[PublicJwk, ...]:
        """The set."""
        return self._keys

    async def keys(self, kid: str | None) -> tuple[PublicJwk, ...]:  # noqa: ARG002 - there is nothing to fetch
        """The set."""
        return self._keys


class HttpsIssuerKeys:
    """The keys of an issuer, found through its RFC 8414 metadata and kept for at most five minutes.

    Renewed in the background after one minute, fetched by one caller at a time, and again at once for a kid that the
    set does not know, but not within 30 seconds of the attempt before. While the issuer cannot be reached, the last
    good set is used up to its maximum age; then every call is refused with 503 until the issuer answers again, which
    is tried every five seconds. A key that the issuer removed is refused after five minutes at the latest, and after
    about one where there is traffic and the issuer answers. With other `fresh_seconds` all of it is as much shorter.

    Args:
        issuer: the https issuer identifier, exactly as it stands in its metadata.
        ca_file: the authorities to trust, as PEM; by default those of the system.
        fetch: replaces the network in tests.
        monotonic: replaces the clock in tests.
        fresh_seconds: after how long the set is renewed, one minute at most; as long as the issuer's JWKS may be kept.
    """

    def __init__(
        self,
        issuer: str,
        *,
        ca_file: Path | str | None = None,
        fetch: Fetch | None = None,
        monotonic: Callable[[], float] = monotonic_seconds,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        if not 0 < fresh_seconds <= FRESH_SECONDS:
            raise ValueError(f"fresh_seconds must be above 0 and at most {FRESH_SECONDS:.0f}")
        self._issuer = issuer
        self._metadata_url = metadata_url(issuer)
        self._fetch: Fetch = HttpsGet(ca_file) if fetch is None else fetch
        self._monotonic = monotonic
        self._fresh = fresh_seconds
        self._max_age = 5 * fresh_seconds
        self._cool_down = fresh_seconds / 2  # RSV-3: a flood of unknown kids costs one fetch
        self._retry = fresh_seconds / 12  # between two attempts after a failure
        self._keys: tuple[PublicJwk, ...] | None = None
        self._document = b""
        self._fetched_at = float("-inf")
        self._attempted_at = float("-inf")
        self._failed = False
        self._running: asyncio.Task[None] | None = None

    @property
    def issuer(self) -> str:
        """The issuer whose keys these are."""
        return self._issuer

    def current(self) -> tuple[PublicJwk, ...] | None:
        """The set in force, None when it must be fetched first; called inside a running loop."""
        age = self._monotonic() - self._fetched_at
        if age < self._fresh:
            return self._keys
        if age >= self._max_age:
            return None
        if self._pause_is_over(self._retry if self._failed else self._cool_down):
            self._renewal()
        return self._keys

    async def keys(self, kid: str | None) -> tuple[PublicJwk, ...]:
        """The set in force, fetched again when it does not know `kid` and the cool-down allows.

        Raises:
            Unavailable: there is no set that may still be trusted, or it could not be asked about `kid`.
        """
        keys = self.current()
        if keys is None:
            if self._pause_is_over(self._retry):
                await asyncio.shield(self._renewal())
            keys = self.current()
            if keys is None:
                raise Unavailable("issuer keys cannot be fetched")
        if kid is None or any(key.kid == kid for key in keys):
            return keys
        if self._pause_is_over(self._cool_down):
            await asyncio.shield(self._renewal())
        if self._failed:
            raise Unavailable("issuer keys cannot be fetched for an unknown kid")
        return self.current() or keys

    def _pause_is_over(self, seconds: float) -> bool:
        return self._is_running() or self._monotonic() - self._attempted_at >= seconds

    def _is_running(self) -> bool:
        running = self._running
        # a task of another loop cannot be waited for here; that loop may be closed already
        return running is not None and not running.done() and running.get_loop() is asyncio.get_running_loop()

    def _renewal(self) -> asyncio.Task[None]:
        """The one fetch under way (single flight), started if there is none."""
        if self._running is None or not self._is_running():
            self._attempted_at = self._monotonic()
            self._running = asyncio.get_running_loop().create_task(self._renew())
        return self._running

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                document, keys = await asyncio.to_thread(self._load)
        except (FetchFailed, TimeoutError, ValueError, InvalidJwk) as error:
            self._failed = True
            reason = error.detail if isinstance(error, InvalidJwk) else str(error)
            _logger.warning("keys of the issuer cannot be fetched: %s", reason, extra={"issuer": self._issuer})
            return
        self._failed = False
        self._fetched_at = self._attempted_at  # the age counts from the question, not from the answer
        if document != self._document or self._keys is None:
            self._document, self._keys = document, keys

    def _load(self) -> tuple[bytes, tuple[PublicJwk, ...]]:
        """Blocking part: the metadata, then the set (runs in a thread, one at a time)."""
        # The metadata each time: keys whose old address still serves them would outlive their maximum age.
        document = self._fetch(jwks_uri_of(self._fetch(self._metadata_url), issuer=self._issuer))
        keys = jwk.usable_keys(strict_json.parse_object(document))
        if not keys:
            raise FetchFailed("the key set is empty")  # DPR-27
        return document, keys


def metadata_url(issuer: str) -> str:
    """RFC 8414 §3.1: the well-known path goes between the host and the path of the issuer.

    Raises:
        ValueError: the issuer is no https URL without query and fragment (RFC 8414 §2).
    """
    parts = urlsplit(issuer)
    if parts.scheme != "https" or not parts.netloc or "?" in issuer or "#" in issuer or parts.username is not None:
        raise ValueError("the issuer must be an https URL without query and fragment")
    path = "/.well-known/oauth-authorization-server" + parts.path.removesuffix("/")
    return urlunsplit(("https", parts.netloc, path, "", ""))


def jwks_uri_of(document: bytes, *, issuer: str) -> str:
    """The jwks_uri of an RFC 8414 document.

    Raises:
        FetchFailed: the document is of another issuer (RFC 8414 §3.3) or names no https jwks_uri.
        ValueError: it is not strict JSON.
    """
    metadata = strict_json.parse_object(document)
    if metadata.get("issuer") != issuer:
        raise FetchFailed("the metadata is of another issuer")
    jwks_uri = metadata.get("jwks_uri")
    if not isinstance(jwks_uri, str) or not jwks_uri.startswith("https://"):
        raise FetchFailed("the metadata has no https jwks_uri")
    return jwks_uri
