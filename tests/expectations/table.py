"""What the certification tests expect, row by row, and the variants that each row applies to: data, nothing runs here.

The names are those of the official test modules without their prefix `fapi2-security-profile-final-`; rows that no
module has are named by us. Sections and traps are numbered as in the document of expectations.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from tests.expectations.variants import (
    VARIANTS,
    Applies,
    Variant,
    any_mtls,
    both,
    certificate_bound,
    dpop,
    either,
    every,
    jarm,
    mtls_auth,
    openid,
    plain_oauth,
    plain_response,
    private_key_jwt,
    signed,
)

PREFIX: Final = "fapi2-security-profile-final-"


class Expectation(NamedTuple):
    """One row: what is expected, and of which variants."""

    section: str
    name: str
    expects: str
    applies: Applies = every

    def __str__(self) -> str:
        return f"{self.section} {self.name}"


_ROWS: Final = (
    # --- 2.1 what every module does
    Expectation("2.1", "discovery-document", "200, JSON, authorization_endpoint, token_endpoint and issuer"),
    Expectation("2.1", "jwks", "public, well-formed and strong keys, each with a kid", either(openid, jarm)),
    Expectation(
        "2.1", "client-keys", "signing keys with kid and alg PS256, ES256 or Ed25519; no two clients share one"
    ),
    Expectation("2.1", "second-client-request", "state of 128 characters, nonce of 43, parameters in any order"),
    Expectation("2.1", "redirect-uri-with-query", "the query of the registered redirect URI is preserved"),
    Expectation("2.1", "signed-form-has-only-request", "the client is found without a client_id parameter", signed),
    Expectation("2.1", "request-object-typ", "absent, or in any letter case", signed),
    Expectation("2.1", "par-response", "201, JSON, a request_uri nobody guesses, 5 <= expires_in < 1 year"),
    Expectation("2.1", "duplicates-on-the-authorization-url", "are tolerated and mean nothing"),
    Expectation("2.1", "authorization-response", "code, state and iss in the query, nothing else", plain_response),
    Expectation("2.1", "token-response", "200, no-store, token_type, expires_in, tokens nobody guesses"),
    Expectation("2.1", "no-id-token", "plain OAuth brings no ID token", plain_oauth),
    Expectation("2.1", "id-token", "iss, aud, exp, iat, nonce, sub; kid; nothing that nobody asked for", openid),
    Expectation("2.1", "client-credentials-without-refresh-token", "a client of its own gets no refresh token"),
    Expectation("2.1", "resource-request", "200 with a Date header, whatever x-fapi headers come along"),
    Expectation("2.1", "error-responses", "JSON; 400, or 401 for invalid_client; the character set of RFC 6749"),
    Expectation("2.1", "dpop-algorithms", "PS256 proofs work, or the first of dpop_signing_alg_values_supported", dpop),
    Expectation("2.1", "dpop-nonce-at-the-server", "400 use_dpop_nonce with one DPoP-Nonce; one retry works", dpop),
    Expectation("2.1", "dpop-nonce-at-the-resource", "401 with challenge and DPoP-Nonce; one retry works", dpop),
    Expectation("2.1", "dpop-nonce-is-shared", "between PAR and token endpoint, harvested from a 2xx", dpop),
    Expectation("2.1", "dpop-htu-is-the-url-called", "the alias of the mTLS endpoint", both(mtls_auth, dpop)),
    Expectation("2.1", "mtls-aliases", "PAR and token endpoint by their aliases, with the certificate", mtls_auth),
    Expectation(
        "2.1",
        "par-without-certificate",
        "PAR at the normal URL, which asks for no certificate; the token endpoint by its alias",
        both(private_key_jwt, certificate_bound),
    ),
    Expectation("2.1", "resource-without-certificate", "a DPoP-bound token needs none", both(mtls_auth, dpop)),
    # --- 2.2 TLS
    Expectation("2.2", "tls-versions", "1.2 and 1.3 work, 1.3 is preferred"),
    Expectation("2.2", "tls-1.0-and-1.1-are-refused", "by an alert or a reset"),
    Expectation("2.2", "tls-1.2-cipher-suites", "ECDHE with AEAD only, all else refused by an alert"),
    # --- 2.3 discovery-end-point-verification
    Expectation("2.3", "discovery-end-point-verification", "200, JSON, at the well-known path of the kind"),
    Expectation("2.3", "issuer", "https, no query, equal to the discovery URL without its suffix"),
    Expectation("2.3", "response_types_supported", "contains code"),
    Expectation("2.3", "authorization_response_iss_parameter_supported", "true", plain_response),
    Expectation("2.3", "response_modes_supported", "contains jwt", jarm),
    Expectation("2.3", "authorization_signing_alg_values_supported", "an array of allowed algorithms", jarm),
    Expectation("2.3", "pushed_authorization_request_endpoint", "present, https"),
    Expectation("2.3", "require_pushed_authorization_requests", "a boolean"),
    Expectation("2.3", "dpop_signing_alg_values_supported", "an allowed algorithm", dpop),
    Expectation("2.3", "tls_client_certificate_bound_access_tokens", "true", certificate_bound),
    Expectation("2.3", "token_endpoint_auth_methods_supported", "contains the method of the variant"),
    Expectation("2.3", "token_endpoint_auth_signing_alg_values_supported", "an allowed algorithm", private_key_jwt),
    Expectation("2.3", "id_token_signing_alg_values_supported", "an allowed algorithm", openid),
    Expectation("2.3", "userinfo_signing_alg_values_supported", "an array, if present", openid),
    Expectation("2.3", "request_object_signing_alg_values_supported", "an allowed algorithm", signed),
    Expectation("2.3", "endpoints-are-https", "authorization, token and, if there is one, registration endpoint"),
    Expectation("2.3", "jwks_uri", "https", either(openid, jarm)),
    Expectation("2.3", "code_challenge_methods_supported", "contains S256"),
    Expectation("2.3", "grant_types_supported", "contains authorization_code"),
    Expectation("2.3", "scopes_supported", "scope tokens; with OpenID Connect openid"),
    Expectation("2.3", "subject_types_supported", "public or pairwise", openid),
    Expectation("2.3", "locales_supported", "BCP 47, where they are listed"),
    Expectation("2.3", "mtls_endpoint_aliases", "endpoints of the top level, never the authorization endpoint"),
    Expectation("2.3", "json-types", "as RFC 8414 says, and no member that IANA does not know"),
    # --- 2.4 success
    Expectation("2.4", "happy-flow", "two clients; a token in the query and in other hands fails"),
    Expectation("2.4", "user-rejects-authentication", "access_denied with state and iss, for two clients"),
    Expectation("2.4", "ensure-request-object-with-multiple-aud-succeeds", "aud is a list with the issuer", signed),
    Expectation("2.4", "ensure-authorization-request-without-state-success", "none comes back"),
    Expectation("2.4", "ensure-authorization-request-without-nonce-success", "none in the ID token", openid),
    Expectation("2.4", "ensure-authorization-request-with-64-char-nonce-success", "works", openid),
    Expectation("2.4", "ensure-other-scope-order-succeeds", "scopes in reverse", openid),
    Expectation("2.4", "test-claims-parameter-identity-claims", "what is asked for is in userinfo", openid),
    Expectation("2.4", "access-token-type-header-case-sensitivity", "the scheme in inverted case works"),
    Expectation("2.4", "ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted", "201", signed),
    Expectation("2.4", "check-dpop-proof-nbf-exp", "a proof with nbf and exp works", dpop),
    Expectation("2.4", "ensure-dpopproof-with-iat-10seconds-before-succeeds", "at PAR, token and resource", dpop),
    Expectation("2.4", "ensure-dpopproof-with-iat-10seconds-after-succeeds", "at PAR, token and resource", dpop),
    Expectation("2.4", "ensure-dpopproof-at-par-endpoint-binding-success", "the same key later works", dpop),
    Expectation(
        "2.4", "ensure-dpop-auth-code-binding-success", "dpop_jkt and a proof at PAR, the same key later", dpop
    ),
    Expectation("2.4", "par-without-duplicate-parameters", "only client_id and request_uri on the URL"),
    Expectation(
        "2.4",
        "par-ensure-reused-request-uri-prior-to-auth-completion-succeeds",
        "a first visit without a login spends nothing",
    ),
    # --- 2.5 DPoP
    Expectation("2.5", "ensure-mismatched-dpop-jkt-fails", "400 at PAR: dpop_jkt of another key than the proof", dpop),
    Expectation("2.5", "ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt", "400 with another key", dpop),
    Expectation("2.5", "ensure-token-endpoint-fails-with-mismatched-dpop-jkt", "400 with another key", dpop),
    Expectation("2.5", "dpop-negative-tests", "each case at the resource: 400 or 401, never 403", dpop),
    # --- 2.6 client assertions
    Expectation(
        "2.6", "ensure-signed-client-assertion-with-RS256-fails", "invalid_client, 400 or 401", private_key_jwt
    ),
    Expectation("2.6", "ensure-client-assertion-in-token-endpoint", "without one: refused", private_key_jwt),
    Expectation("2.6", "ensure-client-assertion-with-exp-is-5-minutes-in-past-fails", "refused", private_key_jwt),
    Expectation("2.6", "ensure-client-assertion-with-wrong-aud-fails", "refused", private_key_jwt),
    Expectation("2.6", "ensure-client-assertion-with-no-sub-fails", "refused", private_key_jwt),
    Expectation(
        "2.6",
        "par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted",
        "iat and nbf 8 s ahead are accepted",
        private_key_jwt,
    ),
    Expectation(
        "2.6",
        "par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails",
        "62 s ahead are refused",
        private_key_jwt,
    ),
    Expectation("2.6", "par-test-array-as-audience-fails", "a list with the issuer is refused", private_key_jwt),
    Expectation("2.6", "par-test-par-endpoint-url-as-audience-fails", "refused", private_key_jwt),
    Expectation("2.6", "par-test-token-endpoint-url-as-audience-fails", "refused", private_key_jwt),
    Expectation("2.6", "ensure-client-id-in-token-endpoint", "another client's id with one's own credentials: refused"),
    # --- 2.7 request objects
    *(
        Expectation("2.7", name, "400 invalid_request_object", signed)
        for name in (
            "ensure-request-object-without-exp-fails",
            "ensure-request-object-without-nbf-fails",
            "ensure-expired-request-object-fails",
            "ensure-request-object-with-bad-aud-fails",
            "ensure-request-object-with-exp-over-60-fails",
            "ensure-request-object-with-nbf-over-60-fails",
            "ensure-signed-request-object-with-RS256-fails",
            "ensure-request-object-signature-algorithm-is-not-none",
            "ensure-request-object-with-invalid-signature-fails",
            "par-authorization-request-containing-request_uri",
            "ensure-matching-key-in-authorization-request",
        )
    ),
    Expectation("2.7", "ensure-unsigned-request-at-par-endpoint-fails", "400 invalid_request", signed),
    Expectation(
        "2.7",
        "ensure-different-nonce-inside-and-outside-request-object",
        "the pushed nonce counts, or there is none",
        openid,
    ),
    Expectation("2.7", "ensure-different-state-inside-and-outside-request-object", "the pushed state counts"),
    Expectation("2.7", "state-only-outside-request-object-not-used", "no state comes back"),
    # --- 2.8 authorization endpoint, redirects, PAR
    Expectation(
        "2.8", "ensure-authorization-request-with-long-nonce", "384 characters: success, or 400 at PAR", openid
    ),
    Expectation("2.8", "ensure-authorization-request-with-long-state", "1000 characters: success, or 400 at PAR"),
    Expectation("2.8", "ensure-request-object-without-redirect-uri-fails", "400 at PAR"),
    Expectation("2.8", "plain-fapi-tolerate-unregistered-redirect-uri", "400 at PAR"),
    Expectation("2.8", "ensure-redirect-uri-in-authorization-request", "400 at PAR"),
    Expectation("2.8", "ensure-unsigned-authorization-request-without-using-par-fails", "an error page"),
    Expectation("2.8", "ensure-response-type-code-idtoken-fails", "400 at PAR"),
    Expectation("2.8", "ensure-response-type-token-fails", "400 at PAR"),
    Expectation("2.8", "par-attempt-reuse-request_uri", "an error page after it was completed"),
    Expectation("2.8", "par-attempt-to-use-expired-request_uri", "an error page after expires_in"),
    Expectation("2.8", "par-attempt-to-use-request_uri-for-different-client", "an error page"),
    Expectation("2.8", "par-authorization-request-containing-request_uri-form-param", "400 at PAR"),
    Expectation("2.8", "par-attempt-invalid-http-method", "405"),
    Expectation("2.8", "par-ensure-pkce-required", "400 invalid_request, in signed requests too"),
    Expectation("2.8", "par-plain-pkce-rejected", "400 invalid_request, in signed requests too"),
    Expectation("2.8", "ensure-pkce-code-verifier-required", "400 invalid_grant"),
    Expectation("2.8", "incorrect-pkce-code-verifier-rejected", "400 invalid_grant"),
    # --- 2.9 codes, holders of keys, refresh
    Expectation("2.9", "ensure-holder-of-key-required", "no token without a proof or a certificate"),
    Expectation("2.9", "ensure-authorization-code-is-bound-to-client", "400 invalid_grant"),
    Expectation("2.9", "attempt-reuse-authorization-code-after-one-second", "400 invalid_grant, and the grant ends"),
    Expectation("2.9", "ended-at-userinfo", "a token of a code that was used twice is refused there", openid),
    Expectation("2.9", "ensure-token-endpoint-fails-with-expired-auth-code", "62 s later: 400 invalid_grant"),
    Expectation("2.9", "refresh-token", "a refresh token is issued, and metadata lists the grant"),
    Expectation("2.9", "refresh-token-with-offline-access", "scope offline_access with prompt=consent", openid),
    Expectation("2.9", "refresh-token-with-a-new-key", "works: it is bound to the client, not to a DPoP key"),
    Expectation("2.9", "refresh-token-after-30-seconds", "the old one works still: no rotation"),
    Expectation("2.9", "refresh-token-without-client-authentication", "refused"),
    Expectation("2.9", "refresh-token-without-proof-of-possession", "refused"),
    Expectation("2.9", "refresh-token-of-another-client", "400 invalid_grant"),
    Expectation(
        "2.9", "refresh-token-id-token", "if one comes: the same iss, sub, aud and auth_time, a new iat", openid
    ),
    # --- 2.10 JARM
    Expectation("2.10", "jarm-response", "one parameter response in the query: iss, aud, exp, code, state; kid", jarm),
    Expectation("2.10", "jarm-error-response", "errors come signed, too", jarm),
    # --- 3 the pages
    Expectation("3", "forms-and-ids", "plain forms, real buttons, stable ids"),
    Expectation("3", "distinct-paths", "login and consent at paths of their own; 302 or 303, never 307"),
    Expectation("3", "visit-starts-at-the-authorization-url", "state lives in a cookie and an id of the interaction"),
    Expectation("3", "deny-after-login", "redirects with access_denied"),
    Expectation("3", "error-page", "400, HTML, #oauth-error holds the code"),
    Expectation("3", "session", "with one, consent is shown or the redirect comes at once"),
    Expectation("3", "cookies", "Secure, HttpOnly, SameSite=Lax or stricter; a password is enough"),
    Expectation("3", "parallel-browsers", "do not disturb each other, and nobody is locked out"),
    # --- 5 traps of the protocol that no row above states
    Expectation("5", "iss-equals-the-issuer", "exactly, without a trailing slash, on success and on errors"),
    Expectation("5", "state-survives-url-encoding", "128 characters that end in -._~"),
    Expectation("5", "request-object-without-jti", "is accepted, and so is another without typ", signed),
    Expectation("5", "no-alias-of-the-authorization-endpoint", "aliases only of endpoints that exist", any_mtls),
    Expectation("5", "fresh-nonce-is-accepted", "every unexpired nonce, again and again", dpop),
    Expectation("5", "bearer-downgrade", "a bound token is no bearer token"),
    Expectation("5", "no-certificate-on-the-normal-port", "is asked for, so that no handshake fails"),
    Expectation("5", "token-responses-are-not-stored", "Cache-Control: no-store"),
    Expectation("5", "id-token-algorithm", "not RS256", openid),
)
EXPECTATIONS: Final[Mapping[str, Expectation]] = MappingProxyType({row.name: row for row in _ROWS})

# the numbered traps of section 5, and where each is a row; None is another plan's
TRAPS: Final[Mapping[int, tuple[str, ...] | None]] = MappingProxyType(
    {
        1: ("par-response", "error-responses"),
        2: ("par-ensure-pkce-required", "par-plain-pkce-rejected", "ensure-unsigned-request-at-par-endpoint-fails"),
        3: ("error-responses", "dpop-negative-tests", "happy-flow"),
        4: ("refresh-token-after-30-seconds", "refresh-token-with-a-new-key"),
        5: (
            "ensure-token-endpoint-fails-with-expired-auth-code",
            "attempt-reuse-authorization-code-after-one-second",
        ),
        6: ("iss-equals-the-issuer", "authorization_response_iss_parameter_supported"),
        7: ("redirect-uri-with-query", "state-survives-url-encoding", "ensure-authorization-request-with-long-state"),
        8: ("duplicates-on-the-authorization-url", "par-without-duplicate-parameters"),
        9: (
            "par-test-array-as-audience-fails",
            "ensure-request-object-with-multiple-aud-succeeds",
            "request-object-without-jti",
        ),
        10: ("par-without-certificate", "dpop-htu-is-the-url-called", "no-alias-of-the-authorization-endpoint"),
        11: ("dpop-negative-tests", "dpop-nonce-at-the-server", "fresh-nonce-is-accepted", "bearer-downgrade"),
        12: ("jwks", "id-token", "jarm-response"),
        13: ("error-responses",),
        14: ("resource-request", "token-responses-are-not-stored"),
        15: ("json-types",),
        16: ("id-token", "ensure-authorization-request-without-nonce-success", "id-token-algorithm"),
        17: ("tls-1.0-and-1.1-are-refused", "tls-1.2-cipher-suites"),
        18: ("no-certificate-on-the-normal-port",),
        19: None,  # CIBA
        20: None,  # the OpenID Provider plans, which need RS256 and flows without PKCE
    }
)


class Deviation(NamedTuple):
    """Where this server is stricter on purpose, or answers in the other of two allowed ways; it is tested as such."""

    row: str
    reason: str


DEVIATIONS: Final = (
    Deviation("dpop-negative-tests", "proof age: a proof of an hour ago is refused though nonces are in use"),
    Deviation("ensure-signed-client-assertion-with-RS256-fails", "no RS256, anywhere"),
    Deviation("id-token-algorithm", "no RS256, anywhere"),
    Deviation("par-test-array-as-audience-fails", "assertions: only the issuer, as a string, at every endpoint"),
    Deviation("no-certificate-on-the-normal-port", "certificates are asked for on the mTLS listener only"),
    *(
        Deviation(row, "a missing certificate is told after a completed handshake, never by a dropped one")
        for row in (
            "ensure-holder-of-key-required",
            "refresh-token-without-client-authentication",
            "refresh-token-without-proof-of-possession",
        )
    ),
    Deviation("mtls-aliases", "ports: 8443 and 8444 instead of 9443 and 9444"),
    Deviation(
        "attempt-reuse-authorization-code-after-one-second",
        "the JWT that was issued works at a resource until it expires; the refresh token is dead at once",
    ),
    *(
        Deviation(row, "an error page instead of a redirect: whom to redirect to is not known for sure")
        for row in (
            "ensure-unsigned-authorization-request-without-using-par-fails",
            "par-attempt-reuse-request_uri",
            "par-attempt-to-use-expired-request_uri",
            "par-attempt-to-use-request_uri-for-different-client",
        )
    ),
)


class Missing(NamedTuple):
    """A capability that is not there yet: its variants cannot be run, and the table says so."""

    capability: str
    concerns: Applies
    advertised_as: str  # the metadata member whose presence proves this entry wrong


NOT_YET: tuple[Missing, ...] = ()

ROWS_NOT_YET: Final[Mapping[str, str]] = MappingProxyType({})  # rows that wait for something alone, and for what


def missing_for(variant: Variant) -> tuple[str, ...]:
    """The capabilities that this variant still waits for."""
    return tuple(missing.capability for missing in NOT_YET if missing.concerns(variant))


def runnable(row: Expectation) -> tuple[Variant, ...]:
    """The variants that a row applies to and that can be run today."""
    if row.name in ROWS_NOT_YET:
        return ()
    return tuple(variant for variant in VARIANTS if row.applies(variant) and not missing_for(variant))
