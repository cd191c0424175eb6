"""Every page of every enabled feature, scanned for what protects it."""

from __future__ import annotations

import re
from typing import Final

import pytest

from fapi_as.adapters.web.application import build_application
from fapi_as.kernel import capabilities
from fapi_as.kernel.messages import EndpointRequest, Json
from fapi_as.kernel.seam import Context, Endpoint, Face, Feature
from tests.support.asgi_peer import call
from tests.support.fakes import FrozenClock, context

WHOLE: Final = context()
PAGES: Final = sorted(
    endpoint.path for endpoint in capabilities.endpoints(WHOLE.features).values() if endpoint.face is Face.PAGE
)
TWO_YEARS: Final = 63_072_000


@pytest.mark.requirement("FAPI2-NET-8", proves="holds")
@pytest.mark.parametrize("path", PAGES)
async def test_every_page_has_hsts(path: str) -> None:
    answer = await call(build_application({"": context()}, clock=FrozenClock()), "GET", path)
    found = re.fullmatch(r"max-age=(\d+); includeSubDomains", answer.header("strict-transport-security") or "")
    assert found is not None
    assert int(found[1]) >= TWO_YEARS


@pytest.mark.requirement("BCP-9", proves="holds")
@pytest.mark.parametrize("path", PAGES)
async def test_every_page_forbids_frames(path: str) -> None:
    answer = await call(build_application({"": context()}, clock=FrozenClock()), "GET", path)
    assert answer.header("x-frame-options") == "DENY"
    assert "frame-ancestors 'none'" in (answer.header("content-security-policy") or "")


@pytest.mark.requirement("LOG-19", proves="holds")
@pytest.mark.parametrize("path", PAGES)
async def test_every_page_stays_with_its_reader(path: str) -> None:
    answer = await call(build_application({"": context()}, clock=FrozenClock()), "GET", path)
    assert answer.header("referrer-policy") == "no-referrer"
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("permissions-policy") == "publickey-credentials-get=(self)"
    assert answer.header("cross-origin-opener-policy") == "same-origin"
    assert answer.header("cross-origin-resource-policy") == "same-origin"
    assert answer.header("cache-control") == "no-store"


@pytest.mark.requirement("FAPI2-NET-10", proves="refused")
@pytest.mark.requirement("OA-EP-6", proves="refused")
@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_no_page_can_be_read_from_another_origin(path: str, method: str) -> None:
    asked = {"Origin": "https://other.example", "Access-Control-Request-Method": "POST"}
    answer = await call(build_application({"": context()}, clock=FrozenClock()), method, path, asked)
    assert answer.status >= 400 or method == "GET"
    assert answer.status == 405 or method != "OPTIONS"
    assert not any(name.startswith(b"access-control") for name, _ in answer.pairs)


@pytest.mark.requirement("FAPI2-NET-8", proves="refused")
async def test_no_endpoint_can_weaken_what_every_answer_carries() -> None:
    async def weaken(_: Context, request: EndpointRequest) -> Json:
        return Json(
            payload={"path": request.path},
            headers=(("Strict-Transport-Security", "max-age=0"), ("Referrer-Policy", "unsafe-url")),
        )

    toy = Feature(name="toy", endpoints=(Endpoint(path="/x", face=Face.PAGE, methods={"GET": weaken}),))
    answer = await call(build_application({"": context(features=(toy,))}, clock=FrozenClock()), "GET", "/x")
    assert answer.header("strict-transport-security") == f"max-age={TWO_YEARS}; includeSubDomains"
    assert answer.header("referrer-policy") == "no-referrer"
