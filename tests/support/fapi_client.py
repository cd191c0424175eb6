"""An honest FAPI 2.0 client with dishonest knobs; it shares no code with the server or the kit.

client = FapiClient(http, issuer=…, client_id=…, client_key=PeerKey.es256(), …)
tokens = await client.obtain(username="alice", password="…")          # the whole code flow
client.lies.htu = "https://evil.example/token"                        # from now on every proof says so
with client.lying(exp=..., form={"scope": "admin"}): …                # `...` leaves a member out
url, headers, body = client.token_request("client_credentials")       # signed now, sent by somebody else
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2

from tests.support.browser import Browser, Callback, Page
from tests.support.fapi_messages import TRUTH, FapiMessages, Lies, Message, Pushed, Tokens, origin_of, pairs
from tests.support.peer_keys import PeerKey

__all__ = [
    "TRUTH",
    "Browser",
    "Callback",
    "FapiClient",
    "Lies",
    "Message",
    "Page",
    "Pushed",
    "Refused",
    "Stuck",
    "Tokens",
]


class Refused(Exception):
    """The server said no; `error` is the wire code."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.status = response.status_code
        self.error = error_of(response)
        super().__init__(f"{self.status} {self.error}: {response.text[:300]}")


class Stuck(AssertionError):
    """The browser stands at a page that this client cannot leave; `error` is the code of an error page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.error = page.error
        super().__init__(f"{page.status} {page.error} at {page.url}: {page.text[:600]}")


def error_of(response: httpx2.Response) -> str | None:
    """The wire code, from the JSON body or from a challenge."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and isinstance(body.get("error"), str):
        return str(body["error"])
    for line in response.headers.get_list("www-authenticate"):
        if 'error="' in line:
            return str(line.partition('error="')[2].partition('"')[0])
    return None


