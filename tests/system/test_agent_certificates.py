"""An agent with a certificate, over real TLS: where it is shown, what tokens are worth, and what a renewal changes."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from fapi_as.agent import AgentAuth, CertificateNotShown, ClientCertificate, Misconfigured, for_httpx, trust
from fapi_as.agent.errors import MetadataRejected, ServerRefused, TokenRejected
from fapi_as.agent.settings import GrantType
from fapi_as.agent.steps import Answer
from tests.support.agent_peer import CLIENT_KEY, as_json
from tests.support.hostile_place import BANK, SERVER, STRANGER
from tests.support.mutual_place import MUTUAL, CertificateFiles, MutualPlace, certificate_files, mutual_place

BOTH = {"dpop_bound_access_tokens": True}


@pytest.fixture
async def place() -> AsyncIterator[MutualPlace]:
    async with mutual_place() as found:
        yield found


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return certificate_files(tmp_path)


async def calls(place: MutualPlace, certificate: ClientCertificate, number: int = 1, **changes: Any) -> list[int]:
    """How so many calls of one agent with this certificate end."""
    settings = place.bound_to(certificate, **changes)
    async with place.caller(settings, certificate.context) as client:
        return [(await client.post(place.resource)).status_code for _ in range(number)]


# --- where it is shown


@pytest.mark.requirement("FAPI2-CL-7", proves="holds")
@pytest.mark.parametrize("method", ["tls_client_auth", "self_signed_tls_client_auth"])
async def test_a_client_with_a_certificate_goes_to_the_aliases_and_sends_its_name_alone(
    place: MutualPlace, files: CertificateFiles, method: str
) -> None:
    certificate = files.read()
    assert await calls(place, certificate, method=method) == [200]

    assert [one.path for one in place.at(MUTUAL)] == ["/par", "/token"]
    assert {one.certificate for one in place.at(MUTUAL)} == {certificate.thumbprint()}
    assert all(one.form["client_id"] == "agent" for one in place.at(MUTUAL))
    assert not any("client_assertion" in one.form or "dpop" in one.headers for one in place.seen)
    assert not {"/par", "/token"} & {one.path for one in place.at(SERVER)}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_certificate_is_shown_in_both_versions_of_tls_and_renewed_in_both(
    files: CertificateFiles, version: ssl.TLSVersion
) -> None:
    async with mutual_place(version) as place:
        place.keeps_open = True
        certificate = files.read()
        async with place.caller(place.bound_to(certificate), certificate.context) as client:
            assert (await client.post(place.resource)).status_code == 200
            files.issue()
            assert (await client.post(place.resource)).status_code == 200
        assert place.bank_certificates()[-1] == certificate.thumbprint()


@pytest.mark.requirement("FAPI2-CL-7", proves="refused")
@pytest.mark.parametrize("member", ["token_endpoint", "pushed_authorization_request_endpoint"])
async def test_an_alias_on_another_host_than_the_issuer_gets_nothing(
    place: MutualPlace, files: CertificateFiles, member: str
) -> None:
    place.peer.metadata["mtls_endpoint_aliases"][member] = place.stranger.replace("localhost", "127.0.0.1") + "/token"
    with pytest.raises(MetadataRejected, match="another server than the issuer"):
        await calls(place, files.read())
    assert place.at(STRANGER) == []
    assert place.at(MUTUAL, "/token") == []


@pytest.mark.requirement("FAPI2-NET-12", proves="holds")
async def test_all_of_the_back_channel_goes_to_the_aliases_whatever_the_certificate_is_for(
    place: MutualPlace, files: CertificateFiles
) -> None:
    await calls(place, files.read(), method="private_key_jwt", key=CLIENT_KEY, scope=("accounts:read", "openid"))
    assert [one.path for one in place.at(MUTUAL)] == ["/par", "/token"]
    assert all("client_assertion" in one.form for one in place.at(MUTUAL))


@pytest.mark.requirement("FAPI2-NET-12", proves="refused")
async def test_a_client_without_a_certificate_stays_away_from_the_aliases(place: MutualPlace) -> None:
    async with place.caller(place.settings(), place.trust) as client:
        assert (await client.post(place.resource)).status_code == 200
    assert place.at(MUTUAL) == []
    assert {one.certificate for one in place.seen} == {None}


async def test_a_server_without_aliases_is_asked_at_its_only_endpoints(
    place: MutualPlace, files: CertificateFiles
) -> None:
    place.peer.metadata["mtls_endpoint_aliases"] = {}
    place.peer.metadata |= {"token_endpoint": f"{place.alias}/token"}
    with pytest.raises(MetadataRejected):  # it is not called an alias, and on another port
        await calls(place, files.read())
    assert await calls(place, files.read(), endpoint_origins=(place.alias,)) == [200]


@pytest.mark.parametrize("aliases", [7, [], "x", None])
async def test_aliases_that_are_no_object_are_refused(
    place: MutualPlace, files: CertificateFiles, aliases: object
) -> None:
    place.peer.metadata["mtls_endpoint_aliases"] = aliases
    with pytest.raises(MetadataRejected):
        await calls(place, files.read())


async def test_a_stranger_is_shown_no_certificate_unless_the_caller_goes_there(
    place: MutualPlace, files: CertificateFiles
) -> None:
    await calls(place, files.read(), number=2)
    assert place.at(STRANGER) == []
    assert {one.certificate for one in place.at(SERVER)} == {None}  # it does not ask


# --- what the tokens are worth


async def test_a_token_that_is_bound_to_the_certificate_goes_as_bearer_with_it(
    place: MutualPlace, files: CertificateFiles
) -> None:
    certificate = files.read()
    assert await calls(place, certificate, number=2) == [200, 200]
    with_token = [one for one in place.at(BANK, "/mcp") if "authorization" in one.headers]
    assert all(one.headers["authorization"].startswith("Bearer opaque-") for one in with_token)
    assert not any("dpop" in one.headers for one in place.seen)
    assert set(place.bound.values()) == {certificate.thumbprint()}


async def test_a_token_that_is_bound_to_both_goes_with_both(place: MutualPlace, files: CertificateFiles) -> None:
    certificate = files.read()
    place.peer.server_nonce, place.peer.resource_nonce = "nonce-of-the-server", "nonce-of-the-bank"
    assert await calls(place, certificate, **BOTH) == [200]
    last = place.at(BANK, "/mcp")[-1]
    assert last.headers["authorization"].startswith("DPoP opaque-")
    assert "dpop" in last.headers
    assert last.certificate == certificate.thumbprint()


async def test_an_agent_for_itself_may_have_a_certificate_too(place: MutualPlace, files: CertificateFiles) -> None:
    certificate = files.read()
    settings = place.bound_to(certificate)
    for_itself = type(settings)(
        resource=settings.resource,
        identities=settings.identities,
        scope=settings.scope,
        grant_type=GrantType.CLIENT_CREDENTIALS,
    )
    async with place.caller(for_itself, certificate.context) as client:
        assert (await client.post(place.resource)).status_code == 200
    assert [one.path for one in place.at(MUTUAL)] == ["/token"]


@pytest.mark.parametrize(("changes", "sent"), [({}, "DPoP"), ({}, "N_A"), (BOTH, "Bearer"), (BOTH, None)])
async def test_a_token_of_another_type_than_the_binding_is_thrown_away(
    place: MutualPlace, files: CertificateFiles, changes: dict[str, Any], sent: str | None
) -> None:
    place.peer.token_document = {"token_type": sent}
    with pytest.raises(TokenRejected, match="not bound"):
        await calls(place, files.read(), **changes)
    assert place.bank_certificates() == []


async def test_a_server_that_binds_no_token_to_a_certificate_gets_no_request_for_one(
    place: MutualPlace, files: CertificateFiles
) -> None:
    place.peer.metadata["tls_client_certificate_bound_access_tokens"] = False
    with pytest.raises(MetadataRejected, match="does not bind tokens to certificates"):
        await calls(place, files.read())
    assert place.at(MUTUAL) == []


async def test_a_resource_that_takes_only_tokens_with_a_key_gets_no_other(
    place: MutualPlace, files: CertificateFiles
) -> None:
    place.peer.resource_document["dpop_bound_access_tokens_required"] = True
    with pytest.raises(MetadataRejected, match="bound to a key"):
        await calls(place, files.read())
    assert place.at(MUTUAL) == []
    assert await calls(place, files.read(), **BOTH) == [200]


# --- a client that does not show it


async def test_a_bound_token_is_not_sent_by_a_client_that_shows_no_certificate(
    place: MutualPlace, files: CertificateFiles
) -> None:
    certificate = files.read()
    async with httpx2.AsyncClient(verify=certificate.context) as back_channel:
        auth = AgentAuth(place.bound_to(certificate), back_channel=back_channel, authorize=place.authorize)
        async with httpx2.AsyncClient(verify=trust(files.authority), auth=auth) as client:
            with pytest.raises(CertificateNotShown, match=r"verify=certificate\.context"):
                await client.post(place.resource)
        assert place.seen == []
        async with httpx2.AsyncClient(verify=certificate.context, auth=auth) as client:
            assert (await client.post(place.resource)).status_code == 200
        before = len(place.seen)
        async with httpx2.AsyncClient(verify=trust(files.authority), auth=auth) as client:
            with pytest.raises(CertificateNotShown):
                await client.post(place.resource)
    assert len(place.seen) == before


async def test_a_back_channel_that_shows_no_certificate_sends_nothing(
    place: MutualPlace, files: CertificateFiles
) -> None:
    certificate = files.read()
    async with httpx2.AsyncClient(verify=trust(files.authority)) as back_channel:
        auth = AgentAuth(place.bound_to(certificate), back_channel=back_channel, authorize=place.authorize)
        async with httpx2.AsyncClient(verify=certificate.context, auth=auth) as client:
            with pytest.raises(CertificateNotShown):
                await client.post(place.resource)
    assert place.at(MUTUAL) == []


async def test_a_caller_of_httpx_shows_the_certificate_too(
    place: MutualPlace, files: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "httpx", httpx2)  # the library it was forked from
    certificate = files.read()
    async with httpx2.AsyncClient(verify=certificate.context) as back_channel:
        auth = for_httpx(AgentAuth(place.bound_to(certificate), back_channel=back_channel, authorize=place.authorize))
        async with httpx2.AsyncClient(verify=certificate.context, auth=auth) as client:
            assert (await client.post(place.resource)).status_code == 200
        async with httpx2.AsyncClient(verify=trust(files.authority), auth=auth) as client:
            with pytest.raises(CertificateNotShown):
                await client.post(place.resource)


async def test_a_redirect_takes_no_bearer_token_along(place: MutualPlace, files: CertificateFiles) -> None:
    certificate = files.read()
    settings = place.bound_to(certificate)
    async with httpx2.AsyncClient(verify=certificate.context) as back_channel:
        auth = AgentAuth(settings, back_channel=back_channel, authorize=place.authorize)
        async with httpx2.AsyncClient(verify=certificate.context, auth=auth) as client:
            assert (await client.post(place.resource)).status_code == 200
            place.peer.resource_answers = [Answer(status=307, headers=(("location", "/another-tenant"),))]
            response = await client.post(place.resource)
            assert response.next_request is not None
            assert "authorization" not in response.next_request.headers
            own = {"authorization": "Bearer of-the-caller"}
            await client.get(f"{place.stranger}/x", headers=own)  # a request that is not the agent's business
    assert place.at(STRANGER)[0].headers["authorization"] == "Bearer of-the-caller"


# --- renewal


async def test_a_renewed_certificate_is_shown_without_a_restart_and_the_token_is_renewed_with_it(
    place: MutualPlace, files: CertificateFiles
) -> None:
    certificate = files.read()
    async with place.caller(place.bound_to(certificate), certificate.context) as client:
        assert (await client.post(place.resource)).status_code == 200
        first = certificate.thumbprint()
        files.issue()
        assert (await client.post(place.resource)).status_code == 200
    second = certificate.thumbprint()
    assert first != second
    assert place.bank_certificates() == [first, second]
    assert [one.form["grant_type"] for one in place.at(MUTUAL, "/token")] == ["authorization_code", "refresh_token"]
    assert len(place.peer.visited) == 1  # the person is not asked again


async def test_connections_that_were_kept_open_do_not_outlive_a_renewal(
    place: MutualPlace, files: CertificateFiles
) -> None:
    place.keeps_open = True
    certificate = files.read()
    async with place.caller(place.bound_to(certificate), certificate.context) as client:
        for _ in range(2):
            assert (await client.post(place.resource)).status_code == 200
        assert len({one.connection for one in place.at(BANK, "/mcp")}) == 1
        await asyncio.gather(*(client.post(place.resource) for _ in range(3)))  # several of them
        files.issue()
        for _ in range(4):
            assert (await client.post(place.resource)).status_code == 200
    assert place.bank_certificates()[-1] == certificate.thumbprint()
    assert [one.form["grant_type"] for one in place.at(MUTUAL, "/token")] == ["authorization_code", "refresh_token"]


@pytest.mark.parametrize("half", [{"key": False}, {"certificate": False}])
async def test_a_renewal_that_is_half_done_leaves_the_last_good_certificate(
    place: MutualPlace, files: CertificateFiles, half: dict[str, bool]
) -> None:
    certificate = files.read()
    async with place.caller(place.bound_to(certificate), certificate.context) as client:
        assert (await client.post(place.resource)).status_code == 200
        first = certificate.thumbprint()
        files.issue(**half)
        assert (await client.post(place.resource)).status_code == 200
        assert certificate.thumbprint() == first
        files.private_key.unlink()
        assert certificate.thumbprint() == first
        files.issue()
        assert (await client.post(place.resource)).status_code == 200
    assert place.bank_certificates() == [first, first, certificate.thumbprint()]


# --- what cannot be used


def test_files_that_are_no_certificate_with_its_key_are_refused_by_a_sentence(
    tmp_path: Path, files: CertificateFiles
) -> None:
    other = trustme.CA().issue_cert("other.example")
    odd = tmp_path / "odd.pem"
    for content in (b"", b"nonsense", b"\xff\xfe", other.cert_chain_pems[0].bytes()):
        odd.write_bytes(content)
        with pytest.raises(Misconfigured, match=r"odd\.pem is no certificate that fits its private key"):
            ClientCertificate(odd, files.private_key, authority=files.authority)
        with pytest.raises(Misconfigured):
            ClientCertificate(odd, authority=files.authority)
    with pytest.raises(Misconfigured, match="No such file"):
        ClientCertificate(tmp_path / "missing.pem", authority=files.authority)
    with pytest.raises(OSError, match=r".*"):
        ClientCertificate(files.certificate, files.private_key, authority=tmp_path / "missing.pem")


def test_a_key_with_a_password_asks_nobody(tmp_path: Path, files: CertificateFiles) -> None:
    key = load_pem_private_key(files.private_key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"s3cret")))
    with pytest.raises(Misconfigured):
        ClientCertificate(files.certificate, locked, authority=files.authority)


def test_certificate_and_key_may_be_in_one_file(tmp_path: Path, files: CertificateFiles) -> None:
    one = tmp_path / "both.pem"
    one.write_bytes(files.private_key.read_bytes() + files.certificate.read_bytes())
    assert ClientCertificate(one, authority=files.authority).thumbprint() == files.read().thumbprint()


def test_the_context_of_a_certificate_is_as_strict_as_that_of_an_agent_without_one(files: CertificateFiles) -> None:
    plain, shown = trust(files.authority), files.read().context
    for context in (plain, shown):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert [suite["name"] for suite in plain.get_ciphers()] == [suite["name"] for suite in shown.get_ciphers()]
    assert plain.verify_flags == shown.verify_flags


async def test_a_refusal_of_the_certificate_is_told_with_the_servers_words(
    place: MutualPlace, files: CertificateFiles
) -> None:
    refusal = as_json(401, {"error": "invalid_client", "error_description": "no such certificate"})
    place.replies[f"{place.alias}/par"] = lambda _: refusal
    with pytest.raises(ServerRefused, match="401 invalid_client: no such certificate"):
        await calls(place, files.read())
