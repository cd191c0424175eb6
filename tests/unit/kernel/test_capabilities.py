"""What the enabled features add up to; two that claim the same thing stop the start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fapi_as.features import ENABLED
from fapi_as.kernel import capabilities
from fapi_as.kernel.capabilities import ConflictingFeatures
from fapi_as.kernel.messages import EndpointRequest, Json
from fapi_as.kernel.seam import Context, Endpoint, Face, Feature, Grant
from fapi_as.protocol.policy import Policy

POLICY = Policy(tenant="default", issuer="https://as.example")


async def nothing(context: Context, request: EndpointRequest) -> Json:
    return Json(payload={})


def an_endpoint(path: str, member: str | None = None) -> Endpoint:
    return Endpoint(path=path, face=Face.PROTOCOL, methods={"GET": nothing}, metadata_member=member)


def a_grant(grant_type: str) -> Grant[Any]:
    async def load(request: Any, reading: Any) -> None:
        return None

    def rule(request: Any, facts: Any, policy: Any) -> Any:
        raise AssertionError("nobody asks")

    return Grant(grant_type=grant_type, parameters=frozenset(), load=load, rule=rule)


def test_the_token_endpoint_is_there_when_a_grant_is() -> None:
    alone = Feature(name="a", endpoints=(an_endpoint("/a", "a_endpoint"),))
    assert set(capabilities.endpoints((alone,))) == {"/a"}
    granting = Feature(name="g", grants=(a_grant("urn:example:g"),))
    assert set(capabilities.endpoints((alone, granting))) == {"/a", "/token"}


def test_without_a_grant_nothing_is_said_about_tokens() -> None:
    document = capabilities.metadata((Feature(name="a", endpoints=(an_endpoint("/a", "a_endpoint"),)),), POLICY)
    assert document == {"issuer": "https://as.example", "a_endpoint": "https://as.example/a"}


def test_lists_of_several_features_are_merged_and_empty_ones_are_left_out() -> None:
    features = (
        Feature(name="a", metadata={"acr_values_supported": ["x", "y"], "prompt_values_supported": ()}),
        Feature(name="b", metadata={"acr_values_supported": ("y", "z"), "claims_supported": []}),
    )
    assert capabilities.metadata(features, POLICY) == {
        "issuer": "https://as.example",
        "acr_values_supported": ["x", "y", "z"],
    }


@pytest.mark.parametrize(
    "features",
    [
        (Feature(name="a", grants=(a_grant("g"),)), Feature(name="b", grants=(a_grant("g"),))),
        (Feature(name="a", grants=(a_grant("g"), a_grant("g"))),),
    ],
)
def test_two_grants_of_one_type_stop_the_start(features: tuple[Feature, ...]) -> None:
    with pytest.raises(ConflictingFeatures):
        capabilities.grants(features)


@pytest.mark.parametrize("path", ["/a", "/token"])
def test_two_endpoints_at_one_path_stop_the_start(path: str) -> None:
    features = (
        Feature(name="a", grants=(a_grant("g"),), endpoints=(an_endpoint("/a"),)),
        Feature(name="b", endpoints=(an_endpoint(path),)),
    )
    with pytest.raises(ConflictingFeatures):
        capabilities.endpoints(features)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"x_supported": True}, {"x_supported": True}),
        ({"x_supported": True}, {"x_supported": ["y"]}),
        ({"x_supported": ["y"]}, {"x_supported": True}),
        ({"issuer": "https://evil.example"}, {}),
    ],
)
def test_two_values_of_one_member_stop_the_start(one: dict[str, Any], two: dict[str, Any]) -> None:
    with pytest.raises(ConflictingFeatures):
        capabilities.metadata((Feature(name="a", metadata=one), Feature(name="b", metadata=two)), POLICY)


ALIAS = "https://as.example:8444"


@pytest.mark.requirement("FAPI2-NET-11", proves="refused")
@pytest.mark.parametrize("authorities", [False, True])
def test_where_nobody_is_asked_for_certificates_no_alias_is_published(authorities: bool) -> None:
    document = capabilities.metadata(ENABLED, replace(POLICY, client_authorities=authorities))
    assert document["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert not {"mtls_endpoint_aliases", "tls_client_certificate_bound_access_tokens"} & set(document)


@pytest.mark.requirement("FAPI2-DISC-9", proves="refused")
@pytest.mark.parametrize("authorities", [False, True])
def test_certificates_are_published_where_they_are_asked_for(authorities: bool) -> None:
    """What is off is not listed: no alias for a page, and not the method that needs authorities without any."""
    policy = replace(POLICY, client_authorities=authorities, mutual_tls_url=ALIAS)
    document = capabilities.metadata(ENABLED, policy)
    pki = ["tls_client_auth"] if authorities else []
    methods = ["private_key_jwt", *pki, "self_signed_tls_client_auth"]
    assert document["token_endpoint_auth_methods_supported"] == methods
    assert document["tls_client_certificate_bound_access_tokens"] is True
    aliases = document["mtls_endpoint_aliases"]
    assert isinstance(aliases, dict)
    assert aliases["token_endpoint"] == f"{ALIAS}/token"
    assert all(name in document and name.endswith("_endpoint") for name in aliases)
    assert "authorization_endpoint" not in aliases


def test_the_enabled_features_agree() -> None:
    assert set(capabilities.grants(ENABLED)) == {"authorization_code", "refresh_token", "client_credentials"}
    assert {path: endpoint.face for path, endpoint in capabilities.endpoints(ENABLED).items()} == {
        "/authorize": Face.PAGE,
        "/login": Face.PAGE,
        "/consent": Face.PAGE,
        "/logout": Face.PAGE,
        **dict.fromkeys(
            (
                "/par",
                "/token",
                "/userinfo",
                "/register",
                "/register/{client_id}",
                "/jwks",
                "/healthz",
                "/readyz",
                "/.well-known/oauth-authorization-server",
                "/.well-known/openid-configuration",
            ),
            Face.PROTOCOL,
        ),
    }
