"""OpenID Connect: the userinfo endpoint and what discovery says; ID tokens come with codes and refresh tokens."""

from __future__ import annotations

from typing import Final

from fapi_as.features.openid.userinfo import USERINFO
from fapi_as.kernel.seam import Feature
from fapi_as.protocol.openid_claims import CLAIMS_SUPPORTED
from fapi_as.protocol.openid_request import PROMPTS
from fapi_as.protocol.profile import ACR_OFFERED
from fapi_as.protocol.userinfo_resource import IDENTITY_SCOPES
from rs_kit.protocol.algorithms import ADVERTISED_ALGORITHMS

FEATURE: Final = Feature(
    name="openid",
    endpoints=(USERINFO,),
    metadata={
        "scopes_supported": tuple(IDENTITY_SCOPES),
        "subject_types_supported": ("public", "pairwise"),
        "id_token_signing_alg_values_supported": ADVERTISED_ALGORITHMS,  # RS256 is not among them: FAPI2-CR-2
        "userinfo_signing_alg_values_supported": ADVERTISED_ALGORITHMS,
        "acr_values_supported": ACR_OFFERED,
        "claims_supported": CLAIMS_SUPPORTED,
        "claims_parameter_supported": True,
        "prompt_values_supported": PROMPTS,
    },
)
