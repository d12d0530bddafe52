"""What can go wrong, named by situation and split by what the caller can do.

::

    FlinkIcebergError
    ├── InvalidValue                 what was typed is wrong; a retry cannot help
    ├── FlinkError
    │   ├── FlinkUnreachable         refused, timed out, 502/503/504: a retry may help
    │   ├── FlinkUnauthorized        401/403: credentials or proxy
    │   ├── FlinkAnswerInvalid       HTML, half a body, too large, an unknown value
    │   ├── FlinkRequestRefused      a 4xx/5xx with Flink's own reason
    │   │   ├── JobNotFound
    │   │   ├── OperationNotFound    the trigger id is unknown (expired, or the JobManager restarted)
    │   │   └── DuplicateJob         the job id has lived on this cluster
    │   ├── JobAmbiguous             several running jobs fit
    │   ├── JobNotStoppable          not RUNNING, tasks not RUNNING, checkpointing off
    │   ├── OperationInFlight        somebody else's stop or savepoint is under way
    │   ├── SavepointFailed          the job goes on
    │   ├── NoFreeSlots
    │   ├── JobFailed                ended or keeps failing instead of running
    │   ├── RestoreMismatch          RUNNING, but not from our state
    │   ├── DoublingNow              resumed from a state older than the table: rows are being doubled
    │   └── GatewayFailed            a statement in the SQL Gateway
    ├── IcebergError
    │   ├── CatalogUnreachable       a retry may help
    │   ├── TableNotFound
    │   ├── BranchNotFound
    │   ├── MetadataUnreadable
    │   └── RefConflict              the table kept moving while a tag was written
    ├── BrokersUnreachable           Kafka did not tell, or the extra is missing: never a reason against a start
    ├── SavepointUnreadable          the state's bytes are absent, out of bounds or of an unknown version
    ├── WaitTimeout                  our wait ended; nothing outside was touched
    ├── Superseded                   a newer try owns this task: stop at once, touch nothing
    ├── RestartRefused               the guard said no; carries the decision
    └── IntegrityFailed              checks failed; carries the report
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_flink_iceberg.model.decision import Decision
    from airflow_flink_iceberg.model.result import CheckReport


class FlinkIcebergError(Exception):
    """Base of all errors of this package; ``retryable`` says whether trying again later may help."""

    retryable = False


class InvalidValue(FlinkIcebergError, ValueError):
    """An argument, connection field or value is wrong; nothing was touched."""


class FlinkError(FlinkIcebergError):
    """Something about Flink: its REST API, its SQL Gateway, a job."""


class FlinkUnreachable(FlinkError):
    """No answer in time, connection refused, or 502/503/504 (leader election, proxy)."""

    retryable = True


class FlinkUnauthorized(FlinkError):
    """401 or 403: Flink itself has no users, so a proxy in front of it refused the credentials."""


class FlinkAnswerInvalid(FlinkError):
    """The answer is not what Flink sends: HTML, a cut body, over the size cap, or an unknown state."""

    retryable = True


class FlinkRequestRefused(FlinkError):
    """Flink refused the request; ``status`` is the HTTP status, ``reason`` Flink's own first sentence."""

    def __init__(self, message: str, *, status: int, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class JobNotFound(FlinkRequestRefused):
    """The cluster does not know the job id: ended long ago, lost with a JobManager, or never there."""


class OperationNotFound(FlinkRequestRefused):
    """The trigger id is unknown: its result expired (5 minutes) or the JobManager restarted."""


class DuplicateJob(FlinkRequestRefused):
    """The job id was submitted before; Flink left the existing job untouched."""


class JobAmbiguous(FlinkError):
    """More than one job fits; the message lists the candidates."""


class JobNotStoppable(FlinkError):
    """The job is not in a state in which a savepoint can be taken; nothing was stopped."""

    retryable = True


class OperationInFlight(FlinkError):
    """Another stop or savepoint of this job is under way, and it is not ours."""

    retryable = True


class SavepointFailed(FlinkError):
    """Flink could not complete the savepoint; the job goes on."""

    retryable = True


class NoFreeSlots(FlinkError):
    """The cluster has too few free slots for the job to start."""

    retryable = True


class JobFailed(FlinkError):
    """The job ended, or swings between RUNNING and RESTARTING, instead of running; a retry uses a new id."""

    retryable = True


class RestoreMismatch(FlinkError):
    """The job runs, but Flink says that it was restored from another state than ours, or from none."""


class DoublingNow(FlinkError):
    """The job has resumed by itself from a state older than the table, and writes rows again that are there."""


class GatewayFailed(FlinkError):
    """A statement failed in the SQL Gateway."""

    retryable = True


class BrokersUnreachable(FlinkIcebergError):
    """Kafka's brokers did not tell what was asked, or the extra ``kafka`` is not installed; a retry may help."""

    retryable = True


class IcebergError(FlinkIcebergError):
    """Something about the catalog or a table."""


class CatalogUnreachable(IcebergError):
    """The catalog did not answer, or refused the credentials."""

    retryable = True


class TableNotFound(IcebergError):
    """The catalog has no such table (under this catalog name)."""


class BranchNotFound(IcebergError):
    """The table has no such branch."""


class MetadataUnreadable(IcebergError):
    """The table's metadata file is missing, cut, or not what the specification says."""


class RefConflict(IcebergError):
    """Other commits won every time; the tag was not written."""

    retryable = True


class SavepointUnreadable(FlinkIcebergError):
    """The bytes of a savepoint or checkpoint cannot be read or trusted."""


class WaitTimeout(FlinkIcebergError, TimeoutError):
    """Our wait ended before the awaited thing happened; nothing outside was cancelled."""

    retryable = True


class Superseded(FlinkIcebergError):
    """Our record could not be written: a newer try of this task owns it. Nothing was touched after that.

    Or the store itself failed, which cannot be told apart from here; of a try that was replaced nobody asks the result.
    """

    retryable = True


class RestartRefused(FlinkIcebergError):
    """The guard refused; ``decision`` holds all findings, worst first. Nothing was started."""

    def __init__(self, message: str, decision: Decision) -> None:
        super().__init__(message)
        self.decision = decision
        # What only a silent cluster kept from being decided may be decided at the next try.
        unsafe = [finding for finding in decision.findings if finding.verdict != "SAFE"]
        self.retryable = bool(unsafe) and all(finding.cause == "cluster_unreachable" for finding in unsafe)


class IntegrityFailed(FlinkIcebergError):
    """At least one check failed, or could not be answered where that counts as failure."""

    def __init__(self, message: str, report: CheckReport) -> None:
        super().__init__(message)
        self.report = report
