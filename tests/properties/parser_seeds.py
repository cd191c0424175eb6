"""Where each parser's fuzzing begins: the examples of the RFCs, and what was once found."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

KEYS: Final[tuple[dict[str, Any], ...]] = (
    {
        "kty": "EC",
        "crv": "P-256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "kid": "1",
    },  # RFC 7517 appendix A.1
    {
        "kty": "RSA",
        "n": (
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
            "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
            "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
            "kEgU8awapJzKnqDKgw"
        ),
        "e": "AQAB",
    },  # RFC 7517 appendix A.1
    {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},  # RFC 8037 appendix A.2
)
PROOF: Final = (  # RFC 9449 §4.1
    b"eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo"
    b"RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19."
    b"eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0"
    b"IjoxNTYyMjYyNjE2fQ."
    b"2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)
PROVED_AT: Final = 1562262616  # its iat
_HMAC_JWS: Final = (  # RFC 7515 appendix A.1
    b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNv"
    b"bS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
_ED25519_JWS: Final = (  # RFC 8037 appendix A.4
    b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    b"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)
_TOOL_CALL: Final = {"name": "get_weather", "arguments": {"location": "New York"}}
_READ: Final = b'{"jsonrpc":"2.0","id":"a","method":"resources/read","params":{"uri":"file:///a"}}'

SEEDS: Final[Mapping[str, tuple[bytes, ...]]] = MappingProxyType(
    {
        "openid_request": (
            b"prompt=login%20consent&max_age=60&login_hint=alice&acr_values=a%20b&ui_locales=de",
            b"claims=%7B%22id_token%22%3A%7B%22acr%22%3A%7B%22essential%22%3Atrue%2C%22values%22%3A%5B%22a%22%5D%7D%7D%7D",
            b"claims=%7B%22userinfo%22%3A%7B%22email%22%3Anull%2C%22sub%22%3A%7B%22value%22%3A%22s%22%7D%7D%7D",
        ),
        "form": (
            # RFC 6749 §4.1.3 and appendix B, RFC 8707 §2
            b"grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA&redirect_uri=https%3A%2F%2Fclient%2Eexample%2Ecom",
            b"%20%25%26%2B%C2%A3%E2%82%AC=a+b",
            b"resource=https%3A%2F%2Fcal.example.com%2F&resource=https%3A%2F%2Fcontacts.example.com%2F",
            b'application/x-www-form-urlencoded; charset="UTF-8"',
        ),
        "strict_json": (
            # RFC 8259 §13 and §7, RFC 7493 §2.2
            b'{"Image":{"Width":800,"Title":"View from 15th Floor","IDs":[116,943,234,38793],"Animated":false}}',
            b'["\\uD834\\uDD1E", -1.5e-3, 9007199254740991, null, true]',
            b'{"a":[[[[{"b":{}}]]]]}',
        ),
        # three lines are the header, the payload and the signature of a token, not yet in base64url
        "compact_jws": (
            _HMAC_JWS,
            _ED25519_JWS,
            b'{"typ":"JWT","alg":"ES256","kid":"1"}\n{"iss":"joe","exp":1300819380}\n' + b"s" * 64,
            b'{"alg":"Ed25519"}\n{}\n' + b"s" * 64,
        ),
        "dpop_proof": (
            PROOF,
            b'{"typ":"dpop+jwt","alg":"Ed25519","jwk":%b}\n{"jti":"1","htm":"POST","iat":1562262616,'
            b'"htu":"https://server.example.com/token"}\n%b' % (json.dumps(KEYS[2]).encode(), b"s" * 64),
        ),
        # the payload of an object that is signed, at tests.support.fakes.NOW
        "request_object": (
            b'{"iss":"signer","aud":"https://as.example","client_id":"signer","nbf":1800000000,"exp":1800000300}',
            (
                b'{"iss":"signer","aud":["https://as.example"],"client_id":"signer","nbf":1800000000,"exp":1800000300,'
                b'"jti":"j","scope":"a","max_age":1,"claims":{"id_token":{}},"resource":["https://a.example"]}'
            ),
            b'{"typ":"oauth-authz-req+jwt","alg":"ES256","kid":"1"}\n{"iss":"signer"}\n' + b"s" * 64,
        ),
        # the payload of a registration that is signed, at the same time
        "signed_registration": (
            b'{"iss":"s","aud":"https://as.example","iat":1800000000,"exp":1800000300,"jti":"j"}',
            (
                b'{"iss":"s","aud":"https://as.example","iat":1800000000,"exp":1800000300,"nbf":1800000000,"jti":"j",'
                b'"software_statement":"a.b.c","software_id":"s","client_name":"A","redirect_uris":["https://a.example"]}'
            ),
            b'{"typ":"JWT","alg":"ES256","kid":"1"}\n{"iss":"s"}\n' + b"s" * 64,
        ),
        # the payload of a statement that is signed, at the same time
        "software_statement": (
            b'{"iss":"https://authority.example","iat":1800000000,"exp":1800000300,"jti":"j","software_id":"s"}',
            (
                b'{"iss":"https://authority.example","iat":1800000000,"exp":1800000300,"jti":"j","software_id":"s",'
                b'"client_name":"A","client_name#fr":"B","redirect_uris":["https://a.example/cb"],"scope":"a b",'
                b'"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://a.example/keys","contacts":["c"]}'
            ),
            b'{"alg":"ES256","kid":"1"}\n{"iss":"https://authority.example"}\n' + b"s" * 64,
        ),
        "jwk": (*(json.dumps(key).encode() for key in KEYS), json.dumps({"keys": KEYS}).encode()),
        "htu": (
            b"https://server.example.com/token",
            b"HTTPS://Server.example.com:443/a/./b/../%7ec?q#f",  # RFC 3986 §6.2.2
            b"http://[2001:DB8::1]:8080/",
            b"HTTPS://../%7ec?q#f",
        ),
        "outbound_url": (
            # RFC 3986 §1.1.2, §3.2.2, and what parsers take for addresses
            b"https://client.example/jwks.json?a=b",
            b"https://8.8.8.8:8443/keys",
            b"https://[2606:4700::1111]/",
            b"https://2130706433/",
            b"https://0x7f.1/",
            b"https://user@client.example:443/%2e%2e/#x",
        ),
        "client_key_set": (
            json.dumps({"keys": list(KEYS)}).encode(),
            b'{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"AKP","pub":"AAAA"}]}',
        ),
        "client_document": (
            (
                b'{"client_id":"https://a.example/agent","client_name":"A","client_name#fr":"B","scope":"a b",'
                b'"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://a.example/keys",'
                b'"redirect_uris":["https://a.example/cb","https://b.example/cb","http://127.0.0.1/cb"],'
                b'"application_type":"native","grant_types":["authorization_code","refresh_token"],'
                b'"post_logout_redirect_uris":["https://a.example/bye"],"client_uri":"https://a.example/"}'
            ),
            json.dumps(
                {
                    "client_id": "https://a.example/agent",
                    "client_name": "A",
                    "token_endpoint_auth_method": "private_key_jwt",
                    "redirect_uris": ["https://a.example/cb"],
                    "jwks": {"keys": list(KEYS)},
                }
            ).encode(),
            b"/../%2e?q#f",
        ),
        "redirect_uri": (
            b"https://client.example.com/cb?a=b",
            b"http://127.0.0.1:51004/oauth2redirect/example-provider",  # RFC 8252 §7.3
            b"http://[::1]:61023/oauth2redirect/example-provider",
            b"https://[2001:db8::1]:8443/cb",
        ),
        "cookie": (
            b"SID=31d4d96e407aad42; lang=en-US",  # RFC 6265 §3.1
            b"a=b; __Host-fapi-as=" + b"h" * 43,
            b"__Host-fapi-as=" + b"h" * 43 + b"\nlang=en",
        ),
        "authorization": (
            b"Bearer mF_9.B5f-4.1JqM",  # RFC 6750 §2.1
            b"DPoP Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",  # RFC 9449 §7.1
            b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
        "client_cert": (
            b":MARsZWFm:",
            b" :MARsZWFm: \n:MARsZWFm: ,\t:MARsZWFm:",
            b":" + base64.b64encode(b"0\x81\x82" + b"a" * 130) + b":",
        ),
        "http1": (
            # RFC 9112 §2.1 and §7.1
            b"GET /hello.txt HTTP/1.1\r\nUser-Agent: curl/7.64.1\r\nHost: www.example.com\r\nAccept: *\r\n\r\n",
            b"POST /par HTTP/1.1\r\nHost: as.example.com\r\nContent-Length: 5\r\n\r\nhello",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: c\r\n\r\n",
        ),
        "json_rpc": (
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": _TOOL_CALL}).encode(),
            b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
            b"Mcp-Method: resources/read\nMcp-Name: =?base64?ZmlsZTovLy9h?=\n\n" + _READ,
        ),
    }
)
