"""The ClientDocuments port: clients that describe themselves in a document behind their client_id."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fapi_as.adapters.patience import patiently
from fapi_as.ports import ClientKeys, Clock, Fetch, Reading
from fapi_as.protocol import software_statement
from fapi_as.protocol.client import ClientUnavailable, KeysUnavailable, RegisteredClient
from fapi_as.protocol.client_document import (
    InvalidClientDocument,
    approved_client,
    described_client,
    read_document,
    require_document_url,
)
from fapi_as.protocol.errors import InvalidSoftwareStatement, TooManyRequests, UnapprovedSoftwareStatement
from fapi_as.protocol.fetched_document import FetchedDocument, FetchFailed
from fapi_as.protocol.outbound_url import site
from fapi_as.protocol.policy import DocumentPolicy, Policy, seconds
from fapi_as.protocol.profile import (
    CLIENT_DOCUMENT_CEILING,
    CLIENT_DOCUMENT_FLOOR,
    CLIENT_DOCUMENT_KEYS_CEILING,
    CLIENT_DOCUMENT_LIMIT,
)
from fapi_as.protocol.registration import TrustedAuthority
from fapi_as.protocol.software_statement import PresentedStatement, VerifiedStatement
from rs_kit.adapters.clock import monotonic_seconds

DOCUMENTS_KEPT: Final = 1024
WINDOW: Final = 60.0  # seconds
PER_HOST_IN_WINDOW: Final = 60
IN_WINDOW: Final = 600
PER_HOST_AT_ONCE: Final = 3  # of one site: one less than the Fetch port has places for it
AT_ONCE: Final = 6  # of known ones and of others, so that the Fetch port has places left for keys
FAILING_PER_HOST_AT_ONCE: Final = 1
FAILING_AT_ONCE: Final = 2

_logger: Final = logging.getLogger("fapi_as.client_documents")


class NoDocuments:
    """The port where a URL is nobody's client_id: nothing is ever fetched (CIMD-12)."""

    async def client(self, client_id: str, *, is_proved: bool = False) -> RegisteredClient:  # noqa: ARG002 - the port's
        """Nobody.

        Raises:
            ClientUnavailable: always.
        """
        raise ClientUnavailable("client ID metadata documents are switched off")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Approved:
    """What an authority vouches for, as long as it is the same authority and its statement has not expired."""

    client: RegisteredClient
    version: int
    statement: VerifiedStatement


@dataclass(slots=True, kw_only=True)
class _Kept:
    """A good document, for as long as it may be used without asking again."""

    client: RegisteredClient
    host: str
    presented: PresentedStatement | None
    body: bytes  # where it brings a statement; what nobody reads again is not kept
    entity_tag: str | None
    fetched_at: float
    good_for: float
    approved: _Approved | None = None


class _Budget:
    """How much is asked of hosts: at once, and within a minute; both of one host and of all."""

    def __init__(
        self, monotonic: Callable[[], float], *, per_host: int = PER_HOST_AT_ONCE, in_all: int = AT_ONCE
    ) -> None:
        self._monotonic = monotonic
        self._per_host = per_host
        self._in_all = in_all
        self._began_at = float("-inf")
        self._within: dict[str, int] = {}
        self._now: dict[str, int] = {}

    def take(self, host: str) -> None:
        """One more fetch begins.

        Raises:
            TooManyRequests: that would be too much.
        """
        now = self._monotonic()
        if now - self._began_at >= WINDOW:
            self._began_at = now
            self._within.clear()
        if self._now.get(host, 0) >= self._per_host or sum(self._now.values()) >= self._in_all:
            raise TooManyRequests("documents are being fetched")
        if self._within.get(host, 0) >= PER_HOST_IN_WINDOW or sum(self._within.values()) >= IN_WINDOW:
            raise TooManyRequests("documents were fetched within a minute")
        self._within[host] = self._within.get(host, 0) + 1
        self._now[host] = self._now.get(host, 0) + 1

    def give_back(self, host: str) -> None:
        """A fetch has ended."""
        self._now[host] -= 1
        if not self._now[host]:
            del self._now[host]


