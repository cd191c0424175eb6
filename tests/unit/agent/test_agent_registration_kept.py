"""Where a registration is kept: in a file for its owner, its agent and its issuer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fapi_as.agent.file_store import FileRegistrationStore, StoreUnusable
from fapi_as.agent.registered import Registration
from rs_kit.protocol.secret import Secret
from tests.support.agent_peer import (
    ISSUER,
    Hands,
)
from tests.support.registering_peer import (
    RegisteringPeer,
    registrant,
    registrar,
    statement,
)

SECOND = "https://second.example"


# --- where it is kept


@pytest.fixture
def store(tmp_path: Path) -> FileRegistrationStore:
    return FileRegistrationStore(tmp_path / "tokens", agent="ledger")


async def test_what_is_kept_in_a_file_is_its_owners_alone_and_comes_back_as_it_was(
    store: FileRegistrationStore, tmp_path: Path
) -> None:
    peer = RegisteringPeer()
    made = await registrar(peer, store=store).introduced(registrant())
    assert {oct(file.stat().st_mode & 0o777) for file in (tmp_path / "tokens").iterdir()} == {"0o600"}
    again = FileRegistrationStore(tmp_path / "tokens", agent="ledger")
    loaded = await again.load(ISSUER)
    assert loaded is not None
    assert (loaded.client_id, loaded.registration_access_token, loaded.jkt) == (
        made.client_id,
        made.registration_access_token,
        made.jkt,
    )
    assert (await registrar(peer, store=again).read(registrant()))["client_id"] == made.client_id


async def test_each_agent_and_each_issuer_has_a_file_of_its_own(store: FileRegistrationStore, tmp_path: Path) -> None:
    await registrar(RegisteringPeer(), store=store).introduced(registrant())
    assert await store.load(SECOND) is None
    assert await FileRegistrationStore(tmp_path / "tokens", agent="other").load(ISSUER) is None


async def test_a_file_of_one_issuer_in_the_place_of_another_is_not_taken(
    store: FileRegistrationStore, tmp_path: Path
) -> None:
    await store.save(ISSUER, Registration(issuer=ISSUER, client_id="client-1"))
    (here,) = (tmp_path / "tokens").glob("*.json")
    await store.save(SECOND, Registration(issuer=SECOND, client_id="client-2"))
    (there,) = set((tmp_path / "tokens").glob("*.json")) - {here}
    there.write_bytes(here.read_bytes())
    with pytest.raises(StoreUnusable, match="register again"):
        await store.load(SECOND)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[:-9],
        lambda text: text.replace(b'"version": 1', b'"version": 2'),
        lambda text: text.replace(b'"client-1"', b"7"),
        lambda text: text.replace(b'"proof_key": null', b'"proof_key": "none"'),
        lambda text: text + b" " * 300_000,
    ],
)
async def test_a_file_that_this_program_did_not_write_is_told(
    store: FileRegistrationStore, tmp_path: Path, damage: Any
) -> None:
    await store.save(ISSUER, Registration(issuer=ISSUER, client_id="client-1"))
    (here,) = (tmp_path / "tokens").glob("*.json")
    here.write_bytes(damage(here.read_bytes()))
    with pytest.raises(StoreUnusable, match="not what this program wrote"):
        await store.load(ISSUER)


async def test_a_key_that_cannot_leave_its_place_is_not_written_down(store: FileRegistrationStore) -> None:
    made = Registration(issuer=ISSUER, client_id="client-1", proof_key=Hands().proof_key())
    with pytest.raises(StoreUnusable, match="cannot leave where it lives"):
        await store.save(ISSUER, made)


def test_nothing_of_a_registration_shows_itself() -> None:
    made = Registration(issuer=ISSUER, client_id="client-1", registration_access_token=Secret("registration-token-1"))
    assert "registration-token-1" not in repr(made)
    assert "statement-1" not in repr(registrant())
    assert statement() not in repr(registrant())
