"""Every place that takes a JWT: which kind belongs there, how one is put there, and what any other kind is told."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from typing_extensions import override

from fapi_as.agent.errors import AgentError
from fapi_as.agent.steps import Answer, Need, Reason, Renew, Send
from rs_kit.adapters.issuer_keys import StaticIssuerKeys
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.guard import Guard
from rs_kit.protocol.challenge import status_of
from rs_kit.protocol.errors import ProtocolError
from rs_kit.protocol.http import HttpRequest
from rs_kit.protocol.jws import SigningKey
from rs_kit.protocol.tool_policy import ToolPolicy
from rs_kit.testing import RecordingObserver
from tests.support.agent_peer import agent_of, identity, run_call, run_renewal
from tests.support.browser import parse_page
from tests.support.fakes import ISSUER
from tests.support.fapi_client import error_of
from tests.support.fapi_messages import Message
from tests.support.house import RESOURCE, House
from tests.support.jwt_kinds import INVITATION, KEY, KID, KINDS, Minted
from tests.support.peer_keys import unb64
from tests.support.signing_peer import SigningPeer, signing_identity

ACCEPTED: Final = (0, None)
CALL: Final[dict[str, Any]] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "get_balance", "arguments": {}},
}
Outcome = tuple[int, str | None]  # status and code; ACCEPTED
Put = Callable[[House, Minted, str], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place; `own` are the kinds that it accepts as they are."""

    own: tuple[str, ...]
    refusal: Outcome
    put: Put


def _outcome(response: httpx2.Response) -> Outcome:
    return ACCEPTED if response.is_success else (response.status_code, error_of(response))


def _push(minted: Minted) -> Message:
    return minted.client.push_request(code_verifier="v" * 43, state="s")


async def _assertion_at_par(_: House, minted: Minted, token: str) -> Outcome:
    with minted.client.lying(assertion=token, form={"client_id": ...}):
        return _outcome(await minted.client.send(_push(minted)))


async def _assertion_at_token(_: House, minted: Minted, token: str) -> Outcome:
    with minted.client.lying(assertion=token, form={"client_id": ...}):
        return _outcome(await minted.client.send(minted.client.credentials_request()))


async def _request_at_par(_: House, minted: Minted, token: str) -> Outcome:
    with minted.client.saying(object=token):
        return _outcome(await minted.client.send(_push(minted)))


async def _proof_at_par(_: House, minted: Minted, token: str) -> Outcome:
    with minted.client.lying(proof=token):
        return _outcome(await minted.client.send(_push(minted)))


async def _proof_at_token(_: House, minted: Minted, token: str) -> Outcome:
    with minted.client.lying(proof=token):
        return _outcome(await minted.client.send(minted.client.credentials_request()))


async def _proof_at_userinfo(_: House, minted: Minted, token: str) -> Outcome:
    with minted.client.lying(proof=token):
        message = minted.client.resource_request(minted.for_issuer, f"{ISSUER}/userinfo")
        return _outcome(await minted.client.send(message))


async def _token_at_userinfo(_: House, minted: Minted, token: str) -> Outcome:
    with minted.client.lying(authorization=f"DPoP {token}"):
        proof = minted.client.proof("POST", f"{ISSUER}/userinfo", access_token=token)
        with minted.client.lying(proof=proof):
            message = minted.client.resource_request(minted.for_issuer, f"{ISSUER}/userinfo")
            return _outcome(await minted.client.send(message))


async def _hint_at_par(_: House, minted: Minted, token: str) -> Outcome:
    with minted.client.saying(claims={"id_token_hint": token, "scope": "openid", "resource": ...}):
        return _outcome(await minted.client.send(_push(minted)))


async def _hint_outside_at_par(_: House, minted: Minted, token: str) -> Outcome:
    with minted.client.saying(object=..., outside={"id_token_hint": token, "scope": "openid", "resource": ...}):
        return _outcome(await minted.client.send(_push(minted)))


async def _hint_at_logout(house: House, _: Minted, token: str) -> Outcome:
    response = await house.http.get(f"{ISSUER}/logout", params={"id_token_hint": token})
    house.http.cookies.clear()
    return ACCEPTED if response.is_success else (response.status_code, parse_page(response).error)


async def _statement_at_register(house: House, _: Minted, token: str) -> Outcome:
    return _outcome(await house.http.post(f"{ISSUER}/register", json={"software_statement": token}))


