from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from playground.errors import BusyPortError
from playground.ports import LOOPBACK, choose, is_free


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        yield int(server.getsockname()[1])


def test_a_busy_port_that_was_asked_for_is_named(busy_port: int) -> None:
    with pytest.raises(BusyPortError) as caught:
        choose(["flink", "kafka"], wanted={"flink": busy_port})
    assert str(caught.value) == (
        f"Port {busy_port}, asked for as the flink port, is taken by another process: stop that one, or ask for "
        "another port or none."
    )


def test_a_busy_port_of_an_earlier_run_is_replaced(busy_port: int) -> None:
    chosen = choose(["flink"], preferred={"flink": busy_port})
    assert chosen["flink"] != busy_port
    assert is_free(chosen["flink"])


def test_all_ports_differ_and_are_free() -> None:
    names = [str(number) for number in range(50)]
    chosen = choose(names, preferred={"0": 21_000, "1": 21_000})
    assert list(chosen) == names
    assert len(set(chosen.values())) == 50
    assert all(is_free(port) for port in chosen.values())


def test_a_port_of_an_earlier_run_is_kept() -> None:
    earlier = choose(["flink", "kafka"])
    assert choose(["flink", "kafka"], preferred=earlier) == earlier


def test_a_port_with_connections_in_time_wait_is_free() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((LOOPBACK, 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # the side that closes first keeps the port in TIME_WAIT
            client.recv(1)
    assert is_free(port)
