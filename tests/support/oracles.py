"""The global oracles of the attack catalogue (its section 0), asserted around every attack test by tests/conftest.py.

Whatever a test is about, every exchange that it had with the server is judged here as well:
(a) no 5xx but a 503 with Retry-After, and no exception behind it   (b) no Location to an unregistered address
(c) nothing minted or consumed that the answer does not say         (d) one fact with a reason per refusal
(e) no secret in a log, a fact, the database or an error            (f) a control request succeeds within 1 s
(g) an error is one of the fixed texts of its code
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.support.fixed_texts import is_fixed, sentences

CONTROL_SECONDS: Final = 1.0
REFUSALS_TOLD: Final = 100  # product.md: before authentication, one fact each up to a budget per source and minute
_SECRET_FIELDS: Final = (
    *("client_assertion", "code", "code_verifier", "refresh_token", "access_token"),
    "registration_access_token",
)
_SHORTEST_SECRET: Final = 20  # what is shorter was never drawn by a party of ours
_SEARCHED_SECRETS: Final = 500  # in order of the alphabet, which is chance
_KEPT_RECORDS: Final = 10_000
_UNRECORDED: Final = frozenset({404, 405, 503})  # nobody's address, no handler, no store to record it in
_PAGE_ERROR: Final = re.compile(r'id="oauth-error">([^<]*)<')
_PAGE_SENTENCE: Final = re.compile(r'class="problem"[^>]*>\s*<p>([^<]*)\.</p>')


def _claims(token: str) -> dict[str, Any]:
    """The claims of a compact JWS, unverified."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer, whoever carried them."""

    method: str
    target: str
    status: int
    request_headers: Sequence[tuple[str, str]] = ()
    request_body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    correlation_id: str | None = None

    def values(self, name: str) -> list[str]:
        """Every value of a header of the answer."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def is_refusal(self) -> bool:
        return self.status >= 400

    @property
    def parameters(self) -> dict[str, list[str]]:
        """What the front channel was told: the query of Location, and what is inside where that is signed (JARM)."""
        told = {
            name: values
            for location in self.values("location")
            for name, values in parse_qs(urlsplit(location).query).items()
        }
        signed = {name: [value] for token in told.get("response", ()) for name, value in _claims(token).items()}
        return told | {name: value for name, value in signed.items() if name in {"code", "state", "error"}}

    @property
    def document(self) -> Mapping[str, Any]:
        """The JSON object of the answer; empty when there is none."""
        with contextlib.suppress(ValueError):
            read = json.loads(self.body)
            if isinstance(read, dict):
                return read
        return {}

    @property
    def told_error(self) -> tuple[str, str] | None:
        """The code and the sentence of an error of ours."""
        document = self.document
        if isinstance(document.get("error"), str) and self.is_refusal:
            return document["error"], str(document.get("error_description", ""))
        page = self.body.decode("utf-8", "replace")
        code, sentence = _PAGE_ERROR.search(page), _PAGE_SENTENCE.search(page)
        if code is not None and sentence is not None:
            return html.unescape(code[1]), html.unescape(sentence[1])
        return None

    def secrets(self) -> Iterator[str]:
        """What only the two parties may know."""
        form = parse_qs(self.request_body.decode("latin-1"))
        for name in _SECRET_FIELDS:
            yield from form.get(name, [])
            yield from self.parameters.get(name, [])
            if isinstance(self.document.get(name), str) and not self.is_refusal:
                yield str(self.document[name])
        for name, value in self.request_headers:
            if name.lower() == "dpop":
                yield value
            elif name.lower() == "cookie":
                yield from (pair.partition("=")[2] for pair in value.split("; "))
            elif name.lower() == "authorization":
                yield value.rpartition(" ")[2]
        for line in self.values("set-cookie"):
            yield line.partition(";")[0].partition("=")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What the audit says about one request."""

    correlation_id: str
    error: str | None
    detail: str | None
    text: str


class Watched:
    """One server under attack; a subclass knows where its evidence lies."""

    def redirects(self) -> set[str]:
        """Every redirect URI that was registered while the test ran, and the issuer."""
        raise NotImplementedError

    def facts(self) -> list[Fact]:
        """The audit."""
        raise NotImplementedError

    def refusals(self) -> int:
        """How many refusals were told one by one, so that a budget may be spent."""
        return sum(fact.error is not None for fact in self.facts())

    def kept(self) -> Iterator[tuple[str, bytes]]:
        """Files in which no secret may lie, by name."""
        yield from ()

    def control(self) -> None:
        """Succeed at an ordinary request, or raise."""
        raise NotImplementedError


