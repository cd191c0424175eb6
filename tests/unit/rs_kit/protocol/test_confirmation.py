"""cnf: everything that a token is bound to must be proved."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs_kit.protocol import confirmation
from rs_kit.protocol.confirmation import Confirmation, SenderConstraint
from rs_kit.protocol.errors import InvalidToken
from tests.support.peer_keys import b64

LEAF, CA = b"leaf certificate", b"issuing authority"
JKT, OTHER_JKT = (b64(hashlib.sha256(value).digest()) for value in (b"a", b"b"))
X5T = b64(hashlib.sha256(LEAF).digest())


@pytest.mark.requirement("CNF-2", proves="holds")
def test_known_confirmations_are_read() -> None:
    assert confirmation.parse({"jkt": JKT}) == Confirmation(jkt=JKT)
    assert confirmation.parse({"x5t#S256": X5T, "jkt": JKT}) == Confirmation(jkt=JKT, x5t_s256=X5T)


@pytest.mark.attack("CNF-05")
@pytest.mark.parametrize(
    "cnf",
    [
        {},
        {"foo": 1},
        {"jkt": JKT, "foo": 1},
        {"jkt": None},
        {"jkt": [JKT]},
        {"jkt": ""},
        {"jkt": JKT[:-1]},
        {"jkt": JKT, "x5t#S256": None},
        {"jwk": {}},
        {"kid": "a"},
        None,
        [],
        "jkt",
        1,
    ],
    ids=str,
)
@pytest.mark.requirement("CNF-2", proves="refused")
def test_a_confirmation_that_we_do_not_understand_is_refused(cnf: object) -> None:
    with pytest.raises(InvalidToken):
        confirmation.parse(cnf)


@pytest.mark.attack("CNF-07")
@pytest.mark.parametrize(
    "value",
    [
        X5T + "=",
        hashlib.sha256(LEAF).hexdigest(),
        b64(hashlib.sha1(LEAF).digest()),
        X5T.replace(X5T[0], "+", 1),
        "",
        None,
        [X5T],
        {"x5t#S256": X5T},
        hashlib.sha256(LEAF).digest().hex(":").upper(),
        int.from_bytes(hashlib.sha256(LEAF).digest(), "big"),
    ],
)
def test_a_certificate_thumbprint_in_another_form_is_refused(value: object) -> None:
    with pytest.raises(InvalidToken):
        confirmation.parse({"x5t#S256": value})


@pytest.mark.parametrize(
    ("bound", "jkt", "certificate"),
    [
        (Confirmation(jkt=JKT), JKT, None),
        (Confirmation(jkt=JKT), JKT, CA),
        (Confirmation(x5t_s256=X5T), None, LEAF),
        (Confirmation(jkt=JKT, x5t_s256=X5T), JKT, LEAF),
    ],
)
@pytest.mark.requirement("RSV-2", proves="holds")
def test_a_token_works_in_the_hands_that_it_is_bound_to(
    bound: Confirmation,
    jkt: str | None,
    certificate: bytes | None,
) -> None:
    confirmation.require_proved(bound, jkt=jkt, certificate=certificate)


@pytest.mark.parametrize(
    ("bound", "jkt", "certificate"),
    [
        (Confirmation(), JKT, LEAF),
        (Confirmation(jkt=JKT), None, LEAF),
        (Confirmation(jkt=JKT), OTHER_JKT, LEAF),
        (Confirmation(jkt=JKT), JKT.swapcase(), LEAF),
        (Confirmation(x5t_s256=X5T), JKT, None),
        (Confirmation(x5t_s256=X5T), JKT, CA),
        (Confirmation(jkt=JKT, x5t_s256=X5T), JKT, None),
        (Confirmation(jkt=JKT, x5t_s256=X5T), None, LEAF),
        (Confirmation(jkt=JKT, x5t_s256=X5T), OTHER_JKT, LEAF),
        (Confirmation(jkt=JKT, x5t_s256=X5T), JKT, CA),
    ],
)
@pytest.mark.requirement("RSV-2", proves="refused")
def test_a_token_works_in_no_other_hands(bound: Confirmation, jkt: str | None, certificate: bytes | None) -> None:
    with pytest.raises(InvalidToken):
        confirmation.require_proved(bound, jkt=jkt, certificate=certificate)


@given(
    st.none()
    | st.text()
    | st.dictionaries(st.sampled_from(["jkt", "x5t#S256", "x"]), st.none() | st.text() | st.just(JKT)),
)
def test_any_claim_gives_a_confirmation_or_the_one_error(cnf: object) -> None:
    try:
        parsed = confirmation.parse(cnf)
    except InvalidToken:
        return
    assert parsed.jkt or parsed.x5t_s256


BOTH = Confirmation(jkt=JKT, x5t_s256=X5T)
BY_KEY, BY_CERTIFICATE = Confirmation(jkt=JKT), Confirmation(x5t_s256=X5T)
DPOP, CERTIFICATE, EITHER = SenderConstraint.DPOP, SenderConstraint.CERTIFICATE, SenderConstraint.EITHER


@pytest.mark.parametrize(
    ("bound", "constraint"),
    [
        *((BY_KEY, constraint) for constraint in (DPOP, EITHER)),
        *((BY_CERTIFICATE, constraint) for constraint in (CERTIFICATE, EITHER)),
        *((BOTH, constraint) for constraint in SenderConstraint),
    ],
)
def test_a_token_that_is_bound_as_the_resource_wants_is_taken(
    bound: Confirmation, constraint: SenderConstraint
) -> None:
    assert confirmation.require_bound(bound, constraint) is bound


@pytest.mark.parametrize(
    ("bound", "constraint"),
    [(BY_KEY, CERTIFICATE), (BY_CERTIFICATE, DPOP), *((None, constraint) for constraint in SenderConstraint)],
)
def test_a_token_that_is_bound_to_something_else_or_to_nobody_is_not(
    bound: Confirmation | None, constraint: SenderConstraint
) -> None:
    with pytest.raises(InvalidToken):
        confirmation.require_bound(bound, constraint)


@pytest.mark.parametrize(("bound", "scheme"), [(BY_KEY, "dpop"), (BOTH, "dpop"), (BY_CERTIFICATE, "bearer")])
def test_every_binding_has_one_scheme_and_no_other(bound: Confirmation, scheme: str) -> None:
    confirmation.require_scheme(bound, scheme)
    for other in ({"dpop", "bearer"} - {scheme}) | {"", "basic", scheme.upper()}:
        with pytest.raises(InvalidToken):
            confirmation.require_scheme(bound, other)
