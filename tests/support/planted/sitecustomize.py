"""What Python imports first where this folder is on its path: a recorder at connect(), and planted defects.

OUTBOUND_RECORDER names a file: every look-up and every connection of the process becomes a line of it, names lead where
the bench says, and its host stands for every public address. Where there is a network namespace none of this is done.
OUTBOUND_PLANT names a defect that the bench has to notice.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from typing import Any

from fapi_as.adapters import fetch
from tests.support.outbound_values import is_forbidden, leads

_HANGING_SECONDS = 8.0


class Recorder:
    """Replaces how this process looks up names and connects."""

    def __init__(self, path: str, ports: dict[str, int]) -> None:
        self._path = path
        self._ports = ports
        self._asked: Counter[str] = Counter()
        self._resolve = socket.getaddrinfo
        self._connect = socket.socket.connect

    def getaddrinfo(self, name: str, port: int, *rest: Any, **options: Any) -> list[Any]:
        """What the name server of the bench would say."""
        try:
            return self._resolve(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            pass
        self._tell(asked=name)
        found = leads(name, self._asked[name])
        self._asked[name] += 1
        if found is None:
            time.sleep(_HANGING_SECONDS)
        if not found:
            raise socket.gaierror("nobody knows this name")
        return [place for text in found for place in self._resolve(text, port, type=socket.SOCK_STREAM)]

    def connect(self, opened: socket.socket, place: Any) -> None:
        """To the bench's host if everybody may go there; nowhere else, and either way it is told."""
        if opened.family not in (socket.AF_INET, socket.AF_INET6):
            return self._connect(opened, place)
        self._tell(sent_to=place[0], port=place[1])
        if opened.family == socket.AF_INET6 or is_forbidden(place[0]) or str(place[1]) not in self._ports:
            raise ConnectionRefusedError
        return self._connect(opened, ("127.0.0.1", self._ports[str(place[1])]))

    def _tell(self, **what: object) -> None:
        with open(self._path, "a", encoding="utf-8") as file:  # noqa: PTH123 - one write per line
            file.write(json.dumps(what) + "\n")


if recording := os.environ.get("OUTBOUND_RECORDER"):
    _recorder = Recorder(recording, json.loads(os.environ["OUTBOUND_PORTS"]))
    socket.getaddrinfo = _recorder.getaddrinfo

    def _recorded(opened: socket.socket, place: Any) -> None:
        _recorder.connect(opened, place)

    socket.socket.connect = _recorded

_dial = fetch.HttpsFetch._dial


def _unjudged(_: fetch.HttpsFetch, host: str, port: int, seconds: float) -> socket.socket:
    return socket.create_connection((host, port), timeout=seconds)


def _looked_up_again(self: fetch.HttpsFetch, host: str, port: int, seconds: float) -> socket.socket:
    _dial(self, host, port, seconds).close()
    return socket.create_connection((host, port), timeout=seconds)


_PLANTED = {"nothing is judged": _unjudged, "judged and looked up again": _looked_up_again}
if planted := os.environ.get("OUTBOUND_PLANT"):
    fetch.HttpsFetch._dial = _PLANTED[planted]
