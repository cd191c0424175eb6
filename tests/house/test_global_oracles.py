"""The global oracles bite: each is violated once on purpose, and says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from fapi_as.kernel.messages import Answer, EndpointRequest, Json, Page, SeeOther
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.effects import HandleKind, Keep, TakeOnce
from fapi_as.protocol.errors import InvalidClient, InvalidRequest, ProtocolError
from tests.support.fakes import ISSUER, NOW
from tests.support.fixed_texts import is_fixed
from tests.support.house import House
from tests.support.house_oracles import changes
from tests.support.memory_registrations import Registration
from tests.support.memory_store import WrittenFact
from tests.support.oracles import Exchange, Oracles, active, judge_answer, watching

pytest_plugins = ("pytester",)

SECRET = "s" * 43
Plant = Callable[[House, EndpointRequest], Answer]


def fact(request: EndpointRequest, detail: str | None = "planted") -> WrittenFact:
    written = AuditFact(event=AuditEvent.REFUSED, error="invalid_request", detail=detail)
    return WrittenFact(fact=written, stamp=request.stamp)


REGISTRATION = Registration(
    client_id="planted",
    registration='{"redirect_uris":["https://client.example/callback"],"jwks_uri":"https://client.example/jwks",'
    '"token_endpoint_auth_method":"private_key_jwt","client_name":"Planted","scope":"accounts:read"}',
    version=0,
    registered_at=NOW,
    approver="token:planted",
    software_id=None,
    statement=None,
    statement_jti=None,
    token_digest=b"planted",
    previous_token_digest=None,
    token_jkt=None,
    last_used_at=None,
    expires_at=NOW + 60,
)


def keep(kind: HandleKind) -> Keep:
    return Keep(kind=kind, digest=b"planted", payload=b"", usable_until=NOW + 60, delete_after=NOW + 60)


def server_error(house: House, request: EndpointRequest) -> Answer:
    return Json(payload={}, status=500)


def silent_503(house: House, request: EndpointRequest) -> Answer:
    return Json(payload={}, status=503)


def defect(house: House, request: EndpointRequest) -> Answer:
    raise KeyError("planted")


def open_redirect(house: House, request: EndpointRequest) -> Answer:
    return SeeOther(location="https://evil.example/callback")


def look_alike(house: House, request: EndpointRequest) -> Answer:
    return SeeOther(location=f"{ISSUER}.evil.example/callback")


def silent_code(house: House, request: EndpointRequest) -> Answer:
    house.store.rows.handles[HandleKind.CODE, b"planted"] = keep(HandleKind.CODE)
    return Json(payload={})


def silent_spending(house: House, request: EndpointRequest) -> Answer:
    house.store.rows.spent.add((HandleKind.CODE, b"planted"))
    return Json(payload={})


def spending_refusal(house: House, request: EndpointRequest) -> Answer:
    once = TakeOnce(namespace="assertion", digest=b"planted", until=NOW + 60)
    house.store.rows.once[once.namespace, once.digest] = once.until
    raise InvalidRequest("planted")


def silent_client(house: House, request: EndpointRequest) -> Answer:
    house.store.rows.registrations.clients["planted"] = REGISTRATION
    return Json(payload={"registration_access_token": SECRET})


def registering_refusal(house: House, request: EndpointRequest) -> Answer:
    house.store.rows.registrations.uses_left["token:planted"] = 0
    raise InvalidRequest("planted")


def silent_end(house: House, request: EndpointRequest) -> Answer:
    house.store.rows.revoked.add("planted")
    return Json(payload={})


def refusal_without_a_fact(house: House, request: EndpointRequest) -> Answer:
    return Json(payload={"error": "invalid_request", "error_description": "the request is malformed"}, status=400)


def refusal_told_twice(house: House, request: EndpointRequest) -> Answer:
    house.store.rows.facts.append(fact(request))
    raise InvalidRequest("planted")


def refusal_without_a_reason(house: House, request: EndpointRequest) -> Answer:
    house.store.rows.facts.append(fact(request, detail=None))
    return Json(payload={}, status=400)


def secret_in_a_log(house: House, request: EndpointRequest) -> Answer:
    logging.getLogger("fapi_as.planted").error("a message", extra={"body": request.body.decode()})
    return Json(payload={})


def secret_in_a_fact(house: House, request: EndpointRequest) -> Answer:
    house.store.rows.facts.append(fact(request, detail=f"code {SECRET}"))
    return Json(payload={})


def secret_in_an_error(house: House, request: EndpointRequest) -> Answer:
    house.store.rows.facts.append(fact(request))
    return Json(payload={"error": "invalid_request", "error_description": SECRET}, status=400)


def reflected_input(house: House, request: EndpointRequest) -> Answer:
    raise InvalidRequest("planted", f"unknown parameter {request.query_string.decode()}")


def too_much_told(house: House, request: EndpointRequest) -> Answer:
    raise InvalidClient("planted", "the client is unknown")


def page_of_its_own(house: House, request: EndpointRequest) -> Answer:
    house.store.rows.facts.append(fact(request))
    values = {"error": "invalid_request", "error_description": "it is <b>", "correlation_id": "one"}
    return Page(template="error.html", status=400, values=values)


def broken_afterwards(house: House, request: EndpointRequest) -> Answer:
    del house.endpoints["/par"].methods["POST"]  # type: ignore[attr-defined] # a dict here
    return Json(payload={})


PLANTS: dict[Plant, str] = {
    server_error: "(a)",
    silent_503: "(a)",
    defect: "(a) a defect behind a 503",
    open_redirect: "(b)",
    look_alike: "(b)",
    silent_code: "(c) POST /planted → 200: 1 code minted, 0 told",
    silent_spending: "(c) POST /planted → 200: 1 code spent, 0 told",
    spending_refusal: "(c) POST /planted → 400: a refusal has used up",
    silent_client: "(c) POST /planted → 200: 1 clients registered, 0 told",
    registering_refusal: "(c) POST /planted → 400: a refusal has changed a registration",
    silent_end: "(c)",
    refusal_without_a_fact: "(d) POST /planted → 400: 0 facts",
    refusal_told_twice: "(d) POST /planted → 400: 2 facts",
    refusal_without_a_reason: "(d) a refusal without a reason",
    secret_in_a_log: "(e) a secret in a log",
    secret_in_a_fact: "(e) a secret in a fact",
    secret_in_an_error: "(e) POST /planted → 400: a secret in the error",
    reflected_input: "(g)",
    too_much_told: "(g)",
    page_of_its_own: "(g)",
    broken_afterwards: "(f)",
}


def planted(plant: Plant) -> House:
    house = House()

    async def handle(_: Context, request: EndpointRequest) -> Answer:
        return plant(house, request)

    face = Face.PAGE if plant is page_of_its_own else Face.PROTOCOL
    par = house.endpoints["/par"]
    house.endpoints = {
        **house.endpoints,
        "/par": replace(par, methods=dict(par.methods)),
        "/planted": Endpoint(path="/planted", face=face, methods={"POST": handle}),
    }
    return house


def _judged(oracles: Oracles) -> str:
    with pytest.raises(AssertionError) as raised:
        oracles.judge()
    return str(raised.value)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_each_oracle_notices_its_violation(plant: Plant, run: Callable[[House], None]) -> None:
    with watching() as watch:
        run(planted(plant))
    assert PLANTS[plant] in _judged(watch)


@pytest.fixture
def run() -> Callable[[House], None]:
    def once(house: House) -> None:
        async def post() -> None:
            await house.http.post(f"{ISSUER}/planted?evil<script>", data={"code": SECRET})

        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(post())
        finally:
            loop.close()

    return once


async def test_an_honest_flow_violates_nothing() -> None:
    with watching() as watch:
        house = House()
        place = await house.asked()
        await house.agent.browser.submit(place, "consent-approve")
    assert len(watch.exchanges[id(house)]) >= 4
    assert watch.problems == []
    assert len(watch.secrets) >= 3


async def test_requests_at_the_same_time_are_judged_together() -> None:
    with watching() as watch:
        house = House()
        pushed = await asyncio.gather(*(house.agent.push() for _ in range(5)))
    assert len({one.request_uri for one in pushed}) == 5
    assert watch.problems == []


async def test_what_is_declared_is_compared_exactly() -> None:
    house = House()
    with changes(house, mints={HandleKind.REQUEST_URI: 1}):
        await house.agent.push()
    with pytest.raises(AssertionError), changes(house, mints={}, consumes={}):
        await house.agent.push()


def test_every_attack_test_is_watched_without_asking_for_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from tests.conftest import oracles")
    pytester.makepyfile(
        """
        import pytest
        from tests.support.oracles import active

        @pytest.mark.attack("PAR-01")
        def test_quiet():
            assert active() is not None

        @pytest.mark.attack("PAR-01")
        def test_loud():
            active().accuse("planted")

        def test_other():
            assert active() is None
        """
    )
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\nmarkers = attack(id): a case")
    result = pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=1)


def test_an_ordinary_test_is_not_watched() -> None:
    assert active() is None


def test_a_secret_of_an_earlier_request_in_a_later_error_is_noticed() -> None:
    exchange = Exchange(method="POST", target="/token", status=400, body=f'{{"error":"x {SECRET}"}}'.encode())
    assert any(problem.startswith("(e)") for problem in judge_answer(exchange, set(), {SECRET}))


@pytest.mark.parametrize(
    ("error", "said", "fixed"),
    [
        (InvalidClient("x"), InvalidClient.public, True),
        (InvalidRequest("x"), "grant_type is required", True),
        (InvalidRequest("x"), "<script> is required", False),
        (InvalidRequest("x"), "grant_type is required\n", False),
        (InvalidClient("x"), "grant_type is required", False),
    ],
)
def test_a_sentence_is_fixed_or_it_is_not(error: ProtocolError, said: str, fixed: bool) -> None:
    assert is_fixed(error.error, said) is fixed
