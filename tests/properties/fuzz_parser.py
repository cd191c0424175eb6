"""python -m tests.properties.fuzz_parser NAME SECONDS FOLDER: one parser under atheris, guided by what it covers."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fapi_as.protocol", "fapi_as.kernel", "rs_kit"]):
    from tests.properties.parser_seeds import SEEDS
    from tests.properties.parser_targets import TARGETS


def main(name: str, seconds: str, folder: Path) -> None:
    """Fuzz one target; what it finds lies in `folder`, where the next run begins."""
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[name]:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={folder}/{name}-", "-max_len=4096", "-timeout=10"]
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
