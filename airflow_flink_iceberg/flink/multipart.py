"""A jar as a multipart body that is read from disk while it is sent, so that memory stays small."""

from __future__ import annotations

import io
import re
import uuid
from pathlib import Path
from typing import Self

from airflow_flink_iceberg.model.errors import InvalidValue

_UNSAFE_NAME = re.compile(r"[\x00-\x1f\x7f\"\\]")


class JarBody:
    """Context manager with what HTTP needs of a body: ``read`` and ``__len__``.

    :raises InvalidValue: on entering; the file is not there, is no readable file, or has a name that HTTP cannot carry.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        boundary = uuid.uuid4().hex
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="jarfile"; filename="{path.name}"\r\n'
            "Content-Type: application/java-archive\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()

    def __enter__(self) -> Self:
        if _UNSAFE_NAME.search(self._path.name):
            raise InvalidValue(
                f"Jar {self._path.name!r} has quotes or control characters in its name; rename it."
            )
        try:
            size = self._path.stat().st_size
            self._parts: list[io.BufferedIOBase] = [
                io.BytesIO(self._head),
                self._path.open("rb"),
                io.BytesIO(self._tail),
            ]
        except OSError as error:
            raise InvalidValue(
                f"Jar {self._path} cannot be read ({error.strerror}); give a local file, or the name of an uploaded "
                "jar."
            ) from error
        self._left = len(self._head) + size + len(self._tail)
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts:
            part.close()

    def __len__(self) -> int:
        """Bytes not read yet."""
        return self._left

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most ``size``; empty at the end."""
        for part in self._parts:
            if chunk := part.read(min(size, 1 << 16) if size >= 0 else 1 << 16):
                self._left -= len(chunk)
                return chunk
        return b""
