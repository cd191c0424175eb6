"""Every attack on the kit goes over real HTTP, against each kind of application."""

from __future__ import annotations

import pytest

from tests.support.kit_over_http import SITES, Site


@pytest.fixture(params=SITES, ids=str)
def site(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Site:
    """One kind of application; all that the kit logs is kept for the oracles."""
    caplog.set_level("DEBUG", "rs_kit")
    chosen: Site = request.param
    return chosen