class FapiClient(FapiMessages):
    """One registered client and one person's browser.

    Args:
        http: over TLS or over `httpx2.ASGITransport`; may be shared by many clients.
        browser: by default one of its own over the same `http`.
        what: issuer, client_id, client_key and the other arguments of FapiMessages.
    """

    token_type = "dpop"

    def __init__(self, http: httpx2.AsyncClient, *, browser: Browser | None = None, **what: Any) -> None:
        super().__init__(**what)
        self.http = http
        self.browser = browser or Browser(http)

    async def send(self, message: Message, *, method: str = "POST", key: PeerKey | None = None) -> httpx2.Response:
        """Send a message as it is, and remember the nonce that comes back for `key`."""
        url, headers, body = message
        request = self.http.build_request(method, url, headers=list(headers), content=body)
        response = await self.http.send(request, follow_redirects=False)
        self.http.cookies.clear()
        self.remember(url, response, key=key)
        return response

    def remember(self, url: str, response: httpx2.Response, *, key: PeerKey | None = None) -> None:
        """Learn the nonce of an answer; two of them are an error of the server (RFC 9449 §8.1)."""
        found = response.headers.get_list("dpop-nonce")
        assert len(found) <= 1, found
        if found:
            self.nonces[origin_of(url), (key or self.dpop_key).thumbprint] = found[0]

    async def attempt(
        self, build: Callable[[], Message], *, method: str = "POST", key: PeerKey | None = None
    ) -> httpx2.Response:
        """Build and send; once more with the new nonce when the server asks for one (and nobody lies about it)."""
        response = await self.send(build(), method=method, key=key)
        honest = self.lies.nonce is TRUTH and self.lies.proof is TRUTH
        if honest and response.status_code in (400, 401) and error_of(response) == "use_dpop_nonce":
            response = await self.send(build(), method=method, key=key)
        return response

    async def discover(self) -> dict[str, Any]:
        """Read the server's metadata (RFC 8414) and use it from now on."""
        parts = urlsplit(self.issuer)
        response = await self.http.get(f"{origin_of(self.issuer)}/.well-known/oauth-authorization-server{parts.path}")
        if response.status_code != httpx2.codes.OK:
            raise Refused(response)
        metadata: dict[str, Any] = response.json()
        assert metadata["issuer"] == self.issuer, metadata
        self.metadata = metadata
        return metadata

    async def push(self, *, key: PeerKey | None = None, **changes: Any) -> Pushed:
        """Push an authorization request.

        Raises:
            Refused: with the server's answer.
        """
        code_verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(16)
        response = await self.attempt(
            lambda: self.push_request(code_verifier=code_verifier, state=state, key=key, **changes), key=key
        )
        if response.status_code != httpx2.codes.CREATED:
            raise Refused(response)
        answer = response.json()
        return Pushed(
            request_uri=answer["request_uri"],
            expires_in=answer["expires_in"],
            code_verifier=code_verifier,
            state=str(changes.get("state", state)),
            redirect_uri=str(changes.get("redirect_uri", self.redirect_uri)),
            response=response,
        )

    def authorization_url(self, pushed: Pushed) -> str:
        """Where the browser is sent."""
        query = {"client_id": self.client_id, "request_uri": pushed.request_uri} | self.lies.authorize
        return f"{self.metadata['authorization_endpoint']}?{urlencode(list(pairs(query)))}"

    async def visit(
        self, pushed: Pushed, *, username: str, password: str, approve: bool = True, browser: Browser | None = None
    ) -> Page | Callback:
        """Open the authorization endpoint, sign in when asked, answer the consent page; wherever that ends."""
        browser, stop_at = browser or self.browser, pushed.redirect_uri
        place = await browser.open(self.authorization_url(pushed), stop_at=stop_at)
        if isinstance(place, Page) and place.has("login-submit"):
            values = {"username": username, "password": password}
            place = await browser.submit(place, "login-submit", values, stop_at=stop_at)
        if isinstance(place, Page) and place.has("consent-approve"):
            place = await browser.submit(place, "consent-approve" if approve else "consent-deny", stop_at=stop_at)
        return place

    async def authorize(
        self, pushed: Pushed, *, username: str, password: str, approve: bool = True, browser: Browser | None = None
    ) -> Callback:
        """The browser's part, and this client's checks of `state` and `iss` (RFC 9207).

        Raises:
            Stuck: the browser ended at a page.
        """
        place = await self.visit(pushed, username=username, password=password, approve=approve, browser=browser)
        if isinstance(place, Page):
            raise Stuck(place)
        assert place.location.startswith(pushed.redirect_uri), place.location
        assert place.parameters.get("state") == pushed.state, place.location
        assert place.parameters.get("iss") == self.issuer, place.location
        return place

    async def redeem(self, callback: Callback, pushed: Pushed, *, key: PeerKey | None = None, **changes: Any) -> Tokens:
        """Redeem the code of a callback.

        Raises:
            Refused: with the server's answer.
        """
        return await self.tokens(lambda: self.code_request(callback.code or "", pushed, key=key, **changes), key=key)

    async def refresh(self, refresh_token: str, *, key: PeerKey | None = None, **changes: Any) -> Tokens:
        """Use a refresh token.

        Raises:
            Refused: with the server's answer.
        """
        return await self.tokens(lambda: self.refresh_request(refresh_token, key=key, **changes), key=key)

    async def client_credentials(self, *, key: PeerKey | None = None, **changes: Any) -> Tokens:
        """Get a token for the client itself.

        Raises:
            Refused: with the server's answer.
        """
        return await self.tokens(lambda: self.credentials_request(key=key, **changes), key=key)

    async def tokens(self, build: Callable[[], Message], *, key: PeerKey | None = None) -> Tokens:
        """Send a token request and read what an honest client insists on.

        Raises:
            Refused: with the server's answer.
        """
        response = await self.attempt(build, key=key)
        if response.status_code != httpx2.codes.OK:
            raise Refused(response)
        answer = response.json()
        assert answer["token_type"].lower() == self.token_type, answer  # DPOP-CL-1
        assert "no-store" in response.headers["cache-control"], response.headers
        return Tokens(
            access_token=answer["access_token"],
            token_type=answer["token_type"],
            expires_in=answer["expires_in"],
            scope=answer.get("scope", ""),
            refresh_token=answer.get("refresh_token"),
            key=key or self.dpop_key,
            response=response,
        )

    async def obtain(self, *, username: str, password: str, key: PeerKey | None = None, **changes: Any) -> Tokens:
        """The whole code flow: push, sign in, approve, redeem."""
        pushed = await self.push(key=key, **changes)
        callback = await self.authorize(pushed, username=username, password=password)
        if callback.code is None:
            raise AssertionError(f"no code: {callback.location}")
        return await self.redeem(callback, pushed, key=key)

    async def call(
        self, tokens: Tokens, url: str | None = None, *, method: str = "POST", json_body: Any = None
    ) -> httpx2.Response:
        """Call the protected resource; the raw answer, after one retry for a nonce."""
        build = lambda: self.resource_request(tokens, url, method=method, json_body=json_body)  # noqa: E731 - built twice
        return await self.attempt(build, method=method, key=tokens.key)

    async def call_tool(self, tokens: Tokens, name: str, arguments: dict[str, Any] | None = None) -> httpx2.Response:
        """One MCP tools/call in one POST."""
        params = {"name": name, "arguments": arguments or {}}
        return await self.call(tokens, json_body={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
