"""The variants of the two certification plans, and conditions on them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Final, Literal, NamedTuple


class Variant(NamedTuple):
    """One choice in each of the five dimensions of the two certification plans."""

    client_auth: Literal["private_key_jwt", "mtls"]
    sender: Literal["dpop", "mtls"]
    openid: Literal["plain_oauth", "openid"]
    request: Literal["unsigned", "signed"]
    response: Literal["plain_response", "jarm"]

    def __str__(self) -> str:
        return "-".join(self)

    @property
    def is_openid(self) -> bool:
        return self.openid == "openid"

    @property
    def is_signed(self) -> bool:
        return self.request == "signed"

    @property
    def is_jarm(self) -> bool:
        return self.response == "jarm"


VARIANTS: Final = tuple(
    Variant(*chosen)  # type: ignore[arg-type]
    for chosen in product(
        ("private_key_jwt", "mtls"),
        ("dpop", "mtls"),
        ("plain_oauth", "openid"),
        ("unsigned", "signed"),
        ("plain_response", "jarm"),
    )
)
Applies = Callable[[Variant], bool]


def every(variant: Variant) -> bool:
    return True


def dpop(variant: Variant) -> bool:
    return variant.sender == "dpop"


def certificate_bound(variant: Variant) -> bool:
    return variant.sender == "mtls"


def private_key_jwt(variant: Variant) -> bool:
    return variant.client_auth == "private_key_jwt"


def mtls_auth(variant: Variant) -> bool:
    return variant.client_auth == "mtls"


def any_mtls(variant: Variant) -> bool:
    return mtls_auth(variant) or certificate_bound(variant)


def openid(variant: Variant) -> bool:
    return variant.is_openid


def plain_oauth(variant: Variant) -> bool:
    return not variant.is_openid


def signed(variant: Variant) -> bool:
    return variant.is_signed


def unsigned(variant: Variant) -> bool:
    return not variant.is_signed


def jarm(variant: Variant) -> bool:
    return variant.is_jarm


def plain_response(variant: Variant) -> bool:
    return not variant.is_jarm


def both(*conditions: Applies) -> Applies:
    return lambda variant: all(condition(variant) for condition in conditions)


def either(*conditions: Applies) -> Applies:
    return lambda variant: any(condition(variant) for condition in conditions)
