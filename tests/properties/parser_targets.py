"""One target per parser: any bytes give a value that keeps its word, or the parser's one declared error.

A target takes bytes and returns, or raises what nobody declared. Hypothesis runs them in `make test`, atheris in
`make fuzz`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from fapi_as.kernel.browser import visitor
from fapi_as.kernel.messages import EndpointRequest
from fapi_as.protocol import parameters, redirect_uri, request_object, signed_registration, software_statement
from fapi_as.protocol.authority_registration import parse_authority
from fapi_as.protocol.client import ClientKeySet
from fapi_as.protocol.client_document import (
    InvalidClientDocument,
    described_client,
    read_document,
    require_document_url,
)
from fapi_as.protocol.client_key_set import InvalidKeySet, parse_key_set
from fapi_as.protocol.client_metadata import InvalidRedirectUri, parse_client, to_metadata
from fapi_as.protocol.errors import InvalidRequest as InvalidForm
from fapi_as.protocol.errors import (
    InvalidRequestObject,
    InvalidSoftwareStatement,
    RegistrationNotSupported,
    UnapprovedSoftwareStatement,
)
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.openid_claims import IDENTITY_CLAIMS
from fapi_as.protocol.openid_request import OpenidRequest, parse_openid
from fapi_as.protocol.outbound_url import InvalidOutboundUrl, parse_outbound_url
from fapi_as.protocol.policy import DocumentPolicy
from fapi_as.protocol.registration_request import merged
from rs_kit.adapters.listener.reading import RequestReader
from rs_kit.protocol import (
    base64url,
    client_cert_header,
    dpop,
    http,
    htu,
    jwk,
    jws,
    routing_headers,
    strict_json,
    tool_policy,
)
from rs_kit.protocol.errors import InvalidDpopProof, InvalidJwk, InvalidJws, InvalidRequest, UseDpopNonce
from tests.properties.http1_readers import comparable, lowered_coding, ours, theirs
from tests.properties.parser_seeds import KEYS, PROOF, PROVED_AT
from tests.support.fakes import ISSUER, NOW, context
from tests.support.peer_keys import PeerKey

_ALGORITHMS: Final = frozenset({"PS256", "ES256", "Ed25519"})
_HANDLE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_PLACES: Final = (("https", "a.example"), ("http", "127.0.0.1"), ("http", "::1"))
_EMPTY: Final = context(features=())
_PUBLIC: Final = tuple(jwk.parse_public(members) for members in KEYS)
_SIGNER_KEY: Final = PeerKey.ed25519(seed=9)
_AUTHORITY: Final = parse_authority(
    {"issuer": "https://authority.example", "jwks": {"keys": [_SIGNER_KEY.jwk(kid="k")]}}, version=1
)
_SIGNER: Final = parse_client(
    {
        "client_name": "Signer",
        "token_endpoint_auth_method": "private_key_jwt",
        "redirect_uris": ["https://client.example/cb"],
        "scope": "a",
        "jwks": {"keys": [_SIGNER_KEY.jwk(kid="k")]},
    },
    client_id="signer",
    version=1,
)


def form(data: bytes) -> None:
    with suppress(InvalidForm):
        read = parameters.parse(data)
        again = parameters.parse(
            urlencode([*read.values.items(), *(("resource", one) for one in read.resources)]).encode()
        )
        assert again == read
        assert all(read.values.values())
        assert all(read.resources)
    with suppress(InvalidForm):
        parameters.parse_form(data.decode("latin-1"), b"a=b")


def json_text(data: bytes) -> None:
    with suppress(strict_json.InvalidJson):
        value = strict_json.parse(data)
        assert json.loads(data) == value
        assert strict_json.parse(json.dumps(value).encode(), max_depth=strict_json.MAX_DEPTH) == value


def compact_jws(data: bytes) -> None:
    for token in (data, _composed(data)):
        with suppress(InvalidJws):
            read = jws.parse_compact(
                token, algorithms=_ALGORITHMS, types=frozenset({"JWT"}), type_required=False, max_length=8192
            )
            assert read.algorithm in _ALGORITHMS
            assert token.count(b".") == 2
            jws.verify(read, _PUBLIC)
            raise AssertionError("a signature out of nowhere")


def dpop_proof(data: bytes) -> None:
    for token in (data, _composed(data)):
        expect = dpop.ProofExpectation(
            method="POST",
            htu="https://server.example.com/token",
            now=PROVED_AT,
            max_age_seconds=60,
            max_future_seconds=30,
            nonce_key=None,
        )
        with suppress(InvalidDpopProof, UseDpopNonce):
            read = dpop.verify_proof(token.decode("latin-1"), expect=expect, keys=dpop.ProofKeys())
            assert token == PROOF
            assert len(read.jkt) == 43


def signed_request(data: bytes) -> None:
    """As a whole, in parts, and as a payload that the client signed."""
    for token in (data.decode("latin-1"), _composed(data).decode()):
        with suppress(InvalidRequestObject):
            read = request_object.present(token)
            request_object.verify(read, _SIGNER, _PUBLIC, issuer=ISSUER, now=NOW)
            raise AssertionError("a signature out of nowhere")
    with suppress(InvalidRequestObject):
        read = request_object.present(_SIGNER_KEY.sign({}, data))
        verified = request_object.verify(read, _SIGNER, _SIGNER.keys, issuer=ISSUER, now=NOW)
        said = json.loads(data)
        assert (said["iss"], said["client_id"]) == ("signer", "signer")
        assert said["nbf"] < said["exp"] <= said["nbf"] + 3600
        assert verified.parameters.values.keys() <= said.keys() - {"request", "request_uri", "sub", "aud"}
        assert all(said[name] == value for name, value in verified.parameters.values.items() if name == "scope")
        assert (verified.once is None) is ("jti" not in said)


def registration_that_is_signed(data: bytes) -> None:
    """As a whole, in parts, and as a payload that the software signed."""
    facts: dict[str, Any] = {"software_id": "s", "audience": ISSUER, "now": NOW}
    for token in (data, _composed(data)):
        with suppress(InvalidClientMetadata):
            signed_registration.verify(signed_registration.present(token), _PUBLIC, **facts)
            raise AssertionError("a signature out of nowhere")
    with suppress(InvalidClientMetadata):
        found = signed_registration.present(_SIGNER_KEY.sign({}, data).encode())
        once = signed_registration.verify(found, _SIGNER.keys, **facts)
        said = json.loads(data)
        assert (said["iss"], said["aud"]) == ("s", ISSUER)
        assert said["iat"] < said["exp"] <= said["iat"] + 300
        assert once.until > NOW
        assert said["jti"]
        assert found.members.keys() == said.keys() - {"iss", "aud", "iat", "exp", "nbf", "jti"}


def approved_software(data: bytes) -> None:
    """As a whole, in parts, and as a payload that the authority signed; then what is registered by it alone."""
    facts: dict[str, Any] = {"audience": ISSUER, "now": NOW, "certificate": None, "jkt": None}
    for token in (data.decode("latin-1"), _composed(data).decode()):
        with suppress(InvalidSoftwareStatement):
            found = software_statement.present(token)
            software_statement.verify(found, _AUTHORITY, ClientKeySet(keys=_PUBLIC), **facts)
            raise AssertionError("a signature out of nowhere")
    with suppress(InvalidSoftwareStatement, UnapprovedSoftwareStatement, InvalidClientMetadata, InvalidRedirectUri):
        found = software_statement.present(_SIGNER_KEY.sign({}, data))
        verified = software_statement.verify(found, _AUTHORITY, ClientKeySet(keys=_AUTHORITY.keys), **facts)
        said = json.loads(data)
        assert (said["iss"], said["software_id"], said["jti"]) == (
            _AUTHORITY.issuer,
            verified.software_id,
            verified.jti,
        )
        assert said["iat"] < said["exp"]
        assert "cnf" not in said
        client = parse_client(merged({}, verified), client_id="c", version=1)
        assert set(client.redirect_uris) <= set(said.get("redirect_uris", ()))
        assert to_metadata(parse_client(to_metadata(client), client_id="c", version=1)) == to_metadata(client)


def _composed(data: bytes) -> bytes:
    """Three lines as the three parts of a token, so that what is inside base64url is changed, too."""
    parts = [*data.split(b"\n", 2), b"", b""][:3]
    return b".".join(base64url.encode(part).encode() for part in parts)


def public_jwk(data: bytes) -> None:
    try:
        members = strict_json.parse(data)
    except strict_json.InvalidJson:
        return
    for read in (jwk.parse_set, jwk.usable_keys):
        with suppress(InvalidJwk):
            read(members)
    if not isinstance(members, dict):
        return
    with suppress(InvalidJwk):
        key = jwk.parse_public(members)
        assert jwk.parse_public(key.to_jwk()).thumbprint == key.thumbprint
        assert len(key.thumbprint) == 43
        assert not key.verify(data[:64], b"message")


def request_uri(data: bytes) -> None:
    with suppress(htu.InvalidUri):
        normal = htu.normalise(data.decode("latin-1"))
        assert htu.normalise(normal) == normal
        assert htu.htu_matches(data.decode("latin-1"), normal)
        assert not set(normal) & set("?#\\ ")
        assert "/../" not in normal.split("/", 3)[3]


def fetched_url(data: bytes) -> None:
    url = data.decode("latin-1")
    with suppress(InvalidOutboundUrl):
        read = parse_outbound_url(url)
        theirs_read = urlsplit(url)  # another parser finds the same place
        assert theirs_read.scheme == "https"
        assert (theirs_read.hostname, theirs_read.port or 443) == (read.host, read.port)
        assert theirs_read.username is theirs_read.password is None
        assert not theirs_read.fragment
        assert read.target == (theirs_read.path or "/") + (f"?{theirs_read.query}" if "?" in url else "")
        assert read.port == 443 or read.port > 1023
        assert not read.host.endswith(".")
        assert not read.host.rpartition(".")[2].isdecimal() or read.address is not None
        assert read.address is None or read.address.is_global


def published_keys(data: bytes) -> None:
    with suppress(InvalidKeySet):
        found = parse_key_set(data)
        assert len(found.certificates) <= len(found.keys) <= jwk.SET_LIMIT
        again = parse_key_set(json.dumps({"keys": [key.to_jwk() for key in found.keys]}).encode())
        names = [[(key.kid, key.thumbprint) for key in read.keys] for read in (found, again)]
        assert names[0] == names[1]


def client_document(data: bytes) -> None:
    """A client that is a document: of its own URL, with keys and redirect URIs of its own origin."""
    url = "https://a.example/agent"
    policy = DocumentPolicy(hosts=frozenset({"a.example"}), scope=frozenset({"a", "b"}))
    with suppress(InvalidClientDocument):
        require_document_url(url + data.decode("latin-1")[:64], policy, (ISSUER,))
    try:
        client = described_client(read_document(data, url), url, policy)
    except InvalidClientDocument:
        return
    assert client.client_id == url
    assert client.token_endpoint_auth_method == "private_key_jwt"
    assert client.scope <= policy.scope
    assert client.grant_types <= {"authorization_code", "refresh_token"}
    assert client.keys or client.jwks_uri is not None
    for uri in (*client.redirect_uris, client.jwks_uri or url):
        parts = urlsplit(uri)
        place = (parts.scheme, parts.hostname, parts.port if parts.scheme == "https" else None)
        assert place in {(s, h, p) for s, h in _PLACES for p in (None, 443)}, uri
    again = described_client(read_document(data, url), url, policy)
    assert (again.version, again.document_digest) == (client.version, client.document_digest)


def redirect(data: bytes) -> None:
    uri = data.decode("latin-1")
    for kind in ("web", "native"):
        redirect_uri.is_registered(uri, ("http://127.0.0.1/cb", "https://client.example.com/cb"), kind)
        if redirect_uri.refusal(uri, kind) is not None:
            continue
        assert redirect_uri.is_registered(uri, (uri,), kind)
        assert re.fullmatch(r"https?:(//[A-Za-z0-9.-]+(:[0-9]+)?)?", redirect_uri.form_action_source(uri)), uri
        assert redirect_uri.with_parameters(uri, "code=1").startswith(uri)


def openid_request(data: bytes) -> None:
    with suppress(InvalidForm, RegistrationNotSupported):
        asked = parameters.parse(data)
        read = parse_openid(asked, _SIGNER, ("openid", "profile"), None)
        assert read is not None
        assert not ("none" in read.prompt and len(read.prompt) > 1)
        assert read.max_age is None or 0 <= read.max_age < 10**9
        assert set(read.id_token_claims) | set(read.userinfo_claims) <= set(IDENTITY_CLAIMS)
        assert OpenidRequest.from_members(json.loads(json.dumps(asdict(read)))) == read
        assert parse_openid(asked, _SIGNER, ("accounts:read",), None) is None


def cookie(data: bytes) -> None:
    headers = tuple((b"cookie", line) for line in data.split(b"\n"))
    request = EndpointRequest(method="GET", path="/login", headers=headers, now=NOW, correlation_id="1", source="::1")
    found = _finished(visitor(_EMPTY, request))
    assert found.handle is None or (_HANDLE.fullmatch(found.handle) and found.handle.encode() in data)
    assert found.signed_in is None


def _finished(work: Any) -> Any:
    """What a coroutine that never waits comes to."""
    try:
        work.send(None)
    except StopIteration as result:
        return result.value
    raise AssertionError("it waited")


def authorization(data: bytes) -> None:
    headers = tuple((b"authorization", line) for line in data.split(b"\n"))
    with suppress(InvalidRequest):
        field = http.once(headers, b"authorization")
        assert field == data
        read = http.credentials(field)
        scheme, _, token = data.decode("ascii").partition(" ")
        assert (scheme.lower(), token) == read


def client_cert(data: bytes) -> None:
    leaf, *chain = data.split(b"\n")
    headers = ((b"client-cert", leaf), *((b"client-cert-chain", line) for line in chain))
    with suppress(InvalidRequest):
        found = client_cert_header.client_certificate(headers)
        assert found is not None
        items = [b":" + base64.b64encode(octets) + b":" for octets in (found.leaf, *found.chain)]
        assert items[0] == leaf.strip(b" ")
        assert items[1:] == [one.strip(b" \t") for line in chain for one in line.split(b",")]
        assert all(len(octets) <= client_cert_header.CERTIFICATE_LIMIT for octets in found.chain)


def http1(data: bytes) -> None:
    seen, refused = ours([data])
    assert ours([data[:7], data[7:]]) == (seen, refused)
    if comparable(data):
        assert [lowered_coding(one) for one in seen] == theirs(data)[: len(seen)]
    RequestReader(body_limit=0).receive(data)


def json_rpc(data: bytes) -> None:
    headers, _, body = data.partition(b"\n\n") if data.startswith(b"Mcp-") else (b"", b"", data)
    with suppress(InvalidRequest):
        read = tool_policy.parse_message(body)
        raw = json.loads(body)
        assert raw["method"] == read.method
        assert raw.get("id") == read.request_id
        assert read.target is None or read.target in raw["params"].values()
        lines = [line.partition(b": ") for line in headers.lower().split(b"\n")]
        routing_headers.check_agreement(tuple((name, value) for name, _, value in lines), read)


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = MappingProxyType(
    {
        "form": form,
        "openid_request": openid_request,
        "strict_json": json_text,
        "compact_jws": compact_jws,
        "dpop_proof": dpop_proof,
        "request_object": signed_request,
        "signed_registration": registration_that_is_signed,
        "software_statement": approved_software,
        "jwk": public_jwk,
        "htu": request_uri,
        "outbound_url": fetched_url,
        "client_key_set": published_keys,
        "client_document": client_document,
        "redirect_uri": redirect,
        "cookie": cookie,
        "authorization": authorization,
        "client_cert": client_cert,
        "http1": http1,
        "json_rpc": json_rpc,
    }
)
