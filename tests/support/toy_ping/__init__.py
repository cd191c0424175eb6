"""A toy capability: the grant `urn:example:ping`. What a new grant takes, and nothing more."""

from __future__ import annotations

from typing import Final

from fapi_as.kernel.seam import Feature, Grant
from tests.support.toy_ping.rules import GRANT_TYPE, decide_ping, load

FEATURE: Final = Feature(
    name="ping",
    grants=(Grant(grant_type=GRANT_TYPE, parameters=frozenset({"ping", "resource"}), load=load, rule=decide_ping),),
)
