"""Sockets to listen with; apart from the listener, because a supervisor that only holds a port loads nothing else."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any, Final

_NO_SUCH_ADDRESS: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def bind(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Sockets for every address of a host name, all on one port; not listening yet.

    Raises:
        OSError: an address is in use or is not ours.
    """
    sockets: list[socket.socket] = []
    found = dict.fromkeys(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
    with contextlib.ExitStack() as opened:
        for family, _, _, _, address in found:
            # a free port is picked once, then wanted for the other addresses too
            wanted = sockets[0].getsockname()[1] if sockets else port
            try:
                bound = opened.enter_context(_bound(family, (address[0], wanted, *address[2:]), reuse_port=reuse_port))
            except OSError as error:
                if error.errno in _NO_SUCH_ADDRESS and len(found) > 1:
                    continue  # "localhost" names an address family that this machine does not have
                raise
            sockets.append(bound)
        if not sockets:
            raise OSError(f"{host} names no address of this machine")
        opened.pop_all()
    return sockets


def _bound(family: int, address: tuple[Any, ...], *, reuse_port: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio leaves Nagle on
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    bound.settimeout(0)
    return bound
