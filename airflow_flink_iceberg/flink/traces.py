"""Java's stack traces as one short sentence that is safe to log.

Error bodies have 5-10 KB and failed operations up to 55 KB, most of it serialised exceptions; the useful text is the
first line and the last ``Caused by``.
"""

from __future__ import annotations

import re

_CAUSED = "; caused by "

LIMIT = 400
"""Characters that are kept of one line of a trace."""

_SERVER_SIDE = re.compile(r"<Exception on server side:\s*")
_WRAPPERS = re.compile(r"^(?:java\.util\.concurrent\.(?:CompletionException|ExecutionException):\s*)+")
_CAUSED_BY = re.compile(r"^[ \t]*Caused by: (.+)$", re.MULTILINE)
_USER_INFO = re.compile(r"(?<=://)[^/\s'\"]+@")
_QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\"]+")
_SECRET_OPTION = re.compile(
    r"(?<![\w.\-])(['\"]?[\w.\-]{0,80}(?:password|secret|token|credential|access-key|apikey|api-key)[\w.\-]{0,80}['\"]?\s*[=:]\s*)"
    r"('(?:[^']|'')*'|\"[^\"]*\"|\S+)",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_SAVED_BUT_FAILED = "StopWithSavepointStoppingException"
_SAVED_AT = re.compile(r"created at: (\S{1,2000}?), but")


def redact(text: str) -> str:
    """Take user info, query strings (signed URLs) and values of secret options out of a text."""
    return _SECRET_OPTION.sub(r"\1***", _QUERY.sub(r"\1?...", _USER_INFO.sub("", text)))


def one_line(text: str, limit: int = LIMIT) -> str:
    """A text of somebody else as one redacted line without control characters, cut at ``limit``."""
    # Cut first: the patterns must not run over megabytes of somebody else's text.
    line = _CONTROL.sub(" ", redact(text[: 4 * limit])).strip()
    return line if len(line) <= limit else line[: limit - 3] + "..."


def reason(trace: str) -> str:
    """First line and last ``Caused by`` of a trace; empty only for an empty trace."""
    text = _SERVER_SIDE.sub("", trace).strip()
    if not text:
        return ""
    first = _unwrapped(text.splitlines()[0])
    causes = _CAUSED_BY.findall(text)
    last = _unwrapped(causes[-1]) if causes else ""
    if not last or last in first:
        return first
    return last if first in last else f"{first}{_CAUSED}{last}"


def root_cause(reason_: str) -> str:
    """The cause in a :func:`reason`, without the line above it: enough where that is only a wrapper."""
    return reason_.rpartition(_CAUSED)[2]


def saved_path(trace: str) -> str | None:
    """Path of the savepoint that was completed although the job failed while stopping, else ``None``.

    Flink says so only in the text of ``StopWithSavepointStoppingException``.
    """
    if _SAVED_BUT_FAILED not in trace:
        return None
    found = _SAVED_AT.search(trace)
    return found.group(1) if found else None


def _unwrapped(line: str) -> str:
    return one_line(_WRAPPERS.sub("", line.strip()).rstrip("."))
