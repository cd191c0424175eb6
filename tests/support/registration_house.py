"""The whole server over fakes with an authority that it trusts, and clients that register there."""

from __future__ import annotations

from typing import Any, Final

from fapi_as.protocol.authority_registration import parse_authority
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.policy import Policy
from fapi_as.protocol.registration import InitialAccessToken
from fapi_as.protocol.registration_policy import parse_policy
from tests.support.fakes import ISSUER, NOW
from tests.support.house import RESOURCE, SCOPES, House
from tests.support.memory_registrations import Registration
from tests.support.peer_keys import PeerKey
from tests.support.registration_scene import GRANTS, WIDE, Registrant, SoftwareAuthority

MUTUAL_TLS_URL: Final = "https://as.example:8444"
POLICY: Final = Policy(tenant="default", issuer=ISSUER, mutual_tls_url=MUTUAL_TLS_URL)
REGISTER: Final = f"{ISSUER}/register"


class RegistrationHouse(House):
    """A house that trusts `authority`; `trust` changes on what conditions."""

    def __init__(self, *, policy: Policy = POLICY, **what: Any) -> None:
        super().__init__(policy=policy, **what)
        self.authority = SoftwareAuthority()
        self._version = 0
        self.trust(uses_per_statement=1)

    def trust(self, authority: SoftwareAuthority | None = None, **policy: Any) -> SoftwareAuthority:
        """Trust an authority from now on under this policy, whatever it was before."""
        authority, self._version = authority or self.authority, self._version + 1
        members = authority.members(policy=WIDE | policy)
        self.store.approvers.put_authority(parse_authority(members, version=self._version))
        return authority

    def token(self, token_id: str = "invitation", *, uses: int = 1, seconds: int = 3600, **what: Any) -> str:
        """Issue an initial access token; `jkt` binds it, everything else is its policy."""
        self._version += 1
        token, jkt = f"{token_id}-{'x' * 40}", what.pop("jkt", None)
        issued = InitialAccessToken(
            approver=f"token:{token_id}",
            version=self._version,
            policy=parse_policy(WIDE | what),
            jkt=jkt,
            expires_at=self.clock.now() + seconds,
            uses_left=uses,
        )
        self.store.approvers.put_initial_token(digest_of(token), issued)
        return token

    def registrant(self, *, seed: int = 7001, authority: SoftwareAuthority | None = None, **what: Any) -> Registrant:
        """A client that nobody has registered yet."""
        members: dict[str, Any] = {"resource": RESOURCE, "scope": " ".join(sorted(SCOPES)), "now": self.clock.now}
        return Registrant(
            self.http,
            authority=authority or self.authority,
            issuer=self.context.policy.issuer,
            client_key=PeerKey.es256(seed=seed),
            **members | what,
        )

    @property
    def kept(self) -> dict[str, Registration]:
        """What is registered, by client_id."""
        return self.store.rows.registrations.clients


__all__ = ["GRANTS", "ISSUER", "MUTUAL_TLS_URL", "NOW", "POLICY", "REGISTER", "RegistrationHouse"]
