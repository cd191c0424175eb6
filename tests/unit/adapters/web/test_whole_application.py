"""The application as a whole: tenants by path, the stylesheet, and a life that begins and ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fapi_as.adapters.web.application import build_application
from fapi_as.kernel.messages import EndpointRequest, Json
from fapi_as.kernel.seam import Context, Endpoint, Face, Feature
from fapi_as.protocol.policy import Policy
from tests.support.asgi_peer import Application, call
from tests.support.fakes import FrozenClock, context


async def who(context: Context, request: EndpointRequest) -> Json:
    return Json(payload={"tenant": context.policy.tenant, "path": request.path})


TOY = Feature(
    name="toy",
    endpoints=(
        Endpoint(path="/par", face=Face.PROTOCOL, methods={"POST": who}),
        Endpoint(path="/login", face=Face.PAGE, methods={"GET": who}),
        Endpoint(path="/.well-known/oauth-authorization-server", face=Face.PROTOCOL, methods={"GET": who}),
        Endpoint(path="/.well-known/openid-configuration", face=Face.PROTOCOL, methods={"GET": who}),
    ),
)


def a_context(tenant: str, issuer: str) -> Context:
    return context(policy=Policy(tenant=tenant, issuer=issuer), features=(TOY,))


@pytest.fixture
def application() -> Application:
    contexts = {
        "": a_context("default", "https://as.example"),
        "/t/acme": a_context("acme", "https://as.example/t/acme"),
    }
    return build_application(contexts, clock=FrozenClock())


@pytest.mark.parametrize(
    ("method", "target", "tenant", "path"),
    [
        ("POST", "/par", "default", "/par"),
        ("POST", "/t/acme/par", "acme", "/par"),
        ("GET", "/login", "default", "/login"),
        ("GET", "/t/acme/login", "acme", "/login"),
        ("GET", "/.well-known/oauth-authorization-server", "default", "/.well-known/oauth-authorization-server"),
        ("GET", "/.well-known/oauth-authorization-server/t/acme", "acme", "/.well-known/oauth-authorization-server"),
        ("GET", "/.well-known/openid-configuration/t/acme", "acme", "/.well-known/openid-configuration"),
        ("GET", "/t/acme/.well-known/openid-configuration", "acme", "/.well-known/openid-configuration"),
    ],
)
async def test_an_address_belongs_to_one_tenant_and_its_endpoint_sees_the_path_without_it(
    application: Application, method: str, target: str, tenant: str, path: str
) -> None:
    answer = await call(application, method, target)
    assert json.loads(answer.body) == {"tenant": tenant, "path": path}


@pytest.mark.parametrize(
    "target",
    ["/t/other/par", "/t/acme/", "/t/acme", "/t/acme/.well-known/oauth-authorization-server", "/t/acme/t/acme/par"],
)
async def test_what_no_tenant_has_is_404(application: Application, target: str) -> None:
    assert (await call(application, "POST", target)).status == 404


async def test_the_stylesheet_may_be_kept_and_is_only_read(application: Application) -> None:
    answer = await call(application, "GET", "/assets/fapi-as.css")
    assert (answer.status, answer.header("content-type")) == (200, "text/css; charset=utf-8")
    assert answer.header("cache-control") == "public, max-age=3600"
    head = await call(application, "HEAD", "/assets/fapi-as.css")
    assert (head.status, head.body, head.header("content-length")) == (200, b"", answer.header("content-length"))
    assert (await call(application, "POST", "/assets/fapi-as.css")).status == 404


class Life:
    """A lifespan that tells what happened to it, or fails."""

    def __init__(self, *, fails_at: str | None = None) -> None:
        self.fails_at = fails_at
        self.told: list[str] = []

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        if self.fails_at == "startup":
            raise ValueError("the reason")
        self.told.append("begun")
        yield
        if self.fails_at == "shutdown":
            raise ValueError("the reason")
        self.told.append("ended")


async def live(life: Life) -> list[dict[str, Any]]:
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    sent: list[Any] = []
    for moment in ("startup", "shutdown"):
        inbox.put_nowait({"type": f"lifespan.{moment}"})

    async def send(message: Any) -> None:
        sent.append(message)

    contexts = {"": a_context("default", "https://as.example")}
    application = build_application(contexts, clock=FrozenClock(), lifespan=life)
    await application({"type": "lifespan"}, inbox.get, send)
    return sent


async def test_what_is_opened_before_the_first_request_is_closed_after_the_last() -> None:
    life = Life()
    sent = await live(life)
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert life.told == ["begun", "ended"]


@pytest.mark.parametrize("moment", ["startup", "shutdown"])
async def test_a_life_that_fails_says_so_and_logs_why(moment: str, caplog: pytest.LogCaptureFixture) -> None:
    sent = await live(Life(fails_at=moment))
    assert sent[-1]["type"] == f"lifespan.{moment}.failed"
    assert "the reason" not in str(sent)
    assert "the reason" in caplog.text
