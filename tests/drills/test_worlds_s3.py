"""Real Flink with its checkpoints and savepoints in S3: a restart under traffic, an older state told to the row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_flink_iceberg.model.decision import Cause, Verdict
from airflow_flink_iceberg.model.errors import RestartRefused
from airflow_flink_iceberg.model.savepoint import IdSource
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.state_files import open_state_files
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from airflow_flink_iceberg.restart.systems import Systems
from playground import registries
from playground.disk import MEGABYTE
from playground.downloads import Bundle, Cache
from playground.stack import Stack
from playground.versions import Artifact
from tests.drills.record import Row, seen
from tests.e2e.rig import Rig, running_job
from tests.support.s3 import KEY, S3, SECRET, open_s3

_PLUGIN = Artifact("org.apache.flink", "flink-s3-fs-hadoop", "2.1.1")
"""Of 2.1.3 there is none in every Maven repository; this one serves it."""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with open_s3("flink") as made:
        yield made


@pytest.fixture(scope="module")
def s3_stack(tmp_path_factory: pytest.TempPathFactory, s3: S3) -> Iterator[Stack]:
    """A stack whose Flink has the S3 plugin, with credentials in its own configuration only."""
    directory: Path = tmp_path_factory.mktemp("s3-stack")
    bundle = Bundle(
        f"plugin-{_PLUGIN.name}-{_PLUGIN.version}", 200 * MEGABYTE, registries._maven_jars([_PLUGIN])
    )
    (jars,) = Cache().ensure(bundle)
    plugins = directory / "plugins"
    plugins.mkdir()
    (plugins / "s3-fs-hadoop").symlink_to(jars, target_is_directory=True)
    config = {
        "s3.endpoint": s3.endpoint,
        "s3.path.style.access": "true",
        "s3.access-key": KEY,
        "s3.secret-key": SECRET,
        "s3.endpoint.region": "us-east-1",
        "execution.checkpointing.dir": "s3://flink/checkpoints",
        "execution.checkpointing.savepoint-dir": "s3://flink/savepoints",
    }
    patch = pytest.MonkeyPatch()
    patch.setenv("FLINK_PLUGINS_DIR", str(plugins))
    try:
        with Stack(directory / "stack", checkpoint_interval=2.0, slots=8, flink_config=config) as running:
            yield running
    finally:
        patch.undo()


def _systems(rig: Rig, s3: S3) -> Systems:
    """As a connection with these roots and this storage opens them; ``s3a`` is the same as ``s3``."""
    roots = ("s3a://flink/savepoints", "s3a://flink/checkpoints")
    return replace(rig.systems(), state_files=open_state_files(roots, s3.properties), savepoint_roots=roots)


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_a_restart_from_s3_is_exact_and_the_older_state_is_foretold(
    s3_stack: Stack, s3: S3, rows: list[Row], sink: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running_job(s3_stack, sink=sink) as rig:  # type: ignore[arg-type]
        rig.wait_rows(200)
        first = restart(_systems(rig, s3), rig.steps(), RestartOptions())
        assert first.savepoint.path.startswith("s3://flink/savepoints/")
        assert first.savepoint.checkpoint_id_source is IdSource.BYTES
        assert (first.decision.verdict, first.decision.proven_by) == (Verdict.SAFE, "bytes")
        position = first.restore_point.sinks[0]
        pinned = rig.iceberg().scan(snapshot_id=position.snapshot_id).to_arrow().num_rows
        assert pinned == sum((position.offsets or {}).values())
        rig.wait_rows(200)
        newest = stop(_systems(rig, s3), rig.steps(), StopOptions())
        newer = rig.rows_from(dict(position.offsets or {}))
        with pytest.raises(RestartRefused) as refused:
            start_job(_systems(rig, s3), rig.steps(), first.savepoint, StartOptions())
        finding = refused.value.decision.findings[0]
        assert (finding.cause, finding.rows) == (Cause.OLDER_STATE, newer)
        _, decision = start_job(_systems(rig, s3), rig.steps(), newest, StartOptions())
        assert decision.verdict is Verdict.SAFE
        assert rig.damage(rig.finish()) == (0, 0)
    assert SECRET not in caplog.text
    seen(
        rows,
        s3_stack,
        "restarted from states in S3",
        sink,
        "Checkpoints and savepoints lie in S3; an older savepoint was refused with its rows before.",
        answer=(decision.verdict, None, 0),
        damage=(0, 0),
    )