class PublishedDocuments:
    """The ClientDocuments port of one tenant.

    A document is used for as long as its host allows, at least five minutes and at most a day, or five minutes where
    the keys stand in it; then its host is asked again before it is used, and if that fails the client is nobody until
    it works. Only good documents are kept. One fetch at a time serves all who wait for a document. What strangers make
    us fetch has a budget of its own, so that the documents that are known here, that people allowed something, or that
    something proved is about can always be read; those that fail have one, too, because whoever takes his away could
    make us ask for it without end.

    Args:
        fetch: how documents are had.
        keys: those of authorities, for software statements in documents.
        reading: what was blocked, what is in use, and whose word counts.
        policy: of this tenant.
        clock: what statements are judged by.
        monotonic: replaces the clock that documents grow old by, in tests.
    """

    def __init__(  # noqa: PLR0913 - its ports
        self,
        fetch: Fetch,
        keys: ClientKeys,
        reading: Reading,
        *,
        policy: Policy,
        clock: Clock,
        monotonic: Callable[[], float] = monotonic_seconds,
    ) -> None:
        self._fetch = fetch
        self._keys = keys
        self._reading = reading
        self._policy = policy
        self._own = tuple(url for url in (policy.issuer, policy.mutual_tls_url) if url is not None)
        self._clock = clock
        self._monotonic = monotonic
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._failing: OrderedDict[str, None] = OrderedDict()  # known ones, at the last question
        self._running: dict[str, asyncio.Task[_Kept | str]] = {}
        self._of_strangers = _Budget(monotonic)
        self._of_known = _Budget(monotonic)
        self._of_failing = _Budget(monotonic, per_host=FAILING_PER_HOST_AT_ONCE, in_all=FAILING_AT_ONCE)

    async def client(self, client_id: str, *, is_proved: bool = False) -> RegisteredClient:
        """The client that the document describes now.

        Raises:
            ClientUnavailable: there is none that may be used here.
            TooManyRequests: too much is being asked for of its host, or of all.
            StorageUnavailable: whether it is blocked, or in use, cannot be told.
        """
        documents = self._policy.documents
        if documents is None:
            raise ClientUnavailable("client ID metadata documents are switched off")
        try:
            host = site(require_document_url(client_id, documents, self._own))
        except InvalidClientDocument as error:
            raise ClientUnavailable(str(error)) from None
        if await self._reading.is_blocked(client_id):
            self._kept.pop(client_id, None)  # whoever lets it in again wants what it says then
            raise ClientUnavailable("an operator has blocked it")
        kept = self._kept.get(client_id)
        if kept is None or self._monotonic() - kept.fetched_at >= kept.good_for:
            if kept is None and not is_proved:
                is_proved = await self._reading.is_allowed_something(client_id, self._clock.now())
            kept = await self._renewed(client_id, host, documents, is_known=kept is not None or is_proved)
        else:
            self._kept.move_to_end(client_id)
        if kept.presented is None:
            return kept.client
        try:
            return await self._approved(kept, kept.presented, client_id)
        except ClientUnavailable:
            self._kept.pop(client_id, None)  # a document whose statement does not count is no good document
            self._note_failing(client_id)
            raise

    async def _approved(self, kept: _Kept, presented: PresentedStatement, client_id: str) -> RegisteredClient:
        """The client as its authority vouches for it today: suspended, withdrawn and expired count at once."""
        authority = await self._reading.authority(presented.issuer)
        if authority is None:
            raise ClientUnavailable("statement: its issuer may approve nobody here")
        now, known = self._clock.now(), kept.approved
        if known is None or known.version != authority.version or now >= known.statement.expires_at:
            statement = await self._verified(presented, authority, now)
            try:
                client = approved_client(
                    read_document(kept.body, client_id), client_id, self._policy, statement, authority
                )
            except InvalidClientDocument as error:
                raise ClientUnavailable(f"statement: {error}") from None
            known = _Approved(client=client, version=authority.version, statement=statement)
        if await self._reading.is_withdrawn(authority.issuer, known.statement.jti, known.statement.software_id):
            raise ClientUnavailable("statement: it is withdrawn")
        kept.approved = known
        return known.client

    async def _verified(
        self, presented: PresentedStatement, authority: TrustedAuthority, now: int
    ) -> VerifiedStatement:
        try:
            keys = await self._keys.keys(authority, presented.kid)
            return software_statement.verify(
                presented, authority, keys, audience=self._policy.issuer, now=now, certificate=None, jkt=None
            )
        except KeysUnavailable as error:
            raise ClientUnavailable(f"statement: {error}") from None
        except (InvalidSoftwareStatement, UnapprovedSoftwareStatement) as error:
            raise ClientUnavailable(error.detail) from None

    async def _renewed(self, client_id: str, host: str, documents: DocumentPolicy, *, is_known: bool) -> _Kept:
        """The document after the one fetch that is under way, which is begun if there is none."""
        running = self._running.get(client_id)
        loop = asyncio.get_running_loop()
        if running is None or running.done() or running.get_loop() is not loop:
            budget = self._budget_of(client_id, is_known=is_known)
            budget.take(host)
            running = self._running[client_id] = loop.create_task(self._renew(client_id, host, documents))
            running.add_done_callback(lambda ended: self._end(ended, client_id, host, budget))
        try:
            outcome = await patiently(running)
        except TimeoutError:
            raise ClientUnavailable("the documents of one request take too long") from None
        if isinstance(outcome, str):
            raise ClientUnavailable(outcome)
        return outcome

    def _budget_of(self, client_id: str, *, is_known: bool) -> _Budget:
        if not is_known:
            return self._of_strangers
        return self._of_failing if client_id in self._failing else self._of_known

    def _end(self, ended: asyncio.Task[_Kept | str], client_id: str, host: str, budget: _Budget) -> None:
        if self._running.get(client_id) is ended:  # the next one may have begun
            del self._running[client_id]
        budget.give_back(host)
        self._failing.pop(client_id, None)
        if budget is not self._of_strangers and not _is_good(ended):
            self._note_failing(client_id)

    def _note_failing(self, client_id: str) -> None:
        self._failing[client_id] = None
        while len(self._failing) > DOCUMENTS_KEPT:
            self._failing.popitem(last=False)

    async def _renew(self, client_id: str, host: str, documents: DocumentPolicy) -> _Kept | str:
        """Ask the host; what is wrong is told as a private reason, to all who wait and to nobody later."""
        asked_at = self._monotonic()  # the age counts from the question, not from the answer
        before = self._kept.get(client_id)
        entity_tag = None if before is None else before.entity_tag
        try:
            fetched = await self._fetch.get(client_id, max_bytes=CLIENT_DOCUMENT_LIMIT, entity_tag=entity_tag)
            # large RSA keys take their time, and nobody else waits for them
            client, presented, body = await asyncio.to_thread(_read, fetched, before, client_id, documents)
        except (FetchFailed, InvalidClientDocument) as error:
            _logger.warning("a client's document cannot be used", extra={"client_id": client_id, "detail": str(error)})
            return str(error)
        kept = _Kept(
            client=client,
            host=host,
            presented=presented,
            body=body,
            entity_tag=entity_tag if fetched.is_known else fetched.entity_tag,  # the tag of what is at hand
            fetched_at=asked_at,
            good_for=_good_for(fetched, client, before),
        )
        self._kept[client_id] = kept
        self._kept.move_to_end(client_id)
        while len(self._kept) > DOCUMENTS_KEPT:
            self._forget_one()
        return kept

    def _forget_one(self) -> None:
        """The least used of the host that has most, so that whoever publishes many pushes out nobody elsewhere."""
        [(host, _)] = Counter(kept.host for kept in self._kept.values()).most_common(1)
        del self._kept[next(client_id for client_id, kept in self._kept.items() if kept.host == host)]


