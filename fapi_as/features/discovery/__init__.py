"""RFC 8414 and OpenID discovery from one document, and the JWKS: derived from what is enabled."""

from __future__ import annotations

from typing import Final

from fapi_as.features.discovery.documents import ENDPOINTS
from fapi_as.kernel.seam import Feature

FEATURE: Final = Feature(name="discovery", endpoints=ENDPOINTS)
