"""The client information response: every effective value, and where and with what to manage it (RFC 7591 §3.2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from fapi_as.kernel.messages import EndpointRequest, Json
from fapi_as.kernel.seam import Context
from fapi_as.kernel.sender_constraint import nonce_headers
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_metadata import to_metadata
from rs_kit.protocol.dpop import VerifiedProof

PATH: Final = "/register"


@dataclass(frozen=True, slots=True, kw_only=True)
class Information:
    """What is told beside the metadata; `token` is the registration access token that counts from now on."""

    token: str
    registered_at: int
    statement: str | None
    proof: VerifiedProof | None
    status: HTTPStatus


def information(context: Context, request: EndpointRequest, client: RegisteredClient, told: Information) -> Json:
    """The answer; no secret is ever among it, because none is ever issued (DCR-4)."""
    payload = {
        **to_metadata(client),
        "client_id": client.client_id,
        "client_id_issued_at": told.registered_at,
        "registration_client_uri": context.policy.url(f"{PATH}/{client.client_id}", mutual_tls=request.mutual_tls),
        "registration_access_token": told.token,
    }
    if told.statement is not None:
        payload["software_statement"] = told.statement  # byte for byte (SSA-4)
    headers = () if told.proof is None else nonce_headers(context, told.proof.jkt, request.now)
    return Json(payload=payload, status=told.status, headers=headers)