async def _registration_at_register(house: House, _: Minted, token: str) -> Outcome:
    """What brings no statement has an initial access token beside it, so that its own words are what is judged."""
    headers = {"content-type": "application/jwt"}
    if not _brings_a_statement(token):
        headers["authorization"] = f"Bearer {INVITATION}"
    return _outcome(await house.http.post(f"{ISSUER}/register", content=token.encode(), headers=headers))


def _brings_a_statement(token: str) -> bool:
    try:
        return "software_statement" in json.loads(unb64(token.partition(".")[2].partition(".")[0]))
    except ValueError:  # what is encrypted, or no JSON
        return False


async def _at_the_bank(house: House, message: Message) -> Outcome:
    guard = Guard(
        resource=RESOURCE,
        issuer=ISSUER,
        keys=StaticIssuerKeys(ISSUER, house.signer.public_jwks()),
        used_once=MemoryUsedOnce(),
        tools=ToolPolicy(tools={"get_balance": ["accounts:read"]}),
        nonce_key=None,
        clock=house.clock,
        observer=RecordingObserver(),
    )
    headers = tuple((name.encode(), value.encode()) for name, value in message.headers)
    try:
        await guard.admit(HttpRequest("POST", "/mcp", headers, message.body))
    except ProtocolError as error:
        return status_of(error), error.error
    return ACCEPTED


async def _token_at_the_bank(house: House, minted: Minted, token: str) -> Outcome:
    with minted.client.lying(authorization=f"DPoP {token}"):
        proof = minted.client.proof("POST", RESOURCE, access_token=token)
        with minted.client.lying(proof=proof):
            return await _at_the_bank(house, minted.client.resource_request(minted.for_bank, json_body=CALL))


async def _proof_at_the_bank(house: House, minted: Minted, token: str) -> Outcome:
    with minted.client.lying(proof=token):
        return await _at_the_bank(house, minted.client.resource_request(minted.for_bank, json_body=CALL))


class _Swapping(SigningPeer):
    """A server of the agent that puts one JWT in the place of another."""

    response_instead: str | None = None
    id_token_instead: str | None = None

    @override
    def response_to(self, pushed: dict[str, str], values: dict[str, str | None]) -> str:
        honest = super().response_to(pushed, values)
        return honest if self.response_instead is None else f"response={self.response_instead}"

    @override
    def id_token(self, pushed: dict[str, str], access_token: str) -> str:
        honest = super().id_token(pushed, access_token)
        return honest if self.id_token_instead is None else self.id_token_instead


def _given_to_an_agent(*, response: str | None = None, id_token: str | None = None) -> Outcome:
    key = SigningKey.from_private_key(KEY.private, kid=KID)
    peer = _Swapping(key=key, published=[key])
    peer.response_instead, peer.id_token_instead = response, id_token
    agent = agent_of(identities=(signing_identity(),), scope=("accounts:read", "openid"))
    try:
        answer = run_call(agent, peer)
    except AgentError as error:
        assert agent.tokens is None
        return 0, type(error).__name__
    return ACCEPTED if answer.status == httpx2.codes.OK else (answer.status, None)


async def _response_at_an_agent(_: House, __: Minted, token: str) -> Outcome:
    return _given_to_an_agent(response=token)


async def _id_token_at_an_agent(_: House, __: Minted, token: str) -> Outcome:
    return _given_to_an_agent(id_token=token)


def _told_to_an_agent(token: str | None) -> Outcome:
    key = SigningKey.from_private_key(KEY.private, kid=KID)
    peer = SigningPeer(key=key, published=[key], userinfo_signed=True, userinfo_lies={"sub": "sub-alice"})
    peer.id_token_lies = {"sub": "sub-alice"}
    if token is not None:
        signed = Answer(status=200, headers=(("content-type", "application/jwt"),), body=token.encode())
        peer.overrides["/userinfo"] = lambda _: signed
    identities = (identity(userinfo_signed_response_alg="ES256"),)
    agent = agent_of(identities=identities, scope=("openid",), resource=ISSUER)
    run_renewal(agent, peer, Renew(need=Need(reason=Reason.UNAUTHORIZED, used=None)))
    try:
        told = agent.userinfo()
        asked = next(told)
        while isinstance(asked, Send):
            asked = told.send(peer.answer(asked.request))
    except AgentError as error:
        return 0, type(error).__name__
    except StopIteration:
        return ACCEPTED
    raise AssertionError("nobody is asked anything")


