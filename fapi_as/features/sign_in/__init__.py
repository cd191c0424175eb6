"""Who the person is: local users with passwords, counted before they are hashed; and how a session ends."""

from __future__ import annotations

from typing import Final

from fapi_as.features.sign_in.login import LOGIN
from fapi_as.features.sign_in.logout import LOGOUT
from fapi_as.kernel.seam import Feature

FEATURE: Final = Feature(name="sign_in", endpoints=(LOGIN, LOGOUT))
