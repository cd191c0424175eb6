"""PKCE: S256 and nothing else."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol import pkce
from tests.support.peer_keys import b64

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636 appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def challenge_of(verifier: str) -> str:
    return b64(hashlib.sha256(verifier.encode("utf-8", "surrogatepass")).digest())


@pytest.mark.requirement("OA-AC-2", proves="holds")
@pytest.mark.parametrize("verifier", [VERIFIER, UNRESERVED, "a" * 43, "~" * 128])
def test_the_verifier_of_the_challenge_matches(verifier: str) -> None:
    assert pkce.verifier_matches(verifier, challenge_of(verifier))
    assert challenge_of(VERIFIER) == CHALLENGE


@pytest.mark.requirement("OA-AC-2", proves="refused")
@pytest.mark.parametrize(
    "verifier", [VERIFIER[:-1] + "l", VERIFIER.swapcase(), VERIFIER + "A", "a" * 43, VERIFIER[::-1]]
)
def test_another_verifier_does_not_match(verifier: str) -> None:
    assert not pkce.verifier_matches(verifier, CHALLENGE)


@pytest.mark.attack("PKC-03")
def test_the_challenge_is_not_its_own_verifier() -> None:
    assert not pkce.verifier_matches(CHALLENGE, CHALLENGE)


@pytest.mark.attack("PKC-04")
@pytest.mark.parametrize(
    "verifier",
    [
        "",
        "a" * 42,
        "a" * 129,
        "a" * 100_000,
        "a" * 42 + " ",
        "a" * 42 + "%",
        "a" * 42 + "+",
        "a" * 42 + "/",
        "a" * 42 + "=",
        "a" * 43 + "\n",
        "a" * 42 + "\x00",
        "ä" * 43,
        "٣" * 43,
        "a" * 42 + "\ud800",
    ],
    ids=lambda verifier: f"{len(verifier)} {verifier[-1:]!a}",
)
def test_a_verifier_of_another_syntax_is_refused_even_when_its_hash_is_right(verifier: str) -> None:
    assert not pkce.verifier_matches(verifier, challenge_of(verifier))


@pytest.mark.attack("PKC-06")
@pytest.mark.parametrize("planted", ["", "é" * 43, "e" * 42, CHALLENGE + "=", CHALLENGE + "\n", VERIFIER[:42]])
def test_a_planted_challenge_that_is_none_matches_no_verifier(planted: str) -> None:
    assert not pkce.verifier_matches(VERIFIER, planted)


@pytest.mark.parametrize("challenge", [CHALLENGE, "A" * 43, "_" * 43, "-" * 43])
def test_a_challenge_is_43_characters_of_base64url(challenge: str) -> None:
    assert pkce.is_challenge(challenge)


@pytest.mark.parametrize(
    "challenge",
    ["", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "+", "A" * 42 + "/", "A" * 42 + ".", "A" * 42 + "~", "ａ" * 43,  # noqa: RUF001
     CHALLENGE + "\n", " " + CHALLENGE[1:]],
)  # fmt: skip
def test_anything_else_is_no_challenge(challenge: str) -> None:
    assert not pkce.is_challenge(challenge)


def test_the_comparison_takes_the_same_time_wherever_it_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    compare = hmac.compare_digest

    def recorded(one: str, other: str) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", recorded)
    assert pkce.verifier_matches(VERIFIER, CHALLENGE)
    assert not pkce.verifier_matches("a" * 43, CHALLENGE)
    assert compared == [(CHALLENGE, CHALLENGE), (challenge_of("a" * 43), CHALLENGE)]


@given(st.text(max_size=140), st.text(max_size=50))
def test_every_pair_of_texts_has_an_answer(verifier: str, challenge: str) -> None:
    assert not pkce.verifier_matches(verifier, challenge)
    is_verifier = 43 <= len(verifier) <= 128 and set(verifier) <= set(UNRESERVED)
    assert pkce.verifier_matches(verifier, challenge_of(verifier)) == is_verifier


@given(st.text(st.sampled_from(UNRESERVED), min_size=43, max_size=128))
def test_every_verifier_matches_its_own_challenge_only(verifier: str) -> None:
    challenge = challenge_of(verifier)
    assert pkce.is_challenge(challenge)
    assert pkce.verifier_matches(verifier, challenge)
    assert not pkce.verifier_matches(verifier, challenge_of(verifier + "."))