async def _told_at_an_agent(_: House, __: Minted, token: str) -> Outcome:
    return _told_to_an_agent(token)


_ASSERTIONS: Final = ("client assertion", "client assertion without a type")
_OBJECTS: Final = ("request object", "request object without a type")
_NO_PROOF: Final = "invalid_dpop_proof"
PLACES: Final[dict[str, Place]] = {
    "assertion, /par": Place(own=_ASSERTIONS, refusal=(401, "invalid_client"), put=_assertion_at_par),
    "assertion, /token": Place(own=_ASSERTIONS, refusal=(401, "invalid_client"), put=_assertion_at_token),
    "request, /par": Place(own=_OBJECTS, refusal=(400, "invalid_request_object"), put=_request_at_par),
    "proof, /par": Place(own=(), refusal=(400, _NO_PROOF), put=_proof_at_par),
    "proof, /token": Place(own=("proof",), refusal=(400, _NO_PROOF), put=_proof_at_token),
    "proof, /userinfo": Place(own=("proof with a token",), refusal=(401, _NO_PROOF), put=_proof_at_userinfo),
    "token, /userinfo": Place(
        own=("access token for the issuer",), refusal=(401, "invalid_token"), put=_token_at_userinfo
    ),
    "hint, /par": Place(own=("ID token",), refusal=(400, "invalid_request"), put=_hint_outside_at_par),
    "hint in a request, /par": Place(own=("ID token",), refusal=(400, "invalid_request"), put=_hint_at_par),
    "hint, /logout": Place(own=("ID token",), refusal=(400, "invalid_request"), put=_hint_at_logout),
    "statement, /register": Place(
        own=("software statement",), refusal=(400, "invalid_software_statement"), put=_statement_at_register
    ),
    "registration, /register": Place(
        own=("signed registration",), refusal=(400, "invalid_client_metadata"), put=_registration_at_register
    ),
    "token, bank": Place(own=("access token for the bank",), refusal=(401, "invalid_token"), put=_token_at_the_bank),
    "proof, bank": Place(own=(), refusal=(401, _NO_PROOF), put=_proof_at_the_bank),
    "response, agent": Place(own=(), refusal=(0, "ResponseRejected"), put=_response_at_an_agent),
    "ID token, agent": Place(own=(), refusal=(0, "TokenRejected"), put=_id_token_at_an_agent),
    "user information, agent": Place(own=("user information",), refusal=(0, "TokenRejected"), put=_told_at_an_agent),
}


def belongs(place: str, kind: str) -> bool:
    """Whether a JWT of this kind is accepted there as it is."""
    return kind in PLACES[place].own


async def put_what_belongs(place: str, house: House, minted: Minted) -> list[Outcome]:
    """The outcomes of every right JWT of a place; a proof names the place that it is for, an agent asks for its own."""
    if place == "proof, /par":
        return [await _proof_at_par(house, minted, minted.client.proof("POST", f"{ISSUER}/par"))]
    if place == "proof, bank":
        proof = minted.client.proof("POST", RESOURCE, access_token=minted.for_bank.access_token)
        return [await _proof_at_the_bank(house, minted, proof)]
    if place in {"response, agent", "ID token, agent"}:
        return [_given_to_an_agent()]
    return [await PLACES[place].put(house, minted, minted.jwts[kind]) for kind in PLACES[place].own]


def rendered(told: Mapping[tuple[str, str], Outcome]) -> str:
    """The table of what each kind was told at each place; a dot is accepted."""
    columns = {place: str(number) for number, place in enumerate(PLACES, start=1)}
    lines = [f"{number:>3}  {place}: {_said(PLACES[place].refusal)}" for place, number in columns.items()]
    width = max(map(len, KINDS))
    lines += ["", " " * width + "".join(f"{number:>4}" for number in columns.values())]
    for kind in KINDS:
        cells = (_cell(told.get((place, kind)), PLACES[place].refusal) for place in PLACES)
        lines.append(f"{kind:{width}}" + "".join(f"{cell:>4}" for cell in cells))
    return "\n".join(lines)


def _cell(outcome: Outcome | None, expected: Outcome) -> str:
    if outcome is None:
        return "?"
    if outcome == ACCEPTED:
        return "."
    return "x" if outcome == expected else "!"


def _said(refusal: Outcome) -> str:
    status, code = refusal
    return f"{status} {code}" if status else str(code)
