"""2.5: what must fail with DPoP, and the extras that must not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
import pytest_asyncio

from tests.expectations.answers import Tokens
from tests.expectations.certification import Certification
from tests.expectations.checks import refused
from tests.expectations.conforming_client import ConformingClient
from tests.support.fapi_client import error_of
from tests.support.peer_keys import PeerKey, as_json, b64

BINDING: Final = ("invalid_request", "invalid_grant", "invalid_dpop_proof")


@pytest.mark.expectation("ensure-mismatched-dpop-jkt-fails")
async def test_a_proof_at_par_by_another_key_than_dpop_jkt_is_refused(client: ConformingClient) -> None:
    parameters, _ = client.parameters(dpop_jkt=PeerKey.es256().thumbprint)
    response = await client.push_parameters(parameters, proves=True)
    refused(response, "invalid_request", "invalid_dpop_proof")


@pytest.mark.expectation("ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt")
async def test_a_code_bound_by_a_proof_at_par_is_not_redeemed_with_another_key(
    suite: Certification, client: ConformingClient
) -> None:
    pushed = await client.push(how={"key": PeerKey.es256(), "proves": True})
    authorized = await client.authorize(pushed, person=suite.person)
    refused(await client.redeem(authorized, pushed, key=PeerKey.es256()), *BINDING)


@pytest.mark.expectation("ensure-token-endpoint-fails-with-mismatched-dpop-jkt")
async def test_a_code_bound_by_dpop_jkt_is_not_redeemed_with_another_key(
    suite: Certification, client: ConformingClient
) -> None:
    pushed = await client.push(dpop_jkt=PeerKey.es256().thumbprint)
    authorized = await client.authorize(pushed, person=suite.person)
    refused(await client.redeem(authorized, pushed, key=PeerKey.es256()), *BINDING)


# --- `dpop-negative-tests`: one login, then case by case at the resource


@dataclass(frozen=True)
class Scene:
    """A client with a token and a nonce of the resource."""

    client: ConformingClient
    tokens: Tokens

    def proof(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        said = {"access_token": self.tokens.access_token, "key": self.tokens.key, "header": header} | claims
        return self.client.proof("GET", self.client.resource, **said)

    def parts(self) -> list[str]:
        return self.proof().split(".")

    @property
    def key(self) -> PeerKey:
        assert self.tokens.key is not None
        return self.tokens.key


def _renamed(scene: Scene) -> str:
    """`alg` under another name, as the suite does; the signature breaks with it."""
    first, second, signature = scene.parts()
    header = {"typ": "dpop+jwt", "notalg": "ES256", "jwk": scene.key.jwk()}
    assert first
    return f"{b64(as_json(header))}.{second}.{signature}"


def _unsigned(scene: Scene) -> str:
    _, second, _ = scene.parts()
    header = b64(as_json({"typ": "dpop+jwt", "alg": "none", "jwk": scene.key.jwk()}))
    return f"{header}.{second}."


def _broken(scene: Scene) -> str:
    first, second, signature = scene.parts()
    turned = ("B" if signature[0] == "A" else "A") + signature[1:]
    return f"{first}.{second}.{turned}"


def _by_rs256(scene: Scene) -> str:
    key = PeerKey(PeerKey.ps256(2048, index=8).private, "RS256")
    return scene.proof({"alg": "RS256", "jwk": key.jwk()}, key=key)


Made = Callable[[Scene], list[str]]
REJECTED: Final[dict[str, Made]] = {
    "two headers": lambda scene: [scene.proof(), scene.proof()],
    "two parts": lambda scene: [".".join(scene.parts()[:2])],
    "no typ": lambda scene: [scene.proof({"typ": ...})],
    "no alg": lambda scene: [_renamed(scene)],
    "no jwk": lambda scene: [scene.proof({"jwk": ...})],
    "no jti": lambda scene: [scene.proof(jti=...)],
    "no htm": lambda scene: [scene.proof(htm=...)],
    "no htu": lambda scene: [scene.proof(htu=...)],
    "no iat": lambda scene: [scene.proof(iat=...)],
    "no ath": lambda scene: [scene.proof(ath=...)],
    "wrong typ": lambda scene: [scene.proof({"typ": "JWT"})],
    "RS256": lambda scene: [_by_rs256(scene)],
    "none": lambda scene: [_unsigned(scene)],
    "broken signature": lambda scene: [_broken(scene)],
    "private jwk": lambda scene: [scene.proof({"jwk": scene.key.private_jwk()})],
    "htm PUT": lambda scene: [scene.proof(htm="PUT")],
    "another htu": lambda scene: [scene.proof(htu=scene.client.resource + "ohnonotagain")],
    "iat an hour ago": lambda scene: [scene.proof(iat=scene.client.now() - 3600)],
    "iat in an hour": lambda scene: [scene.proof(iat=scene.client.now() + 3600)],
    "wrong ath": lambda scene: [scene.proof(ath=b64(bytes(32)))],
    "no header": lambda scene: [],
}
ACCEPTED: Final[dict[str, Made]] = {
    "htu with query and fragment": lambda scene: [scene.proof(htu=scene.client.resource + "?query=1#fragment")],
    "extra header and claims": lambda scene: [
        scene.proof({"extra": "x", "more": {"a": [1]}}, extra="y", other={"b": 2})
    ],
    "htu in upper case": lambda scene: [
        scene.proof(htu=scene.client.resource.replace("https://localhost", "HTTPS://LOCALHOST"))
    ],
}


@pytest_asyncio.fixture(loop_scope="session")
async def scene(suite: Certification, client: ConformingClient) -> Scene:
    tokens = await suite.tokens(client)
    assert (await client.call(tokens)).status_code == 200  # after all that other tests did; and the nonce is known
    return Scene(client, tokens)


@pytest.mark.expectation("dpop-negative-tests")
@pytest.mark.parametrize("case", REJECTED)
async def test_a_bad_proof_is_refused_at_the_resource(scene: Scene, case: str) -> None:
    response = await scene.client.call(scene.tokens, proof=lambda url: REJECTED[case](scene))
    assert response.status_code in (400, 401), response.text
    assert error_of(response) != "use_dpop_nonce"  # which would be a reason for everything


@pytest.mark.expectation("dpop-negative-tests")
async def test_a_proof_by_another_key_is_refused_at_the_resource(scene: Scene) -> None:
    other = PeerKey.es256()
    stolen = Tokens(answer=scene.tokens.answer, key=other, response=scene.tokens.response)
    # the first answer gives the key a nonce of its own, so that the second one is about the key
    response = await scene.client.call(stolen)
    assert response.status_code == 401
    assert error_of(response) not in {None, "use_dpop_nonce"}


@pytest.mark.expectation("dpop-negative-tests")
@pytest.mark.parametrize("case", ACCEPTED)
async def test_what_proofs_may_say_besides_is_no_harm(scene: Scene, case: str) -> None:
    assert (await scene.client.call(scene.tokens, proof=lambda url: ACCEPTED[case](scene))).status_code == 200


@pytest.mark.expectation("dpop-negative-tests")
async def test_the_header_may_be_in_capitals(scene: Scene) -> None:
    assert (await scene.client.call(scene.tokens, dpop_header="DPOP")).status_code == 200


@pytest.mark.expectation("dpop-negative-tests")
async def test_the_url_may_have_a_query_that_htu_has_not(scene: Scene) -> None:
    response = await scene.client.call(scene.tokens, query="?page=1", proof=lambda url: [scene.proof()])
    assert response.status_code == 200


@pytest.mark.expectation("dpop-negative-tests")
async def test_a_proof_works_once(scene: Scene) -> None:
    proof = scene.proof()
    statuses = [(await scene.client.call(scene.tokens, proof=lambda url: [proof])).status_code for _ in range(2)]
    assert statuses[0] == 200
    assert statuses[1] in (400, 401)


@pytest.mark.expectation("dpop-negative-tests")
async def test_a_bound_token_is_no_bearer_token(scene: Scene) -> None:
    response = await scene.client.call(scene.tokens, scheme="Bearer", proof=lambda url: [])
    assert response.status_code in (400, 401)
    with_proof = await scene.client.call(scene.tokens, scheme="Bearer", proof=lambda url: [scene.proof()])
    assert with_proof.status_code in (400, 401)
