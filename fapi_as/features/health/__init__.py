"""Whether the process is alive and its store answers; for load balancers and supervisors."""

from __future__ import annotations

from typing import Final

from fapi_as.features.health.probes import ENDPOINTS
from fapi_as.kernel.seam import Feature

FEATURE: Final = Feature(name="health", endpoints=ENDPOINTS)
