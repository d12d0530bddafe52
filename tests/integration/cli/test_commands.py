"""The commands as people run them: real catalogs by PyIceberg's own configuration, exit codes, JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.cli.main import main
from airflow_flink_iceberg.iceberg.run_links import link_property
from airflow_flink_iceberg.model import CheckReport
from tests.integration.fakes.flink import FakeFlink
from tests.integration.integrity.lake import SAVEPOINT, Lake, job_id, link

OFFSETS = "kafka_offsets:partition_column=kpart,offset_column=koff"
SAVEPOINTS = Path(__file__).parents[2] / "data" / "savepoints"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    made = Lake(tmp_path)
    for key, value in made.properties.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__LAKE__{key.upper()}", value)
    return made


class Run:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.code = -1
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> Any:
        try:
            self.code = main(arguments)
        except SystemExit as stop:
            self.code = int(stop.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return json.loads(self.out) if "--json" in arguments and self.out else self.out


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


def test_commits_are_listed_newest_first(lake: Lake, run: Run) -> None:
    lake.commit("A:3")
    lake.commit(None)
    newest = lake.commit("B:MAX")
    found = run("commits", "shop.orders", "--catalog", "lake", "--json")
    assert run.code == 0
    assert [(item["job_id"], item["checkpoint_id"], item["added_records"]) for item in found] == [
        (job_id("B"), 2**63 - 1, 3), (job_id("A"), 3, 3),
    ]  # fmt: skip
    assert found[0]["snapshot_id"] == newest
    assert found[0].keys() == {
        "snapshot_id", "committed_at", "job_id", "operator_id", "checkpoint_id", "added_records",
    }  # fmt: skip
    assert len(run("commits", "shop.orders", "--catalog", "lake", "--limit", "1", "--json")) == 1
    assert "end of input" in run("commits", "shop.orders", "--catalog", "lake")


def test_an_empty_table_has_no_commits(lake: Lake, run: Run) -> None:
    assert run("commits", "shop.orders", "--catalog", "lake", "--json") == []
    assert run.code == 0


def test_a_whole_table_passes(lake: Lake, run: Run) -> None:
    lake.commits("A:1 A:2")
    found = run(
        "verify", "shop.orders", "--catalog", "lake", "--check", "default", "--check", OFFSETS, "--json"
    )
    assert (run.code, found["outcome"], found["table"]) == (0, "pass", "shop.orders")
    assert [item["name"] for item in found["results"]] == [
        "commit_continuity", "duplicate_files", "row_arithmetic", "files_exist", "kafka_offsets",
    ]  # fmt: skip
    assert CheckReport.from_dict(found).to_dict() == found


def test_a_doubled_table_fails_with_1(lake: Lake, run: Run) -> None:
    lake.commit("A:1", lake.rows(5, 0, 0))
    lake.commit("B:2", lake.rows(5, 0, 3))
    found = run("verify", "shop.orders", "--catalog", "lake", "--check", OFFSETS, "--json")
    assert (run.code, found["outcome"]) == (1, "fail")
    text = run("verify", "shop.orders", "--catalog", "lake", "--check", OFFSETS)
    assert run.code == 1
    assert text.startswith("FAIL  shop.orders@main")
    assert "2 rows too many" in text


def test_unknown_exits_with_3(lake: Lake, run: Run) -> None:
    lake.commit("A:1", lake.rows(5, 0, 7))
    run("verify", "shop.orders", "--catalog", "lake", "--check", OFFSETS)
    assert run.code == 3


def test_a_failure_below_error_passes(lake: Lake, run: Run) -> None:
    lake.commits("A:1 A:1")
    run("verify", "shop.orders", "--catalog", "lake", "--check", "commit_continuity:severity=warn")
    assert run.code == 0


def test_links_recorded_in_the_table_are_used(lake: Lake, run: Run) -> None:
    lake.commits("A:2 A:4 B:5")
    arguments = ("verify", "shop.orders", "--catalog", "lake", "--check", "commit_continuity", "--json")
    assert run(*arguments)["results"][0]["outcome"] == "warn"  # nothing says where B started
    for checkpoint, outcome, code in ((4, "pass", 0), (2, "fail", 1)):
        key, value = link_property(link("B", f"A:{checkpoint}"))
        lake.table.refresh()
        with lake.table.transaction() as transaction:
            transaction.set_properties({key: value})
        assert run(*arguments)["results"][0]["outcome"] == outcome
        assert run.code == code


def test_since_and_branch(lake: Lake, run: Run) -> None:
    ids = lake.commits("A:4 A:4 A:5")
    lake.table.manage_snapshots().create_tag(ids[1], "checked").create_branch(ids[0], "audit").commit()
    arguments = ("verify", "shop.orders", "--catalog", "lake", "--check", "commit_continuity")
    run(*arguments)
    assert run.code == 1
    run(*arguments, "--since", "checked")
    assert run.code == 0
    run(*arguments, "--branch", "audit")
    assert run.code == 0


def test_a_restart_is_verified_against_flink_and_a_report_is_written(
    lake: Lake, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = lake.commits("A:4 B:5")
    restart = tmp_path / "restart.json"
    restart.write_text(json.dumps(lake.restart("A:4", "B", snapshot_id=ids[0]).to_dict()))
    with FakeFlink() as flink:
        job = flink.add_job("orders", job_id=job_id("B"), restored_count=1)
        job.restored = {
            "id": 4, "external_path": SAVEPOINT, "is_savepoint": True, "restore_timestamp": 1,
        }  # fmt: skip
        job.add_checkpoint()
        monkeypatch.setenv("FLINK_ICEBERG_URL", flink.url)
        out = tmp_path / "out"
        found = run(
            "verify", "shop.orders", "--catalog", "lake", "--restart", str(restart), "--report", str(out), "--json"
        )  # fmt: skip
    assert run.code == 0, found
    assert [item["name"] for item in found["results"]] == [
        "restored_state", "commit_continuity", "duplicate_files", "row_arithmetic", "files_exist",
    ]  # fmt: skip
    assert {path.name for path in out.iterdir()} == {"report.html", "report.md", "report.json"}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("verify", "shop.orders", "--catalog", "nope"), 2, "no catalog 'nope'"),
        (("verify", "shop.missing", "--catalog", "lake"), 4, "shop.missing"),
        (("verify", "orders", "--catalog", "lake"), 2, "namespace.name"),
        (("verify", "shop.orders", "--catalog", "lake", "--branch", "no"), 4, "no branch 'no'"),
        (("verify", "shop.orders", "--catalog", "lake", "--since", "no"), 2, "no tag or snapshot 'no'"),
        (("verify", "shop.orders", "--catalog", "lake", "--check", "no"), 2, "no check 'no'"),
        (("verify", "shop.orders", "--catalog", "lake", "--restart", "/no/file"), 2, "is not the JSON of a restart"),
        (("verify", "shop.orders", "--catalog", "lake", "--flink", "ftp://x"), 2, "Flink URL"),
        (("verify",), 2, "TABLE"),
        (("commits", "shop.orders", "--catalog", "lake", "--limit", "0"), 2, "--limit"),
        (("savepoint", "/no/such/savepoint"), 4, "is not there"),
        ((), 2, "COMMAND"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(
    lake: Lake, run: Run, arguments: tuple[str, ...], code: int, says: str
) -> None:
    run(*arguments)
    assert run.code == code, run.err
    assert says in run.err
    assert run.out == ""
    assert "Traceback" not in run.err


def test_a_catalog_that_is_down_could_not_run_and_no_password_is_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYICEBERG_CATALOG__DOWN__TYPE", "rest")
    monkeypatch.setenv("PYICEBERG_CATALOG__DOWN__URI", "http://user:hunter2@127.0.0.1:9/")
    run("commits", "shop.orders", "--catalog", "down")
    assert run.code == 4
    assert "hunter2" not in run.err


def test_text_of_other_people_cannot_steer_the_terminal(lake: Lake, run: Run) -> None:
    lake.table.append(
        lake.rows(1),
        snapshot_properties={
            "flink.job-id": "\x1b[2J\x07evil", "flink.operator-id": "\x1b]0;x\x07",
            "flink.max-committed-checkpoint-id": "4",
        },
    )  # fmt: skip
    for command in ("commits", "verify"):
        text = run(command, "shop.orders", "--catalog", "lake")
        assert "\x1b" not in text + run.err
        assert "\x07" not in text + run.err
    assert run("commits", "shop.orders", "--catalog", "lake", "--json")[0]["job_id"] == "\x1b[2J\x07evil"
    assert "\x1b" not in run.out


@pytest.mark.parametrize(
    "name", ["flink-1.20-v1-stop", "flink-2.1-v2-savepoint", "flink-2.1-v2-checkpoint-files"]
)
def test_a_recorded_savepoint_is_shown(name: str, run: Run) -> None:
    path = SAVEPOINTS / name
    found = run("savepoint", str(path), "--json")
    assert run.code == 0, run.err
    assert found.keys() == {"checkpoint_id", "version", "operators", "kafka_offsets", "missing_files"}
    assert set(found["kafka_offsets"]["orders"]) == {"0", "1", "2"}
    assert all(len(operator["id"]) == 32 for operator in found["operators"])
    assert found["missing_files"] == []
    text = run("savepoint", str(path / "_metadata"))
    assert text.startswith(f"checkpoint {found['checkpoint_id']} ")
    assert run("savepoint", f"file://{path}", "--json") == found


def test_a_missing_state_file_fails_and_is_named(tmp_path: Path, run: Run) -> None:
    copy = tmp_path / "savepoint"
    shutil.copytree(SAVEPOINTS / "flink-2.1-v2-checkpoint-files", copy)
    gone = sorted(path.name for path in copy.iterdir() if path.name not in ("_metadata", "expected.json"))
    assert gone
    for name in gone:
        (copy / name).unlink()
    found = run("savepoint", str(copy), "--json")
    assert run.code == 1
    assert sorted(found["missing_files"]) == gone
    assert found["kafka_offsets"] is None
    assert "cannot be restored" in run.err


def test_files_that_lie_elsewhere_are_unknown(run: Run) -> None:
    run("savepoint", str(SAVEPOINTS / "flink-2.1-v2-checkpoint-merged"))
    assert run.code == 3
    assert "outside the directories" in run.err


def test_a_cut_history_is_said(lake: Lake, run: Run) -> None:
    ids = lake.commits("A:1 A:2 A:3 A:4")
    lake.table.refresh()
    lake.table.maintenance.expire_snapshots().by_ids(ids[:2]).commit()
    for older in (lake.directory / "warehouse" / "shop" / "orders" / "metadata").glob("0000[0-4]-*.json"):
        older.unlink()
    assert len(run("commits", "shop.orders", "--catalog", "lake", "--json")) == 2
    assert "history is cut" in run.err
    run("commits", "shop.orders", "--catalog", "lake", "--limit", "1")
    assert run.err == ""


def test_bytes_that_are_no_savepoint_could_not_run(tmp_path: Path, run: Run) -> None:
    (tmp_path / "_metadata").write_bytes(b"PK\x03\x04" * 100)
    run("savepoint", str(tmp_path), "--json")
    assert (run.code, run.out) == (4, "")
    assert "no _metadata file of Flink" in run.err


def in_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "airflow_flink_iceberg.cli.main", *arguments],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from airflow_flink_iceberg.cli.main import main\n"
        "try: main(['verify', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pyiceberg', 'pyarrow', 'numpy', 'requests', 'msgspec', 'airflow', 'sqlalchemy'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.strip() == "[]"
    assert "kafka_offsets" in done.stdout


def test_a_reader_that_goes_away_is_no_error(lake: Lake) -> None:
    lake.commits("A:1")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "airflow_flink_iceberg.cli.main", "commits", "shop.orders", "--catalog", "lake"],
            stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert done.returncode == 4
    assert "Error" not in done.stderr


def test_an_unset_terminal_encoding_does_not_break_the_marks(lake: Lake) -> None:
    lake.commits("A:1")
    done = in_process("verify", "shop.orders", "--catalog", "lake", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "pass" in done.stdout
