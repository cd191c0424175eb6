"""What the suite checks in many places: entropy and errors."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Final

import httpx2

ENTROPY_BITS: Final = 96
DESCRIPTION: Final = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*\Z")  # RFC 6749 §5.2
ERROR: Final = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+\Z")


def entropy(value: str) -> float:
    """Shannon's, in bits, over the characters of a value."""
    counts = Counter(value)
    return -sum(count * math.log2(count / len(value)) for count in counts.values())


def is_secret_enough(value: str) -> bool:
    return entropy(value) > ENTROPY_BITS


def refused(response: httpx2.Response, *errors: str) -> str:
    """The error code of a refusal in the right form, which must be one of these."""
    assert response.headers["content-type"].startswith("application/json"), response.headers
    answer = response.json()
    error = answer["error"]
    assert ERROR.match(error), answer
    assert error in errors, f"{response.status_code} {answer}"
    allowed = (400, 401) if error == "invalid_client" else (400,)
    assert response.status_code in allowed, f"{response.status_code} {answer}"
    assert DESCRIPTION.match(answer.get("error_description", "")), answer
    assert "access_token" not in answer, answer
    return str(error)
