"""The supervisor over real processes: what dies is replaced, what stops drops nothing, what cannot start says so."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import (
    NotReady,
    Server,
    await_ready,
    descendants,
    free_port,
    running,
    start,
    supervised,
    wait_until,
)
from tests.support.raw_http import answer, connected, exchange, request

BUILD = "tests.support.tiny_application:build"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(supervised(BUILD, str(tmp_path), workers=2), tmp_path) as server:
        yield server


def pid_of_a_worker(server: Server) -> int:
    (got,) = exchange(server.port, request("GET", "/pid", "Connection: close"))
    return int(got.body)


def count(server: Server, name: str) -> int:
    path = server.directory / name
    return path.stat().st_size if path.exists() else 0


def test_both_workers_serve_and_the_address_is_told_once_they_do(server: Server) -> None:
    assert server.output == f"serving http://127.0.0.1:{server.port}\n"
    assert count(server, "started") == 2
    seen = {pid_of_a_worker(server) for _ in range(40)}
    assert seen == set(server.workers())


def test_a_worker_killed_with_9_is_replaced_within_3_seconds_while_the_other_serves(server: Server) -> None:
    before = set(server.workers())
    killed = before.pop()
    os.kill(killed, signal.SIGKILL)
    since = time.monotonic()
    wait_until(lambda: killed not in server.workers(), what="the end of the worker")
    # the kernel closed the dead worker's socket: every connection now goes to one that lives
    assert pid_of_a_worker(server) != killed
    wait_until(lambda: count(server, "started") == 3, seconds=3.0, what="the replacement")
    wait_until(lambda: {pid_of_a_worker(server) for _ in range(20)} == set(server.workers()), seconds=3.0)
    assert time.monotonic() - since < 3.0
    assert len(server.workers()) == 2
    assert killed not in server.workers()
    assert server.stop() == 0


def in_flight(server: Server, number: int) -> list[socket.socket]:
    """Requests that wait for the gate, seen to have begun."""
    connections = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(number)]
    for connection in connections:
        connection.sendall(request("GET", "/slow"))
    wait_until(lambda: count(server, "begun") == number, what="the requests")
    return connections


@pytest.mark.parametrize("to_group", [False, True], ids=["parent", "group"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_drops_no_request_in_flight(server: Server, number: int, to_group: bool) -> None:
    connections = in_flight(server, 8)
    idle = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    if to_group:
        server.signal_group(number)
    else:
        server.signal(number)
    wait_until(lambda: refuses_connections(server.port), what="the end of listening")
    (server.directory / "gate").touch()
    for connection in connections:
        got = answer(connection)
        assert (got.status, got.body, got.headers["connection"]) == (200, b"ok", "close")
        connection.close()
    assert server.wait() == 0
    assert count(server, "done") == 8
    assert count(server, "stopped") == 2
    idle.close()
    assert server.errors == ""


def refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_stop_under_load_loses_no_answer_on_kept_alive_connections(server: Server) -> None:
    """Every request that was sent is answered; the connection ends only where an answer said so."""
    lost: list[str] = []
    served: list[int] = []

    def client() -> None:
        try:
            with connected(server.port) as connection:
                while True:
                    connection.sendall(request("GET", "/ok"))
                    got = answer(connection)
                    served.append(got.status)
                    if got.headers.get("connection") == "close":
                        return
        except (OSError, AssertionError) as error:
            lost.append(repr(error))

    clients = [threading.Thread(target=client) for _ in range(8)]
    for thread in clients:
        thread.start()
    wait_until(lambda: len(served) > 200, what="the load")
    assert server.stop() == 0
    for thread in clients:
        thread.join(10)
    assert lost == []
    assert set(served) == {200}


def test_a_request_that_never_ends_is_cut_off_after_the_graceful_time(tmp_path: Path) -> None:
    with running(supervised(BUILD, str(tmp_path), graceful_seconds=0.5), tmp_path) as server:
        (connection,) = in_flight(server, 1)
        assert server.stop() == 0
        assert connection.recv(65536) == b""
        connection.close()
        assert count(server, "stopped") == 1


def test_a_single_worker_that_is_told_to_stop_drains_and_is_replaced(server: Server) -> None:
    stopped = server.workers()[0]
    os.kill(stopped, signal.SIGTERM)
    wait_until(lambda: count(server, "stopped") == 1 and count(server, "started") == 3, what="the replacement")
    assert stopped not in server.workers()


def test_workers_do_not_outlive_a_supervisor_that_was_killed(server: Server) -> None:
    workers = server.workers()
    server.signal(signal.SIGKILL)
    server.wait()
    wait_until(lambda: count(server, "stopped") == 2, what="the end of the workers")
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), what="the end of the processes")


def test_workers_that_end_again_and_again_end_the_server_with_1(tmp_path: Path) -> None:
    (tmp_path / "healthy").touch()
    command = supervised("tests.support.tiny_application:exit_at_start", str(tmp_path))
    with running(command, tmp_path) as server:
        (tmp_path / "healthy").unlink()
        os.kill(server.workers()[0], signal.SIGKILL)
        assert server.wait(60) == 1
        assert "6 workers ended one after the other, the last with code 9" in server.errors
        assert descendants(server.process.pid) == []


def test_while_one_worker_serves_another_that_cannot_start_does_not_end_the_server(tmp_path: Path) -> None:
    (tmp_path / "healthy").touch()
    command = supervised("tests.support.tiny_application:exit_at_start", str(tmp_path), workers=2)
    with running(command, tmp_path) as server:
        (tmp_path / "healthy").unlink()  # a file that only the start reads, as a sealing key
        killed, left = server.workers()
        os.kill(killed, signal.SIGKILL)
        wait_until(
            lambda: server.errors.count("ended with code 9") > 6, 60, "more failures than a server without workers"
        )
        assert pid_of_a_worker(server) == left
        (tmp_path / "healthy").touch()
        wait_until(lambda: count(server, "started") == 3, 60, "a start that goes well again")
        (tmp_path / "healthy").unlink()
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        assert server.wait(60) == 1
        # that of a killed one, where the supervisor sees both gone before another has tried to start
        assert re.search("ended one after the other, the last with code -?9", server.errors)


def test_an_application_that_cannot_start_ends_the_server_with_1_and_a_sentence(tmp_path: Path) -> None:
    server = start(supervised("tests.support.tiny_application:refuse_to_start", "x", workers=2), tmp_path)
    with pytest.raises(NotReady, match="before it was ready"):
        await_ready(server)
    assert server.wait() == 1
    assert "serving" not in server.output
    assert "cannot start with x" in server.errors


def test_a_port_that_another_server_has_is_refused_though_both_could_share_it(server: Server, tmp_path: Path) -> None:
    directory = tmp_path / "second"
    directory.mkdir()
    second = start(supervised(BUILD, str(directory), port=server.port), directory)
    assert second.wait() == 1
    assert "cannot listen on 127.0.0.1 port" in second.errors


def test_a_second_port_that_another_server_has_is_refused_before_a_worker_starts(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    command = supervised(BUILD, str(tmp_path / "other"), mutual_tls=True, mutual_tls_port=server.port)
    other = start(command, tmp_path / "other")
    assert other.wait() == 1
    assert other.errors.startswith(f"cannot listen on 127.0.0.1 port {server.port}: ")
    assert not (tmp_path / "other/started").exists()


def test_a_wanted_port_is_kept_and_told(tmp_path: Path) -> None:
    port = free_port()
    with running(supervised(BUILD, str(tmp_path), port=port, host="localhost"), tmp_path) as server:
        assert server.address == f"http://localhost:{port}"
        assert exchange(port, request("GET", "/ok", "Connection: close"))[0].body == b"ok"


def test_the_supervisor_loads_neither_the_application_nor_its_framework() -> None:
    code = "import sys, fapi_as.adapters.serving.supervisor; print({'quart', 'hypercorn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "set()\n"


def test_a_peer_that_hangs_up_cancels_no_handler(server: Server) -> None:
    for _ in range(20):
        with connected(server.port) as connection:
            connection.sendall(request("POST", "/slow", body=b"x"))
    wait_until(lambda: count(server, "begun") == 20, what="the requests")
    (server.directory / "gate").touch()
    wait_until(lambda: count(server, "done") == 20, what="the end of every handler")
    assert exchange(server.port, request("GET", "/ok", "Connection: close"))[0].status == 200
