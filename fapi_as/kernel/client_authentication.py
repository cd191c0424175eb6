"""Who is calling: one code path for every back-channel endpoint (CA-2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fapi_as.kernel.clients import find_client
from fapi_as.kernel.door import refuse_client
from fapi_as.kernel.messages import EndpointRequest, Json
from fapi_as.kernel.seam import Context
from fapi_as.protocol import client_assertion
from fapi_as.protocol.client import (
    AuthenticatedClient,
    ClientKeySet,
    ClientUnavailable,
    KeysUnavailable,
    RegisteredClient,
)
from fapi_as.protocol.client_certificate import registered_refusal, subject_refusal, thumbprint
from fapi_as.protocol.client_document import is_document_url
from fapi_as.protocol.client_metadata import PRIVATE_KEY_JWT, SELF_SIGNED_TLS_CLIENT_AUTH, TLS_CLIENT_AUTH
from fapi_as.protocol.errors import InvalidClient, InvalidRequest, ProtocolError, StorageUnavailable
from fapi_as.protocol.parameters import Parameters, parse_form
from rs_kit.protocol.http import single
from rs_kit.protocol.jwk import PublicJwk

Serve = Callable[[Context, EndpointRequest, AuthenticatedClient, Parameters], Awaitable[Json]]


async def serve_client(context: Context, request: EndpointRequest, serve: Serve) -> Json:
    """Read the form, authenticate, and let `serve` answer; the refusal of a known client is told in its name.

    Raises:
        ProtocolError: the refusal before authentication.
        Refused: the refusal after it.
        StorageUnavailable: nothing was changed.
    """
    if request.query_string:
        raise InvalidRequest("parameters in the URL", "parameters belong in the body")  # OA-EP-3, RFC 9126 §2.1
    parameters = parse_form(single(request.headers, b"content-type"), request.body)
    client = await authenticate_client(context, request, parameters)
    try:
        return await serve(context, request, client, parameters)
    except StorageUnavailable:
        raise
    except ProtocolError as error:
        await refuse_client(context, request, error, client.registered.client_id)


async def authenticate_client(
    context: Context, request: EndpointRequest, parameters: Parameters
) -> AuthenticatedClient:
    """Verify the client's assertion, or the certificate of its connection where there is no assertion.

    Nothing is spent here: the jti of an assertion goes with the decision.

    Raises:
        InvalidClient: no credentials, or credentials that do not prove a live client.
        InvalidRequest: two methods in one request (CA-1, OA-EP-5).
        TooManyRequests: too many failures of this client from this source (CA-6).
    """
    claimed = parameters.get("client_id")
    failed = context.failed_authentications
    try:
        assertion = _assertion(request, parameters)
        if assertion is None:
            return await _by_certificate(context, request, claimed)
        presented = await _presented(context, request, assertion, claimed)
        claimed = presented.client_id
        return await _by_assertion(context, request, presented)
    except InvalidClient:
        failed.count(claimed or "", request)
        failed.require_room(claimed or "", request)  # the first failure above the limit is told so, too
        raise


def _assertion(request: EndpointRequest, parameters: Parameters) -> str | None:
    """The assertion, or None where the certificate is to speak."""
    assertion = parameters.get("client_assertion")
    assertion_type = parameters.get("client_assertion_type")
    other = single(request.headers, b"authorization") is not None or "client_secret" in parameters.values
    if other and (assertion is not None or request.peer_certificate is not None):
        raise InvalidRequest("two client authentication methods", "use one client authentication method")
    if assertion is None:
        if other or assertion_type is not None or request.peer_certificate is None:
            raise InvalidClient("no assertion and no certificate")
        return None
    if assertion_type != client_assertion.ASSERTION_TYPE:
        raise InvalidClient("client_assertion_type")
    return assertion


async def _presented(
    context: Context, request: EndpointRequest, assertion: str, client_id: str | None
) -> client_assertion.PresentedAssertion:
    if request.peer_certificate is None:
        return client_assertion.present(assertion, client_id=client_id)
    presented = client_assertion.present(assertion, client_id=None)
    if client_id not in {None, presented.client_id}:
        # somebody else's id is no credential (FAPI2-AS-23); only a certificate that proves it is a second one
        await _by_certificate(context, request, client_id)
        raise InvalidRequest(
            "an assertion and the certificate of another client", "use one client authentication method"
        )
    return presented


async def _by_assertion(
    context: Context, request: EndpointRequest, presented: client_assertion.PresentedAssertion
) -> AuthenticatedClient:
    context.failed_authentications.require_room(presented.client_id, request)  # before any signature and any fetch
    client = await _client(context, presented.client_id)
    keys: tuple[PublicJwk, ...] = ()
    if client is not None and client.token_endpoint_auth_method == PRIVATE_KEY_JWT:
        keys = (await _keys(context, client, presented.kid)).keys
    return client_assertion.authenticate(presented, client, keys, issuer=context.policy.issuer, now=request.now)


async def _by_certificate(context: Context, request: EndpointRequest, client_id: str | None) -> AuthenticatedClient:
    """RFC 8705 §2: which certificate the connection has was proved by its handshake; here it is judged."""
    leaf = request.peer_certificate
    if leaf is None or client_id is None:  # MTLS-1: the certificate does not say whose it is
        raise InvalidClient("no client_id beside the certificate")
    if is_document_url(client_id):  # CIMD-5: a document knows no certificate, so nothing is fetched
        raise InvalidClient("certificate: not the registered authentication method")
    context.failed_authentications.require_room(client_id, request)  # before any signature and any fetch
    client = await _client(context, client_id)
    refusal: str | None = "unknown client"
    if client is not None and client.token_endpoint_auth_method == SELF_SIGNED_TLS_CLIENT_AUTH:
        refusal = await _registered_refusal(context, request, client, leaf)
        if refusal is None:
            return AuthenticatedClient(registered=client, certificate=leaf)
    # asked for everybody else, too, so that time does not tell which clients there are, and of which method (CA-3)
    untrusted = context.certificate_trust.refusal(leaf, request.peer_chain, request.now)
    if client is not None and client.token_endpoint_auth_method == TLS_CLIENT_AUTH:
        refusal = untrusted or _subject_refusal(client, leaf)
        if refusal is None:
            return AuthenticatedClient(registered=client, certificate=leaf)
    elif client is not None and client.token_endpoint_auth_method == PRIVATE_KEY_JWT:
        refusal = "not the registered authentication method"
    raise InvalidClient(f"certificate: {refusal}")


async def _client(context: Context, client_id: str) -> RegisteredClient | None:
    """The live client; a document that cannot be had or used describes nobody."""
    try:
        return await find_client(context, client_id)
    except ClientUnavailable as error:
        raise InvalidClient(f"document: {error}") from None


def _subject_refusal(client: RegisteredClient, leaf: bytes) -> str | None:
    if client.certificate_subject is None:  # a row that no registration makes
        return "no subject is registered"
    return subject_refusal(client.certificate_subject, leaf)


async def _registered_refusal(
    context: Context, request: EndpointRequest, client: RegisteredClient, leaf: bytes
) -> str | None:
    found = (await _keys(context, client, None)).certificates
    if leaf not in found and client.jwks_uri is not None:
        # it may be new there: its thumbprint is looked for as a kid is, and no more often (MTLS-10)
        found = (await _keys(context, client, thumbprint(leaf))).certificates
    return registered_refusal(leaf, found, request.now)


async def _keys(context: Context, client: RegisteredClient, kid: str | None) -> ClientKeySet:
    """What the client registered, as it is now; keys that cannot be had prove nobody."""
    try:
        return await context.client_keys.keys(client, kid)
    except KeysUnavailable as error:
        raise InvalidClient(f"keys: {error}") from None
