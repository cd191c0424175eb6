"""Request objects: what they must say, when they hold, and what parameters they become."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, Final

import pytest

from fapi_as.protocol import request_object
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.errors import InvalidRequestObject
from fapi_as.protocol.profile import REQUEST_OBJECT_LIMIT
from fapi_as.protocol.request_object import _STRUCTURES, RequestObject
from rs_kit.protocol.jwk import parse_public
from tests.support.peer_keys import PeerKey, as_json, b64
from tests.support.processes import ROOT

NOW: Final = 1_800_000_000
ISSUER: Final = "https://as.example"
KEY: Final = PeerKey.es256(seed=31)
KEYS: Final = (parse_public(KEY.jwk(kid="k")),)
CLIENT: Final = parse_client(
    {
        "client_name": "Signer",
        "token_endpoint_auth_method": "private_key_jwt",
        "redirect_uris": ["https://client.example/cb"],
        "scope": "a",
        "jwks": {"keys": [KEY.jwk(kid="k")]},
    },
    client_id="signer",
    version=1,
)
ABOUT: Final[dict[str, Any]] = {
    "iss": "signer",
    "aud": ISSUER,
    "client_id": "signer",
    "nbf": NOW,
    "exp": NOW + 300,
}
HOUR: Final = 3600


def signed(header: dict[str, Any] | None = None, *, key: PeerKey = KEY, **claims: Any) -> str:
    said = {name: value for name, value in {**ABOUT, **claims}.items() if value is not ...}
    return key.sign({"typ": "oauth-authz-req+jwt", "kid": "k"} if header is None else header, said)


def read(token: str, *, client: RegisteredClient = CLIENT) -> RequestObject:
    return request_object.verify(request_object.present(token), client, KEYS, issuer=ISSUER, now=NOW)


def refusal(token: str, *, client: RegisteredClient = CLIENT) -> str:
    with pytest.raises(InvalidRequestObject) as refused:
        read(token, client=client)
    assert refused.value.description == "the request object is not valid"
    return refused.value.detail.removeprefix("request object: ")


def test_what_it_says_becomes_parameters_and_what_it_is_about_does_not() -> None:
    read_ = read(signed(scope="a b", state="", iat=NOW, unknown={"x": 1}, resource=["https://a.example", ""]))
    assert read_.parameters.values == {"client_id": "signer", "scope": "a b"}
    assert read_.parameters.resources == ("https://a.example",)
    assert read_.once is None


@pytest.mark.parametrize("aud", [ISSUER, [ISSUER], ["https://other.example", ISSUER]])
def test_the_issuer_is_the_audience_or_one_of_several(aud: Any) -> None:
    assert read(signed(aud=aud)).once is None


@pytest.mark.parametrize(
    "aud",
    [
        *(..., None, 7, [], [ISSUER, 1], {"iss": ISSUER}, ["https://other.example"]),
        *("https://other.example", ISSUER + "/", ISSUER + "/par", f"x {ISSUER}", ISSUER.upper()),
    ],
)
def test_for_anybody_else_it_is_refused(aud: Any) -> None:
    assert refusal(signed(aud=aud)) == "aud is not the issuer"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"client_id": ...}, "client_id is not the client"),
        ({"client_id": "other"}, "client_id is not the client"),
        ({"client_id": ["signer"]}, "client_id is not the client"),
        ({"iss": ...}, "iss is not the client"),
        ({"iss": "other"}, "iss is not the client"),
        ({"iss": ISSUER}, "iss is not the client"),
        ({"sub": "signer"}, "sub inside the object"),
        ({"sub": "alice"}, "sub inside the object"),
        ({"sub": None}, "sub inside the object"),
        ({"request": "a.b.c"}, "request inside the object"),
        ({"request": ""}, "request inside the object"),
        ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, "request_uri inside the object"),
        ({"request_uri": None}, "request_uri inside the object"),
    ],
)
def test_it_is_from_this_client_and_no_other_kind_of_jwt(claims: dict[str, Any], reason: str) -> None:
    assert refusal(signed(**claims)) == reason


@pytest.mark.parametrize(
    ("not_before", "expires_at"),
    [
        (NOW, NOW + 300),
        (NOW + 8, NOW + 300),
        (NOW + 30, NOW + 30 + HOUR),
        (NOW - HOUR, NOW),
        (NOW - HOUR + 9, NOW - 9),
        (NOW - 59 * 60, NOW + 60),
        (float(NOW), NOW + 300),
    ],
)
def test_it_holds_for_an_hour_from_its_beginning(not_before: Any, expires_at: Any) -> None:
    assert read(signed(nbf=not_before, exp=expires_at)).once is None


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ({"nbf": ...}, "nbf or exp is missing or no NumericDate"),
        ({"exp": ...}, "nbf or exp is missing or no NumericDate"),
        ({"nbf": str(NOW)}, "nbf or exp is missing or no NumericDate"),
        ({"exp": True}, "nbf or exp is missing or no NumericDate"),
        ({"exp": NOW + 0.5}, "nbf or exp is missing or no NumericDate"),
        ({"nbf": NOW - HOUR - 1, "exp": NOW + 1}, "nbf is too long ago"),
        ({"nbf": NOW + 31}, "nbf is ahead of the clock"),
        ({"nbf": NOW - 60, "exp": NOW - 10}, "expired"),
        ({"nbf": NOW + 1, "exp": NOW + HOUR + 2}, "exp is too far from nbf"),
        ({"nbf": NOW, "exp": NOW}, "exp is too far from nbf"),
        ({"nbf": NOW + 20, "exp": NOW + 10}, "exp is too far from nbf"),
        ({"iat": NOW + 31}, "iat is no NumericDate or ahead of the clock"),
        ({"iat": "now"}, "iat is no NumericDate or ahead of the clock"),
    ],
)
def test_at_no_other_time(times: dict[str, Any], reason: str) -> None:
    assert refusal(signed(**times)) == reason


@pytest.mark.parametrize(
    "typ", ["oauth-authz-req+jwt", "OAuth-Authz-Req+JWT", "application/oauth-authz-req+jwt", "JWT"]
)
def test_its_type_may_be_said_in_any_case_and_as_a_media_type(typ: str) -> None:
    assert read(signed({"typ": typ, "kid": "k"})).once is None
    assert read(signed({"kid": "k"})).once is None


@pytest.mark.parametrize(
    "typ", ["at+jwt", "dpop+jwt", "client-authentication+jwt", "", 1, None, "application/oauth-authz-req+jwt; q=1"]
)
def test_no_other_type_is_one(typ: Any) -> None:
    assert refusal(signed({"typ": typ, "kid": "k"})) == "typ"


@pytest.mark.parametrize("name", ["crit", "b64", "zip", "cty", "jku", "x5u", "x5c", "jwk"])
def test_a_header_that_brings_a_key_or_another_form_is_refused(name: str) -> None:
    assert "header" in refusal(signed({"kid": "k", name: "https://evil.example/keys"}))


@pytest.mark.parametrize("kid", [..., "k"])
def test_the_clients_key_is_found_by_its_name_or_because_there_is_one(kid: Any) -> None:
    assert read(signed({} if kid is ... else {"kid": kid})).once is None


def test_another_key_or_another_name_is_refused() -> None:
    assert refusal(signed({"kid": "other"})) == "no key with this kid and alg"
    assert refusal(signed(key=PeerKey.es256(seed=32))) == "signature"
    assert refusal(signed(key=PeerKey.ed25519(seed=32))) == "no key with this kid and alg"


@pytest.mark.parametrize("registered", ["ES256", None])
def test_the_registered_algorithm_is_the_one(registered: str | None) -> None:
    assert read(signed(), client=replace(CLIENT, request_object_signing_alg=registered)).once is None


@pytest.mark.parametrize("registered", ["PS256", "EdDSA", "Ed25519"])
def test_another_than_the_registered_algorithm_is_refused(registered: str) -> None:
    client = replace(CLIENT, request_object_signing_alg=registered)
    assert refusal(signed(), client=client) == "not the registered algorithm"


@pytest.mark.parametrize("registered", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("said", ["EdDSA", "Ed25519"])
def test_ed25519_has_two_names(registered: str, said: str) -> None:
    key = PeerKey.ed25519(seed=33)
    client = replace(CLIENT, request_object_signing_alg=registered)
    token = key.sign({"alg": said, "kid": "e"}, ABOUT)
    keys = (parse_public(key.jwk(kid="e")),)
    assert request_object.verify(request_object.present(token), client, keys, issuer=ISSUER, now=NOW).once is None


STRINGS: Final = [
    "acr_values",
    "claims_locales",
    "code_challenge",
    "code_challenge_method",
    "display",
    "dpop_jkt",
    "id_token_hint",
    "login_hint",
    "nonce",
    "prompt",
    "redirect_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "ui_locales",
]


@pytest.mark.parametrize("name", STRINGS)
@pytest.mark.parametrize("value", [None, 1, True, ["x"], {"x": "y"}])
def test_a_string_is_a_string(name: str, value: Any) -> None:
    assert read(signed(**{name: "x"})).parameters.values[name] == "x"
    assert refusal(signed(**{name: value})) == f"JSON type of {name}"


@pytest.mark.parametrize("value", [0, 10, -1, 2**53 - 1])
def test_max_age_is_a_number(value: int) -> None:
    assert read(signed(max_age=value)).parameters.values["max_age"] == str(value)


@pytest.mark.parametrize("value", ["10", "abc", 1.5, True, None, [1]])
def test_max_age_is_nothing_else(value: Any) -> None:
    assert refusal(signed(max_age=value)) == "JSON type of max_age"


def test_claims_and_details_keep_their_structure() -> None:
    claims, details = {"id_token": {"acr": {"values": ["ä"]}}}, [{"type": "mcp_tool"}]
    values = read(signed(claims=claims, authorization_details=details)).parameters.values
    assert (json.loads(values["claims"]), json.loads(values["authorization_details"])) == (claims, details)


@pytest.mark.parametrize("value", ["{}", "[]", 1, None, True])
@pytest.mark.parametrize("name", ["claims", "authorization_details", "registration"])
def test_claims_and_details_are_no_strings(name: str, value: Any) -> None:
    assert refusal(signed(**{name: value})) == f"JSON type of {name}"


def test_claims_is_an_object_and_details_are_a_list() -> None:
    assert refusal(signed(claims=[])) == "JSON type of claims"
    assert refusal(signed(authorization_details={})) == "JSON type of authorization_details"


def test_every_parameter_that_a_push_reads_is_known_inside_an_object() -> None:
    sources = [*ROOT.glob("fapi_as/features/authorization_code/*.py"), ROOT / "fapi_as/protocol/openid_request.py"]
    reads = re.compile(r"""(?:parameters\.(?:get|require)\(|_?bounded\(parameters, )"([a-z_]+)\"""")
    names = {name for source in sources for name in reads.findall(source.read_text(encoding="utf-8"))}
    of_the_token_endpoint = {"code", "code_verifier"}
    assert {"scope", "prompt", "acr_values", "registration"} <= names
    assert names - of_the_token_endpoint <= {*STRINGS, "client_id", "max_age", *_STRUCTURES}


@pytest.mark.parametrize("value", ["https://a.example", ["https://a.example"]])
def test_a_resource_is_one_or_several(value: Any) -> None:
    assert read(signed(resource=value)).parameters.resources == ("https://a.example",)


@pytest.mark.parametrize("value", [1, None, {"a": "b"}, [1], ["https://a.example", None], [["https://a.example"]]])
def test_a_resource_is_nothing_else(value: Any) -> None:
    assert refusal(signed(resource=value)) == "JSON type of resource"


def test_a_jti_is_spent_for_as_long_as_the_object_could_come_again() -> None:
    first, again, other = (read(signed(jti=jti)).once for jti in ("j", "j", "J"))
    assert first is not None
    assert first == again
    assert first != other
    assert (first.namespace, first.until) == ("request_object", NOW + 311)
    elsewhere = request_object._once({**ABOUT, "jti": "j"}, "another")
    assert elsewhere is not None
    assert elsewhere.digest != first.digest


@pytest.mark.parametrize("jti", ["", "j" * 1025, 1, None, ["j"]])
def test_a_jti_is_a_string_of_some_length(jti: Any) -> None:
    assert refusal(signed(jti=jti)) == "jti is no string or too long"
    assert read(signed(jti="j" * 1024)).once is not None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a..c",
        "e30.e30.",
        "a.b.c.d.e",
        json.dumps({"payload": "e30", "protected": "e30", "signature": "AA"}),
        KEY.sign({"kid": "k"}, [1]),
        KEY.sign({"kid": "k"}, '"text"'),
        KEY.sign({"kid": "k"}, "1"),
        KEY.sign({"kid": "k"}, signed()),
        KEY.sign({"kid": "k"}, as_json(ABOUT)[:-1] + b',"scope":"a","scope":"b"}'),
        f"{b64(b'{}')}.{signed().split('.', 1)[1]}",
    ],
)
def test_anything_but_one_compact_jws_over_one_object_is_refused(token: str) -> None:
    assert refusal(token)


@pytest.mark.parametrize("alg", ["none", "nOnE", "", "RS256", "HS256", "ES384", "ES512", None, 1])
def test_the_algorithms_are_a_closed_set(alg: Any) -> None:
    assert refusal(signed({"alg": alg, "kid": "k"})) == "alg"


def test_there_is_a_longest_one() -> None:
    room = REQUEST_OBJECT_LIMIT - len(signed(pad=""))
    fits = signed(pad="p" * (room * 3 // 4 - 4))
    assert len(fits) <= REQUEST_OBJECT_LIMIT
    assert read(fits).once is None
    assert refusal(signed(pad="p" * (room * 3 // 4 + 4))) == "length"
