"""Every kind of JWT that the server takes or gives, and those that it may meet: all signed by one key under one name.

Nothing but its kind tells one from another: what the server issues was issued by it for `agent`, what a client says is
what an honest one says, and what nobody issues here yet looks as its specification says.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import Any, Final

import httpx2

from fapi_as.protocol.authority_registration import parse_authority
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.registration import InitialAccessToken
from fapi_as.protocol.registration_policy import parse_policy
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Tokens
from tests.support.house import PASSWORD, RESOURCE, SCOPES, House, callback
from tests.support.peer_keys import PeerKey
from tests.support.signed_responses import response_of
from tests.support.signing_client import SigningClient

KEY: Final = PeerKey.es256(seed=0x5EC2E7)  # the server's, too: tests.support.fakes.FakeSigner
KID: Final = "signer-1"
# what each says by its own specification, beside times and a jti
AS_THEY_LOOK: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "introspection response": (
        "token-introspection+jwt",
        {"iss": ISSUER, "aud": RESOURCE, "token_introspection": {"active": True, "sub": "sub-alice"}},
    ),
    "logout token": (
        "logout+jwt",
        {"iss": ISSUER, "aud": "agent", "sub": "sub-alice", "sid": "s", "events": {"https://example/logout": {}}},
    ),
    "security event": ("secevent+jwt", {"iss": ISSUER, "aud": RESOURCE, "events": {"https://example/event": {}}}),
    "identity assertion": (
        "oauth-id-jag+jwt",
        {"iss": ISSUER, "sub": "sub-alice", "aud": ISSUER, "client_id": "agent", "scope": "accounts:read"},
    ),
    "client attestation": ("oauth-client-attestation+jwt", {"iss": "agent", "sub": "agent", "cnf": {"jwk": KEY.jwk()}}),
    "attestation proof": ("oauth-client-attestation-pop+jwt", {"iss": "agent", "aud": ISSUER, "challenge": "c"}),
    "signed metadata": ("JWT", {"iss": ISSUER, "sub": RESOURCE, "aud": "agent", "resource": RESOURCE}),
    "backchannel request": ("JWT", {"iss": "agent", "aud": ISSUER, "scope": "openid", "login_hint": "alice"}),
}
ISSUED: Final = (
    "access token for the bank",
    "access token for the issuer",
    "ID token",
    "authorization response",
    "error response",
    "user information",
)
SAID: Final = (
    "client assertion",
    "client assertion without a type",
    "request object",
    "request object without a type",
    "proof",
    "proof with a token",
)
APPROVED: Final = ("software statement", "signed registration")
KINDS: Final = (*SAID, *APPROVED, *ISSUED, *AS_THEY_LOOK)
INVITATION: Final = "invitation-" + "x" * 43  # an initial access token, for what brings no statement


@dataclass(kw_only=True)
class Minted:
    """One of each kind, none of them used yet; `client` is who got and said them."""

    client: SigningClient
    for_issuer: Tokens
    for_bank: Tokens
    jwts: dict[str, str] = field(default_factory=dict)


def owner(house: House) -> SigningClient:
    """The client of all kinds: registered for everything that is signed, with the one key."""
    client = SigningClient(
        house.http,
        issuer=house.context.policy.issuer,
        client_id="agent",
        client_key=KEY,
        kid=KID,
        dpop_key=KEY,
        resource=RESOURCE,
        scope="accounts:read",
        redirect_uri="https://client.example/callback",
        now=house.clock.now,
    )
    client.response_mode = "jwt"
    house.client(
        "agent",
        jwks=client.jwks(),
        scope=" ".join(("openid", *SCOPES)),
        userinfo_signed_response_alg="ES256",
    )
    return client


async def minted(house: House) -> Minted:
    """Run the flows in which the server issues each kind, and say what a client says."""
    client = owner(house)
    pushed = await client.push(scope="openid", resource=...)
    response = await client.authorize(pushed, username="alice", password=PASSWORD)
    for_issuer = await client.redeem(response, pushed)
    denied = await client.push()
    error = callback(await client.visit(denied, username="alice", password=PASSWORD, approve=False))
    for_bank = await client.obtain(username="alice", password=PASSWORD)
    all_of_them = Minted(client=client, for_issuer=for_issuer, for_bank=for_bank)
    all_of_them.jwts |= {
        "access token for the bank": for_bank.access_token,
        "access token for the issuer": for_issuer.access_token,
        "ID token": for_issuer.response.json()["id_token"],
        "authorization response": response_of(response),
        "error response": response_of(error),
        "user information": (await told(client, for_issuer)).text,
        "client assertion": client.assertion(),
        "client assertion without a type": assertion_of(client, typ=...),
        "request object": object_of(client),
        "request object without a type": object_of(client, typ=...),
        "proof": client.proof("POST", f"{ISSUER}/token"),
        "proof with a token": client.proof("POST", f"{ISSUER}/userinfo", access_token=for_issuer.access_token),
    }
    all_of_them.jwts |= vouched_for(house, client)
    now = house.clock.now()
    for kind, (typ, claims) in AS_THEY_LOOK.items():
        times = {"iat": now, "nbf": now, "exp": now + 60, "jti": secrets.token_urlsafe(16)}
        all_of_them.jwts[kind] = KEY.sign({"typ": typ, "kid": KID}, times | claims)
    assert set(all_of_them.jwts) == set(KINDS)
    return all_of_them


def vouched_for(house: House, client: SigningClient) -> dict[str, str]:
    """What registers another client; the agent and the server are trusted to sign statements, too."""
    policy = {"clients_per_software": 100, "uses_per_statement": 100}
    members = {"jwks": {"keys": [KEY.jwk(kid=KID, alg="ES256", use="sig")]}, "policy": policy}
    authority = parse_authority({"issuer": ISSUER, **members}, version=1)
    house.store.approvers.put_authority(authority)
    house.store.approvers.put_authority(replace(authority, issuer="agent"))
    house.store.approvers.put_initial_token(
        digest_of(INVITATION),
        InitialAccessToken(
            approver="token:invitation",
            version=1,
            policy=parse_policy(policy),
            jkt=None,
            expires_at=house.clock.now() + 3600,
            uses_left=100,
        ),
    )
    about = {
        "iss": "agent",
        "software_id": "agent",
        "client_name": "Another agent",
        "redirect_uris": [client.redirect_uri],
        "token_endpoint_auth_method": "private_key_jwt",
        "scope": "accounts:read",
        "jwks": members["jwks"],
    }
    times = {"iat": house.clock.now(), "exp": house.clock.now() + 60}
    header = {"typ": "JWT", "kid": KID}
    statement, inside = (KEY.sign(header, about | times | {"jti": secrets.token_urlsafe(16)}) for _ in range(2))
    asked = {"iss": "agent", "aud": ISSUER, "jti": secrets.token_urlsafe(16), "software_statement": inside}
    return {"software statement": statement, "signed registration": KEY.sign(header, asked | times)}


def assertion_of(client: SigningClient, **header: Any) -> str:
    """An assertion that authenticates."""
    with client.lying(assertion_header=header):
        return client.assertion()


def object_of(client: SigningClient, **header: Any) -> str:
    """A request object that could be pushed."""
    parameters = {"response_type": "code", "redirect_uri": client.redirect_uri, "scope": "accounts:read"}
    more = {"code_challenge": "c" * 43, "code_challenge_method": "S256", "resource": RESOURCE}
    with client.saying(header=header):
        return client.request_object(parameters | more)


async def told(client: SigningClient, tokens: Tokens) -> httpx2.Response:
    """What userinfo tells the client, signed."""
    return await client.call(tokens, f"{ISSUER}/userinfo")
