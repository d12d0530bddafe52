"""The ``flink`` connection, and everything of one job behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from airflow.sdk import BaseHook

from airflow_flink_iceberg.model.errors import FlinkIcebergError, InvalidValue

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.answers import JobDetails
    from airflow_flink_iceberg.flink.checkpoints import CheckpointStats
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.flink.endpoint import FlinkEndpoint

_DEFAULT_PORT = 8081
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

    _SECRET_EXTRAS: ClassVar[tuple[str, ...]] = ("token", "client_key_password")

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
            self._mask(connection)
            self._connection = connection
        return self._connection

    @property
    def endpoint(self) -> FlinkEndpoint:
        """Where the cluster is and how to speak to it.

        :raises InvalidValue: a field of the connection is not of its form; names the field, never its value.
        """
        from airflow_flink_iceberg.flink.endpoint import FlinkEndpoint

        connection, extra = self.connection, self.extra
        return FlinkEndpoint(
            self._url(),
            auth=(connection.login, connection.password or "") if connection.login else None,
            token=extra.get("token") or None,
            headers=_json_object(extra, "headers"),
            verify=_verify(extra.get("verify")),
            client_cert=extra.get("client_cert") or None,
            client_key=extra.get("client_key") or None,
            timeout=_number(extra, "timeout", 10.0),
            gateway_url=extra.get("sql_gateway_url") or None,
            ui_url=extra.get("ui_url") or None,
        )

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
        return {key: str(item) for key, item in _json_object(self.extra, "storage").items()}

    @property
    def ui_url(self) -> str:
        """What people's browsers can reach."""
        return str(self.extra.get("ui_url") or self._url())

    def get_conn(self) -> FlinkClient:
        """The client of this connection; kept open for as long as the hook lives."""
        from airflow_flink_iceberg.flink.client import FlinkClient

        if self._client is None:
            self._client = FlinkClient(self.endpoint)
        return self._client

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

    def _url(self) -> str:
        connection = self.connection
        host = (connection.host or "").strip().rstrip("/")
        if not host:
            raise InvalidValue(f"Connection {self.flink_conn_id!r} has no host.")
        if "://" not in host:
            host = f"{connection.schema or 'http'}://{host}"
        parts = urlsplit(host)
        has_port = parts.port is not None
        port = connection.port or (None if has_port or parts.scheme == "https" else _DEFAULT_PORT)
        netloc = parts.netloc if has_port or port is None else f"{parts.netloc}:{port}"
        return f"{parts.scheme}://{netloc}{parts.path}"

    def _mask(self, connection: Any) -> None:
        from airflow.sdk.log import mask_secret

        extra = connection.extra_dejson or {}
        secrets = [connection.password, *(extra.get(name) for name in self._SECRET_EXTRAS)]
        secrets += [item for field in ("headers", "storage") for item in _json_object(extra, field).values()]
        for secret in secrets:
            if secret:
                mask_secret(str(secret))


def _json_object(extra: Mapping[str, Any], field: str) -> dict[str, str]:
    """An object that the connection form keeps as text."""
    found = extra.get(field) or {}
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except json.JSONDecodeError as error:
            raise InvalidValue(
                f"The field {field!r} of the flink connection is not a JSON object."
            ) from error
    if not isinstance(found, Mapping):
        raise InvalidValue(f"The field {field!r} of the flink connection is not a JSON object.")
    return {str(key): str(item) for key, item in found.items()}


def _verify(value: Any) -> bool | str:
    """True, false, or the path of a CA bundle; the form and URIs give text."""
    if value is None or value == "":
        return True
    if isinstance(value, bool):
        return value
    text = str(value).strip()
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)


def _number(extra: Mapping[str, Any], field: str, default: float) -> float:
    value = extra.get(field)
    if value in (None, ""):
        return default
    try:
        return float(str(value))
    except ValueError as error:
        raise InvalidValue(f"The field {field!r} of the flink connection is not a number.") from error
