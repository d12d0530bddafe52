"""The starts of one job: what is done before, what the guard says, and what the rows are after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from airflow_flink_iceberg.model import Savepoint
from airflow_flink_iceberg.model.decision import Decision, Verdict
from airflow_flink_iceberg.model.errors import JobFailed, RestartRefused, WaitTimeout
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.savepoint import SavepointOptions, take_savepoint
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import find_savepoint, plan, start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.rest import get_json, post_json
from playground.stack import Stack
from tests.drills.shapes_case import BURST, Case, new_case
from tests.drills.shapes_jobs import Shape, table_of
from tests.drills.shapes_oracle import Damage
from tests.e2e.rig import wait_until
from tests.e2e.test_commit_fails import refused_commits

_OPTIONS = StartOptions(commit_grace=1, timeout=45)
_PAUSE = 60.0


@dataclass(frozen=True)
class Answer:
    """One start.

    :param said: rows foretold by table, > 0 doubled, < 0 lost; empty: no number.
    :param unknown: tables of which the guard said that nothing is known.
    :param damage: by table as counted; ``None``: the job never ran.
    """

    start: str
    verdict: str
    cause: str | None
    message: str
    said: dict[str, int]
    unknown: frozenset[str]
    damage: dict[str, Damage] | None


def healthy(stack: Stack, shape: Shape, sink: str) -> Iterator[Answer]:
    """One table through all starts that harm nobody, in turn."""
    with new_case(stack, shape, sink) as case:
        yield _started("first start", case, None)
        case.wait_complete()
        case.produce()
        yield _restarted(case)
        case.produce()
        yield _started("stop, then start", case, stop(case.systems(), case.steps(), StopOptions()))
        case.produce()
        yield _started("cancelled, newest checkpoint", case, _newest_retained(case))
        case.produce()
        savepoint = stop(case.systems(), case.steps(), StopOptions())
        changed = case.changed()
        yield _started("sink changed, strict", changed, savepoint)
        yield _started("sink changed, allowed", changed, savepoint, ignore=True)


def older_state(stack: Stack, shape: Shape, sink: str) -> Iterator[Answer]:
    """A savepoint of the running job, which has gone on since."""
    with _running(stack, shape, sink) as case:
        savepoint = take_savepoint(case.systems(), case.steps(), SavepointOptions())
        case.produce()
        case.wait_complete()
        stop(case.systems(), case.steps(), StopOptions())
        yield _started("older state, new id", case, savepoint)


def stateless(stack: Stack, shape: Shape, sink: str) -> Iterator[Answer]:
    """No state over a table that is not empty."""
    with _running(stack, shape, sink) as case:
        stop(case.systems(), case.steps(), StopOptions())
        yield _started("no state", case, None)


def drained(stack: Stack, shape: Shape, sink: str) -> Iterator[Answer]:
    """Somebody has stopped the job with drain, while it held rows of no checkpoint yet."""
    with new_case(stack, shape, sink, interval="1 h") as case:
        _start_and_read(case)
        path = _drained(case)
        case.interval = None
        yield _started("drained", case, path)


def uncommitted(stack: Stack, shape: Shape, sink: str) -> Iterator[Answer]:
    """The stop's commit has failed: its savepoint is right, and with another sink its rows are dropped."""
    for start, change in (("commit failed in stop", False), ("sink changed, rows pending", True)):
        with new_case(stack, shape, sink, interval="1 h") as case:
            savepoint = _stopped_uncommitted(case)
            case.interval = None
            yield _started(start, case.changed() if change else case, savepoint, ignore=change)


LIVES: tuple[Callable[[Stack, Shape, str], Iterator[Answer]], ...] = (
    healthy,
    older_state,
    stateless,
    drained,
    uncommitted,
)


class _running:  # noqa: N801  # used like the context manager that it wraps
    """A case whose job runs and has all its rows in the tables."""

    def __init__(self, stack: Stack, shape: Shape, sink: str) -> None:
        self._made = new_case(stack, shape, sink)

    def __enter__(self) -> Case:
        case = self._made.__enter__()
        case.stack.submit(case.script)
        case.wait_complete()
        case.produce()
        case.wait_complete()
        return case

    def __exit__(self, *raised: object) -> None:
        self._made.__exit__(*raised)  # type: ignore[arg-type]


def _restarted(case: Case) -> Answer:
    """One task that stops and starts."""
    options = RestartOptions(start=_OPTIONS)
    try:
        done = restart(case.systems(), case.steps(), options)
    except RestartRefused as refused:
        return _answer("restart", case, refused.decision, case.damage())
    return _answer("restart", case, done.decision, _count(case, done.running_job.job_id))


