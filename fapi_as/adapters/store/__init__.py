"""The store: SQLite in one file, the only SQL."""

from fapi_as.adapters.store.approvals import Approvals
from fapi_as.adapters.store.client_states import ClientState
from fapi_as.adapters.store.database import Database
from fapi_as.adapters.store.location import OutdatedDatabase, UnsupportedDatabase, UnusableDatabase
from fapi_as.adapters.store.operators import AlreadyExists, NotFound, Operators
from fapi_as.adapters.store.registered import (
    StoredApprover,
    StoredClient,
    StoredFact,
    StoredResource,
    StoredUser,
    StoredWithdrawal,
)
from fapi_as.adapters.store.schema import migrate
from fapi_as.adapters.store.store_check import SharedCheck

__all__ = [
    "AlreadyExists",
    "Approvals",
    "ClientState",
    "Database",
    "NotFound",
    "Operators",
    "OutdatedDatabase",
    "SharedCheck",
    "StoredApprover",
    "StoredClient",
    "StoredFact",
    "StoredResource",
    "StoredUser",
    "StoredWithdrawal",
    "UnsupportedDatabase",
    "UnusableDatabase",
    "migrate",
]
