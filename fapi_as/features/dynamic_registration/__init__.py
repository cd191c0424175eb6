"""Clients that register themselves with somebody's approval (RFC 7591), and manage what was registered (RFC 7592)."""

from __future__ import annotations

from typing import Final

from fapi_as.features.dynamic_registration.managing import MANAGEMENT
from fapi_as.features.dynamic_registration.registering import REGISTRATION
from fapi_as.kernel.seam import Feature

FEATURE: Final = Feature(name="dynamic_registration", endpoints=(REGISTRATION, MANAGEMENT))
