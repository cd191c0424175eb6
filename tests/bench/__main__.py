"""`make bench`: every figure beside the raw cost of the same cryptography, printed and written to build/bench.json."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench import authorization_server_bench, rs_kit_bench

FLOORS = {  # what a figure must reach; the others are reported
    "rs_kit.admit.cached_token": 0.60,
    "rs_kit.admit.new_token": 0.60,
    "as.token.client_credentials": 0.20,
}
RUNS = (
    rs_kit_bench.admit_cached_token,
    rs_kit_bench.admit_new_token,
    rs_kit_bench.asgi_tool_call,
    rs_kit_bench.asgi_mcp_tool_call,
    authorization_server_bench.one_worker,
)


def main() -> int:
    """Run them all; 1 when a figure is below its floor."""
    figures: dict[str, dict[str, float]] = {}
    print(f"{'':34} {'raw crypto us':>13} {'ratio to it':>11} {'per CPU-second':>14} {'p50 ms':>8} {'p99 ms':>8}")
    for run in RUNS:
        for name, figure in run().items():
            figures[name] = figure
            floor = FLOORS.get(name)
            verdict = "" if floor is None else f"  at least {floor:.2f}"
            raw = 1e6 * figure["ratio_to_crypto"] / figure["per_cpu_second"]  # of the same verify and sign calls
            print(
                f"{name:34} {raw:13.0f} {figure['ratio_to_crypto']:11.2f} {figure['per_cpu_second']:14.0f}"
                f" {figure['p50_ms']:8.2f} {figure['p99_ms']:8.2f}{verdict}",
                flush=True,
            )
    build = Path("build")
    build.mkdir(exist_ok=True)
    (build / "bench.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    missed = [name for name, floor in FLOORS.items() if figures[name]["ratio_to_crypto"] < floor]
    for name in missed:
        print(f"{name} is below {FLOORS[name]:.2f}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
