"""``verify`` with a state: of a savepoint's bytes or a running job, from a tag or the last baseline on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.restart.ledger import read_ledger
from tests.integration.cli.test_commands import Run, lake, run  # noqa: F401 - fixtures
from tests.integration.fakes.flink import FakeFlink
from tests.integration.integrity.lake import OPERATOR, Lake, job_id
from tests.support import proof_worlds

MATCHES = "state_matches_table:partition_column=kpart,offset_column=koff,rows=one_to_one,settle=rows"


@pytest.fixture
def flink() -> Iterator[FakeFlink]:
    with FakeFlink() as server:
        yield server


def state(directory: Path, stamp: str, offsets: list[int], kind: str = "stop") -> str:
    """A savepoint on this disk."""
    directory.mkdir(parents=True)
    of = proof_worlds.state_bytes(stamp, offsets, kind=kind, operator=OPERATOR, ids=job_id)
    (directory / "_metadata").write_bytes(of)
    return str(directory)


def verify(run: Run, *arguments: str) -> dict[str, Any]:  # noqa: F811
    found = run("verify", "shop.orders", "--catalog", "lake", "--check", MATCHES, "--json", *arguments)
    result: dict[str, Any] = found["results"][0] if found else {}
    return result


def test_without_a_state_nothing_is_proven_and_the_reason_is_said(lake: Lake, run: Run) -> None:  # noqa: F811
    lake.commit("A:2", lake.offsets((0, 0, 60)))
    assert "name the running job (--flink URL --job NAME) or a --savepoint PATH" in verify(run)["description"]
    assert run.code == 3


def test_a_savepoints_own_bytes_are_enough(lake: Lake, run: Run, tmp_path: Path) -> None:  # noqa: F811
    lake.commit("A:2", lake.offsets((0, 0, 60), (1, 0, 40)))
    path = state(tmp_path / "sp", "A:2", [60, 40])
    assert verify(run, "--savepoint", path)["evidence"]["verdict"] == "proven"
    assert run.code == 0
    lake.commit("A:3", lake.offsets((0, 50, 70)))
    doubled = verify(run, "--savepoint", state(tmp_path / "sp3", "A:3", [70, 40]))
    assert (run.code, doubled["evidence"]["gap"]) == (1, 10)


def test_what_is_kept_is_where_the_next_one_begins(lake: Lake, run: Run, tmp_path: Path) -> None:  # noqa: F811
    lake.commit("A:2", lake.offsets((0, 0, 60)))
    kept = verify(run, "--savepoint", state(tmp_path / "sp2", "A:2", [60]), "--keep-baseline")
    tag = kept["evidence"]["baseline_kept"]
    assert f"Baseline kept: {tag}" in run.err
    lake.table.refresh()
    lake.commit("A:4", lake.offsets((0, 60, 90)))
    path = state(tmp_path / "sp4", "A:4", [90])
    for since in (tag, "last-proven"):
        found = verify(run, "--savepoint", path, "--since", since)
        assert (run.code, found["evidence"]["consumed"]) == (0, 30)
    assert verify(run, "--savepoint", path)["evidence"]["consumed"] == 90


def test_what_was_checked_and_kept_stands_in_the_ledger(lake: Lake, run: Run, tmp_path: Path) -> None:  # noqa: F811
    lake.commit("A:2", lake.offsets((0, 0, 60)))
    path = state(tmp_path / "sp2", "A:2", [60])
    kept = verify(run, "--savepoint", path, "--keep-baseline", "--ledger", "ops.ledger")
    lake.table.refresh()
    lake.commit("A:4", lake.offsets((0, 50, 70)))
    failed = verify(run, "--savepoint", state(tmp_path / "sp4", "A:4", [70]), "--ledger", "ops.ledger")
    assert (run.code, failed["outcome"]) == (1, "fail")
    entries = read_ledger(TableAccess(CatalogConfig("lake", lake.properties), "ops.ledger"))
    found = {(str(entry.action), entry.outcome, entry.job_name) for entry in entries}
    assert found == {
        ("check", "pass", "shop.orders"),
        ("baseline", "pass", "shop.orders"),
        ("check", "fail", "shop.orders"),
    }
    (baseline,) = (entry for entry in entries if entry.action == "baseline")
    assert baseline.tables[0].tag == kept["evidence"]["baseline_kept"]
    (bad,) = (entry for entry in entries if entry.outcome == "fail")
    assert [finding.cause for finding in bad.findings] == ["state_matches_table"]


def test_a_changed_script_is_seen_and_a_missing_one_is_said(lake: Lake, run: Run, tmp_path: Path) -> None:  # noqa: F811
    script = tmp_path / "job.sql"
    script.write_text(
        "CREATE TABLE t (id BIGINT) WITH ('connector' = 'kafka'); INSERT INTO o SELECT * FROM t;"
    )
    lake.commit("A:2", lake.offsets((0, 0, 60)))
    given = ("--sql", str(script))
    verify(run, "--savepoint", state(tmp_path / "sp2", "A:2", [60]), "--keep-baseline", *given)
    lake.table.refresh()
    lake.commit("A:4", lake.offsets((0, 60, 85)))
    path = state(tmp_path / "sp4", "A:4", [90])
    since = ("--savepoint", path, "--since", "last-proven")
    same = verify(run, *since, *given)
    assert same["evidence"]["gap"] == -5
    assert "still the one of the baseline" not in same["description"]
    without = verify(run, *since)
    assert (without["outcome"], "--sql FILE" in without["description"]) == ("unknown", True)
    script.write_text(script.read_text().replace("FROM t", "FROM t WHERE id > 3"))
    assert "another fingerprint" in verify(run, *since, *given)["description"]
    assert verify(run, *since, "--sql", str(tmp_path / "gone.sql")) == {}
    assert (run.code, f"--sql {tmp_path}/gone.sql cannot be read" in run.err) == (2, True)


def test_rows_are_accepted_with_a_reason_only(lake: Lake, run: Run, tmp_path: Path) -> None:  # noqa: F811
    lake.commit("A:2", lake.offsets((0, 0, 70)))
    path = state(tmp_path / "sp", "A:2", [60])
    assert verify(run, "--savepoint", path, "--accept-rows", "10") == {}
    assert (run.code, "reason" in run.err) == (2, True)
    accepted = verify(run, "--savepoint", path, "--accept-rows", "10", "--reason", "replayed in May")
    assert (run.code, accepted["outcome"]) == (0, "warn")


def test_a_running_jobs_newest_checkpoint(
    lake: Lake,  # noqa: F811
    run: Run,  # noqa: F811
    flink: FakeFlink,
    tmp_path: Path,
) -> None:
    lake.commit("A:2", lake.offsets((0, 0, 60)))
    path = state(tmp_path / "chk" / job_id("A") / "chk-2", "A:2", [60], kind="checkpoint")
    missing = verify(run, "--flink", flink.url, "--job", "orders")
    assert (run.code, "no job 'orders' runs" in missing["description"]) == (3, True)
    flink.config["state.checkpoints.dir"] = f"file://{tmp_path / 'chk'}"
    flink.add_job("orders", job_id=job_id("A")).add_checkpoint(path=f"file://{path}")["id"] = 2
    found = verify(run, "--flink", flink.url, "--job", "orders")
    assert (run.code, found["evidence"]["verdict"]) == (0, "proven")
    verify(run, "--flink", flink.url, "--job", "orders", "--savepoint", path)
    assert "compared with one state" in run.err
