"""OpenID Connect under attack: answers without a page, hints of others, and two tenants side by side."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from fapi_as.protocol.effects import HandleKind
from tests.support.browser import Callback, Page
from tests.support.estate import ACME, ROOT, SIGNED_OUT, Estate
from tests.support.fapi_client import FapiClient, Refused, Tokens, error_of
from tests.support.house import PASSWORD, House, callback, page
from tests.support.openid_scene import claims, id_token_of, obtained, opened, relying, signed_in, told
from tests.support.token_scene import claims_of

BOTH_WAYS = pytest.mark.parametrize(("here", "there"), [(ROOT, ACME), (ACME, ROOT)])


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.attack("PAR-21")
@pytest.mark.parametrize("openid", [True, False])
@pytest.mark.parametrize(
    "push",
    [
        {"prompt": "none login"},
        {"max_age": "-1"},
        {"max_age": "1e9999"},
        {"max_age": "9" * 5000},
        {"acr_values": "a" * 10_240},
        {"claims": "[" * 4000},
        {"claims": "[" * 60_000},
        {"claims": '{"id_token":' * 300 + "1" + "}" * 300},
        {"claims": '{"id_token":{"max_age":{"value":1e999}}}'},
        {"claims": '{"id_token":{"sub":{"value":"\\ud800"}}}'},
        {"id_token_hint": "." * 4096},
        {"login_hint": "\x00"},
    ],
)
async def test_parameters_without_measure_are_refused_and_cost_nothing(
    house: House, openid: bool, push: dict[str, str]
) -> None:
    client = relying(house) if openid else house.agent
    if not openid and "id_token_hint" in push:
        assert (await client.push(**push)).request_uri  # nobody looks at it
        return
    with pytest.raises(Refused) as raised:
        await client.push(**push)
    assert raised.value.status in {400, 413}
    assert raised.value.error == "invalid_request"
    assert house.store.handles_of(HandleKind.REQUEST_URI) == ()


@pytest.mark.attack("AUZ-16")
@pytest.mark.parametrize(
    ("session", "push", "error"),
    [
        (False, {}, "login_required"),
        (True, {"scope": "openid email offline_access"}, "consent_required"),
        (True, {"login_hint": "bob"}, "login_required"),
        (True, {"id_token_hint": "bob"}, "login_required"),
        (True, {"claims": claims(userinfo={"sub": {"value": "sub-bob"}})}, "login_required"),
    ],
)
async def test_without_a_page_there_is_an_error_and_never_a_page_or_a_code(
    house: House, session: bool, push: dict[str, str], error: str
) -> None:
    house.user("bob")
    client = relying(house)
    if push.get("id_token_hint") == "bob":
        pushed = await client.push()
        done = await client.authorize(pushed, username="bob", password=PASSWORD, browser=house.browser())
        push = {"id_token_hint": id_token_of(await client.redeem(done, pushed))}
    if session:
        await signed_in(client)
    assert await told(house, client, prompt="none", **push) == error


@pytest.mark.attack("CON-10")
async def test_a_prompt_that_was_pushed_is_not_stripped_and_nothing_sensitive_comes_silently(house: House) -> None:
    client = relying(house, scope="openid accounts:read")
    client.resource = house.agent.resource
    await signed_in(client)
    assert await told(house, client, prompt="none", scope="openid accounts:read transfers:write") == "consent_required"
    pushed = await client.push(prompt="consent")
    with client.lying(authorize={"prompt": "none", "scope": "openid", "max_age": "9999"}):
        place = await client.browser.open(client.authorization_url(pushed))
    assert page(place).has("consent-approve")


@pytest.mark.attack("SES-15")
@pytest.mark.parametrize(
    "hint",
    ['"><script>alert(1)</script>', "x\u202egnp.exe", "\x1b[31mred", "' onfocus=alert(1) autofocus='", "{{7*7}}"],
)
async def test_a_login_hint_is_text_whatever_it_says(house: House, hint: str) -> None:
    client = relying(house)
    login = page(await opened(client, login_hint=hint))
    control = login.form_of("login-submit").control("username")
    assert control is not None
    assert control.value == "".join(character for character in hint if character.isprintable())
    assert "script-src" not in login.response.headers["content-security-policy"]
    assert [len(form.controls) for form in login.forms] == [5]


@pytest.mark.attack("XPA-14")
async def test_no_page_lets_a_hint_or_a_code_leak_to_anybody(house: House) -> None:
    client = relying(house)
    hint = id_token_of(await obtained(client))
    house.change_user("alice")  # another session is asked for, and the page is shown
    client.browser = house.browser()
    await signed_in(client)
    house.change_client("rp", subject_type="pairwise")
    shown = page(await client.browser.open(f"{client.issuer}/logout?{urlencode({'id_token_hint': hint})}"))
    assert shown.has("logout-submit")
    assert "default-src 'none'" in shown.response.headers["content-security-policy"]
    assert "http" not in shown.text.replace(client.issuer, "")


# --- two tenants


async def identity(estate: Estate, client: FapiClient) -> Tokens:
    client.scope, client.resource = "openid profile", None
    return await client.obtain(username="alice", password=PASSWORD)


async def ask(client: FapiClient, tokens: Tokens, at: str) -> Any:
    return await client.call(tokens, f"{at}/userinfo", method="GET")


@BOTH_WAYS
@pytest.mark.attack("XPA-12")
async def test_a_token_of_one_tenant_tells_nothing_at_the_other(estate: Estate, here: str, there: str) -> None:
    worker = estate.worker()
    client, other = estate.client(worker, here), estate.client(worker, there)
    tokens, others = await identity(estate, client), await identity(estate, other)
    assert (await ask(client, tokens, client.issuer)).json()["sub"] == f"subject-{here}"
    assert (await ask(other, others, other.issuer)).json()["sub"] == f"subject-{there}"
    answer = await ask(client, tokens, other.issuer)
    assert (answer.status_code, error_of(answer)) == (401, "invalid_token")
    unknown = Tokens(**{**tokens.__dict__, "access_token": tokens.access_token[:-4] + "AAAA"})
    same = await ask(client, unknown, other.issuer)
    assert (same.status_code, same.content) == (answer.status_code, answer.content)


@BOTH_WAYS
@pytest.mark.attack("XPA-12")
async def test_an_id_token_of_one_tenant_is_no_hint_at_the_other(estate: Estate, here: str, there: str) -> None:
    worker = estate.worker()
    client, other = estate.client(worker, here), estate.client(worker, there)
    hint = id_token_of(await identity(estate, client))
    await identity(estate, other)
    with pytest.raises(Refused) as raised:
        await other.push(id_token_hint=hint)
    assert (raised.value.status, raised.value.error) == (400, "invalid_request")
    query = urlencode({"id_token_hint": hint, "post_logout_redirect_uri": SIGNED_OUT})
    place = await other.browser.open(f"{other.issuer}/logout?{query}", stop_at=SIGNED_OUT)
    assert isinstance(place, Page)
    # of a key that is not ours, like one of a key that we have no more: the person is asked, and sent nowhere
    assert (place.has("logout-submit"), place.has("logout-client")) == (True, False)
    away = await client.browser.open(f"{client.issuer}/logout?{query}", stop_at=SIGNED_OUT)
    assert isinstance(away, Callback)
    still = await other.browser.open(other.authorization_url(await other.push()))
    assert isinstance(still, Page)
    assert still.has("consent-approve")


@BOTH_WAYS
@pytest.mark.attack("XPA-12")
async def test_a_yes_at_one_tenant_is_none_at_the_other(estate: Estate, here: str, there: str) -> None:
    worker = estate.worker()
    client, other = estate.client(worker, here), estate.client(worker, there)
    await identity(estate, client)
    other.scope, other.resource = "openid profile", None
    other.browser = client.browser
    done = callback(await other.browser.open(other.authorization_url(await other.push(prompt="none"))))
    assert (done.code, done.error) == (None, "login_required")
    silent = callback(await client.browser.open(client.authorization_url(await client.push(prompt="none"))))
    assert silent.code is not None


def test_the_keys_of_pairwise_subjects_differ_by_tenant(estate: Estate) -> None:
    worker = estate.worker()
    keys = {context.pairwise_key for context in worker.contexts.values()}
    keys |= {context.browser_key for context in worker.contexts.values()}
    assert len(keys) == 4


@pytest.mark.parametrize("tenant", [ROOT, ACME])
async def test_each_tenant_speaks_of_its_own_people(estate: Estate, tenant: str) -> None:
    worker = estate.worker()
    client = estate.client(worker, tenant)
    found = claims_of(id_token_of(await identity(estate, client)))
    assert (found["iss"], found["sub"], found["aud"]) == (client.issuer, f"subject-{tenant}", "agent")
