"""How often a client failed to authenticate from one place (CA-6): counted in memory, looked up before a signature."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from fapi_as.kernel.messages import EndpointRequest
from fapi_as.protocol.client_certificate import thumbprint
from fapi_as.protocol.errors import TooManyRequests
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import FAILED_AUTHENTICATIONS_LIMIT, FAILED_AUTHENTICATIONS_WINDOW
from fapi_as.protocol.source import site_of

_WINDOW: Final = seconds(FAILED_AUTHENTICATIONS_WINDOW)
_PAIRS_KEPT: Final = 16_384  # about 3 MB; to push one out costs a peer as many failures as that


class _Failures(NamedTuple):
    """How many there were since the first one of a window."""

    began_at: int
    times: int


class FailedAuthentications:
    """The failures of this worker by (client_id, source); a name counts whether it is a client's or nobody's (CA-3).

    The source is an address; of a client behind a proxy, which has the proxy's address, it is the certificate.

    Args:
        pairs_kept: how many pairs are remembered; the one that began first goes.
    """

    def __init__(self, *, pairs_kept: int = _PAIRS_KEPT) -> None:
        self._pairs_kept = pairs_kept
        self._failures: dict[bytes, _Failures] = {}

    def require_room(self, client_id: str, request: EndpointRequest) -> None:
        """Let nobody go on who failed more often than the limit, whatever the request brings this time.

        Raises:
            TooManyRequests: until the window is over.
        """
        if not self._failures:
            return
        failures = self._failures.get(_pair(client_id, request))
        if failures is None or not _is_open(failures, request.now):
            return
        if failures.times > FAILED_AUTHENTICATIONS_LIMIT:
            raise TooManyRequests("failed client authentications")

    def count(self, client_id: str, request: EndpointRequest) -> None:
        """One more."""
        pair = _pair(client_id, request)
        failures = self._failures.get(pair)
        if failures is not None and _is_open(failures, request.now):
            self._failures[pair] = failures._replace(times=failures.times + 1)
            return
        self._failures.pop(pair, None)  # a new window is the youngest of all
        if len(self._failures) >= self._pairs_kept:
            del self._failures[next(iter(self._failures))]
        self._failures[pair] = _Failures(began_at=request.now, times=1)

    def __len__(self) -> int:
        return len(self._failures)


def _is_open(failures: _Failures, now: int) -> bool:
    # a clock that was set back opens a new window rather than a long one
    return 0 <= now - failures.began_at < _WINDOW


def _pair(client_id: str, request: EndpointRequest) -> bytes:
    source = site_of(request.source)
    if request.proxied and request.peer_certificate is not None:
        # the address is everybody's: a stranger who comes through the same proxy must lock nobody out
        source = f"x5t#S256 {thumbprint(request.peer_certificate)}"
    # a digest, because strangers choose the name and its length; JSON can spell lone surrogates
    named = f"{len(client_id)}:{client_id}{source}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(named).digest()
