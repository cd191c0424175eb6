"""The capabilities of the server; one list names the enabled ones, and everything else follows from it."""

from __future__ import annotations

from typing import Final

from fapi_as.features import (
    authorization_code,
    client_credentials,
    consent,
    discovery,
    dynamic_registration,
    health,
    openid,
    refresh_token,
    sign_in,
)
from fapi_as.kernel.seam import Feature

ENABLED: Final[tuple[Feature, ...]] = (
    authorization_code.FEATURE,
    refresh_token.FEATURE,
    client_credentials.FEATURE,
    sign_in.FEATURE,
    consent.FEATURE,
    discovery.FEATURE,
    openid.FEATURE,
    dynamic_registration.FEATURE,
    health.FEATURE,
)
