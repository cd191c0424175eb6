"""The RFC 9728 document and its address."""

from __future__ import annotations

import json

import pytest

from rs_kit.protocol.confirmation import SenderConstraint
from rs_kit.protocol.resource_metadata import ResourceMetadata, check_resource, metadata_path, metadata_url

ISSUER = "https://localhost:8443"
RESOURCE = "https://localhost:8445/mcp"
ALGORITHMS = ["PS256", "ES256", "EdDSA", "Ed25519"]
WELL_KNOWN = "/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("https://rs.example", ""),
        ("https://rs.example/", ""),
        ("https://rs.example/mcp", "/mcp"),
        ("https://rs.example/mcp/", "/mcp/"),
        ("https://rs.example/a/b?c=d", "/a/b?c=d"),
        ("https://rs.example/?c=d", "?c=d"),
    ],
)
@pytest.mark.requirement("PRM-1", proves="holds")
def test_the_well_known_path_stands_between_host_and_path(resource: str, path: str) -> None:
    assert metadata_path(resource) == WELL_KNOWN + path
    assert metadata_url(resource) == "https://rs.example" + WELL_KNOWN + path


def test_the_port_stays_in_the_address() -> None:
    assert metadata_url(RESOURCE) == f"https://localhost:8445{WELL_KNOWN}/mcp"


@pytest.mark.requirement("PRM-4", proves="holds")
def test_the_document_says_that_tokens_must_be_bound_and_how() -> None:
    metadata = ResourceMetadata(
        resource=RESOURCE,
        authorization_servers=(ISSUER,),
        scopes_supported=("accounts:read",),
        resource_name="Ledger",
        more={"resource_documentation": "https://localhost:8445/docs", "resource": "https://evil.example"},
    )
    assert json.loads(json.dumps(metadata.document())) == {
        "resource": RESOURCE,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["accounts:read"],
        "resource_name": "Ledger",
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["PS256", "ES256", "EdDSA", "Ed25519"],
        "dpop_bound_access_tokens_required": True,
        "resource_documentation": "https://localhost:8445/docs",
    }


BINDINGS = {
    SenderConstraint.DPOP: {"dpop_bound_access_tokens_required": True, "dpop_signing_alg_values_supported": ALGORITHMS},
    SenderConstraint.CERTIFICATE: {"tls_client_certificate_bound_access_tokens": True},
    SenderConstraint.EITHER: {
        "tls_client_certificate_bound_access_tokens": True,
        "dpop_signing_alg_values_supported": ALGORITHMS,
    },
}


@pytest.mark.parametrize(("constraint", "members"), BINDINGS.items())
def test_the_document_says_to_what_tokens_are_bound_and_nobody_says_otherwise(
    constraint: SenderConstraint, members: dict[str, object]
) -> None:
    for more in (True, False):
        document = ResourceMetadata(
            resource=RESOURCE,
            authorization_servers=(ISSUER,),
            more={"dpop_bound_access_tokens_required": more, "tls_client_certificate_bound_access_tokens": more},
            sender_constraint=constraint,
        ).document()
        assert {name: value for name, value in document.items() if "dpop" in name or "tls" in name} == members


@pytest.mark.requirement("PRM-5", proves="refused")
def test_what_has_no_value_is_left_out() -> None:
    document = ResourceMetadata(resource=RESOURCE, authorization_servers=[ISSUER], more={"x": [], "y": None}).document()
    assert not {"scopes_supported", "resource_name", "x", "y"} & set(document)


@pytest.mark.parametrize(
    "resource",
    [
        "http://rs.example/mcp",
        "https://rs.example/mcp#x",
        "https://rs.example/mcp#",
        "/mcp",
        "",
        "https://u@rs.example/",
        "HTTPS://rs.example/mcp",
    ],
)
@pytest.mark.requirement("PRM-2", proves="refused")
def test_a_resource_that_is_no_https_url_without_fragment_is_refused(resource: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ResourceMetadata(resource=resource, authorization_servers=(ISSUER,))


@pytest.mark.requirement("PRM-2", proves="holds")
def test_an_https_url_names_a_resource() -> None:
    check_resource(RESOURCE)


@pytest.mark.requirement("PRM-3", proves="refused")
def test_a_resource_without_an_authorization_server_is_refused() -> None:
    with pytest.raises(ValueError, match="authorization_servers"):
        ResourceMetadata(resource=RESOURCE, authorization_servers=())


@pytest.mark.requirement("PRM-3", proves="holds")
def test_the_authorization_servers_are_listed() -> None:
    document = ResourceMetadata(resource=RESOURCE, authorization_servers=(ISSUER, "https://other.example")).document()
    assert document["authorization_servers"] == [ISSUER, "https://other.example"]


@pytest.mark.requirement("PRM-14", proves="refused")
def test_offline_access_is_no_scope_of_a_resource() -> None:
    with pytest.raises(ValueError, match="offline_access"):
        ResourceMetadata(resource=RESOURCE, authorization_servers=(ISSUER,), scopes_supported=("offline_access",))


@pytest.mark.requirement("PRM-4", proves="refused")
@pytest.mark.parametrize("algorithms", [["none"], ["ES256", "none"]])
def test_a_document_that_offers_unsigned_answers_is_not_made(algorithms: list[str]) -> None:
    more = {"resource_signing_alg_values_supported": algorithms}
    with pytest.raises(ValueError, match="none"):
        ResourceMetadata(resource=RESOURCE, authorization_servers=[ISSUER], more=more)
