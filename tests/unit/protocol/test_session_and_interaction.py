"""What a session and an interaction say, kept and read back, and until when they are good."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fapi_as.protocol.browser_session import Session
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import KeptHandle
from fapi_as.protocol.interaction import Interaction
from fapi_as.protocol.user import RegisteredUser

NOW = 1_800_000_000
ALICE = RegisteredUser(subject="sub-alice", username="alice", version=3, password_hash="h")
SESSION = Session(
    subject="sub-alice", user_version=3, auth_time=NOW, acr="urn:acr", browser="b" * 64, ends_at=NOW + 3600
)
INTERACTION = Interaction(request_digest=bytes(range(32)), browser="b" * 64)
KEPT = KeptHandle(
    kind=HandleKind.SESSION,
    digest=b"d",
    payload=b"",
    client_id=None,
    subject="sub-alice",
    authorization_id=None,
    usable_until=NOW + 900,
    spent=False,
    revoked=False,
)


def test_both_are_read_back_as_they_were_kept() -> None:
    assert Session.from_bytes(SESSION.to_bytes()) == SESSION
    assert Interaction.from_bytes(INTERACTION.to_bytes()) == INTERACTION


@pytest.mark.parametrize(("now", "until"), [(NOW, NOW + 900), (NOW + 2700, NOW + 3600), (NOW + 3500, NOW + 3600)])
def test_activity_never_moves_the_absolute_end(now: int, until: int) -> None:
    assert SESSION.usable_until(now, timedelta(minutes=15)) == until


@pytest.mark.parametrize(
    ("handle", "user", "now", "live"),
    [
        ({}, ALICE, NOW, True),
        ({}, ALICE, NOW + 899, True),
        ({}, ALICE, NOW + 900, False),
        ({"usable_until": NOW + 9000}, ALICE, NOW + 3599, True),
        ({"usable_until": NOW + 9000}, ALICE, NOW + 3600, False),
        ({}, ALICE, NOW - 10, True),
        ({}, ALICE, NOW - 11, False),  # signed in by a clock that was set back since
        ({"spent": True}, ALICE, NOW, False),
        ({}, None, NOW, False),
        ({}, replace(ALICE, disabled=True), NOW, False),
        ({}, replace(ALICE, version=4), NOW, False),
    ],
)
def test_a_session_speaks_for_the_account_as_it_was(
    handle: dict[str, Any], user: RegisteredUser | None, now: int, live: bool
) -> None:
    assert SESSION.is_live(replace(KEPT, **handle), user, now) is live


@pytest.mark.parametrize(
    ("handle", "browser", "now", "reason"),
    [
        ({}, "b" * 64, NOW, None),
        ({}, "b" * 64, NOW + 899, None),
        ({}, "b" * 64, NOW + 900, "interaction expired"),
        ({}, "b" * 64, NOW - 10, None),
        ({}, "b" * 64, NOW - 11, "the clock was set back since the request was opened"),
        ({"spent": True}, "b" * 64, NOW, "interaction is finished"),
        ({}, "c" * 64, NOW, "interaction of another browser"),
        ({}, None, NOW, "interaction of another browser"),
        ({"spent": True}, "c" * 64, NOW + 900, "interaction of another browser"),
    ],
)
def test_an_interaction_goes_on_in_its_own_browser_only(
    handle: dict[str, Any], browser: str | None, now: int, reason: str | None
) -> None:
    kept = replace(KEPT, kind=HandleKind.INTERACTION, **handle)
    assert INTERACTION.refusal(kept, browser, now, timedelta(minutes=15)) == reason
