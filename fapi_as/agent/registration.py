"""How an agent makes itself known to an issuer (RFC 7591), in the order of MCP, and looks after that (RFC 7592)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from fapi_as.agent.address import origin, secure
from fapi_as.agent.back_channel import BackChannel, Message
from fapi_as.agent.challenge import chosen
from fapi_as.agent.errors import (
    AnswerRejected,
    Misconfigured,
    RegistrationNeeded,
    RegistrationRejected,
    ServerRefused,
)
from fapi_as.agent.exchange import json_object, plain, refusal
from fapi_as.agent.registered import Registration
from fapi_as.agent.registrant import Registrant
from fapi_as.agent.steps import Answer, Exchange
from fapi_as.agent.tokens import TOKEN68
from rs_kit.protocol import jws
from rs_kit.protocol.jws import SigningKey
from rs_kit.protocol.secret import Secret

_OK: Final = 200
_CREATED: Final = 201
_NO_CONTENT: Final = 204
_UNAUTHORIZED: Final = 401
_REQUEST_TYPE: Final = "JWT"  # of a request that is signed, for which no type is registered
_REQUEST_SECONDS: Final = 60
_CLIENT_ID: Final = re.compile(r"[ -~]{1,512}\Z")  # RFC 6749 appendix A.1
_TOKEN_LIMIT: Final = 4096
_WHAT: Final = "registration endpoint"
_CONFIGURATION: Final = "client configuration endpoint"
# what decides whose tokens and responses these are: a server that dictates something else is told, not believed
_DECISIVE: Final = (
    *("token_endpoint_auth_method", "dpop_bound_access_tokens", "tls_client_certificate_bound_access_tokens"),
    *("request_object_signing_alg", "authorization_signed_response_alg", "id_token_signed_response_alg"),
    "userinfo_signed_response_alg",
)
_CERTIFICATE_SUBJECTS: Final = (
    *("tls_client_auth_subject_dn", "tls_client_auth_san_dns", "tls_client_auth_san_uri"),
    *("tls_client_auth_san_ip", "tls_client_auth_san_email"),
)


def introduced(channel: BackChannel, registrant: Registrant) -> Exchange[Registration]:
    """Become known: by the address of a metadata document, else by registering, else not at all (MCP, CIMD-15).

    Raises:
        RegistrationNeeded: the server takes neither; a person has to have the agent registered.
        ServerRefused, RegistrationRejected: it said no, or registered something else.
    """
    document = registrant.client_id_metadata_document
    if document is not None and channel.server.client_id_metadata_document_supported:
        return Registration(issuer=registrant.issuer, client_id=document)
    return (yield from register(channel, registrant))


def register(channel: BackChannel, registrant: Registrant) -> Exchange[Registration]:
    """Register (RFC 7591 §3.1), proving a key that the registration is then bound to.

    Raises:
        RegistrationNeeded: there is nowhere to register, or nobody gets in without an approval.
        ServerRefused: the server refused; the code says what is wrong with the statement or the request.
        RegistrationRejected: what was registered is not what was asked for.
    """
    endpoint = channel.server.registration_endpoint
    if endpoint is None:
        raise RegistrationNeeded(_by_a_person(registrant, "takes no registrations"))
    asked, token = registrant.asked(), registrant.initial_access_token
    members = dict(asked)
    if registrant.software_statement is not None:
        members["software_statement"] = registrant.software_statement.reveal()
    media_type, body = _document(channel, registrant, members)
    # a token that was issued for no key opens as a bearer token, and a key is proved all the same (RFC 9449 §7.1)
    scheme = "Bearer" if registrant.proof_key is None else "DPoP"
    message = Message(method="POST", url=endpoint, scheme=scheme, token=token, media_type=media_type, body=body)
    answer = yield from channel.carry(message, _WHAT)
    if answer.status == _UNAUTHORIZED and token is None and registrant.software_statement is None:
        raise RegistrationNeeded(_by_a_person(registrant, "lets nobody in without a software statement or a token"))
    if answer.status != _CREATED:
        raise _refusal(channel, answer, _WHAT, _secrets(registrant, None))
    document = json_object(answer, _WHAT)
    _check(asked, document)
    _check_keys(registrant.said(), asked, document)
    made = Registration(issuer=registrant.issuer, client_id=_client_id(document))
    proved = channel.proof_key
    if proved is not None:
        kept = None if proved in (registrant.proof_key, registrant.identity.key) else proved
        made = replace(made, proof_key=kept, jkt=proved.thumbprint)
    return _managed(channel, made, document)


def read(channel: BackChannel, registration: Registration) -> Exchange[tuple[Registration, dict[str, Any]]]:
    """What the server has registered (RFC 7592 §2.1), and the registration with what the answer renewed.

    Raises:
        Misconfigured: the registration cannot be managed.
        ServerRefused: among others with `invalid_token`, when there is no such client any more.
    """
    answer = yield from _manage(channel, registration, "GET")
    if answer.status != _OK:
        raise _refusal(channel, answer, _CONFIGURATION, _secrets(None, registration))
    document = json_object(answer, _CONFIGURATION)
    if document.get("client_id") != registration.client_id:
        raise RegistrationRejected("the client configuration endpoint told about another client")
    return _managed(channel, registration, document), document


def update(channel: BackChannel, registrant: Registrant, registration: Registration) -> Exchange[Registration]:
    """Replace what is registered by what the registrant asks for today (RFC 7592 §2.2).

    Raises:
        Misconfigured, ServerRefused: as `read`.
        RegistrationRejected: what is registered now is not what was asked for.
    """
    asked = registrant.asked()
    members = {**asked, "client_id": registration.client_id}
    if registrant.software_statement is not None:
        members["software_statement"] = registrant.software_statement.reveal()
    media_type, body = _document(channel, registrant, members)
    answer = yield from _manage(channel, registration, "PUT", media_type, body)
    if answer.status != _OK:
        raise _refusal(channel, answer, _CONFIGURATION, _secrets(registrant, registration))
    document = json_object(answer, _CONFIGURATION)
    if document.get("client_id") != registration.client_id:
        raise RegistrationRejected("the client configuration endpoint told about another client")
    _check(asked, document)
    _check_keys(registrant.said(), asked, document)
    return _managed(channel, registration, document)


def unregister(channel: BackChannel, registration: Registration) -> Exchange[None]:
    """Delete the registration, and with it everything that was issued to it (RFC 7592 §2.3).

    Raises:
        Misconfigured, ServerRefused: as `read`.
    """
    answer = yield from _manage(channel, registration, "DELETE")
    if answer.status != _NO_CONTENT:
        raise _refusal(channel, answer, _CONFIGURATION, _secrets(None, registration))


def key_of(registration: Registration, registrant: Registrant) -> SigningKey | None:
    """The key that the registration is bound to, which is kept with it or is one of the agent's own.

    Raises:
        Misconfigured: the agent does not have it any more.
    """
    if registration.proof_key is not None or registration.jkt is None:
        return registration.proof_key
    for key in (registrant.proof_key, registrant.identity.key):
        if key is not None and key.thumbprint == registration.jkt:
            return key
    raise Misconfigured("the registration is bound to a key that this agent does not have: register again")


def _manage(
    channel: BackChannel,
    registration: Registration,
    method: str,
    media_type: str = "application/json",
    body: bytes = b"",
) -> Exchange[Answer]:
    """A request with the registration access token; a server that binds none to keys is asked as RFC 7592 has it."""
    url, token = registration.registration_client_uri, registration.registration_access_token
    if url is None or token is None:
        raise Misconfigured(f"{registration.issuer} gave nothing to manage this registration with")
    scheme = "DPoP" if channel.proof_key is not None else "Bearer"
    message = Message(method=method, url=url, scheme=scheme, token=token, media_type=media_type, body=body)
    answer = yield from channel.carry(message, _CONFIGURATION)
    if answer.status == _UNAUTHORIZED and scheme == "DPoP" and _wants_bearer(answer):
        answer = yield from channel.carry(replace(message, scheme="Bearer"), _CONFIGURATION)
    return answer


def _wants_bearer(answer: Answer) -> bool:
    challenge = chosen(answer.every("www-authenticate"))  # the DPoP one, where there are both
    return challenge is not None and challenge.scheme == "bearer"


def _document(channel: BackChannel, registrant: Registrant, members: Mapping[str, object]) -> tuple[str, bytes]:
    """The request as JSON, or as a JWT of the software that asks (SSA-7)."""
    key = registrant.identity.key
    if not registrant.signed or key is None:
        return "application/json", json.dumps(members).encode("ascii")
    now = channel.clock.now()
    claims = {
        **members,
        "iss": members["software_id"],
        "aud": channel.server.issuer,
        "jti": channel.entropy.identifier(),
        "iat": now,
        "exp": now + _REQUEST_SECONDS,
    }
    return "application/jwt", jws.sign(key, claims, typ=_REQUEST_TYPE).encode("ascii")


def _check(asked: Mapping[str, Any], document: Mapping[str, object]) -> None:
    """RFC 7591 §3.2.1: the server may have registered something else, and the client decides whether it can use it."""
    if document.get("token_endpoint_auth_method") != asked["token_endpoint_auth_method"]:
        raise _other("token_endpoint_auth_method")
    for name in _DECISIVE:
        if name in asked and name in document and document[name] != asked[name]:
            raise _other(name)
    for name in ("grant_types", "redirect_uris"):
        wanted, registered = asked.get(name, []), document.get(name, asked.get(name, []))
        needed = wanted[:1] if name == "grant_types" else wanted  # refresh tokens are a convenience
        if not isinstance(registered, list) or not all(value in registered for value in needed):
            raise _other(name)


def _check_keys(said: Mapping[str, Any], asked: Mapping[str, Any], document: Mapping[str, object]) -> None:
    """A key or a certificate that is not ours would speak in our name; `said` is what the statement says of it."""
    keys = asked.get("jwks", said.get("jwks"))
    if document.get("jwks") is not None and not _same_keys(keys, document["jwks"]):
        raise _other("jwks")
    # directories have names of their own for it (SSA-6)
    if document.get("jwks_uri") not in (None, asked.get("jwks_uri"), *said.values()):
        raise _other("jwks_uri")
    for name in _CERTIFICATE_SUBJECTS:
        if document.get(name) is not None and name not in asked and name not in said:
            raise _other(name)


def _same_keys(asked: Any, registered: Any) -> bool:
    try:
        ours, theirs = ([_public(key) for key in keys["keys"]] for keys in (asked, registered))
    except (KeyError, TypeError, AttributeError):
        return False
    return all(key in ours for key in theirs) and all(key in theirs for key in ours)


def _public(key: Mapping[str, object]) -> dict[str, object]:
    return {name: key[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in key}


def _other(member: str) -> RegistrationRejected:
    return RegistrationRejected(f"the authorization server registered another {member} than this agent asked for")


def _client_id(document: Mapping[str, object]) -> str:
    client_id = document.get("client_id")
    if not isinstance(client_id, str) or not _CLIENT_ID.match(client_id):
        raise RegistrationRejected("the registration was answered without a usable client_id")
    return client_id


def _managed(channel: BackChannel, known: Registration, document: Mapping[str, object]) -> Registration:
    """The registration with the address and the token that an answer brought; a token that it left out stays."""
    url = document.get("registration_client_uri", known.registration_client_uri)
    token = document.get("registration_access_token")
    if token is None:
        return known if known.is_managed else replace(known, registration_client_uri=None)
    if not isinstance(token, str) or len(token) > _TOKEN_LIMIT or not TOKEN68.match(token):
        raise RegistrationRejected("the registration was answered with an unusable registration_access_token")
    if not isinstance(url, str):
        raise RegistrationRejected("the registration was answered without a usable registration_client_uri")
    secure(url, "registration_client_uri")
    endpoint, identity = channel.server.registration_endpoint, channel.identity
    homes = {origin(home) for home in (identity.issuer, *identity.endpoint_origins, *((endpoint,) if endpoint else ()))}
    if origin(url) not in homes:  # whoever gets the token there owns the registration
        raise RegistrationRejected("the registration_client_uri is on another server than the issuer")
    return replace(known, registration_client_uri=url, registration_access_token=Secret(token))


def _secrets(registrant: Registrant | None, registration: Registration | None) -> dict[str, str]:
    """What no sentence may repeat, by the names that `refusal` knows."""
    found = {
        "software_statement": registrant.software_statement if registrant is not None else None,
        "initial_access_token": registrant.initial_access_token if registrant is not None else None,
        "registration_access_token": registration.registration_access_token if registration is not None else None,
    }
    return {name: secret.reveal() for name, secret in found.items() if secret is not None}


def _refusal(channel: BackChannel, answer: Answer, what: str, secrets: Mapping[str, str]) -> ServerRefused:
    """The error in the body, or the one in the challenge of a resource server (RFC 6750 §3)."""
    try:
        return refusal(answer, what, secrets, now=channel.clock.now())
    except AnswerRejected:
        challenge = chosen(answer.every("www-authenticate"))
        if challenge is None or challenge.error is None:
            raise
        return ServerRefused(
            status=answer.status,
            error=plain(challenge.error),
            description=None,
            correlation_id=plain(answer.one("x-correlation-id") or "") or None,
        )


def _by_a_person(registrant: Registrant, why: str) -> str:
    return f"{registrant.issuer} {why}: have this agent registered there, and give it the client_id"
