"""Jobs submitted through ``/jars/:id/run``."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.flink.deployments.base import SinkProgram, StartRequest
from airflow_flink_iceberg.flink.deployments.rest import RestJob
from airflow_flink_iceberg.flink.traces import root_cause
from airflow_flink_iceberg.model.errors import DuplicateJob, FlinkRequestRefused, InvalidValue, JobFailed
from airflow_flink_iceberg.model.job import FlinkJob, JarDeployment

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.answers import Jar
    from airflow_flink_iceberg.flink.client import FlinkClient

log = logging.getLogger(__name__)


# A JobManager that has restarted without ``web.upload.dir`` has lost its jars; nothing was run then.
_NO_SUCH_JAR = re.compile(r"Jar file \S+ does not exist")


class JarJob(RestJob):
    """A job whose program is a jar that the cluster has, or a local one with ``upload=True``."""

    def __init__(self, job: FlinkJob, deployment: JarDeployment, client: FlinkClient) -> None:
        super().__init__(job, client)
        self._deployment = deployment
        self._jar_id: str | None = None
        self._is_recalled = False
        self._planned: frozenset[str] | None = None
        self._is_planned = False

    def prepare(self) -> None:
        """Find or upload the jar and check that it has an entry class; again, it does nothing.

        A killed try may leave an uploaded jar behind on the cluster, which disturbs nothing.

        :raises InvalidValue: no such jar, several entry classes and none chosen, or no submission allowed here.
        """
        if self._jar_id is not None:
            return
        if not self._takes_jobs():
            raise InvalidValue(
                f"{self._client.endpoint.url} takes no jobs (application mode, or web.submit.enable is off), so job "
                f"{self._job.name!r} cannot be launched from a jar there; use ExternalDeployment, or another cluster."
            )
        jar = self._uploaded() if self._deployment.upload else self._present()
        if self._deployment.entry_class is None and not jar.entry_classes:
            raise InvalidValue(
                f"Jar {jar.name!r} of job {self._job.name!r} names no entry class in its manifest; give entry_class."
            )
        self._jar_id = jar.id

    def known(self) -> dict[str, Any]:
        """The jar's id besides, the name that it was found by, and its sources if they were planned."""
        if self._jar_id is None:
            return super().known()
        jar: dict[str, Any] = {"jar": self._deployment.jar, "jar_id": self._jar_id}
        if self._is_planned:
            jar["sources"] = None if self._planned is None else sorted(self._planned)
        return {**super().known(), **jar}

    def recall(self, known: Mapping[str, Any]) -> None:
        """The jar besides, unless the author has named another one since."""
        super().recall(known)
        if known.get("jar") == self._deployment.jar and known.get("jar_id") and self._jar_id is None:
            self._jar_id, self._is_recalled = str(known["jar_id"]), True
            if "sources" in known:
                self._planned = None if known["sources"] is None else frozenset(known["sources"])
                self._is_planned = True

    def wanted_parallelism(self) -> int | None:
        """What the author declared."""
        return self._deployment.parallelism

    def sink_program(self) -> SinkProgram:
        """A jar does not tell."""
        return SinkProgram.JAR

    def planned_sources(self) -> frozenset[str] | None:
        """As Flink's own plan of the jar has them; ``None``: Flink makes none of this program.

        :raises InvalidValue: as :meth:`prepare`.
        """
        if not self._is_planned:
            self.prepare()
            self._planned = self._plan()
            self._is_planned = True
        return self._planned

    def launch(self, start: StartRequest) -> None:
        """Submit with exactly one POST; Flink has then read the state and initialised the job. A jar that was recalled
        and is gone by now is looked up and submitted once more: nothing was run.

        :raises JobFailed: Flink refused at once (state missing or not mapped, the program threw). The job id may be
            burnt then: use the next one.
        """
        self.prepare()
        try:
            self._run(start)
        except DuplicateJob as error:
            raise self._duplicate(start, error) from error
        except FlinkRequestRefused as error:
            if self._is_recalled and _NO_SUCH_JAR.search(error.reason):
                self._jar_id, self._is_recalled = None, False
                return self.launch(start)
            raise JobFailed(self._launch_message(start, error)) from error

    def _run(self, start: StartRequest) -> None:
        if self._jar_id is None:
            raise InvalidValue(f"Job {self._job.name!r} has no jar to launch.")
        self._client.run_jar(
            self._jar_id, start, entry_class=self._deployment.entry_class,
            program_args=self._deployment.program_args, parallelism=self._deployment.parallelism,
        )  # fmt: skip

    def _plan(self) -> frozenset[str] | None:
        try:
            return self._client.planned_sources(
                str(self._jar_id), entry_class=self._deployment.entry_class,
                program_args=self._deployment.program_args, parallelism=self._deployment.parallelism,
            )  # fmt: skip
        except FlinkRequestRefused as error:
            log.info(
                "Flink makes no plan of jar %s: %s", self._jar_id, root_cause(error.reason) or error.status
            )
            return None

    def _launch_message(self, start: StartRequest, error: FlinkRequestRefused) -> str:
        origin = f"savepoint {start.savepoint_path}" if start.savepoint_path else "no state"
        return (
            f"Flink refused to start {self._job.name!r} as job {start.job_id} from {origin} (jar {self._jar_id}): "
            f"{root_cause(error.reason) or f'HTTP {error.status}'}. Nothing runs under this id; correct the cause "
            "and start again."
        )

    def _uploaded(self) -> Jar:
        path = Path(self._deployment.jar)
        jar_id = self._client.upload_jar(path)
        jar = next((jar for jar in self._client.jars() if jar.id == jar_id), None)
        if jar is None:
            raise InvalidValue(
                f"Jar {path.name!r} was uploaded as {jar_id}, but Flink does not list it; check that it is a "
                "readable jar."
            )
        return jar

    def _present(self) -> Jar:
        wanted = self._deployment.jar
        jars = self._client.jars()
        found = [jar for jar in jars if wanted in (jar.id, jar.name)]
        if not found:
            names = ", ".join(sorted({repr(jar.name) for jar in jars})[:10]) or "none"
            raise InvalidValue(
                f"{self._client.endpoint.url} has no jar {wanted!r} for job {self._job.name!r}; it has {names}. "
                "Upload it, or use "
                "upload=True with a local file."
            )
        return max(found, key=lambda jar: jar.uploaded_at)
