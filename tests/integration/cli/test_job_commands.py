"""``restart``, ``guard`` and ``ledger`` over the fake cluster and a real catalog: exit codes, JSON, and the record."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from airflow_flink_iceberg.cli.main import main
from airflow_flink_iceberg.model import Decision, Restart
from airflow_flink_iceberg.model.ledger import LedgerEntry
from tests.integration.fakes.http import Answer, Received
from tests.support.restart_world import OLD_JOB, Lake, ShopFlink

JOB = ("--job", "orders", "--table", "shop.orders", "--catalog", "lake", "--json")
RESTART = ("restart", *JOB, "--jar", "orders.jar", "--ledger", "ops:ops.flink_restarts")
GUARD = ("guard", *JOB)
STOP = r"/jobs/\w+/stop"
RUN = r"/jars/.*/run"
TIMELINE = r"/jobs/\w+/vertices/.*"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    made = Lake(tmp_path)
    made.create()
    ops = {"type": "sql", "uri": f"sqlite:///{tmp_path}/ops.db", "warehouse": f"file://{tmp_path}/ops"}
    SqlCatalog("ops", **ops).close()
    for name, settings in (("LAKE", made.properties), ("OPS", ops)):
        for key, value in settings.items():
            monkeypatch.setenv(f"PYICEBERG_CATALOG__{name}__{key.upper()}", value)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return made


@pytest.fixture
def flink(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShopFlink]:
    with ShopFlink(tmp_path, lake) as fake:
        monkeypatch.setenv("FLINK_ICEBERG_URL", fake.url)
        yield fake


class Run:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.code = -1
        self.err = ""

    def __call__(self, *arguments: str) -> Any:
        try:
            self.code = main(arguments)
        except SystemExit as stop:
            self.code = int(stop.code or 0)
        out, self.err = self._capsys.readouterr()
        return json.loads(out) if "--json" in arguments and out else out

    def ledger(self, *arguments: str) -> list[LedgerEntry]:
        found = self("ledger", "ops.flink_restarts", "--catalog", "ops", "--json", *arguments)
        return [LedgerEntry.from_dict(each) for each in found or ()]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


def records(directory: Path) -> list[Any]:
    found = (directory / "state").rglob("restart-*.json")
    return [json.loads(path.read_text()).get("values") for path in found]


def test_a_restart_answers_with_its_restart(flink: ShopFlink, run: Run, tmp_path: Path) -> None:
    done = Restart.from_dict(run(*RESTART, "--reason", "a new version"))
    assert run.code == 0, run.err
    assert flink.running == [done.running_job.job_id]
    assert (done.savepoint.job_id, done.savepoint.checkpoint_id) == (OLD_JOB, 3)
    assert records(tmp_path) == [{}], "a finished restart leaves nothing that the next one would go on with"
    (entry,) = run.ledger()
    assert (entry.action, entry.new_job_id, entry.reason) == (
        "restart",
        done.running_job.job_id,
        "a new version",
    )
    assert (entry.actor.origin, entry.actor.dag_id) == ("cli", None)

    again = Restart.from_dict(run(*RESTART))
    assert again.savepoint.job_id == done.running_job.job_id
    assert [entry.new_job_id for entry in run.ledger()] == [
        again.running_job.job_id, done.running_job.job_id,
    ]  # fmt: skip
    assert (len(run.ledger("--limit", "1")), len(run.ledger("--job", "other"))) == (1, 0)


def test_as_text(flink: ShopFlink, run: Run) -> None:
    text = run(*(each for each in RESTART if each != "--json"))
    assert f"job        {OLD_JOB} -> {flink.running[0]}" in text
    for said in (
        "downtime   ",
        "old job ended (flink)",
        "SAFE (by bytes)",
        "restore gap of shop.orders@main: 0",
    ):
        assert said in text
    assert "with a savepoint below" in run.err
    listed = run("ledger", "ops.flink_restarts", "--catalog", "ops")
    assert listed.splitlines()[0].split()[:3] == ["when", "action", "job"]
    assert OLD_JOB[:8] in listed


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "airflow_flink_iceberg.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ.copy(),
        # A shell's background job ignores SIGINT, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it takes no lock
    )


@pytest.mark.parametrize("path", [STOP, RUN, TIMELINE], ids=["stop", "run", "timeline"])
def test_killed_with_a_request_in_flight_and_run_again(
    flink: ShopFlink, run: Run, tmp_path: Path, path: str
) -> None:
    children: list[subprocess.Popen[str]] = []

    def kill(request: Received) -> None:
        if re.fullmatch(path, request.path) and children[0].poll() is None:
            os.kill(children[0].pid, signal.SIGKILL)
            children[0].wait(10)

    flink.after = kill
    children.append(start(*RESTART))
    _, said = children[0].communicate(timeout=60)
    assert children[0].returncode == -signal.SIGKILL, said
    assert run.ledger() == []

    done = Restart.from_dict(run(*RESTART))
    assert run.code == 0
    assert "Going on with the restart of " in run.err
    assert flink.running == [done.running_job.job_id]
    assert (len(flink.stopped_with), flink.count("POST", STOP), flink.count("POST", RUN)) == (1, 1, 1)
    assert len(run.ledger()) == 1
    assert records(tmp_path) == [{}]


def test_interrupted_says_that_it_can_go_on(flink: ShopFlink, run: Run) -> None:
    flink.stop_outcome = "pending"
    children: list[subprocess.Popen[str]] = []

    def interrupt(request: Received) -> None:
        if request.path.endswith("/status") and flink.count("POST", STOP) and children[0].poll() is None:
            children[0].send_signal(signal.SIGINT)

    flink.after = interrupt
    children.append(start(*RESTART))
    _, said = children[0].communicate(timeout=60)
    assert (children[0].returncode, flink.running) == (4, [OLD_JOB])
    assert "Run the same command again" in said
    assert "Traceback" not in said
    ((_, trigger),) = flink.operations
    flink.complete(flink.old, trigger, "saved")
    done = Restart.from_dict(run(*RESTART))
    assert (run.code, flink.count("POST", STOP)) == (0, 1)
    assert flink.running == [done.running_job.job_id]


def test_fresh_begins_anew_where_a_record_is_stale(flink: ShopFlink, run: Run, tmp_path: Path) -> None:
    """The earlier run died after its stop; somebody else has started the job from its savepoint since."""
    flink.script("POST", RUN, Answer(500, {"errors": ["no"]}))
    run(*RESTART)
    assert (run.code, flink.running) == (4, [])
    somebody = flink.submit("orders", "c3" * 16, flink.stopped_with[0], {})
    assert somebody.status == 200
    refused = Decision.from_dict(run(*RESTART))
    assert (run.code, refused.findings[0].cause.value) == (1, "second_writer")
    assert "--fresh begins a new one" in run.err
    done = Restart.from_dict(run(*RESTART, "--fresh"))
    assert run.code == 0, run.err
    assert done.savepoint.job_id == "c3" * 16
    assert flink.running == [done.running_job.job_id]


def test_a_refused_restart_leaves_the_job_alone(flink: ShopFlink, run: Run) -> None:
    flink.add_job("orders", job_id="d4" * 16)
    found = run(*RESTART)
    assert (run.code, found) == (4, ""), "two jobs of one name: which one is meant?"
    flink.jobs.pop("d4" * 16)
    path = flink.old.checkpoints[1]["external_path"].removeprefix("file:")
    (Path(path) / "_metadata").write_bytes(b"")
    flink.lake.commit("e5" * 16, 9, 5)
    decision = Decision.from_dict(run(*RESTART))
    assert (run.code, decision.verdict.value) == (3, "UNKNOWN")
    assert flink.running == [OLD_JOB]
    assert flink.posts == []


def test_the_guard_counts_what_would_be_doubled(flink: ShopFlink, run: Run, tmp_path: Path) -> None:
    older = flink.old.checkpoints[1]["external_path"]
    alive = Decision.from_dict(run(*GUARD, "--savepoint", older))
    assert (run.code, alive.findings[0].cause.value) == (1, "job_alive")
    done = Restart.from_dict(run(*RESTART))
    flink.jobs[done.running_job.job_id].end("FINISHED")
    posts = list(flink.posts)
    decision = Decision.from_dict(run(*GUARD, "--savepoint", older))
    assert (run.code, decision.verdict.value, decision.rows) == (1, "WOULD_DUPLICATE", flink.rows_at_stop)
    assert decision.restore_gaps == {"shop.orders@main": flink.rows_at_stop}
    file = tmp_path / "restart.json"
    file.write_text(json.dumps(done.to_dict()))
    ways = (
        done.savepoint.path, json.dumps(done.savepoint.to_dict()), json.dumps(done.restore_point.to_dict()), str(file),
    )  # fmt: skip
    for given in ways:
        assert Decision.from_dict(run(*GUARD, "--savepoint", given)).verdict.value == "SAFE"
        assert run.code == 0, given
    assert flink.posts == posts
    text = run(*(each for each in GUARD if each != "--json"), "--savepoint", older)
    assert text.startswith(f"WOULD_DUPLICATE, {flink.rows_at_stop} rows (by bytes)")
    assert f"restore gap of shop.orders@main: +{flink.rows_at_stop} rows" in text


def test_the_guard_says_what_it_cannot_know(flink: ShopFlink, run: Run) -> None:
    flink.old.end("FINISHED")
    path = flink.old.checkpoints[1]["external_path"]
    assert run(*GUARD, "--savepoint", path)["verdict"] == "SAFE"
    flink.lake.commit("e5" * 16, 9, 5)
    decision = Decision.from_dict(run(*GUARD, "--savepoint", path))
    assert (run.code, [finding.verdict.value for finding in decision.findings]) == (3, ["UNKNOWN"])
    run(*GUARD, "--stateless")
    assert run.code == 1
    (Path(path.removeprefix("file:")) / "_metadata").unlink()
    given = {"kind": "savepoint", "path": path, "checkpoint_id": 2, "job_id": OLD_JOB}
    run(*GUARD, "--savepoint", json.dumps(given))
    assert run.code == 4
    assert "is not there" in run.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((*GUARD, "--savepoint", "{no json"), 2, "begins like JSON and is none"),
        ((*GUARD, "--savepoint", '{"kind": "commit"}'), 2, "is not the JSON of a"),
        ((*GUARD, "--savepoint", "/elsewhere/savepoint-1"), 2, "/elsewhere/savepoint-1"),
        ((*GUARD, "--savepoint", "/x", "--sink-uid", "a", "--sink-uid", "b"), 2, "Give 1 --sink-uid"),
        (("guard", "--job", "orders", "--table", "orders", "--stateless"), 2, "namespace.name"),
        (GUARD, 2, "--savepoint"),
        ((*RESTART, "--accept", "WOULD_DUPLICATE"), 2, "needs a reason"),
        ((*RESTART, "--accept", "SAFE", "--reason", "x"), 2, "--accept"),
        ((*RESTART, "--sql", "x.sql"), 2, "not allowed with"),
        ((*RESTART, "--timeout", "0"), 2, "--timeout"),
        ((*RESTART, "--store", "/proc/no/record.json"), 2, "give --store FILE"),
        (("restart", *JOB, "--sql", "/no/script.sql"), 2, "cannot be read"),
        (("ledger", "ops.nothing", "--catalog", "ops"), 4, "has no table ops.nothing"),
        (("ledger", "ops.nothing", "--limit", "0"), 2, "--limit"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_sent(
    flink: ShopFlink, run: Run, arguments: tuple[str, ...], code: int, says: str
) -> None:
    run(*arguments)
    assert run.code == code, run.err
    assert says in run.err
    assert "Traceback" not in run.err
    assert (flink.posts, flink.running) == ([], [OLD_JOB])


def test_a_cluster_that_is_down_could_not_run(lake: Lake, run: Run) -> None:
    run(*GUARD, "--savepoint", "/x", "--flink", "http://127.0.0.1:9")
    assert run.code == 4
    assert "127.0.0.1:9" in run.err


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from airflow_flink_iceberg.cli.main import main\n"
        "for name in ('guard', 'restart', 'ledger'):\n"
        "  try: main([name, '--help'])\n"
        "  except SystemExit: pass\n"
        "heavy = {'pyiceberg', 'pyarrow', 'numpy', 'requests', 'msgspec', 'airflow', 'sqlalchemy'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.strip() == "[]"
    assert "--store" in done.stdout