@dataclass(slots=True, kw_only=True)
class Oracles:
    """What was seen in one test, and what was wrong with it."""

    problems: list[str] = field(default_factory=list)
    exchanges: dict[int, list[Exchange]] = field(default_factory=dict)
    watched: dict[int, Watched] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    records: list[str] = field(default_factory=list)
    expects_defect: bool = False  # a test that plants a failure of ours says so
    control: bool = True

    def accuse(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def watch(self, subject: object, make: Callable[[], Watched]) -> Watched:
        """The watch over one server; it is kept until the test is judged, so that its id is not used again."""
        if id(subject) not in self.watched:
            self.watched[id(subject)] = make()
            self.exchanges[id(subject)] = []
        return self.watched[id(subject)]

    def saw(self, subject: object, exchange: Exchange) -> None:
        """Judge what can be judged at once and remember the rest."""
        self.secrets.update(secret for secret in exchange.secrets() if len(secret) >= _SHORTEST_SECRET)
        self.exchanges[id(subject)].append(exchange)
        for problem in judge_answer(exchange, self.watched[id(subject)].redirects(), self.secrets):
            self.accuse(problem)

    def judge(self) -> None:
        """Say everything that was wrong.

        Raises:
            AssertionError: one of the oracles was violated.
        """
        for key, watched in self.watched.items():
            facts = watched.facts()
            for problem in judge_facts(self.exchanges[key], facts, budget_spent=watched.refusals() >= REFUSALS_TOLD):
                self.accuse(problem)
            kept = [("a log", "\n".join(self.records)), ("a fact", "\n".join(fact.text for fact in facts))]
            for name, content in [*watched.kept(), *((name, text.encode()) for name, text in kept)]:
                if any(secret.encode() in content for secret in sorted(self.secrets)[:_SEARCHED_SECRETS]):
                    self.accuse(f"(e) a secret in {name}")
        for watched in self.watched.values() if self.control else ():
            try:
                watched.control()
            except Exception as error:  # noqa: BLE001 - whatever kept it from succeeding is the finding
                self.accuse(f"(f) the control request failed: {type(error).__name__} {error}")
        assert not self.problems, "global oracles:\n" + "\n".join(self.problems)


def judge_answer(exchange: Exchange, redirects: set[str], secrets: set[str]) -> Iterator[str]:
    """(a), (b), (e) in the answer, (g)."""
    where = f"{exchange.method} {exchange.path} → {exchange.status}"
    if exchange.status >= 500 and (exchange.status != 503 or not exchange.values("retry-after")):
        yield f"(a) {where}"
    for location in exchange.values("location"):
        base = location.partition("?")[0]
        if base not in redirects and not any(base.startswith(known + "/") for known in redirects):
            yield f"(b) {where}: Location to {base}"
    if not exchange.is_refusal:
        return
    if any(secret.encode() in exchange.body for secret in secrets):
        yield f"(e) {where}: a secret in the error"
    told = exchange.told_error
    if told is not None and not is_fixed(*told):
        yield f"(g) {where}: {told[0]} says {told[1]!r}" + ("" if told[0] in sentences() else ", an unknown code")


def judge_facts(exchanges: Sequence[Exchange], facts: Sequence[Fact], *, budget_spent: bool) -> Iterator[str]:
    """(d): one fact with a reason for each refusal that was answered, as long as the budget of a source lasts."""
    by_request: dict[str, list[Fact]] = {}
    for fact in facts:
        if fact.error is not None:
            by_request.setdefault(fact.correlation_id, []).append(fact)
            if not fact.detail:
                yield f"(d) a refusal without a reason: {fact.error}"
    for exchange in exchanges:
        if not exchange.is_refusal or exchange.status in _UNRECORDED or exchange.correlation_id is None:
            continue
        count = len(by_request.get(exchange.correlation_id, ()))
        if count > 1 or (count == 0 and not budget_spent):
            yield f"(d) {exchange.method} {exchange.path} → {exchange.status}: {count} facts of a refusal"


class _Records(logging.Handler):
    """Keeps what is logged, with everything that was attached to it."""

    def __init__(self, oracles: Oracles) -> None:
        super().__init__(logging.DEBUG)
        self.oracles = oracles

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.oracles.records) < _KEPT_RECORDS:
            self.oracles.records.append(f"{record.getMessage()} {record.__dict__}")
        if record.name == "fapi_as.door" and record.exc_info and not self.oracles.expects_defect:
            self.oracles.accuse(f"(a) a defect behind a 503: {record.exc_info[1]!r}")


_active: list[Oracles] = []


def active() -> Oracles | None:
    """The oracles of the running test, if it plays an attack."""
    return _active[-1] if _active else None


@contextlib.contextmanager
def watching() -> Iterator[Oracles]:
    """Watch every server that is used within; whoever opens this judges at the end."""
    oracles = Oracles()
    handler = _Records(oracles)
    loggers = [logging.getLogger(name) for name in ("fapi_as", "rs_kit")]
    _active.append(oracles)
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield oracles
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        _active.remove(oracles)
