"""The two agents before any server knows them: what they want to be there, and what an authority says about each.

Nobody types them in at the authorization server. Each comes with the statement of an authority that the server trusts
(RFC 7591 §2.3), and is known a moment later.
"""

from __future__ import annotations

from agent import REDIRECT_URI, client_key
from place import (
    ALLOWED,
    CLIENT_KEY_ID,
    CLIENT_NAME,
    NOT_ALLOWED,
    ROBOT,
    ROBOT_NAME,
    ROBOT_SOFTWARE,
    SOFTWARE,
    Place,
)

from fapi_as.agent import AuthMethod, GrantType, Identity, Registrant
from rs_kit.protocol.secret import Secret

ANY_PORT: str = "http://127.0.0.1/callback"  # of this machine (RFC 8252 §7.3)


def said_of_the_agent(place: Place) -> dict[str, object]:
    """What the authority has looked at and signs: its key above all, so that a statement that is copied is no use."""
    return {
        "client_name": CLIENT_NAME,
        "application_type": "native",
        "redirect_uris": [ANY_PORT],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [client_key(place.client_key, kid=CLIENT_KEY_ID).public_jwk()]},
        "scope": f"{ALLOWED} {NOT_ALLOWED}",
    }


def said_of_the_robot() -> dict[str, object]:
    """The same of an agent that has a certificate; the statement itself is for that certificate."""
    return {
        "client_name": ROBOT,
        "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": ROBOT_NAME,
        "tls_client_certificate_bound_access_tokens": True,
        "scope": ALLOWED,
    }


def agent_that_nobody_knows(place: Place, redirect_uri: str = REDIRECT_URI) -> Registrant:
    """The agent that acts for a person, with its key."""
    identity = Identity(
        issuer=place.issuer,
        client_id="",  # the server chooses it
        key=client_key(place.client_key, kid=CLIENT_KEY_ID),
        redirect_uri=redirect_uri,
    )
    return Registrant(
        identity=identity,
        metadata={"redirect_uris": [ANY_PORT]},
        software_statement=Secret(place.statement(SOFTWARE).read_text("ascii").strip()),
    )


def robot_that_nobody_knows(place: Place) -> Registrant:
    """The agent that acts for itself, with its certificate."""
    identity = Identity(
        issuer=place.issuer,
        client_id="",
        token_endpoint_auth_method=AuthMethod.TLS_CLIENT_AUTH,
        certificate=place.robot_certificate,
        tls_client_certificate_bound_access_tokens=True,
    )
    return Registrant(
        identity=identity,
        grant_type=GrantType.CLIENT_CREDENTIALS,
        software_statement=Secret(place.statement(ROBOT_SOFTWARE).read_text("ascii").strip()),
    )
