"""Has checkpoint N landed? Every phase against real REST answers, real tables and real state bytes."""

from __future__ import annotations

import pytest

from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.restart.commit_wait import Phase, Target, choose_target, look
from tests.support.restart_world import OLD_JOB, OPERATOR, open_systems


def chk(flink, number: int, rows: int, *, job=None, holds: int | None = None) -> str:
    """Checkpoint ``number`` completes; its state holds ``rows`` staged for checkpoint ``holds``."""
    job = job or flink.old
    path = f"file:{flink.directory}/checkpoints/{job.job_id}/chk-{number}"
    while (entry := job.add_checkpoint(path=path))["id"] < number:
        job.checkpoints[-1]["external_path"] = f"{path}-skipped-{entry['id']}"
    flink.save(job, path, number, rows) if holds is None else flink.save_held(job, path, number, holds, rows)
    return path


def phase(systems, number: int, *, job: str = OLD_JOB, started_at: int = 1_000) -> Phase:
    return look(systems, Target(job, number, started_at)).phase


def test_landed_by_this_or_a_later_commit(flink, lake, systems) -> None:
    assert phase(systems, 2) is Phase.LANDED
    assert phase(systems, 1) is Phase.LANDED
    chk(flink, 3, 5)
    assert phase(systems, 3) is Phase.WAITING
    lake.commit(OLD_JOB, 4, 5)
    assert phase(systems, 3) is Phase.LANDED


def test_a_checkpoint_that_has_not_completed_is_waited_for_and_one_that_never_will_is_unknown(
    flink, systems
) -> None:
    assert phase(systems, 9) is Phase.WAITING
    flink.old.end("CANCELED")
    assert phase(systems, 9) is Phase.UNKNOWN
    flink.jobs.clear()
    assert phase(systems, 9) is Phase.UNKNOWN


def test_an_empty_checkpoint_of_a_quiet_topic_is_good(flink, systems) -> None:
    chk(flink, 3, 0)
    found = look(systems, Target(OLD_JOB, 3, 1_000))
    assert (found.phase, found.is_good) == (Phase.EMPTY, True)


def test_rows_that_stay_in_the_state_are_a_sink_that_does_not_commit(flink, systems) -> None:
    for number, expected in ((3, Phase.WAITING), (4, Phase.WAITING), (5, Phase.WAITING), (6, Phase.STALLED)):
        chk(flink, number, 5, holds=3)
        assert phase(systems, 3) is expected, number


def test_what_has_left_the_state_without_a_commit_was_empty(flink, systems) -> None:
    chk(flink, 3, 0)
    chk(flink, 4, 5)
    assert phase(systems, 3) is Phase.EMPTY


def test_without_the_bytes_staged_files_tell(flink, lake, systems, tmp_path) -> None:
    systems.state_files = None
    flink.old.add_checkpoint()
    assert phase(systems, 3) is Phase.EMPTY
    location = lake.access().metadata().location.removeprefix("file://")
    from pathlib import Path

    staged = Path(location) / "metadata" / f"{OLD_JOB}-{OPERATOR}-00000-0-3-00001.avro"
    staged.touch()
    assert phase(systems, 3) is Phase.WAITING
    for _ in range(3):
        flink.old.add_checkpoint()
    assert phase(systems, 3) is Phase.STALLED
    staged.unlink()
    assert phase(systems, 3) is Phase.EMPTY


def test_a_reused_id_is_never_called_landed(flink, lake, systems) -> None:
    """apache/iceberg#18098: the commit is of an earlier life, and the sink drops what this life writes."""
    later = lake.access().metadata().last_updated_ms + 1
    assert phase(systems, 2, started_at=later) is Phase.UNKNOWN


def restored(job, checkpoint_id: int, *, count: int = 1) -> None:
    """Flink says that the job was restored from this checkpoint."""
    job.restored_count = count
    job.restored = {
        "id": checkpoint_id,
        "restore_timestamp": 1,
        "is_savepoint": False,
        "external_path": f"file:/checkpoints/{OLD_JOB}/chk-{checkpoint_id}",
    }


def test_a_jobmanager_failover_does_not_make_a_healthy_job_a_reused_id(flink, lake, systems) -> None:
    """The start time is new then, and Flink's list of checkpoints begins empty."""
    flink.old.started_at = lake.access().metadata().last_updated_ms + 5_000
    restored(flink.old, 2, count=3)
    flink.old.checkpoints.clear()
    flink.old.state = "RESTARTING"
    assert look(systems, choose_target(systems, OLD_JOB, 2)).phase is Phase.LANDED
    assert look(systems, choose_target(systems, OLD_JOB, 3)).phase is Phase.WAITING
    flink.old.state = "RUNNING"
    chk(flink, 3, 0)
    found = look(systems, choose_target(systems, OLD_JOB, None))
    assert (found.phase, found.is_good) == (Phase.EMPTY, True)


def test_a_commit_above_all_that_a_restored_run_has_reached_is_of_an_earlier_life(
    flink, lake, systems
) -> None:
    lake.commit(OLD_JOB, 9, 5)
    later = lake.access().metadata().last_updated_ms + 5_000
    restored(flink.old, 2)
    found = look(systems, Target(OLD_JOB, 3, later))
    assert found.phase is Phase.UNKNOWN
    assert "had committed" in found.why


def test_an_end_of_input_counts_for_the_run_that_wrote_it_only(flink, lake, systems) -> None:
    lake.commit(OLD_JOB, 2**63 - 1, 5)
    assert phase(systems, 7) is Phase.LANDED
    new = flink.add_job("orders", job_id="b2" * 16)
    for number in (3, 4, 5, 6):
        chk(flink, number, 5, job=new, holds=3)
    assert phase(systems, 3, job=new.job_id) is Phase.STALLED  # v1 after a drain


def test_the_target_is_the_newest_completed_checkpoint(flink, systems) -> None:
    assert choose_target(systems, OLD_JOB, None) == Target(OLD_JOB, 2, 1_000)
    assert choose_target(systems, OLD_JOB, 7).checkpoint_id == 7
    flink.old.checkpoints.clear()
    flink.old.state = "RESTARTING"
    with pytest.raises(InvalidValue, match="no checkpoint yet"):
        choose_target(systems, OLD_JOB, None)


def test_the_worst_of_several_sinks_is_the_answer(flink, lake, tmp_path) -> None:
    from dataclasses import replace

    from tests.support.restart_world import JOB

    with (
        open_systems(flink.url, lake, tmp_path, replace(JOB, sinks=())) as systems,
        pytest.raises(InvalidValue),
    ):
        look(systems, Target(OLD_JOB, 2))
