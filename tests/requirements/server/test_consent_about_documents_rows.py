"""What a person is told of whoever asks: its name, where it stands, whose word it is, and where the answer goes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fapi_as.features.consent.client_words import client_words, is_assured
from fapi_as.protocol.client import Approval, ClientDescription
from fapi_as.protocol.effects import HandleKind
from tests.support.browser import Callback, Page
from tests.support.document_scene import CLIENT_ID, HOST, LOOPBACKS, DocumentPlace
from tests.support.fapi_client import FapiClient
from tests.support.house import House, page
from tests.support.standing_still import refused_push

NOBODY = (401, "invalid_client")
OPENID = "openid accounts:read"


@pytest.fixture
def place() -> DocumentPlace:
    return DocumentPlace()


async def consent_of(place: DocumentPlace, client: FapiClient | None = None) -> Page:
    return await place.house.asked(client=client or place.agent)


@pytest.mark.requirement("CIMD-10", proves="holds")
async def test_the_page_shows_the_host_of_the_client_and_where_the_answer_goes(place: DocumentPlace) -> None:
    texts = (await consent_of(place)).texts
    assert texts["consent-client"] == f"The assistant ({CLIENT_ID})"
    assert texts["consent-host"] == HOST
    assert texts["consent-redirect"] == HOST
    assert texts["consent-approved"] == f"Nobody. Allow it only if you trust {HOST}"
    assert "consent-this-device" not in texts


@pytest.mark.requirement("CIMD-10", proves="refused")
@pytest.mark.requirement("NAT-1", proves="holds")
@pytest.mark.attack("CON-05")
async def test_an_answer_to_this_device_comes_with_a_warning_and_no_picture_of_others(place: DocumentPlace) -> None:
    logo = f"https://{HOST}/pixel.png?who=alice"
    place.publish(application_type="native", redirect_uris=["http://127.0.0.1/callback"], logo_uri=logo)
    consent = await consent_of(place, place.peer(redirect_uri=LOOPBACKS[0]))
    assert "Any program that runs here" in consent.texts["consent-this-device"]
    assert consent.texts["consent-redirect"] == "127.0.0.1:4711, a program on this device"
    assert logo not in consent.text
    assert "<img" not in consent.text
    policy = consent.response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert HOST not in policy
    assert logo not in place.fetch.asked


@pytest.mark.attack("CON-05")
@pytest.mark.parametrize("member", ["logo_uri", "policy_uri", "tos_uri", "client_uri"])
@pytest.mark.parametrize(
    "value", ["javascript:alert(1)", "data:image/png;base64,AA==", "http://10.0.0.1/logo.png", "//agents.example/a", 1]
)
async def test_a_document_with_a_link_that_is_no_public_https_url_is_none(
    place: DocumentPlace, member: str, value: object
) -> None:
    place.publish(**{member: value})
    assert await refused_push(place.house, client=place.agent) == NOBODY


@pytest.mark.requirement("NAT-1", proves="refused")
@pytest.mark.parametrize("application_type", ["web", ..., "desktop", None, 1])
async def test_only_who_says_to_be_native_is_answered_on_this_device(
    place: DocumentPlace, application_type: object
) -> None:
    place.publish(application_type=application_type, redirect_uris=["http://127.0.0.1/callback"])
    assert await refused_push(place.house, client=place.peer(redirect_uri=LOOPBACKS[0])) == NOBODY


@pytest.mark.requirement("LOG-22", proves="holds")
async def test_the_page_says_all_that_a_person_decides_on(house: House) -> None:
    client = house.store.clients["agent"]
    house.change_client(
        approval=None, description=replace(client.description, client_uri="https://www.publisher.example/about")
    )
    house.change_client(scope=client.scope | {"openid", "profile"})
    house.agent.scope = "accounts:read openid profile"
    consent = await house.asked()
    texts = consent.texts
    assert texts["consent-client"] == "The agent (agent)"
    assert texts["consent-publisher"] == "www.publisher.example"
    assert texts["consent-approved"] == "the operator of this service"
    assert texts["consent-redirect"] == "client.example"
    assert texts["consent-username"] == "alice"
    assert texts["consent-duration"] == "30 days"
    assert "See your balances" in consent.text
    assert "https://bank.example/mcp" in consent.text
    assert "consent-identity" in consent.text
    kinds = [control.kind for form in consent.forms for control in form.controls]
    assert "checkbox" not in kinds  # nothing is ticked beforehand, because nothing can be
    approve, deny = consent.text.index('id="consent-approve"'), consent.text.index('id="consent-deny"')
    assert consent.text[approve:deny].count("<button") == 1  # side by side


@pytest.mark.requirement("LOG-22", proves="refused")
async def test_nobody_is_said_to_be_approved_or_published_by_whom_nobody_asked(place: DocumentPlace) -> None:
    place.publish(
        client_name="Bank (approved by the operator of this service)",
        client_uri="https://bank.example/",
        contacts=["security@bank.example"],
    )
    texts = (await consent_of(place)).texts
    assert texts["consent-approved"].startswith("Nobody.")
    assert "consent-publisher" not in texts  # it names a host that the answer does not go to
    place.publish(client_uri=f"https://{HOST}/about")
    place.forget()
    assert (await consent_of(place)).texts["consent-publisher"] == HOST


@pytest.mark.parametrize(
    ("approver", "words"),
    [
        ("https://authority.example:8443/trust", "authority.example:8443"),
        ("token:abc", "a registration token of this service"),
    ],
)
def test_whose_approval_it_is_that_a_client_has_is_said(house: House, approver: str, words: str) -> None:
    client = replace(
        house.store.clients["agent"],
        approval=Approval(approver=approver, version=1),
        description=ClientDescription(client_uri="https://elsewhere.example/"),
    )
    shown = client_words(client, client.redirect_uris[0], ())
    assert (shown["approved_by"], shown["publisher"]) == (words, None)
    assert is_assured(client, client.redirect_uris[0])


# --- in whose language


NAMES = (("fr", "L'assistant"), ("de-AT", "Der Assistent"))


@pytest.mark.parametrize(
    ("field", "name", "language"),
    [
        ("fr-CH, fr;q=0.9, en;q=0.8", "L'assistant", "fr-CH"),
        ("de-at", "Der Assistent", "de-at"),
        ("de", "The agent", None),
        ("it, fr;q=0.2", "L'assistant", "fr"),
        ("<script>", "The agent", None),
        ("", "The agent", None),
    ],
)
async def test_the_name_is_shown_in_the_language_of_the_browser(
    house: House, field: str, name: str, language: str | None
) -> None:
    house.change_client(description=ClientDescription(names=NAMES))
    house.http.headers["accept-language"] = field
    consent = await house.asked()
    assert consent.texts["consent-client"] == f"{name} (agent)"
    assert (f'lang="{language}"' in consent.text) == (language is not None)
    answer = await house.agent.browser.submit(consent, "consent-approve")
    assert isinstance(answer, Callback)
    assert answer.code


async def test_whoever_was_asked_in_one_language_is_not_taken_at_its_word_in_another(house: House) -> None:
    house.change_client(description=ClientDescription(names=NAMES))
    house.http.headers["accept-language"] = "fr"
    consent = await house.asked()
    house.http.headers["accept-language"] = "de-AT"
    again = page(await house.agent.browser.submit(consent, "consent-approve"))
    assert again.texts["consent-client"] == "Der Assistent (agent)"
    assert house.store.handles_of(HandleKind.CODE) == ()


# --- asked each time


async def said_yes(house: House, client: FapiClient) -> None:
    consent = await house.asked(client=client)
    assert isinstance(await client.browser.submit(consent, "consent-approve"), Callback)


async def without_a_page(client: FapiClient) -> Callback:
    """What a client gets that wants no page."""
    pushed = await client.push(prompt="none")
    place = await client.browser.open(client.authorization_url(pushed), stop_at=pushed.redirect_uri)
    assert isinstance(place, Callback)
    return place


@pytest.mark.requirement("NAT-3", proves="holds")
async def test_an_earlier_yes_counts_for_whom_the_operator_knows_and_answers_over_tls(house: House) -> None:
    house.change_client(scope=house.store.clients["agent"].scope | {"openid"}, application_type="native")
    house.agent.scope = OPENID
    await said_yes(house, house.agent)
    assert (await without_a_page(house.agent)).code


@pytest.mark.requirement("NAT-3", proves="refused")
async def test_what_answers_to_a_port_of_this_device_is_asked_about_each_time(house: House) -> None:
    native = house.client("native", application_type="native", redirect_uris=["http://127.0.0.1/cb"])
    house.change_client("native", scope=house.store.clients["native"].scope | {"openid"})
    native.scope, native.redirect_uri = OPENID, "http://127.0.0.1:50123/cb"
    for _ in range(2):
        await said_yes(house, native)
        assert (await without_a_page(native)).error == "consent_required"
    assert house.store.handles_of(HandleKind.CONSENT) == ()


@pytest.mark.requirement("CIMD-13", proves="refused")
async def test_a_document_that_nobody_vouches_for_is_asked_about_each_time(place: DocumentPlace) -> None:
    place.agent.scope = OPENID
    for _ in range(2):
        await said_yes(place.house, place.agent)
        assert (await without_a_page(place.agent)).error == "consent_required"
    assert place.house.store.handles_of(HandleKind.CONSENT) == ()
