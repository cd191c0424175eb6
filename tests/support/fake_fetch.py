"""The Fetch port over documents in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from fapi_as.protocol.fetched_document import FetchedDocument, FetchFailed
from fapi_as.protocol.outbound_url import InvalidOutboundUrl, parse_outbound_url, require_name


@dataclass(kw_only=True)
class FakeFetch:
    """`documents` by URL; `asked` is every fetch that went out, `may_answer` holds them back while it is clear."""

    documents: dict[str, FetchedDocument] = field(default_factory=dict)
    allowed_private_hosts: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    async def get(self, url: str, *, max_bytes: int, entity_tag: str | None = None) -> FetchedDocument:
        try:
            require_name(parse_outbound_url(url), self.allowed_private_hosts)
        except InvalidOutboundUrl as error:
            raise FetchFailed(str(error)) from None
        self.asked.append(url)
        await self.may_answer.wait()
        found = self.documents.get(url)
        if found is None:
            raise FetchFailed("status 404")
        if entity_tag is not None and found.entity_tag == entity_tag:
            return FetchedDocument(body=b"", max_age=found.max_age, entity_tag=entity_tag, is_known=True)
        if len(found.body) > max_bytes:
            raise FetchFailed("the answer is too large")
        return found
