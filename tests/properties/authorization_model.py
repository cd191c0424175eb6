"""What the authorization server should answer, said a second time: state in plain values, one method per request.

Each method gives the wire code that the peer must see ("ok" where it gets what it asked for) and changes the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

REQUEST_URI, INTERACTION, CODE = 90, 600, 60  # seconds
SESSION, IDLE, NOTED = 8 * 3600, 900, 60
REFRESH, REFRESH_IDLE, REFRESH_NOTED = 30 * 86_400, 14 * 86_400, 3600
ATTEMPTS, WINDOW = 5, 900
ACCESS = 300
OK: Final = "ok"


@dataclass(eq=False)
class Request:
    """A pushed request; `told` is what only its client knows of it."""

    client: str
    resource: str
    at: int
    told: Any
    complete: bool = False


@dataclass(eq=False)
class Tab:
    """A page of ours in one browser: which interaction it is about and with which cookie it was made."""

    request: Request
    browser: str
    at: int
    page: Any
    cookie: str | None


@dataclass(eq=False)
class Grant:
    """What the person allowed, with its code."""

    request: Request
    user_version: int
    at: int
    code: str
    sets: int = 0  # of tokens that the code brought
    ended: bool = False


@dataclass(eq=False)
class RefreshToken:
    grant: Grant
    at: int
    value: str
    usable_until: int = 0

    def __post_init__(self) -> None:
        self.usable_until = self.at + REFRESH_IDLE


@dataclass(eq=False)
class Identity:
    """An access token for userinfo, with what a client needs to use it."""

    grant: Grant
    at: int
    tokens: Any


@dataclass
class Session:
    user_version: int
    ends_at: int
    idle_until: int


@dataclass
class Model:
    now: int
    clients: set[str]
    resources: set[str]
    user_version: int = 1
    user_enabled: bool = True
    attempts: list[int] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)
    said_yes: dict[tuple[str, str, int], Grant | None] = field(default_factory=dict)  # None: a no came after it

    def push(self, client: str, resource: str) -> str:
        if client not in self.clients:
            return "invalid_client"
        return OK if resource in self.resources else "invalid_target"

    def open(self, request: Request) -> str:
        if request.complete or self.now >= request.at + REQUEST_URI:
            return "invalid_request_uri"
        return self._standing(request)

    def _standing(self, request: Request) -> str:
        if request.client not in self.clients:
            return "unauthorized_client"
        if request.resource not in self.resources:
            request.complete = True  # the client is told, once
            return "invalid_target"
        return OK

    def look(self, tab: Tab, browser: str) -> str:
        if browser != tab.browser or tab.request.complete or self.now >= tab.at + INTERACTION:
            return "invalid_request_uri"
        return self._standing(tab.request)

    def submit(self, tab: Tab, browser: str, cookie: str | None) -> str:
        answer = self.look(tab, browser)
        return "invalid_request" if answer == OK and cookie != tab.cookie else answer

    def sign_in(self, browser: str, *, right: bool) -> str:
        self.attempts = [at for at in self.attempts if at > self.now - WINDOW]
        if len(self.attempts) >= ATTEMPTS:
            return "invalid_request"
        self.attempts.append(self.now)
        if not right or not self.user_enabled:
            return "access_denied"
        self.attempts.clear()
        self.sessions[browser] = Session(self.user_version, self.now + SESSION, self.now + IDLE)
        return OK

    def is_signed_in(self, browser: str) -> bool:
        session = self.sessions.get(browser)
        live = session is not None and self.user_enabled and session.user_version == self.user_version
        return live and self.now < min(session.ends_at, session.idle_until)

    def note_activity(self, browser: str, *, at_least: int = 0) -> None:
        session = self.sessions[browser]
        until = min(self.now + IDLE, session.ends_at)
        if until - session.idle_until >= at_least:
            session.idle_until = until

    def _page_of(self, request: Request) -> tuple[str, str, int]:
        return request.client, request.resource, self.user_version

    def remember(self, grant: Grant) -> None:
        self.said_yes.setdefault(self._page_of(grant.request), grant)

    def forget(self, request: Request) -> None:
        if self.is_remembered(request):
            self.said_yes[self._page_of(request)] = None

    def is_remembered(self, request: Request) -> bool:
        grant = self.said_yes.get(self._page_of(request))
        return grant is not None and not self._has_ended(grant)

    def silently(self, request: Request, browser: str) -> str:
        request.complete = True
        if not self.is_signed_in(browser):
            return "login_required"
        self.note_activity(browser, at_least=NOTED)
        if not self.is_remembered(request):
            return "consent_required"
        self.note_activity(browser)
        return OK

    def identify(self, token: RefreshToken) -> str:
        answer = self.refresh(token, token.grant.request.client)
        return "invalid_grant" if answer == "invalid_target" else answer  # userinfo is there, but not without a ground

    def tell(self, identity: Identity) -> str:
        grant, client = identity.grant, identity.grant.request.client
        allowed = self.user_enabled and grant.user_version == self.user_version and not grant.ended
        in_time = self.now < min(identity.at + ACCESS, grant.at + CODE + REFRESH)
        return OK if client in self.clients and allowed and in_time else "invalid_token"

    def _has_ended(self, grant: Grant) -> bool:
        """Whether there is nothing left to end: what changes an account has ended it, or its time is over."""
        over = self.now >= grant.at + CODE + REFRESH
        return grant.ended or over or grant.user_version != self.user_version

    def _still_allowed(self, grant: Grant) -> str:
        if not self.user_enabled or grant.user_version != self.user_version:
            return "invalid_grant"
        return OK if grant.request.resource in self.resources else "invalid_target"

    def redeem(self, grant: Grant, client: str, lie: str | None) -> str:
        if client not in self.clients:
            return "invalid_client"
        if client != grant.request.client or lie == "verifier":
            return "invalid_grant"
        if lie == "key":
            return "invalid_dpop_proof"
        if grant.sets and not self._has_ended(grant):
            grant.ended = True  # somebody else has the code
        if grant.sets or self.now >= grant.at + CODE:
            return "invalid_grant"
        answer = self._still_allowed(grant)
        grant.sets += answer == OK
        return answer

    def refresh(self, token: RefreshToken, client: str) -> str:
        if client not in self.clients:
            return "invalid_client"
        if client != token.grant.request.client or token.grant.ended or self.now >= token.usable_until:
            return "invalid_grant"
        answer, last = self._still_allowed(token.grant), token.at + REFRESH
        until = min(self.now + REFRESH_IDLE, last)
        if answer == OK and (until == last or until - token.usable_until >= REFRESH_NOTED):
            token.usable_until = until
        return answer
