"""What tests of pushed requests do over and over."""

from __future__ import annotations

from typing import Any

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of
from tests.support.fapi_client import Pushed, Refused
from tests.support.house import House

SHOP = "https://shop.example/mcp"


async def kept(house: House, **form: Any) -> ValidatedAuthorizationRequest:
    """What a push with these changes leaves in the store."""
    with house.agent.lying(form=form):
        return validated_of(house, await house.agent.push())


def validated_of(house: House, pushed: Pushed) -> ValidatedAuthorizationRequest:
    """What the store keeps of a pushed request."""
    handle = next(
        found
        for found in house.store.handles_of(HandleKind.REQUEST_URI)
        if found.digest == digest_of(pushed.request_uri)
    )
    return ValidatedAuthorizationRequest.from_bytes(handle.payload)


async def refused(house: House, **form: Any) -> tuple[int, str | None, str | None]:
    """Status, wire code and private reason of a push that keeps nothing."""
    with house.agent.lying(form=form), pytest.raises(Refused) as raised:
        await house.agent.push()
    assert house.store.handles_of(HandleKind.REQUEST_URI) == ()
    assert house.store.facts_of(AuditEvent.REQUEST_PUSHED) == ()
    assert raised.value.response.headers["content-type"] == "application/json"
    return raised.value.status, raised.value.error, house.last_detail
