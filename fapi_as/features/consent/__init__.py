"""What the person allows: who asks, for which resource, which scopes in words, and where the answer goes."""

from __future__ import annotations

from typing import Final

from fapi_as.features.consent.asking import CONSENT
from fapi_as.kernel.seam import Feature

FEATURE: Final = Feature(name="consent", endpoints=(CONSENT,))
