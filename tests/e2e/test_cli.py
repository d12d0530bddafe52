"""The command line on the real stack: a restart that is killed in the middle and run again, the guard, the ledger."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import load_catalog

from airflow_flink_iceberg.model import Restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.stack import Stack
from tests.e2e.rig import Rig, running_job
from tests.support.proxy import proxy

REPOSITORY = Path(__file__).resolve().parents[2]
LEDGER = "ops.flink_restarts"


class Cli:
    """``flink-iceberg`` in processes of its own, set up by the environment only."""

    def __init__(self, rig: Rig, directory: Path) -> None:
        self.rig = rig
        self.script = directory / "job.sql"
        self.script.write_text(rig.script or "")
        self.environment = {
            **os.environ,
            "FLINK_ICEBERG_URL": rig.stack.flink_url,
            "FLINK_ICEBERG_GATEWAY": rig.stack.gateway_url,
            "XDG_STATE_HOME": str(directory / "state"),
            **{
                f"PYICEBERG_CATALOG__{rig.stack.catalog_name.upper()}__{key.upper()}": value
                for key, value in rig.stack.catalog_properties.items()
            },
        }
        self.job = ["--job", rig.job.name, "--table", rig.table, "--sink-uid", str(rig.job.sinks[0].sink_uid)]

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        catalog = ["--catalog", self.rig.stack.catalog_name, "--json"]
        command = [sys.executable, "-m", "airflow_flink_iceberg.cli.main", *arguments, *catalog]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**self.environment, **environment},
        )

    def restart(self, **environment: str) -> subprocess.Popen[str]:
        return self.start(
            "restart", *self.job, "--sql", str(self.script), "--ledger", LEDGER, "--reason", "a new version",
            **environment,
        )  # fmt: skip

    def run(self, *arguments: str) -> tuple[int, Any]:
        return self.answer(self.start(*arguments))

    def answer(self, process: subprocess.Popen[str]) -> tuple[int, Any]:
        out, err = process.communicate(timeout=90)
        assert "Traceback" not in err
        return process.returncode, json.loads(out) if out else err


def kill_at(
    processes: list[subprocess.Popen[str]], path: str, needle: bytes
) -> Callable[[str, str, bytes], None]:
    """Kill the first process between a request and its answer."""

    def moment(method: str, at: str, body: bytes) -> None:
        if method == "POST" and re.search(path, at) and needle in body and len(processes) == 1:
            os.kill(processes[0].pid, signal.SIGKILL)
            processes[0].wait(10)

    return moment


@pytest.mark.timeout(180)
def test_a_restart_killed_and_run_again_then_the_guard_and_the_ledger(stack: Stack, tmp_path: Path) -> None:
    with running_job(stack) as rig:
        cli = Cli(rig, tmp_path)
        rig.wait_rows(100)
        assert _ledger_rows(stack) is None, "there is no ledger before the first act"

        first = _killed_once(cli)
        assert rig.running() == [first.running_job.job_id]
        assert _savepoints(stack, first) == 1
        assert _ledger_rows(stack) == 1, "a killed try is no act"
        rig.wait_rows(50)
        code, answer = cli.answer(cli.restart())
        assert code == 0, answer
        second = Restart.from_dict(answer)
        assert second.savepoint.job_id == first.running_job.job_id
        assert second.downtime_seconds is not None
        rig.wait_rows(50)
        _check_guard(cli, tmp_path, first)
        _check_ledger(cli, first, second)

        produced = rig.finish()
        assert rig.damage(produced) == (0, 0)


def _killed_once(cli: Cli) -> Restart:
    """Kill the command once the INSERT was carried out and before it knows, and run the same command again."""
    processes: list[subprocess.Popen[str]] = []
    with proxy(
        cli.rig.stack.gateway_url, kill_at(processes, r"/statements$", b"$internal.pipeline.job-id")
    ) as gateway:
        processes.append(cli.restart(FLINK_ICEBERG_GATEWAY=gateway.url))
        assert processes[0].wait(60) == -signal.SIGKILL
        processes[0].communicate(timeout=10)
        processes.append(cli.restart(FLINK_ICEBERG_GATEWAY=gateway.url))
        code, answer = cli.answer(processes[1])
    assert code == 0, answer
    return Restart.from_dict(answer)


def _check_ledger(cli: Cli, first: Restart, second: Restart) -> None:
    code, entries = cli.run("ledger", LEDGER, "--job", cli.rig.job.name)
    assert code == 0, entries
    assert [(entry["action"], entry["new_job_id"]) for entry in entries] == [
        ("restart", second.running_job.job_id),
        ("restart", first.running_job.job_id),
    ]
    entry, (table,) = entries[0], entries[0]["tables"]
    assert (entry["verdict"], entry["reason"], entry["actor"]["origin"]) == ("SAFE", "a new version", "cli")
    assert entry["downtime_seconds"] == second.downtime_seconds
    assert table["table_name"] == cli.rig.table
    position = second.restore_point.sinks[0]
    assert (table["head_before"], table["state_snapshot_id"]) == (position.head_id, position.snapshot_id)
    assert cli.rig.iceberg().snapshot_by_id(table["head_after"]) is not None


def _check_guard(cli: Cli, directory: Path, first: Restart) -> None:
    """The older state would double what the oracle counts, the newest is SAFE."""
    rig, older = cli.rig, directory / "first.json"
    older.write_text(json.dumps(first.to_dict()))
    guard = ("guard", *cli.job, "--savepoint")
    newest = stop(rig.systems(), rig.steps(), StopOptions())
    doubled = rig.rows_from(dict(first.restore_point.sinks[0].offsets or {}))
    assert doubled > 0
    code, decision = cli.run(*guard, str(older))
    assert (code, decision["verdict"], decision["rows"]) == (1, "WOULD_DUPLICATE", doubled)
    assert decision["findings"][0]["cause"] == "older_state"
    code, decision = cli.run(*guard, newest.path)
    assert (code, decision["verdict"], decision["proven_by"]) == (0, "SAFE", "bytes"), decision
    assert rig.running() == [], "the guard started something"
    start_job(rig.systems(), rig.steps(), newest, StartOptions())


def _ledger_rows(stack: Stack) -> int | None:
    catalog = load_catalog(stack.catalog_name, **stack.catalog_properties)
    return int(catalog.load_table(LEDGER).scan().count()) if catalog.table_exists(LEDGER) else None


def _savepoints(stack: Stack, done: Restart) -> int:
    prefix = f"savepoint-{done.savepoint.job_id[:6]}-"
    found = [path for path in stack.savepoint_dir.rglob("_metadata") if path.parent.name.startswith(prefix)]
    return len(found)
