"""A JobManager that knows only ``/jobs/:id/status``, cheap enough to be asked a hundred times a second.

Run as a process of its own: prints its two addresses, and answers CREATED at both until a line comes on standard
input; from then on the second one accepts connections and says nothing. Each arrival goes to the file named in
``argv``: seconds since the epoch and the job's id.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TextIO

_BODY = b'{"status":"CREATED"}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)


class Server:
    """One address."""

    def __init__(self, arrivals: TextIO) -> None:
        self._arrivals = arrivals
        self.is_hanging = False

    async def start(self) -> str:
        """Listen on a free port; returns the address."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                self._arrivals.write(f"{time.time():.4f} {request.split(b'/')[2].decode()}\n")
                if self.is_hanging:
                    await asyncio.sleep(3600)
                writer.write(_ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()


async def main(file: Path) -> None:
    """Serve until standard input ends."""
    with file.open("w", buffering=1) as arrivals:
        servers = [Server(arrivals), Server(arrivals)]
        print(json.dumps([await each.start() for each in servers]), flush=True)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            servers[1].is_hanging = True


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