def _started(start: str, case: Case, state: Savepoint | str | None, *, ignore: bool = False) -> Answer:
    """Ask, start all the same where it is refused, and count."""
    options = replace(_OPTIONS, allow_non_restored_state=ignore)
    try:
        running, decision = start_job(case.systems(), case.steps(), state, options)
    except RestartRefused as refused:
        decision = refused.decision
        accept = tuple({finding.verdict for finding in decision.findings})
        options = replace(options, accept=accept, reason="the drill counts")
        try:
            running, _ = start_job(case.systems(), case.steps(), state, options)
        except (JobFailed, WaitTimeout):
            return _answer(start, case, decision, None)
    except JobFailed:
        # It was called SAFE, and Flink has refused it; nothing was touched, so the answer is still the same.
        return _answer(start, case, _ask(case, state, options), None)
    return _answer(start, case, decision, _count(case, running.job_id))


def _ask(case: Case, state: Savepoint | str | None, options: StartOptions) -> Decision:
    systems = case.systems()
    found = None if state is None else find_savepoint(systems, state)
    return plan(systems, case.steps(), found, None, options).decision


def _answer(start: str, case: Case, decision: Decision, damage: dict[str, Damage] | None) -> Answer:
    worst = decision.findings[0] if decision.findings else None
    return Answer(
        start,
        decision.verdict.value,
        worst.cause.value if worst else None,
        worst.message.replace(case.name, "JOB") if worst else "",
        _said(case, decision),
        frozenset(
            finding.sink.rpartition("@")[0]
            for finding in decision.findings
            if finding.verdict is Verdict.UNKNOWN
        ),
        damage,
    )


def _said(case: Case, decision: Decision) -> dict[str, int]:
    """Rows by table: those of the worst verdict's findings, because the gap knows nothing of dropped entries."""
    said: dict[str, int] = {}
    for target in case.shape.targets:
        table = table_of(target, case.name)
        rows = [
            -finding.rows if finding.verdict is Verdict.WOULD_LOSE else finding.rows
            for finding in decision.findings
            if finding.sink.startswith(f"{table}@") and finding.verdict is decision.verdict and finding.rows
        ]
        if rows:
            said[table] = sum(rows)
    return said


def _count(case: Case, job_id: str) -> dict[str, Damage]:
    """More records, so that a job that runs and writes nothing shows, and the tables when they are final."""
    case.produce()
    case.wait_final(job_id)
    return case.damage()


def _newest_retained(case: Case) -> str:
    """Cancel by hand, as somebody does who does not know of savepoints."""
    job_id = case.alive()[0]
    case.wait_complete()
    with_client = case.systems()
    with_client.client.cancel(job_id)
    wait_until(lambda: not case.alive(), f"the end of {job_id}", _PAUSE)
    folders = (case.stack.checkpoint_dir / job_id).glob("chk-*/_metadata")
    newest = max(folders, key=lambda path: int(path.parent.name.removeprefix("chk-")))
    return f"file:{newest.parent}"


def _drained(case: Case) -> str:
    url = f"{case.stack.flink_url}/jobs/{case.alive()[0]}"
    trigger = post_json(f"{url}/stop", {"drain": True})["request-id"]

    def answer() -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = get_json(f"{url}/savepoints/{trigger}")
        return found

    wait_until(lambda: answer()["status"]["id"] == "COMPLETED", "the drain", _PAUSE)
    return answer()["operation"]["location"]


def _stopped_uncommitted(case: Case) -> Savepoint:
    """A stop whose commit to the first table the catalog refuses."""
    _start_and_read(case)
    with refused_commits(case.stack, table_of(case.shape.targets[0], case.name)):
        return stop(case.systems(), case.steps(), StopOptions())


def _start_and_read(case: Case) -> None:
    """Start a job without checkpoints of its own: one by hand with all rows, and then more rows that none holds."""
    job_id = case.stack.submit(case.script)
    _checkpoint_until_complete(case, job_id)
    case.produce(BURST)
    _wait_read(case, job_id)


def _checkpoint_until_complete(case: Case, job_id: str) -> None:
    def is_complete() -> bool:
        post_json(f"{case.stack.flink_url}/jobs/{job_id}/checkpoints", {"checkpointType": "CONFIGURED"})
        return not any(each.lost for each in case.damage().values())

    wait_until(is_complete, f"all rows of {case.name}", _PAUSE, interval=1.0)


def _wait_read(case: Case, job_id: str) -> None:
    """Until the sources have read all: their lag is not asked, because their metrics are late; the writers tell."""
    url = f"{case.stack.flink_url}/jobs/{job_id}"

    def read() -> int:
        vertices = get_json(url)["vertices"]
        return sum(
            vertex["metrics"]["read-records"] + vertex["metrics"]["write-records"] for vertex in vertices
        )

    seen = [read()]

    def is_calm() -> bool:
        seen.append(read())
        return len(seen) > 12 and len(set(seen[-8:])) == 1

    wait_until(is_calm, "the sources to have read all", _PAUSE, interval=0.4)
