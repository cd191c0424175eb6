"""The store: SQLite in one file, the only SQL."""

from fapi_as.adapters.store.database import Database
from fapi_as.adapters.store.location import UnsupportedDatabase, UnusableDatabase
from fapi_as.adapters.store.operators import (
    AlreadyExists,
    NotFound,
    Operators,
    StoredClient,
    StoredFact,
    StoredResource,
    StoredUser,
)
from fapi_as.adapters.store.schema import migrate

__all__ = [
    "AlreadyExists",
    "Database",
    "NotFound",
    "Operators",
    "StoredClient",
    "StoredFact",
    "StoredResource",
    "StoredUser",
    "UnsupportedDatabase",
    "UnusableDatabase",
    "migrate",
]
