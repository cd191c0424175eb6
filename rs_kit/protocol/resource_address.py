"""Where a protected resource is, for those who call it."""

from __future__ import annotations

from urllib.parse import urlsplit

from rs_kit.protocol.errors import InvalidRequest
from rs_kit.protocol.htu import normalise
from rs_kit.protocol.resource_metadata import metadata_path, metadata_url


class Address:
    """Where a resource is, for its callers: from configuration, never from Host or X-Forwarded-* (DPOP-11, XPA-10).

    Raises:
        ValueError: the URL has a query (PRM-2), or is no URL that a request could have.
    """

    __slots__ = ("_htu", "_origin", "metadata_path", "metadata_url", "path")

    def __init__(self, resource: str) -> None:
        if "?" in resource:
            raise ValueError("resource must not have a query")  # an ASGI path has none to compare with
        parts = urlsplit(resource)
        self.path = parts.path or "/"
        self.metadata_path = metadata_path(resource)
        self.metadata_url = metadata_url(resource)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._htu = normalise(resource)

    def htu(self, path: str) -> str:
        """What a proof for this path must name, in normal form.

        Raises:
            InvalidRequest: no path of a URL.
        """
        if path == self.path:
            return self._htu
        try:
            return normalise(self._origin + path)
        except ValueError:
            raise InvalidRequest("path is no URI path") from None
