"""Who an agent is before an issuer knows it: what it asks to be registered as, and who speaks for it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from fapi_as.agent.address import is_on_this_machine, secure
from fapi_as.agent.errors import Misconfigured
from fapi_as.agent.identity import GrantType, Identity
from rs_kit.protocol import base64url, strict_json
from rs_kit.protocol.jws import SigningKey
from rs_kit.protocol.secret import Secret
from rs_kit.protocol.strict_json import InvalidJson

UNREGISTERED: Final = ""  # the client_id of an identity that no server knows yet
_NOT_ASKED: Final = frozenset(
    {"client_id", "client_secret", "client_secret_expires_at", "client_id_issued_at", "software_statement"}
    | {"registration_access_token", "registration_client_uri"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registrant:
    """An issuer that may be believed although nobody registered the agent there, and how it gets itself known.

    Args:
        identity: what the agent will be there, with the `client_id` UNREGISTERED, for which the server has another.
        grant_type: how it will get its tokens.
        metadata: members of RFC 7591 §2 beside those that follow from the identity, which they override.
        software_statement: what an authority says about the agent, for this issuer and no other.
        initial_access_token: what this issuer's operator gave it.
        client_id_metadata_document: where the agent's own metadata document is, which is its `client_id` at issuers
            that take one.
        proof_key: the key that the statement or the token is bound to, which the registration then is as well; a fresh
            one when it is None.
        signed: the request is signed with the identity's key, as the software that `software_id` names.

    Raises:
        Misconfigured: what does not fit together; a statement for another issuer among it.
        InsecureAddress: the metadata document is at no https address.
    """

    identity: Identity
    grant_type: GrantType = GrantType.AUTHORIZATION_CODE
    metadata: Mapping[str, object] = field(default_factory=dict)
    software_statement: Secret | None = None
    initial_access_token: Secret | None = None
    client_id_metadata_document: str | None = None
    proof_key: SigningKey | None = None
    signed: bool = False

    def __post_init__(self) -> None:
        if self.identity.client_id != UNREGISTERED:
            raise Misconfigured("who has a client_id is registered already: give it as an identity")
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))
        reserved = _NOT_ASKED & self.metadata.keys()
        if reserved:
            raise Misconfigured(f"{min(reserved)} is nothing that a client asks to be registered as")
        if self.grant_type is GrantType.AUTHORIZATION_CODE and self.identity.redirect_uri is None:
            raise Misconfigured("the code flow needs a redirect_uri for every registrant")
        if self.software_statement is not None and self.initial_access_token is not None:
            raise Misconfigured("one approval is enough: a software statement or an initial access token")
        if self.signed and (self.identity.key is None or "software_id" not in self.asked()):
            raise Misconfigured("a signed registration needs the agent's key and the software_id")
        if self.client_id_metadata_document is not None and not secure(
            self.client_id_metadata_document, "client ID metadata document"
        ).path.strip("/"):
            raise Misconfigured("a client ID metadata document has a path")
        self._check_statement()

    def _check_statement(self) -> None:
        """What one issuer is shown it could show to another: a statement that names whom it is for stays there."""
        if self.software_statement is None:
            return
        audience = self.said().get("aud", self.issuer)
        if self.issuer not in (audience if isinstance(audience, list) else [audience]):
            raise Misconfigured(f"the software statement is for another issuer than {self.issuer}")

    @property
    def issuer(self) -> str:
        """Where all of this counts, and nowhere else."""
        return self.identity.issuer

    @property
    def name(self) -> str:
        """What tells this agent from others that keep their registrations in the same place."""
        members = self.said() | dict(self.metadata)
        named = members.get("software_id") or members.get("client_name") or self.client_id_metadata_document
        return named if isinstance(named, str) else ""

    def said(self) -> dict[str, object]:
        """What the software statement says, verified by nobody here.

        Raises:
            Misconfigured: it is no JWT.
        """
        if self.software_statement is None:
            return {}
        try:
            _, claims, _ = self.software_statement.reveal().split(".")
            return strict_json.parse_object(base64url.decode(claims.encode("ascii")))
        except (InvalidJson, ValueError):
            raise Misconfigured("the software statement is no JWT") from None

    def known_as(self, client_id: str) -> Identity:
        """The identity that a registration gives."""
        return replace(self.identity, client_id=client_id)

    def bound_key(self) -> SigningKey | None:
        """The key that a request has to prove because the statement says so, or because it was told."""
        confirmation, key = self.said().get("cnf"), self.identity.key
        if self.proof_key is not None or key is None or not isinstance(confirmation, Mapping):
            return self.proof_key
        return key if confirmation.get("jkt") == key.thumbprint else None

    def asked(self) -> dict[str, object]:
        """The client metadata to ask for; `application_type` is always said (MCP)."""
        identity, by_code = self.identity, self.grant_type is GrantType.AUTHORIZATION_CODE
        members: dict[str, object] = {
            "token_endpoint_auth_method": identity.token_endpoint_auth_method.value,
            "grant_types": ["authorization_code", "refresh_token"] if by_code else [self.grant_type.value],
            "response_types": ["code"] if by_code else [],
            "dpop_bound_access_tokens": identity.proves_key,
            "tls_client_certificate_bound_access_tokens": identity.tls_client_certificate_bound_access_tokens,
        }
        approved = self.said().get("grant_types")
        if by_code and isinstance(approved, list) and "refresh_token" not in approved:
            members["grant_types"] = [self.grant_type.value]
        if by_code:
            members["redirect_uris"] = [identity.redirect_uri]
            members["id_token_signed_response_alg"] = identity.id_token_signed_response_alg
        if identity.key is not None and "jwks_uri" not in self.metadata:
            members["jwks"] = {"keys": [identity.key.public_jwk()]}
        signed = {
            "request_object_signing_alg": identity.request_object_signing_alg,
            "authorization_signed_response_alg": identity.authorization_signed_response_alg,
            "userinfo_signed_response_alg": identity.userinfo_signed_response_alg,
        }
        members |= {name: value for name, value in signed.items() if value is not None}
        if isinstance(software_id := self.said().get("software_id"), str):
            members["software_id"] = software_id
        members |= self.metadata
        return {"application_type": _application_type(members), **members}


def _application_type(members: Mapping[str, object]) -> str:
    uris = members.get("redirect_uris")
    if not isinstance(uris, list) or not uris:
        return "web"  # the default of OpenID Connect Registration §2, said nonetheless
    return "native" if all(isinstance(uri, str) and is_on_this_machine(uri) for uri in uris) else "web"
