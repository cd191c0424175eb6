"""Write development certificates into this folder, or keep the ones that are still good for two weeks."""

from __future__ import annotations

from pathlib import Path

from fapi_as.adapters.clock import SystemClock
from fapi_as.adapters.tls.dev_certificates import ensure_dev_certificates


def main() -> None:
    """Make the set and say what happened."""
    made = ensure_dev_certificates(Path(__file__).parent, SystemClock().now())
    print(f"{'written' if made.renewed else 'kept'}: {made.authority.parent}, valid until {made.expires_at:%Y-%m-%d}")


if __name__ == "__main__":
    main()
