"""Savepoint paths: equal in spite of their spelling, and below the roots that a connection allows.

Flink spells one file three ways (``file:/x``, ``file:///x``, ``/x``) and one object two ways (``s3``, ``s3a``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from airflow_flink_iceberg.flink.traces import one_line
from airflow_flink_iceberg.model.errors import InvalidValue

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(?://([^/]*))?(/.*)?", re.DOTALL)
_SAME_SCHEME = {"s3a": "s3", "s3n": "s3"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_METADATA = "/_metadata"
_RETAINED = re.compile(r"/([0-9a-f]{32})/chk-(\d+)/?$")
# The second two are the names before 1.20, which 2.x still accepts.
_DIRECTORY_KEYS = (
    "execution.checkpointing.savepoint-dir",
    "execution.checkpointing.dir",
    "state.savepoints.dir",
    "state.checkpoints.dir",
)


def normalise_path(path: str) -> str:
    """The one spelling of a path: local files absolute without scheme, ``s3`` for ``s3a``, no trailing slash.

    A savepoint may be named by its directory or by the ``_metadata`` file in it; both give the directory. Segments
    are neither decoded nor resolved: :func:`require_below` refuses what would need it.
    """
    scheme, authority, name = _split(path)
    name = re.sub(r"/{2,}", "/", name).rstrip("/")
    name = name.removesuffix(_METADATA).rstrip("/")
    if scheme in ("", "file"):
        return name or "/"
    return f"{scheme}://{authority}{name}"


def same_path(a: str | None, b: str | None) -> bool:
    """Whether two spellings name the same savepoint; ``None`` is the same as nothing, not even ``None``."""
    return a is not None and b is not None and normalise_path(a) == normalise_path(b)


def is_below(path: str, root: str) -> bool:
    """Whether a path is the root or lies below it, by whole segments."""
    inner, outer = normalise_path(path), normalise_path(root)
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def configured_roots(config: Mapping[str, str]) -> tuple[str, ...]:
    """Savepoint and checkpoint directories of a cluster's own configuration, each once."""
    return tuple(dict.fromkeys(normalise_path(config[key]) for key in _DIRECTORY_KEYS if config.get(key)))


def require_below(path: str, roots: Iterable[str]) -> str:
    """Return the normalised path if it lies below one of the roots.

    :raises InvalidValue: no root contains it, or it is relative, or has ``..``, a login or control characters.
    """
    if not isinstance(path, str) or not path.strip():
        raise InvalidValue("A savepoint path is empty.")
    if _CONTROL.search(path):
        raise InvalidValue(f"Savepoint path {one_line(path)!r} has control characters in it.")
    _, authority, name = _split(path)
    if "@" in authority:
        raise InvalidValue(
            f"Savepoint path {one_line(path)!r} has a login in it; storage credentials belong into the connection."
        )
    # Decoded as well: a file system behind Flink may take %2e%2e for two dots.
    if any(unquote(segment) in (".", "..") for segment in name.split("/")):
        raise InvalidValue(
            f"Savepoint path {one_line(path)!r} has '.' or '..' in it; give the path that it leads to."
        )
    allowed = [root for root in roots if root]
    if any(is_below(path, root) for root in allowed):
        return normalise_path(path)
    shown = ", ".join(one_line(root) for root in allowed) or "none"
    raise InvalidValue(
        f"Savepoint path {one_line(path)!r} is below none of the allowed roots ({shown}); add its root to "
        "savepoint_roots of "
        "the flink connection if it is yours."
    )


def retained_checkpoint(path: str) -> tuple[str, int] | None:
    """Job id and checkpoint id that the path of a retained checkpoint names (``.../<job id>/chk-<n>``)."""
    match = _RETAINED.search(path)
    return (match[1], int(match[2])) if match else None


def _split(path: str) -> tuple[str, str, str]:
    found = _URI.fullmatch(path)
    if found is None:
        if not path.startswith("/"):
            raise InvalidValue(
                f"Savepoint path {one_line(path)!r} is relative; it has to begin with / or a scheme."
            )
        return "", "", path
    scheme = found.group(1).lower()
    return _SAME_SCHEME.get(scheme, scheme), found.group(2) or "", found.group(3) or ""
