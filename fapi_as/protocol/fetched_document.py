"""What the `Fetch` port brings: a small document of somebody else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedDocument:
    """The body of a 200 answer, and for how many seconds its server lets it be kept, where it says so.

    `is_known` is a 304 answer: the body is the one at hand, and here it is empty.
    """

    body: bytes
    max_age: int | None = None
    entity_tag: str | None = None
    is_known: bool = False


class FetchFailed(Exception):
    """The document could not be had; the message is the private reason, printable and short whatever the peer sent."""
