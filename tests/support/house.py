"""The whole authorization server over fakes: all features behind the door, time that is moved, no network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import httpx2

from fapi_as.adapters.web.pages import renderer
from fapi_as.kernel import capabilities
from fapi_as.kernel.door import absent, answer
from fapi_as.kernel.messages import EndpointRequest
from fapi_as.kernel.seam import Face
from fapi_as.ports import CertificateTrust
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.policy import Policy
from fapi_as.protocol.resource_registration import parse_resource
from fapi_as.protocol.user import RegisteredUser
from tests.support.browser import Browser, Callback, Page
from tests.support.certificates import Shown
from tests.support.fakes import ISSUER, FakeSigner, FrozenClock, PlainPasswords, context
from tests.support.fapi_client import FapiClient
from tests.support.fapi_messages import Pushed
from tests.support.house_oracles import watched_exchange
from tests.support.memory_store import MemoryStore
from tests.support.peer_keys import PeerKey

RESOURCE: Final = "https://bank.example/mcp"
PASSWORD: Final = "a long enough passphrase"
SCOPES: Final = {"accounts:read": "See your balances", "transfers:write": "Send money"}


class House(httpx2.AsyncBaseTransport):
    """One tenant; `alice` may sign in, `agent` is her client, `RESOURCE` the bank.

    `source` is the address that requests come from; `log` keeps every request with its status. What clients without a
    registration may be answered at is told in `redirects_of_documents`. A request to the
    policy's mTLS address brings the certificate that its extension `certificate` holds (tests.support.certificates).
    """

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        store: MemoryStore | None = None,
        certificate_trust: CertificateTrust | None = None,
    ) -> None:
        self.clock = FrozenClock()
        self.store = store if store is not None else MemoryStore()
        self.passwords = PlainPasswords()
        self.signer = FakeSigner()
        self.context = context(
            self.store,
            policy=policy,
            signer=self.signer,
            passwords=self.passwords,
            certificate_trust=certificate_trust,
        )
        self.endpoints = capabilities.endpoints(self.context.features)
        self.source = "192.0.2.1"
        self.redirects_of_documents: set[str] = set()
        self.log: list[tuple[str, str, int]] = []
        self.http = httpx2.AsyncClient(transport=self)
        self._render = renderer()
        self._requests = 0
        self.resource()
        self.alice = self.user("alice")
        self.agent = self.client("agent")

    # --- registrations

    def resource(self, uri: str = RESOURCE, *, version: int = 1, **changes: Any) -> None:
        members = {"resource": uri, "resource_name": "Bank", "scopes": SCOPES, "refresh_tokens": True} | changes
        self.store.put_resource(parse_resource(members, version=version))

    def user(self, username: str, password: str = PASSWORD, *, version: int = 1) -> RegisteredUser:
        user = RegisteredUser(
            subject=f"sub-{username}", username=username, version=version, password_hash=PlainPasswords.hash(password)
        )
        self.store.put_user(user)
        return user

    def client(self, client_id: str, *, seed: int = 1, **changes: Any) -> FapiClient:
        """Register a client and give its honest side, with a browser of its own."""
        peer = FapiClient(
            self.http,
            issuer=self.context.policy.issuer,
            client_id=client_id,
            client_key=PeerKey.es256(seed=seed + len(self.store.clients)),
            resource=RESOURCE,
            scope="accounts:read",
            now=self.clock.now,
        )
        registration = peer.registration(client_name=f"The {client_id}", scope=" ".join(SCOPES)) | changes
        self.store.put_client(parse_client(registration, client_id=client_id, version=1))
        peer.redirect_uri = registration["redirect_uris"][0] if registration["redirect_uris"] else peer.redirect_uri
        return peer

    def change_client(self, client_id: str = "agent", **changes: Any) -> RegisteredClient:
        """What an operator's update does: other values, another version."""
        client = self.store.clients[client_id]
        changed = replace(client, version=client.version + 1, **changes)
        self.store.put_client(changed)
        return changed

    def change_user(self, username: str = "alice", **changes: Any) -> RegisteredUser:
        user = next(user for user in self.store.users.values() if user.username == username)
        changed = replace(user, version=user.version + 1, **changes)
        self.store.put_user(changed)
        return changed

    # --- a person in a browser

    def browser(self) -> Browser:
        return Browser(self.http)

    async def opened(self, pushed: Pushed | None = None, *, client: FapiClient | None = None) -> Page:
        """The login page of a freshly pushed request."""
        client = client or self.agent
        place = await client.browser.open(client.authorization_url(pushed or await client.push()))
        return page(place)

    async def asked(self, pushed: Pushed | None = None, *, client: FapiClient | None = None) -> Page:
        """The consent page of a freshly pushed request, after signing in as alice."""
        client = client or self.agent
        place = await self.opened(pushed, client=client)
        if place.has("login-submit"):
            place = page(await self.sign_in(client.browser, place))
        assert place.has("consent-approve"), place.text
        return place

    async def sign_in(
        self, browser: Browser, login: Page, *, username: str = "alice", password: str = PASSWORD
    ) -> Page | Callback:
        return await browser.submit(login, "login-submit", {"username": username, "password": password})

    def facts(self) -> list[tuple[AuditEvent, str | None, str | None]]:
        """What was evidenced: event, wire code, private reason."""
        return [(fact.event, fact.error, fact.detail) for fact in self.store.facts]

    @property
    def last_detail(self) -> str | None:
        """The private reason of the last fact."""
        return self.store.facts[-1].detail

    # --- the door

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        target = urlsplit(str(request.url))
        origin = f"{target.scheme}://{target.netloc}"
        mutual_tls = origin == self.context.policy.mutual_tls_url
        assert origin == ISSUER or mutual_tls, f"a request to somewhere else: {request.url}"
        shown: Shown | None = request.extensions.get("certificate") if mutual_tls else None
        asked = EndpointRequest(
            method=request.method,
            path=target.path,
            query_string=target.query.encode(),
            headers=tuple((name.lower(), value) for name, value in request.headers.raw),
            body=await request.aread(),
            now=self.clock.now(),
            correlation_id=self._next_correlation_id(),
            source=self.source,
            peer_certificate=None if shown is None else shown.der,
            peer_chain=() if shown is None else shown.chain,
            mutual_tls=mutual_tls,
        )
        endpoint = self.endpoints.get(target.path)
        above, _, segment = target.path.rpartition("/")
        named = next((path for path in self.endpoints if path.startswith(f"{above}/{{")), None)
        if endpoint is None and named is not None and segment:
            endpoint, asked = self.endpoints[named], replace(asked, path=named, segment=segment)
        with watched_exchange(self) as seen:
            if endpoint is None:
                response = absent(Face.PAGE, asked, render_page=self._render)
            else:
                response = await answer(self.context, endpoint, asked, render_page=self._render)
            seen.answered(asked, response)
        self.log.append((asked.method, asked.path, response.status))
        return httpx2.Response(response.status, headers=list(response.headers), content=response.body, request=request)

    def _next_correlation_id(self) -> str:
        self._requests += 1
        return f"request-{self._requests}"


def page(place: Page | Callback) -> Page:
    """The place, which must be a page of ours."""
    assert isinstance(place, Page), f"left for {place.location}"
    return place


def callback(place: Page | Callback) -> Callback:
    """The place, which must be the application's."""
    assert isinstance(place, Callback), f"{place.status} {place.error}: {place.text}"
    return place


def hidden(form_page: Page, name: str) -> str:
    """The value of a hidden field."""
    return next(control.value for form in form_page.forms for control in form.controls if control.name == name)


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
