"""Failed authentications are counted by name and source; a flood of names is forgotten, not kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fapi_as.kernel.failed_authentications import FailedAuthentications
from fapi_as.kernel.messages import EndpointRequest
from fapi_as.protocol.errors import TooManyRequests
from fapi_as.protocol.profile import FAILED_AUTHENTICATIONS_LIMIT
from tests.support.fakes import NOW

TOO_MANY = FAILED_AUTHENTICATIONS_LIMIT + 1


def at(now: int = NOW, source: str = "192.0.2.1") -> EndpointRequest:
    return EndpointRequest(method="POST", path="/token", now=now, correlation_id="c", source=source)


def fail(failed: FailedAuthentications, times: int, client_id: str = "agent", request: EndpointRequest = at()) -> None:  # noqa: B008 - frozen
    for _ in range(times):
        failed.count(client_id, request)


def is_full(failed: FailedAuthentications, client_id: str = "agent", request: EndpointRequest = at()) -> bool:  # noqa: B008 - frozen
    try:
        failed.require_room(client_id, request)
    except TooManyRequests:
        return True
    return False


@pytest.fixture
def failed() -> FailedAuthentications:
    return FailedAuthentications()


def test_there_is_room_up_to_the_limit_and_again_after_the_window(failed: FailedAuthentications) -> None:
    assert not is_full(failed)
    fail(failed, FAILED_AUTHENTICATIONS_LIMIT)
    assert not is_full(failed)
    fail(failed, 1)
    assert is_full(failed)
    assert is_full(failed, request=at(NOW + 59))
    assert not is_full(failed, request=at(NOW + 60))
    fail(failed, 1, request=at(NOW + 60))
    assert not is_full(failed, request=at(NOW + 60))


def test_another_source_and_another_name_are_not_concerned(failed: FailedAuthentications) -> None:
    fail(failed, TOO_MANY)
    assert not is_full(failed, request=at(source="192.0.2.2"))
    assert not is_full(failed, "agent1")


def test_one_ipv6_site_is_one_source(failed: FailedAuthentications) -> None:
    for n in range(TOO_MANY):
        failed.count("agent", at(source=f"2001:db8::{n:x}"))
    assert is_full(failed, request=at(source="2001:db8::ffff"))
    assert not is_full(failed, request=at(source="2001:db8:0:1::1"))


def test_a_name_and_a_source_cannot_be_spelt_as_another_pair(failed: FailedAuthentications) -> None:
    fail(failed, TOO_MANY, "agent1", at(source="92.0.2.1"))
    assert not is_full(failed, "agent", at(source="192.0.2.1"))


def test_behind_a_proxy_the_certificate_is_the_source_and_elsewhere_the_address(failed: FailedAuthentications) -> None:
    proxied = replace(at(), proxied=True)
    one, other = replace(proxied, peer_certificate=b"one"), replace(proxied, peer_certificate=b"other")
    fail(failed, TOO_MANY, request=one)
    assert is_full(failed, request=one)
    assert not is_full(failed, request=other)
    assert not is_full(failed, request=proxied)
    fail(failed, TOO_MANY, request=replace(at(), peer_certificate=b"one"))
    assert is_full(failed, request=replace(at(), peer_certificate=b"other"))


@pytest.mark.parametrize("name", ["", "\ud800", "a" * 8000, "nul\0"])
def test_any_name_is_counted(failed: FailedAuthentications, name: str) -> None:
    fail(failed, TOO_MANY, name)
    assert is_full(failed, name)


def test_however_many_names_fail_only_some_are_kept(failed: FailedAuthentications) -> None:
    small = FailedAuthentications(pairs_kept=10)
    for n in range(1_000):
        small.count(f"nobody {n}", at())
    assert len(small) == 10
    fail(failed, TOO_MANY)
    for n in range(10_000):
        failed.count(f"nobody {n}", at())
    assert is_full(failed)  # thousands of other names do not buy new attempts


def test_a_clock_that_was_set_back_locks_nobody_out(failed: FailedAuthentications) -> None:
    fail(failed, TOO_MANY)
    assert not is_full(failed, request=at(NOW - 120))
