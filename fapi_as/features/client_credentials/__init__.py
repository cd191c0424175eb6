"""The client credentials grant: an agent on its own behalf, without a person."""

from __future__ import annotations

from typing import Final

from fapi_as.features.client_credentials.credentials import CREDENTIALS
from fapi_as.kernel.seam import Feature

FEATURE: Final = Feature(name="client_credentials", grants=(CREDENTIALS,))
