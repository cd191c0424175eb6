"""The authorization code flow of FAPI 2.0: pushed requests, PKCE S256, `iss`, codes for 60 seconds."""

from __future__ import annotations

from typing import Final

from fapi_as.features.authorization_code.authorize import AUTHORIZE
from fapi_as.features.authorization_code.push import PUSH
from fapi_as.features.authorization_code.redeem import REDEEM
from fapi_as.kernel.seam import Feature
from fapi_as.protocol.client_message_metadata import RESPONSE_MODES
from rs_kit.protocol.algorithms import ADVERTISED_ALGORITHMS

FEATURE: Final = Feature(
    name="authorization_code",
    grants=(REDEEM,),
    endpoints=(PUSH, AUTHORIZE),
    metadata={
        "response_types_supported": ("code",),  # FAPI2-AZ-1
        "response_modes_supported": RESPONSE_MODES,
        "code_challenge_methods_supported": ("S256",),  # FAPI2-DISC-4
        "authorization_response_iss_parameter_supported": True,  # RFC 9207 §3
        "require_pushed_authorization_requests": True,  # RFC 9126 §5
        "authorization_signing_alg_values_supported": ADVERTISED_ALGORITHMS,  # JARM-9
        "request_parameter_supported": True,  # at /par: MSG-REQ-17
        "request_uri_parameter_supported": False,  # only our own, from /par: RFC 9126 §5
        "request_object_signing_alg_values_supported": ADVERTISED_ALGORITHMS,
        "require_signed_request_object": False,  # of the clients that registered it: RFC 9101 §10.5
    },
)
