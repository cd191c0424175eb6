"""A relying party as the certification suite has it, in every variant; it shares no code with the server or the kit.

Everything it says is right unless an argument says otherwise; `...` leaves a member out.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2

from tests.expectations.answers import Authorized, Certificate, Pushed, Tokens
from tests.expectations.compact_jws import Claims, decoded, origin_of, pairs, verify, without
from tests.expectations.variants import Variant
from tests.support.browser import Browser, Callback, Page
from tests.support.fapi_client import error_of
from tests.support.peer_keys import PeerKey, b64

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM: Final = ("content-type", "application/x-www-form-urlencoded")


@dataclass(kw_only=True)
class ConformingClient:
    """One registered client of one variant."""

    variant: Variant
    number: int  # the suite's first and second client
    client_id: str
    key: PeerKey
    kid: str
    redirect_uri: str
    scope: str
    resource: str
    metadata: Mapping[str, Any]
    jwks: Callable[[], Mapping[str, Any]]
    now: Callable[[], int]
    http: httpx2.AsyncClient
    new_browser: Callable[[], Browser]
    certificate: Certificate | None = None
    dpop_key: PeerKey = field(default_factory=PeerKey.es256)
    nonces: dict[tuple[str, str], str] = field(default_factory=dict)
    browser: Browser = field(init=False)

    def __post_init__(self) -> None:
        self.browser = self.new_browser()

    @property
    def issuer(self) -> str:
        return str(self.metadata["issuer"])

    @property
    def is_second(self) -> bool:
        return self.number == 2

    # --- what it says

    def endpoint(self, name: str) -> str:
        """Where the suite finds it: an alias where a certificate is to be shown."""
        by_alias = self.variant.client_auth == "mtls" or (
            self.variant.sender == "mtls" and name != "pushed_authorization_request_endpoint"
        )
        aliases = self.metadata.get("mtls_endpoint_aliases", {}) if by_alias else {}
        return str(aliases.get(name, self.metadata[name]))

    def assertion(self, header: Claims | None = None, *, key: PeerKey | None = None, **claims: Any) -> str:
        """A client assertion as the suite makes it: without typ, the issuer as aud."""
        now = self.now()
        said = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.issuer,
            "jti": secrets.token_urlsafe(16),
            "nbf": now,
            "iat": now,
            "exp": now + 60,
        } | claims
        return (key or self.key).sign({"kid": self.kid} | (header or {}), without(said))

    def authentication(self) -> Claims:
        """The parameters that authenticate; `client_id` only with mTLS."""
        if self.variant.client_auth == "mtls":
            return {"client_id": self.client_id}
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": self.assertion()}

    def proof(
        self,
        method: str,
        url: str,
        *,
        access_token: str | None = None,
        key: PeerKey | None = None,
        header: Claims | None = None,
        **claims: Any,
    ) -> str:
        """A DPoP proof."""
        key = key or self.dpop_key
        ath: Any = ... if access_token is None else b64(hashlib.sha256(access_token.encode()).digest())
        said = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url.partition("?")[0],
            "iat": self.now(),
            "ath": ath,
            "nonce": self.nonces.get((origin_of(url), key.thumbprint), ...),
        } | claims
        return key.sign(without({"typ": "dpop+jwt", "jwk": key.jwk(), "alg": key.alg} | (header or {})), without(said))

    def parameters(self, **changes: Any) -> tuple[Claims, str]:
        """The authorization request and its code_verifier."""
        verifier = secrets.token_urlsafe(48)
        long = secrets.token_urlsafe(93) + "-._~"
        said: Claims = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.scope,
            "state": long[-128:] if self.is_second else secrets.token_urlsafe(8)[:10],
            "nonce": (b64(secrets.token_bytes(32)) if self.is_second else secrets.token_urlsafe(8)[:10])
            if self.variant.is_openid
            else ...,
            "response_type": "code",
            "response_mode": "jwt" if self.variant.is_jarm else ...,
            "code_challenge": b64(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        return without(said | changes), verifier

    def request_object(
        self, parameters: Claims, header: Claims | None = None, *, key: PeerKey | None = None, **claims: Any
    ) -> str:
        """The parameters as a signed request object; the second client's has a typ of mixed case and an iat."""
        now = self.now()
        said = {"iss": self.client_id, "aud": self.issuer, "nbf": now, "exp": now + 300} | parameters | claims
        named: Claims = {"kid": self.kid}
        if self.is_second:
            said.setdefault("iat", now)
            named["typ"] = "OautH-auThZ-REQ+jWt"
        return (key or self.key).sign(without(named | (header or {})), without(said))

    # --- the back channel

    async def post(
        self,
        endpoint: str,
        form: Claims,
        *,
        authentication: Claims | None = None,
        shows_certificate: bool | None = None,
        proof: Callable[[str], str | None] | None = None,
        proves: bool | None = None,
        key: PeerKey | None = None,
        method: str = "POST",
    ) -> httpx2.Response:
        """A form to an endpoint, with one retry for a nonce where the proof is an honest one.

        `proof` makes another header value for a URL, or none; `proves` sends a proof where the suite sends none.
        """
        url = self.endpoint(endpoint)
        if shows_certificate is None:
            shows_certificate = url != self.metadata[endpoint]
        for _ in range(2):
            authenticated = self.authentication() if authentication is None else authentication
            headers = [FORM, ("accept", "application/json")]
            said = self._proof_for(endpoint, url, proof, key, proves)
            headers += [] if said is None else [("dpop", said)]
            body = urlencode(list(pairs(form | authenticated))).encode()
            response = await self.send(method, url, headers, body, shows_certificate=shows_certificate, key=key)
            if proof is not None or error_of(response) != "use_dpop_nonce":
                break
        return response

    def _proof_for(
        self,
        endpoint: str,
        url: str,
        proof: Callable[[str], str | None] | None,
        key: PeerKey | None,
        proves: bool | None,
    ) -> str | None:
        if proof is not None:
            return proof(url)
        usual = self.variant.sender == "dpop" and endpoint == "token_endpoint"
        return self.proof("POST", url, key=key) if (usual if proves is None else proves) else None

    async def send(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes | None = None,
        *,
        shows_certificate: bool = False,
        key: PeerKey | None = None,
    ) -> httpx2.Response:
        """One request, and the nonce that comes back with it."""
        http = self.http
        if shows_certificate:
            assert self.certificate is not None, self.variant
            http = self.certificate.http
        request = http.build_request(method, url, headers=headers, content=body)
        response = await http.send(request, follow_redirects=False)
        http.cookies.clear()
        found = response.headers.get_list("dpop-nonce")
        assert len(found) <= 1, found
        if found:
            self.nonces[origin_of(url), (key or self.dpop_key).thumbprint] = found[0]
        return response

    async def push_parameters(
        self, parameters: Claims, *, header: Claims | None = None, more: Claims | None = None, **how: Any
    ) -> httpx2.Response:
        """Push these parameters in the way of the variant; `more` are claims of the request object alone."""
        if self.variant.is_signed:
            return await self.push_object(self.request_object(parameters, header, **(more or {})), **how)
        form = dict(reversed(parameters.items())) if self.is_second else parameters
        return await self.post("pushed_authorization_request_endpoint", form, **how)

    async def push_object(self, request: str, **how: Any) -> httpx2.Response:
        """Push a request object: with private_key_jwt nothing else says who the client is."""
        return await self.post("pushed_authorization_request_endpoint", {"request": request}, **how)

    async def push(
        self, *, header: Claims | None = None, more: Claims | None = None, how: Claims | None = None, **changes: Any
    ) -> Pushed:
        """Push a request that must be taken."""
        parameters, verifier = self.parameters(**changes)
        response = await self.push_parameters(parameters, header=header, more=more, **(how or {}))
        return self.pushed(response, parameters, verifier)

    def pushed(self, response: httpx2.Response, parameters: Claims, verifier: str) -> Pushed:
        """What a good answer says."""
        assert response.status_code == 201, response.text
        answer = response.json()
        return Pushed(
            request_uri=answer["request_uri"],
            expires_in=answer["expires_in"],
            code_verifier=verifier,
            parameters=parameters,
            response=response,
        )

    # --- the front channel

    def authorization_url(self, pushed: Pushed, *, duplicates: bool = True, **query: Any) -> str:
        """The URL for the browser; the suite repeats some of what was pushed."""
        said = {"client_id": self.client_id, "request_uri": pushed.request_uri}
        if duplicates:
            repeated = ("response_type", "scope", "redirect_uri", "state")
            said |= {name: pushed.parameters[name] for name in repeated if name in pushed.parameters}
        ordered = said | query
        if self.is_second:
            ordered = dict(reversed(ordered.items()))
        return f"{self.metadata['authorization_endpoint']}?{urlencode(list(pairs(ordered)))}"

    async def visit(
        self,
        pushed: Pushed,
        *,
        person: tuple[str, str],
        approve: bool = True,
        url: str | None = None,
        browser: Browser | None = None,
    ) -> Page | Callback:
        """Open the URL, sign in where asked, answer the consent page; wherever that ends."""
        browser, stop = browser or self.browser, pushed.redirect_uri
        place = await browser.open(url or self.authorization_url(pushed), stop_at=stop)
        if isinstance(place, Page) and place.has("login-submit"):
            values = {"username": person[0], "password": person[1]}
            place = await browser.submit(place, "login-submit", values, stop_at=stop)
        if isinstance(place, Page) and place.has("consent-approve"):
            place = await browser.submit(place, "consent-approve" if approve else "consent-deny", stop_at=stop)
        return place

    def came_back(self, place: Page | Callback, pushed: Pushed) -> Authorized:
        """Read the redirect as the variant has it, with the client's checks of state, iss and signature."""
        assert isinstance(place, Callback), f"{place.status} {place.error} at {place.url}: {place.text[:400]}"
        assert "#" not in place.location, place.location
        base, _, registered = pushed.redirect_uri.partition("?")
        assert place.location.partition("?")[0] == base, place.location
        found = dict(parse_qsl(urlsplit(place.location).query, keep_blank_values=True, strict_parsing=True))
        for name, value in parse_qsl(registered):
            assert found.pop(name, None) == value, place.location
        parameters: Mapping[str, Any] = found
        if self.variant.is_jarm:
            assert set(found) == {"response"}, place.location
            parameters = self.response_claims(found["response"])
        assert parameters.get("iss") == self.issuer, parameters
        assert parameters.get("state", ...) == pushed.parameters.get("state", ...), parameters
        return Authorized(location=place.location, parameters=parameters)

    def response_claims(self, token: str) -> Claims:
        """The claims of a JARM response, verified by the published key that its kid selects."""
        header, claims = self.verified(token)
        assert claims["aud"] == self.client_id, claims
        assert self.now() + 10 <= claims["exp"] <= self.now() + 600, claims
        assert header["alg"] == "ES256", header
        return claims

    def verified(self, token: str) -> tuple[Claims, Claims]:
        """Header and claims of a JWS of the server."""
        header, claims = decoded(token)
        keys = [key for key in self.jwks()["keys"] if key["kid"] == header["kid"]]
        assert len(keys) == 1, header
        assert keys[0]["use"] == "sig", keys
        assert keys[0].get("alg", header["alg"]) == header["alg"], keys
        verify(token, keys[0])
        return header, claims

    async def authorize(self, pushed: Pushed, **visit: Any) -> Authorized:
        """The whole front channel, to a code."""
        authorized = self.came_back(await self.visit(pushed, **visit), pushed)
        assert "code" in authorized.parameters, authorized.parameters
        return authorized

    # --- tokens

    async def token(self, grant_type: str, form: Claims, **how: Any) -> httpx2.Response:
        """The raw answer of the token endpoint."""
        return await self.post("token_endpoint", without({"grant_type": grant_type} | form), **how)

    async def redeem(self, authorized: Authorized, pushed: Pushed, **how: Any) -> httpx2.Response:
        """The raw answer to a code; `form` changes parameters."""
        form = {
            "code": authorized.code,
            "redirect_uri": pushed.redirect_uri,
            "code_verifier": pushed.code_verifier,
        } | how.pop("form", {})
        return await self.token("authorization_code", form, **how)

    async def refresh(self, tokens: Tokens, **how: Any) -> httpx2.Response:
        """The raw answer to a refresh token."""
        form = {"refresh_token": tokens.refresh_token} | how.pop("form", {})
        return await self.token("refresh_token", form, **how)

    def tokens(self, response: httpx2.Response, *, key: PeerKey | None = None) -> Tokens:
        """A good answer."""
        assert response.status_code == 200, response.text
        bound = (key or self.dpop_key) if self.variant.sender == "dpop" else None
        return Tokens(answer=response.json(), key=bound, response=response)

    async def obtain(self, *, person: tuple[str, str], key: PeerKey | None = None, **changes: Any) -> Tokens:
        """The whole flow."""
        pushed = await self.push(**changes)
        authorized = await self.authorize(pushed, person=person)
        return self.tokens(await self.redeem(authorized, pushed, key=key), key=key)

    async def call(
        self,
        tokens: Tokens,
        *,
        scheme: str | None = None,
        proof: Callable[[str], list[str]] | None = None,
        headers: list[tuple[str, str]] | None = None,
        query: str = "",
        authorization: bool = True,
        shows_certificate: bool | None = None,
        dpop_header: str = "DPoP",
        method: str = "GET",
        url: str | None = None,
    ) -> httpx2.Response:
        """A request to the resource, with one retry for a nonce where the proof is an honest one."""
        url = (url or self.resource) + query
        bound = self.variant.sender == "dpop"
        for _ in range(2):
            lines = list(headers or [("accept", "application/json")])
            if authorization:
                lines.append(("authorization", f"{scheme or ('DPoP' if bound else 'Bearer')} {tokens.access_token}"))
            if proof is not None:
                lines += [(dpop_header, value) for value in proof(url)]
            elif bound:
                made = self.proof(method, url, access_token=tokens.access_token, key=tokens.key)
                lines.append((dpop_header, made))
            shown = not bound if shows_certificate is None else shows_certificate
            response = await self.send(method, url, lines, shows_certificate=shown, key=tokens.key)
            if proof is not None or error_of(response) != "use_dpop_nonce":
                break
        return response
