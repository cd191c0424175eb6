"""What the metadata says of client ID metadata documents (CIMD-12).

The documents themselves are met wherever a client is looked for (kernel/clients.py), so there is no endpoint here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

METADATA: Final[Mapping[str, object]] = {"client_id_metadata_document_supported": True}
