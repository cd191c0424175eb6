"""Clients that have a metadata document behind their client_id: what is published of it (CIMD-12).

The documents themselves are met wherever a client is looked for (kernel/clients.py), so there is no endpoint here; the
composition root adds this feature where `[client_id_metadata]` switches documents on.
"""

from __future__ import annotations

from typing import Final

from fapi_as.kernel.seam import Feature

FEATURE: Final = Feature(name="client_id_metadata", metadata={"client_id_metadata_document_supported": True})
