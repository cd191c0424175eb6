"""The numbers of the profile: our value and its ceiling, each beside its clause."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

AUTHORIZATION_CODE_LIFETIME: Final = timedelta(seconds=60)
AUTHORIZATION_CODE_CEILING: Final = timedelta(seconds=60)  # FAPI2-AS-13
AUTHORIZATION_RESPONSE_LIFETIME: Final = timedelta(seconds=120)  # MSG-RSP-3: 60 to 300 s
REQUEST_URI_LIFETIME: Final = timedelta(seconds=90)
REQUEST_URI_FLOOR: Final = timedelta(seconds=5)  # RFC 9126 §2.2
REQUEST_URI_CEILING: Final = timedelta(seconds=599)  # FAPI2-AZ-15: less than 600 s
INTERACTION_LIFETIME: Final = timedelta(minutes=10)  # product.md: opening starts an interaction
SESSION_LIFETIME: Final = timedelta(hours=8)
SESSION_CEILING: Final = timedelta(hours=24)
SESSION_IDLE: Final = timedelta(minutes=15)  # LOG-14
ACCESS_TOKEN_LIFETIME: Final = timedelta(minutes=5)
ACCESS_TOKEN_CEILING: Final = timedelta(minutes=10)  # DPOP-AS-17, AT-15
ID_TOKEN_LIFETIME: Final = timedelta(minutes=5)  # OIDC-34: ten at most
REFRESH_TOKEN_LIFETIME: Final = timedelta(days=30)  # absolute: RT-3
REFRESH_TOKEN_CEILING: Final = timedelta(days=365)
REFRESH_TOKEN_IDLE: Final = timedelta(days=14)  # RT-3: without a use; each use moves it
REFRESH_TOKEN_IDLE_GRAIN: Final = timedelta(hours=1)  # a use that would move it by less writes nothing
CLIENT_ASSERTION_CEILING: Final = timedelta(seconds=300)  # PKJ-5
REQUEST_OBJECT_AGE: Final = timedelta(minutes=60)  # MSG-REQ-3: since nbf
REQUEST_OBJECT_LIFETIME: Final = timedelta(minutes=60)  # MSG-REQ-4: from nbf to exp
CLOCK_AHEAD: Final = timedelta(seconds=30)  # FAPI2-AS-15/16: 10 s accepted, more than 60 s refused; we stop at 30 s
CLOCK_STEP_LEEWAY: Final = timedelta(seconds=10)  # what our clock may be set back without ending a handle, TIM-02
EXPIRY_LEEWAY: Final = timedelta(seconds=10)  # FAPI2-AS-17: others' JWTs only
DPOP_PROOF_AGE: Final = timedelta(seconds=60)  # DPOP-12
DPOP_PROOF_AGE_CEILING: Final = timedelta(seconds=300)  # DPOP-12
JWKS_MAX_AGE: Final = timedelta(seconds=60)  # MET-05
JWKS_MAX_AGE_CEILING: Final = timedelta(minutes=5)  # JOSE-33: nobody keeps a set for longer
SIGNING_KEY_PUBLISHED_BEFORE_USE: Final = timedelta(minutes=6)  # JOSE-34; JOSE-33: a set is kept for 5 min at most
SIGNING_KEY_KEPT_AFTER_USE: Final = timedelta(minutes=15)  # JOSE-34: longer than the longest access token lives
DECISION_DEADLINE: Final = timedelta(seconds=30)  # TIM-09: half of what a code lives; what was held longer is void
DPOP_NONCE_WINDOW: Final = timedelta(seconds=120)  # current and previous window are accepted: DPOP-13

REQUEST_BODY_LIMIT: Final = 64 * 1024  # bytes, P7 of the attack catalogue
PARAMETER_LIMIT: Final = 64  # P7
STATE_LIMIT: Final = 4096  # characters, FAPI2-AZ-18
NONCE_LIMIT: Final = 256  # characters, FAPI2-AZ-17
LOGIN_HINT_LIMIT: Final = 256  # characters, as a user name on the sign-in page
ACR_VALUES_LIMIT: Final = 1024  # characters, PAR-21
CLAIMS_PARAMETER_LIMIT: Final = 4096  # characters, OIDC-10
SUBJECT_LIMIT: Final = 255  # characters, OpenID Connect Core §2
ID_TOKEN_HINT_LIMIT: Final = 4096  # characters; an ID token of ours has less than 2000
LOGOUT_STATE_LIMIT: Final = 1024  # characters: it goes through a URL twice
SCOPE_LIMIT: Final = 64  # scope values in one request
RESOURCE_LIMIT: Final = 8  # resource parameters in one push
PUSHED_REQUESTS_LIMIT: Final = 5000  # of one client within the lifetime of a request_uri, PAR-24
OPENINGS_LIMIT: Final = 50  # of one request_uri, EXH-05: reloads and tabs, and not a store full of interactions
CLIENT_DOCUMENT_LIMIT: Final = 10 * 1024  # bytes, CIMD-9
CLIENT_DOCUMENT_FLOOR: Final = timedelta(minutes=5)  # CIMD-7, CIM-12: kept for so long at least
CLIENT_DOCUMENT_CEILING: Final = timedelta(hours=24)
CLIENT_DOCUMENT_KEYS_CEILING: Final = timedelta(minutes=5)  # JOSE-33: where the keys stand in the document itself
SIGNED_REGISTRATION_CEILING: Final = timedelta(minutes=5)  # SSA-7: from iat to exp
SOFTWARE_STATEMENT_LIMIT: Final = 16 * 1024  # characters
SOFTWARE_STATEMENT_CEILING: Final = timedelta(days=366)  # SSA-1: from iat to exp
PENDING_CLIENT_LIFETIME: Final = timedelta(hours=24)  # DCR-16: registered and never used
UNUSED_CLIENT_LIFETIME: Final = timedelta(days=90)  # DCR-16: since its last use, and without a live grant
UNUSED_CLIENT_GRAIN: Final = timedelta(days=1)  # a use that would move the end by less writes nothing
UNFINISHED_REGISTRATION: Final = timedelta(minutes=10)  # one that is younger makes no room for another
REGISTRATIONS_PER_SOURCE: Final = 600
REGISTRATIONS_WINDOW: Final = timedelta(hours=1)
UPDATES_PER_CLIENT: Final = 120  # within that window: each is told of, and every worker reads its clients anew
CLIENTS_PER_DAY_WINDOW: Final = timedelta(days=1)
CLIENT_ASSERTION_LIMIT: Final = 8 * 1024  # characters, PKJ-12
REQUEST_OBJECT_LIMIT: Final = 32 * 1024  # characters: a state of full length, and half of a body

SIGN_IN_ATTEMPTS_PER_ACCOUNT: Final = 5
SIGN_IN_ACCOUNT_WINDOW: Final = timedelta(minutes=15)
SIGN_IN_ATTEMPTS_PER_SOURCE: Final = 20
SIGN_IN_SOURCE_WINDOW: Final = timedelta(minutes=1)

FAILED_AUTHENTICATIONS_LIMIT: Final = 100  # of one (client_id, source), CA-6
FAILED_AUTHENTICATIONS_WINDOW: Final = timedelta(minutes=1)
REFUSALS_TOLD_PER_SOURCE: Final = 100  # as facts of their own, of a source or of a client: docs/decisions 0012, 0017
REFUSALS_TOLD_IN_ALL: Final = 1000
REFUSAL_REASONS_PER_SOURCE: Final = 16
REFUSALS_WINDOW: Final = timedelta(minutes=1)

ACR_PASSWORD: Final = "urn:fapi-as:acr:password"  # noqa: S105 - an identifier, product.md
ACR_OFFERED: Final = (ACR_PASSWORD,)  # what a sign-in can reach here
