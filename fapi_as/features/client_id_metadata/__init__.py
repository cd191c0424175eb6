"""Clients that have a metadata document behind their client_id: switched on by `[client_id_metadata]`."""

from __future__ import annotations

from typing import Final

from fapi_as.features.client_id_metadata.published import METADATA
from fapi_as.kernel.seam import Feature

FEATURE: Final = Feature(name="client_id_metadata", metadata=METADATA)
