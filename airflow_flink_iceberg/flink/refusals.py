"""Which error an HTTP answer is. Flink's status codes mislead, its bodies do not.

An unknown job on ``/status`` is a 500, a duplicate job id a 400, a missing jar a 500: so the text decides first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from airflow_flink_iceberg.flink.traces import reason
from airflow_flink_iceberg.model.errors import (
    DuplicateJob,
    FlinkError,
    FlinkRequestRefused,
    FlinkUnauthorized,
    FlinkUnreachable,
    JobNotFound,
    OperationNotFound,
)

_INITIALIZING = re.compile(r"UnavailableDispatcherOperationException")
_BY_TEXT: tuple[tuple[re.Pattern[str], type[FlinkRequestRefused], str], ...] = (
    (
        re.compile(r"FlinkJobNotFoundException|Could not find Flink job|\bJob [0-9a-f]{32} not found"),
        JobNotFound,
        (
            "Flink does not know this job: it ended long ago, was lost with its JobManager, or never ran here; look "
            "at the list of jobs in Flink's web UI."
        ),
    ),
    (
        # With high availability only the result is left of a job that ended before its JobManager was replaced; a
        # running job without checkpoints is a 200 instead.
        re.compile(r"Checkpointing (?:has|was|is) not (?:been )?enabled"),
        JobNotFound,
        (
            "Flink has forgotten this job's checkpoints: it ended before its JobManager was replaced; look for its "
            "savepoint in the directory that it was to be written to."
        ),
    ),
    (
        re.compile(r"There is no (?:savepoint|checkpoint) operation with triggerId"),
        OperationNotFound,
        (
            "Flink has forgotten this operation: its result is kept for 5 minutes and not over a restart of the "
            "JobManager; look at the job's state and checkpoints instead."
        ),
    ),
    (
        # 1.20 says DuplicateJobSubmissionException, 2.3 DuplicateApplicationSubmissionException.
        re.compile(r"Duplicate(?:Job|Application)SubmissionException"),
        DuplicateJob,
        "a job with this id was submitted before, Flink left it untouched; look at its state.",
    ),
)


def unreachable(where: str, why: str) -> FlinkUnreachable:
    """The error for no answer; ``where`` names the request."""
    return FlinkUnreachable(
        f"{where}: {why}; check that Flink runs and that this worker may reach it, then retry."
    )


def refusal(where: str, status: int, errors: Sequence[str]) -> FlinkError:
    """The error for an answer of 400 or more that has Flink's own ``errors``.

    :param where: method, URL and path of the request, without secrets.
    """
    said = reason(max(errors, key=len, default=""))
    if status in (401, 403):
        return unauthorized(where, status)
    text = "\n".join(errors)
    # Any other job of the cluster may be just starting: a moment later it answers.
    if status in (502, 503, 504) or _INITIALIZING.search(text):
        return unreachable(where, f"Flink is not ready (HTTP {status}: {said})")
    for pattern, error, sentence in _BY_TEXT:
        if pattern.search(text):
            return error(f"{where}: {sentence}", status=status, reason=said)
    return FlinkRequestRefused(
        f"{where}: Flink refused with HTTP {status}: {said or 'no reason given'}.", status=status, reason=said
    )


def unauthorized(where: str, status: int) -> FlinkUnauthorized:
    """The error for 401 and 403."""
    return FlinkUnauthorized(
        f"{where}: HTTP {status}; Flink itself has no users, so a proxy in front of it wants other credentials: "
        "check login, "
        "token and headers of the connection."
    )