def _is_good(ended: asyncio.Task[_Kept | str]) -> bool:
    return not ended.cancelled() and ended.exception() is None and isinstance(ended.result(), _Kept)


def _read(
    fetched: FetchedDocument, before: _Kept | None, client_id: str, documents: DocumentPolicy
) -> tuple[RegisteredClient, PresentedStatement | None, bytes]:
    """What an answer says, or what the one at hand has said.

    Raises:
        InvalidClientDocument: no client that may be used here.
        FetchFailed: it says that nothing changed, to somebody who has nothing.
    """
    if fetched.is_known:
        if before is None:
            raise FetchFailed("not modified, and there is none at hand")
        return before.client, before.presented, before.body
    members = read_document(fetched.body, client_id)
    client = described_client(members, client_id, documents)
    if members.get("software_statement") is None:
        if documents.statement_required:
            raise InvalidClientDocument("the document has no software statement")
        return client, None, b""
    try:
        return client, software_statement.present(members["software_statement"]), fetched.body
    except InvalidSoftwareStatement as error:
        raise InvalidClientDocument(error.detail) from None


def _good_for(fetched: FetchedDocument, client: RegisteredClient, before: _Kept | None) -> float:
    """For how long it may be used: as its host says, within our bounds (CIMD-7, CIM-12).

    What it says all of a sudden is looked at again soon: whoever has the host for a minute must not lead the client to
    keys that it has not for a whole day.
    """
    ceiling = CLIENT_DOCUMENT_CEILING if client.jwks_uri is not None else CLIENT_DOCUMENT_KEYS_CEILING
    floor = seconds(CLIENT_DOCUMENT_FLOOR)
    if before is not None and before.client.version != client.version:
        return float(floor)
    return float(min(max(fetched.max_age or 0, floor), seconds(ceiling)))
