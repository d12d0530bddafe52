"""Free loopback ports."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping, Sequence

from playground.errors import BusyPortError

LOOPBACK = "127.0.0.1"
# Below the range from which Linux (32768) and macOS (49152) take the ports of outgoing connections: such a
# connection could otherwise take a port between our look and the server's start.
_FIRST, _LAST = 20_000, 32_000
_TRIES = 1000


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As the JVMs do: a port whose last connections are still in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen()
        except OSError:
            return False
        return True


def choose(
    names: Sequence[str],
    *,
    wanted: Mapping[str, int] | None = None,
    preferred: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """One free port for each name, all different.

    A `wanted` port is a promise to the user: taken by somebody else, it raises `BusyPortError`. A `preferred`
    one (that of an earlier run) is used if it is free.
    """
    wanted, preferred = wanted or {}, preferred or {}
    for name, port in wanted.items():
        if not is_free(port):
            raise BusyPortError(
                f"Port {port}, asked for as the {name} port, is taken by another process: stop that one, or ask "
                "for another port or none."
            )
    chosen: dict[str, int] = dict(wanted)
    for name in names:
        port = chosen.get(name) or preferred.get(name, 0)
        if name not in wanted and (not port or port in chosen.values() or not is_free(port)):
            port = _any_free(set(chosen.values()))
        chosen[name] = port
    return chosen


def _any_free(excluded: set[int]) -> int:
    for _ in range(_TRIES):
        port = random.randrange(_FIRST, _LAST)
        if port not in excluded and is_free(port):
            return port
    raise BusyPortError(f"No free port was found between {_FIRST} and {_LAST} in {_TRIES} tries.")
