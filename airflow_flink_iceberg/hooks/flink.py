"""The ``flink`` connection, and everything of one job behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_flink_iceberg.hooks.connection import endpoint_of, json_object, mask_connection, ui_url_of
from airflow_flink_iceberg.model.errors import FlinkIcebergError

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.answers import JobDetails
    from airflow_flink_iceberg.flink.checkpoints import CheckpointStats
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.flink.endpoint import FlinkEndpoint
    from airflow_flink_iceberg.model.job import FlinkJob
    from airflow_flink_iceberg.model.restart import Restart, RunningJob
    from airflow_flink_iceberg.model.restore_point import RestorePoint
    from airflow_flink_iceberg.model.savepoint import Savepoint

_TEST_TIMEOUT = 5.0


class FlinkHook(BaseHook):
    """Speaks to one Flink cluster.

    The connection's host may carry a scheme, a port and a path prefix. Flink itself has no users: login, token,
    headers and certificates are for the proxy in front of it, are sent to the configured addresses only, and go
    through Airflow's secrets masker.

    :param flink_conn_id: Connection of type ``flink``.
    :param lookup: What finds a connection by its id; a trigger hands in connections that it has awaited.
    """

    conn_name_attr = "flink_conn_id"
    default_conn_name = "flink_default"
    conn_type = "flink"
    hook_name = "Flink"

    def __init__(
        self, flink_conn_id: str = default_conn_name, *, lookup: Callable[[str], Any] | None = None
    ) -> None:
        super().__init__()
        self.flink_conn_id = flink_conn_id
        self._lookup = lookup or self.get_connection
        self._client: FlinkClient | None = None
        self._connection: Any = None

    @property
    def connection(self) -> Any:
        """The connection, read once; its secrets are masked before it is returned."""
        if self._connection is None:
            connection = self._lookup(self.flink_conn_id)
            mask_connection(connection)
            self._connection = connection
        return self._connection

    @property
    def endpoint(self) -> FlinkEndpoint:
        """Where the cluster is and how to speak to it.

        :raises InvalidValue: a field of the connection is not of its form; names the field, never its value.
        """
        return endpoint_of(self.flink_conn_id, self.connection)

    @property
    def extra(self) -> dict[str, Any]:
        """The connection's extra fields."""
        return dict(self.connection.extra_dejson or {})

    @property
    def savepoint_roots(self) -> tuple[str, ...]:
        """Directories that savepoints may come from; empty: the cluster's own configured ones."""
        roots = self.extra.get("savepoint_roots") or ()
        items = roots.split(",") if isinstance(roots, str) else roots
        return tuple(str(item).strip() for item in items if str(item).strip())

    @property
    def storage(self) -> dict[str, str]:
        """FileIO properties for savepoints, where they differ from the catalog's."""
        return json_object(self.extra, "storage")

    @property
    def kafka(self) -> dict[str, str]:
        """Kafka's properties for looking at a job's topics, over those of its script."""
        return json_object(self.extra, "kafka")

    @property
    def ui_url(self) -> str:
        """What people's browsers can reach.

        :raises InvalidValue: no http(s) address, or one with a login, which would end up in a link.
        """
        return ui_url_of(self.flink_conn_id, self.connection)

    def get_conn(self) -> FlinkClient:
        """The client of this connection; kept open for as long as the hook lives."""
        from airflow_flink_iceberg.flink.client import FlinkClient

        if self._client is None:
            self._client = FlinkClient(self.endpoint)
        return self._client

    def close(self) -> None:
        """Close the client; the next call opens it anew."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def get_job(self, name: str, job_id: str | None = None) -> JobDetails:
        """The one running job of this name.

        :raises JobNotFound: none. :raises JobAmbiguous: several; the message lists them.
        """
        from airflow_flink_iceberg.flink.resolve import resolve_job

        client = self.get_conn()
        return client.job(resolve_job(client, name, job_id).job_id)

    def checkpoints(self, job_id: str) -> CheckpointStats:
        """The job's checkpoints; up to 3 s old, because Flink serves them from a cache."""
        return self.get_conn().checkpoints(job_id)

    def cancel(self, job_id: str) -> bool:
        """Cancel a job without a savepoint; false: it had ended already. A repeat changes nothing."""
        return self.get_conn().cancel(job_id)

    def stop_with_savepoint(
        self,
        job: FlinkJob | Mapping[str, Any] | str,
        *,
        target_directory: str | None = None,
        format_type: str = "CANONICAL",
        timeout: float = 1800.0,
    ) -> Savepoint:
        """Stop a job atomically with a savepoint, as ``FlinkStopWithSavepointOperator`` does.

        A retry of the task attaches to the recorded stop; outside of a task a repeat is a new stop.

        :param job: also as its dict or JSON.
        :raises JobNotStoppable, OperationInFlight, SavepointFailed: the job goes on.
        :raises WaitTimeout: the stop goes on in Flink.
        """
        from airflow_flink_iceberg.hooks.use_cases import stop_with_savepoint
        from airflow_flink_iceberg.operators.base import check_savepoint_arguments, require_seconds
        from airflow_flink_iceberg.restart.stop import StopOptions

        check_savepoint_arguments(target_directory, format_type)
        require_seconds("timeout", timeout)
        options = StopOptions(target_directory, format_type, timeout=timeout)
        return stop_with_savepoint(self._here(job), options, self._lookup)

    def trigger_savepoint(
        self,
        job: FlinkJob | Mapping[str, Any] | str,
        *,
        target_directory: str | None = None,
        format_type: str = "CANONICAL",
        timeout: float = 1800.0,
    ) -> Savepoint:
        """Take a savepoint of a job that goes on, as ``FlinkTriggerSavepointOperator`` does.

        Retries and errors are as for :meth:`stop_with_savepoint`; its ``commit`` is ``pending`` (FLINK-25191).
        """
        from airflow_flink_iceberg.hooks.use_cases import trigger_savepoint
        from airflow_flink_iceberg.operators.base import check_savepoint_arguments, require_seconds
        from airflow_flink_iceberg.restart.savepoint import SavepointOptions

        check_savepoint_arguments(target_directory, format_type)
        require_seconds("timeout", timeout)
        options = SavepointOptions(target_directory, format_type, timeout=timeout)
        return trigger_savepoint(self._here(job), options, self._lookup)

    def start(
        self,
        job: FlinkJob | Mapping[str, Any] | str,
        savepoint: Savepoint | RestorePoint | Restart | Mapping[str, Any] | str | None,
        *,
        allow_non_restored_state: bool = False,
        accept_verdicts: Sequence[str] = (),
        reason: str | None = None,
        timeout: float = 1800.0,
    ) -> RunningJob:
        """Start a job, guarded, as ``FlinkStartJobOperator`` does.

        A retry of the task attaches to the launched job. A script given by its path is found inside a task only.

        :param savepoint: what a stop has returned, also as dict or JSON, or a path; ``None``: without state, which only
            the very first start of a job may be.
        :raises RestartRefused: the guard refuses; nothing was started. :raises JobFailed, RestoreMismatch: it does
            not run from this state.
        """
        from airflow_flink_iceberg.hooks.use_cases import start
        from airflow_flink_iceberg.operators.base import reason_text, require_flag, require_seconds, verdicts
        from airflow_flink_iceberg.operators.start import state_argument
        from airflow_flink_iceberg.restart.start import StartOptions

        given = None if savepoint is None else state_argument("savepoint", savepoint)
        options = StartOptions(
            require_flag("allow_non_restored_state", allow_non_restored_state),
            verdicts(accept_verdicts),
            reason=reason_text(accept_verdicts, reason),
            timeout=require_seconds("timeout", timeout),
        )
        return start(self._here(job), given, options, self._lookup)

    def _here(self, job: Any) -> FlinkJob:
        """The job on this hook's cluster, whatever connection it names itself."""
        from dataclasses import replace

        from airflow_flink_iceberg.templating import rendered_job

        return replace(rendered_job(job), flink_conn_id=self.flink_conn_id)

    def test_connection(self) -> tuple[bool, str]:
        """Ask the cluster for its version, quickly and once; no secret is in the answer."""
        from dataclasses import replace

        from airflow_flink_iceberg.flink.client import FlinkClient

        try:
            endpoint = self.endpoint
            with FlinkClient(replace(endpoint, timeout=min(endpoint.timeout, _TEST_TIMEOUT))) as client:
                overview = client.overview()
        except FlinkIcebergError as error:
            return False, str(error)
        free = f"{overview.slots_available} of {overview.slots_total} slots free"
        return True, f"Flink {overview.flink_version}, {free}."
