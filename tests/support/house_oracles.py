"""The oracles over tests.support.house: what each answer says is compared with what really changed in the store."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fapi_as.kernel.messages import EndpointRequest, EndpointResponse
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.effects import HandleKind
from tests.support.oracles import CONTROL_SECONDS, Exchange, Fact, Oracles, Watched, active

if TYPE_CHECKING:
    from tests.support.house import House

_CONTROL = "https://control.example/mcp"


class WatchedHouse(Watched):
    """One House; exchanges that overlap in time are judged together."""

    def __init__(self, house: House, oracles: Oracles) -> None:
        self.house = house
        self.oracles = oracles
        self._known = {house.context.policy.issuer}
        self._in_flight = 0
        self._group: list[Exchange] = []
        self._before = house.store.rows.snapshot()
        self.declared: Counter[HandleKind] | None = None

    def redirects(self) -> set[str]:
        themselves = [row.client for row in self.house.store.rows.registrations.clients.values()]
        for client in (*self.house.store.clients.values(), *themselves):
            registered = (*client.redirect_uris, *client.post_logout_redirect_uris)
            self._known.update(uri.partition("?")[0] for uri in registered)
        self._known.update(self.house.redirects_of_documents)
        return self._known

    def facts(self) -> list[Fact]:
        return [
            Fact(
                correlation_id=written.stamp.correlation_id,
                error=written.fact.error,
                detail=written.fact.detail,
                text=f"{written}",
            )
            for written in self.house.store.written
        ]

    def begin(self) -> None:
        if self._in_flight == 0:
            self.redirects()
            self._before = self.house.store.rows.snapshot()
        self._in_flight += 1

    def end(self, exchange: Exchange | None) -> None:
        self._in_flight -= 1
        if exchange is not None:
            self._group.append(exchange)
            self.oracles.saw(self.house, exchange)
        if self._in_flight == 0:
            for problem in judge_changes(self._group, self._before, self.house.store.rows):
                self.oracles.accuse(problem)
            self._group = []

    def control(self) -> None:
        house = self.house
        if "/par" not in house.endpoints:
            return
        house.store.unavailable = False
        house.source = "203.0.113.77"
        house.resource(_CONTROL)
        client = house.client("control", seed=4711)
        client.resource = _CONTROL
        started = time.perf_counter()
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(client.push())
        finally:
            loop.close()
        assert time.perf_counter() - started < CONTROL_SECONDS


def judge_changes(group: Sequence[Exchange], before: Any, after: Any) -> Iterator[str]:
    """(c): what appeared, was spent or ended is what the answers say, and a refusal changes nothing else."""
    where = ", ".join(f"{exchange.method} {exchange.path} → {exchange.status}" for exchange in group[:4])
    minted = Counter(kind for kind, _ in after.handles.keys() - before.handles.keys())
    spent = Counter(kind for kind, _ in after.spent - before.spent)
    ended = len(after.revoked - before.revoked)
    evidenced = Counter(written.fact.event for written in after.facts[len(before.facts) :])
    codes = sum("code" in exchange.parameters for exchange in group)
    callbacks = codes + sum("error" in exchange.parameters for exchange in group)
    issued = sum("access_token" in exchange.document for exchange in group)
    cookies = sum(bool(exchange.values("set-cookie")) for exchange in group)
    others = sum(not exchange.is_refusal for exchange in group)  # of a kind that has no word in an answer
    told_minted = {
        HandleKind.CODE: codes,
        HandleKind.REQUEST_URI: sum("request_uri" in exchange.document for exchange in group),
        HandleKind.REFRESH_TOKEN: sum("refresh_token" in exchange.document for exchange in group),
        HandleKind.SESSION: cookies,
        HandleKind.INTERACTION: sum(exchange.status == 303 for exchange in group),
    }
    told_spent = {
        HandleKind.CODE: issued,
        HandleKind.REQUEST_URI: callbacks,
        HandleKind.INTERACTION: callbacks,
        HandleKind.SESSION: cookies,
        HandleKind.REFRESH_TOKEN: issued,
    }
    for kind, count in minted.items():
        if count > told_minted.get(kind, others):
            yield f"(c) {where}: {count} {kind} minted, {told_minted.get(kind, others)} told"
    for kind, count in spent.items():
        if count > told_spent.get(kind, others):
            yield f"(c) {where}: {count} {kind} spent, {told_spent.get(kind, others)} told"
    if ended > evidenced[AuditEvent.AUTHORIZATION_REVOKED] and not evidenced[AuditEvent.CLIENT_UNREGISTERED]:
        yield f"(c) {where}: {ended} authorizations ended without a fact"
    refused = bool(group) and all(exchange.is_refusal for exchange in group)
    if refused and not evidenced[AuditEvent.AUTHORIZATION_REVOKED] and after.once.keys() != before.once.keys():
        yield f"(c) {where}: a refusal has used up an assertion, a proof or a form"
    yield from _judge_registrations(group, where, before.registrations, after.registrations)


def _judge_registrations(group: Sequence[Exchange], where: str, before: Any, after: Any) -> Iterator[str]:
    registered = after.clients.keys() - before.clients.keys()
    told = sum(exchange.status == 201 and "registration_access_token" in exchange.document for exchange in group)
    if len(registered) > told:
        yield f"(c) {where}: {len(registered)} clients registered, {told} told"
    if group and all(exchange.is_refusal for exchange in group) and after != before:
        yield f"(c) {where}: a refusal has changed a registration or used up an approval"


class Seen:
    """Takes the answer of the request that is being watched."""

    def __init__(self) -> None:
        self.exchange: Exchange | None = None

    def answered(self, asked: EndpointRequest, response: EndpointResponse) -> None:
        self.exchange = Exchange(
            method=asked.method,
            target=asked.path,
            status=response.status,
            request_headers=_text(asked.headers),
            request_body=asked.body,
            headers=_text(response.headers),
            body=response.body,
            correlation_id=asked.correlation_id,
        )


@contextlib.contextmanager
def watched_exchange(house: House) -> Iterator[Seen]:
    """Watch one request to a House, when the running test plays an attack."""
    oracles, seen = active(), Seen()
    if oracles is None:
        yield seen
        return
    watch = oracles.watch(house, lambda: WatchedHouse(house, oracles))
    assert isinstance(watch, WatchedHouse)
    watch.begin()
    try:
        yield seen
    finally:
        watch.end(seen.exchange)


@contextlib.contextmanager
def changes(
    house: House, *, mints: dict[HandleKind, int] | None = None, consumes: dict[HandleKind, int] | None = None
) -> Iterator[None]:
    """What is done within mints and consumes exactly this, of every kind of handle."""
    before = house.store.rows.snapshot()
    yield
    after = house.store.rows
    minted = Counter(kind for kind, _ in after.handles.keys() - before.handles.keys())
    spent = Counter(kind for kind, _ in after.spent - before.spent)
    assert (dict(minted), dict(spent)) == (mints or {}, consumes or {})


def _text(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
