"""What watches the outbound bench: its own network with a name server and a sniffer, or a recorder at connect()."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final, Protocol

from tests.support.outbound_values import leads
from tests.support.processes import ROOT

NAMESPACE: Final = "a network namespace"
RECORDER: Final = "a recorder at connect()"
NAME_SERVER: Final = "9.9.9.9"
# what `ip netns` makes, and without a name: nothing of it is left when its first process ends, however that ends
_ALONE: Final = (
    *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *(() if os.geteuid() == 0 else ("--map-root-user",)),
)
_EVERY_PACKET: Final = 3  # ETH_P_ALL
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_SO_RCVBUFFORCE: Final = 33
_HEADERS: Final = 128  # bytes of a packet that are read


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One packet, or one connection that was asked for; `by` is the address that it came from, where that is known."""

    to: str
    port: int
    by: str = ""
    by_port: int = 0


class Watch(Protocol):
    """Where packets went, and which names were asked for."""

    def sent(self) -> list[Sent]:
        """Everything since the watch began."""
        ...

    def asked(self) -> set[str]:
        """The names, in lower case."""
        ...


def command(kind: str, *arguments: str) -> list[str]:
    """How `tests.support.outbound_bench` is run under a watch of this kind."""
    inside = [sys.executable, "-m", "tests.support.outbound_bench", kind, *arguments]
    return [*_ALONE, *inside] if kind == NAMESPACE else inside


def kind_of_this_machine() -> str:
    """A namespace where one can be had."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return RECORDER
    tried = subprocess.run([*_ALONE, "sh", "-c", _ROUTES], capture_output=True, check=False, timeout=20)
    return NAMESPACE if tried.returncode == 0 else RECORDER


# every address there is leads to this machine: whoever is sent to a forbidden one finds somebody there
_ROUTES: Final = "ip link set lo up && ip -4 route add local default dev lo && ip -6 route add local default dev lo"


class Sniffer:
    """Reads every packet that leaves; the only interface there is is the loopback one."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERY_PACKET))
        with contextlib.suppress(PermissionError):  # of a namespace's own root
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 * 1024 * 1024)
        self._sent: Counter[Sent] = Counter()
        threading.Thread(target=self._read, daemon=True).start()

    def sent(self) -> list[Sent]:
        """Every way that a packet took, once.

        Raises:
            AssertionError: packets were lost, so nobody knows.
        """
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        assert struct.unpack("II", statistics)[1] == 0, "the sniffer has lost packets"
        return list(self._sent)

    def _read(self) -> None:
        while True:
            packet, (_, _, kind, *_) = self._socket.recvfrom(_HEADERS)
            if kind == socket.PACKET_OUTGOING:
                self._sent[_read_packet(packet)] += 1


def _read_packet(packet: bytes) -> Sent:
    if packet[0] >> 4 == 4:
        source, to, rest = IPv4Address(packet[12:16]), IPv4Address(packet[16:20]), packet[(packet[0] & 15) * 4 :]
    else:
        source, to, rest = IPv6Address(packet[8:24]), IPv6Address(packet[24:40]), packet[40:]
    by_port, port = struct.unpack("!HH", rest[:4]) if len(rest) >= 4 else (0, 0)
    return Sent(to=str(to), port=port, by=str(source), by_port=by_port)


class NameServer:
    """Answers for A and AAAA with what the bench says, and never with anything to keep."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((NAME_SERVER, 53))
        self.asked: Counter[tuple[str, int]] = Counter()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            question, peer = self._socket.recvfrom(512)
            answer = self._answer(question)
            if answer is not None:
                self._socket.sendto(answer, peer)

    def _answer(self, question: bytes) -> bytes | None:
        """RFC 1035 §4: the question again, and a record per address."""
        labels, place = [], 12
        while length := question[place]:
            labels.append(question[place + 1 : place + 1 + length].decode("ascii"))
            place += 1 + length
        name, asked = ".".join(labels).lower(), question[12 : place + 5]
        (kind,) = struct.unpack("!H", question[place + 1 : place + 3])
        found = leads(name, self.asked[name, kind])
        self.asked[name, kind] += 1
        if found is None:
            return None
        version = {1: 4, 28: 6}.get(kind)
        addresses = [place for place in map(ip_address, found) if place.version == version]
        records = [struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(place.packed)) + place.packed for place in addresses]
        flags = 0x8180 if found else 0x8183  # there is no such name
        return question[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + asked + b"".join(records)


@dataclass(kw_only=True)
class InNamespace:
    """The watch of a namespace."""

    sniffer: Sniffer = field(default_factory=Sniffer)
    names: NameServer = field(default_factory=NameServer)

    def sent(self) -> list[Sent]:
        """Every way that a packet took."""
        return self.sniffer.sent()

    def asked(self) -> set[str]:
        """The names, in lower case."""
        return {name for name, _ in self.names.asked}


@dataclass(kw_only=True)
class AtConnect:
    """The watch where there is no namespace: what the server's own processes wrote before they connected."""

    file: Path

    def sent(self) -> list[Sent]:
        """Every connection that was asked for."""
        return [Sent(to=line["sent_to"], port=line["port"]) for line in self._lines() if "sent_to" in line]

    def asked(self) -> set[str]:
        """The names, in lower case."""
        return {line["asked"].lower() for line in self._lines() if "asked" in line}

    def _lines(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]


@contextlib.contextmanager
def watched(kind: str, directory: Path) -> Iterator[Watch]:
    """Begin to watch; in a namespace this makes the network, too."""
    if kind == RECORDER:
        file = directory / "recorded.jsonl"
        file.write_bytes(b"")
        yield AtConnect(file=file)
        return
    _run("sh", "-c", _ROUTES)
    for path, text in {
        "resolv.conf": f"nameserver {NAME_SERVER}\n",
        "nsswitch.conf": "hosts: files dns\n",
        "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    }.items():
        (directory / path).write_text(text, encoding="ascii")
        if Path(f"/etc/{path}").exists():
            _run("mount", "--bind", str(directory / path), f"/etc/{path}")
    yield InNamespace()


def environment(kind: str, directory: Path, ports: Mapping[int, int], planted: str | None) -> dict[str, str]:
    """What a server has to be started with, so that the recorder and the planted defect are in it."""
    added = {} if planted is None else {"OUTBOUND_PLANT": planted}
    if kind == RECORDER:
        added |= {"OUTBOUND_RECORDER": str(directory / "recorded.jsonl"), "OUTBOUND_PORTS": json.dumps(ports)}
    if added:
        added["PYTHONPATH"] = os.pathsep.join((str(ROOT / "tests/support/planted"), str(ROOT)))
    return added


def _run(*arguments: str) -> Sequence[str]:
    done = subprocess.run(arguments, capture_output=True, check=False, text=True, timeout=20)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout.splitlines()
