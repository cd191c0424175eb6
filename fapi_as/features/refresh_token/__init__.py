"""The refresh token grant: client-bound, not rotated (FAPI2-AS-10)."""

from __future__ import annotations

from typing import Final

from fapi_as.features.refresh_token.refresh import REFRESH
from fapi_as.kernel.seam import Feature

FEATURE: Final = Feature(name="refresh_token", grants=(REFRESH,))
