"""Python's own clock in a server whose clock is stepped; every interpreter of that server loads this first.

libfaketime 0.9.10 steps what the libraries in C see. Asked by two threads at once it now and then tells one of them the
true time, and a server that believes its clock is right to refuse what seems two minutes old then.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from pathlib import Path

with Path(os.environ["FAULTS_CLOCK_OFFSET"]).open("rb") as file:
    _offset = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # seconds, all of that file
_epoch = float(os.environ["FAULTS_CLOCK_EPOCH"])  # the true time when the monotonic clock, which nobody steps, was 0


def _seconds() -> float:
    return _epoch + time.monotonic() + int.from_bytes(_offset[:], sys.byteorder, signed=True)


time.time = _seconds
time.time_ns = lambda: int(_seconds() * 1e9)
