"""The operators under a real scheduler, triggerer and LocalExecutor: what retries, clears and kills do to Flink.

The cases run side by side in one Airflow, because most of their time is waiting; each test waits for its own.
"""

from __future__ import annotations

import base64
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from airflow_flink_iceberg.model import FlinkJob, Restart
from airflow_flink_iceberg.operators.base import MIN_HOLD
from playground.airflow_env import REPOSITORY
from playground.ports import choose
from tests.e2e.leaks import places
from tests.e2e.rig import older, wait_until
from tests.e2e.scheduler_rig import PATIENCE, Run
from tests.e2e.scheduler_world import MARKER, SECRETS, Case, World, is_alive, kill, parent_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
_AT_ONCE = 4

RESTART = 'FlinkRestartJobOperator(task_id="restart", job=JOBS[0], retries={}, retry_delay={})'
DEFERRED = """
for name, deferrable in (("cleared", True), ("marked", True), ("watching", False)):
    IcebergCommitSensor(task_id=name, job=JOBS[0], checkpoint_id=1, deferrable=deferrable, poll_interval=1.0)
"""
HELD = """
IcebergCommitSensor.partial(task_id="landed", job=JOBS[0], deferrable=True, poll_interval=1.0, retries=1).expand(
    checkpoint_id=[1, 1]
)
"""
SHORT = """
IcebergCommitSensor.partial(task_id="landed", job=JOBS[0], deferrable=True, poll_interval=0.1, retries=1).expand(
    checkpoint_id=[1, 1, 1]
)
"""
GROUP = """
@task
def maintain():
    return "done"

safe_restart(job=JOBS[0], before_start=maintain)
"""
CANARY = """
@task
def careless(marker):
    from airflow_flink_iceberg.hooks.flink import FlinkHook

    for name in ("flink_default", "flink_token"):
        hook = FlinkHook(name)
        endpoint = hook.endpoint
        print("printed on purpose", marker, endpoint, endpoint.auth, endpoint.headers, endpoint.token, hook.extra)
    return marker

careless(JOBS[0].name)
for name, job in (("with_token", JOBS[1]), ("marked", JOBS[2]), ("dead", JOBS[3])):
    FlinkJobSensor(task_id=name, job=job)
FlinkJobSensor(task_id="absent", job=JOBS[0], deferrable=True)
"""
MAPPED = """
FlinkRestartJobOperator.partial(task_id="restart", pin=False).expand(job=JOBS)
"""
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """A case runs in a thread beside the others."""
    CASES[function.__name__] = function
    return function


@pytest.fixture(scope="module")
def outcomes(world: World, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """The cases that were asked for, begun."""
    asked = [item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield {name: pool.submit(CASES[name], world) for name in CASES if name in asked}


@case
def killed_between_the_stop_and_its_answer(world: World) -> None:
    with world.job() as rig:
        with world.hold_stop(rig) as stop:
            run = world.run("killed", RESTART.format(3, 1), rig.job)
            stop.wait()
            kill(run.task("restart")["pid"])
        assert run.wait_end()["restart"]["try_number"] >= 2
        done = Restart.from_dict(run.returned("restart"))
        assert rig.running() == [done.running_job.job_id]
        assert str(world.savepoints(rig.first_job_id)[0]) in done.savepoint.path
        assert f"Reconnecting to the stop of job {rig.first_job_id}" in run.logs("restart")
        world.check_restarted_once(rig)


@case
def worker_lost_and_its_task_lives_on(world: World) -> None:
    """The scheduler misses the worker and begins a second try, while the first one still runs without a master."""
    with world.job() as rig:
        with world.hold_stop(rig) as stop:
            run = world.run("orphan", RESTART.format(3, 1), rig.job)
            stop.wait()
            orphan = int(run.task("restart")["pid"])
            kill(parent_of(orphan))
            assert is_alive(orphan)
        wait_until(lambda: not is_alive(orphan), "the orphan to stop at its next write", PATIENCE)
        assert world.launches(rig) == 0
        assert run.wait_end()["restart"]["try_number"] >= 2
        world.check_restarted_once(rig)


@case
def retries_edited_between_two_tries(world: World) -> None:
    """The epoch is ``ti.max_tries``, which an edit of the file does not touch: it must not look like a clear."""
    with world.job() as rig:
        with world.hold_stop(rig) as stop:
            run = world.run("edited", RESTART.format(3, 1), rig.job)
            stop.wait()
            world.write("edited", RESTART.format(7, 1), rig.job)
            stored = "select 1 from serialized_dag where dag_id = 'edited' and data::text like %s"
            edited = '%"retries": 7%'
            wait_until(lambda: bool(world.airflow.rows(stored, edited)), "the edited DAG", PATIENCE)
            kill(run.task("restart")["pid"])
        restart = run.wait_end()["restart"]
        assert restart["try_number"] >= 2
        assert restart["max_tries"] == 3
        assert "Reconnecting to the stop" in run.logs("restart")
        world.check_restarted_once(rig)


@case
def cleared_before_and_in_the_middle_of_the_stop(world: World) -> None:
    with world.job() as rig:
        with world.holds.at("GET", f"/jobs/{rig.first_job_id}$") as look:
            run = world.run("cleared", RESTART.format(0, 1), rig.job)
            look.wait()
            pid = int(run.task("restart")["pid"])
            run.clear("restart")
            wait_until(lambda: not is_alive(pid), "the end of the cleared try", PATIENCE)
            assert world.touches(rig) == []
            assert rig.running() == [rig.first_job_id]
            stop_held = world.hold_stop(rig)
            with stop_held as stop:
                look.over.set()
                stop.wait()
                pid = int(run.task("restart")["pid"])
                run.clear("restart")
                wait_until(lambda: not is_alive(pid), "the end of the cleared try", PATIENCE)
        run.wait_end()
        world.check_restarted_once(rig)


@case
def cleared_and_marked_while_deferred(world: World) -> None:
    """Nobody's wait is of any concern to Flink: neither a clear, nor a mark, deferred or running, touches the job."""
    with world.job(first_interval="1 h") as rig:
        run = world.run("deferred", DEFERRED, rig.job)
        for name in ("cleared", "marked"):
            run.wait_state(name, "deferred")
        run.wait_state("watching", "running")
        world.note_triggers("deferred")
        run.clear("cleared")
        run.mark("marked", "failed")
        run.mark("watching", "failed")
        run.wait("cleared", lambda ti: ti["try_number"] == 2 and ti["state"] == "deferred", "deferred again")
        waiting = "select count(*) from task_instance where dag_id = 'deferred' and trigger_id is not null"
        wait_until(lambda: world.airflow.rows(waiting)[0][0] == 1, "the end of the other trigger", PATIENCE)
        assert rig.running() == [rig.first_job_id]
        rig.checkpoint()
        run.wait_state("cleared", "success")
        run.wait_end("failed")
        assert [run.task(name)["state"] for name in ("marked", "watching")] == ["failed", "failed"]
        assert world.touches(rig) == []
        assert rig.running() == [rig.first_job_id]


def starts(run: Run) -> int:
    """How often a trigger of the mapped task was started, by whichever triggerer."""
    return run.logs("landed").count(" starting")


@case
def held_deferrals_through_a_frozen_and_a_killed_triggerer(world: World) -> None:
    """A triggerer that seems dead and is not: its triggers run twice; then the one that took over is killed."""
    with world.job(first_interval="1 h") as rig:
        first = world.airflow.parts["triggerer"]
        run = world.run("held", HELD, rig.job)
        for index in range(2):
            run.wait_state(f"landed[{index}]", "deferred")
        wait_until(lambda: starts(run) == 2, "both triggers in the first triggerer", PATIENCE)
        owner = world.trigger_owner("held")
        first.signal(signal.SIGSTOP)
        ports = {"AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(choose(["logs"])["logs"])}
        second = world.airflow.start_part("triggerer-2", "triggerer", **ports)
        wait_until(lambda: world.trigger_owner("held") not in (owner, None), "the other triggerer", PATIENCE)
        first.signal(signal.SIGCONT)
        wait_until(lambda: starts(run) >= 4, "both triggers in the second triggerer, too", PATIENCE)
        seen = len(world.looks_at(rig))
        wait_until(lambda: len(world.looks_at(rig)) > seen + 6, "looks of both", PATIENCE)
        second.kill()
        del world.airflow.parts["triggerer-2"]
        rig.checkpoint()
        tasks = run.wait_end()
        assert {ti["try_number"] for ti in tasks.values()} == {1}
        assert world.touches(rig) == []


@case
def a_deferral_that_could_end_at_once_is_held(world: World) -> None:
    """A shorter one may be failed by Airflow: its scheduler sees the trigger's event before the worker's end."""
    with world.job(first_interval="1 h") as rig:
        run = world.run("short", SHORT, rig.job)

        def all_deferred() -> bool:
            states = [ti["state"] for name, ti in run.tasks().items() if name.startswith("landed[")]
            return states == ["deferred"] * 3

        wait_until(all_deferred, "three deferrals", PATIENCE)
        rig.checkpoint()
        tasks = run.wait_end()
        assert {ti["try_number"] for ti in tasks.values()} == {1}
        begun, fired = run.moments("landed", " starting"), run.moments("landed", "Trigger fired event")
        assert len({file.parent for file in fired}) == 3
        assert min(at - begun[file] for file, at in fired.items()) >= MIN_HOLD


@case
def group_and_mapped_restarts_with_links_while_they_run(world: World) -> None:
    with world.job() as one, world.job() as two:
        with world.hold_stop(one) as stop_one, world.hold_stop(two) as stop_two:
            group = world.run("group", GROUP, one.job)
            mapped = world.run("mapped", MAPPED, two.job)
            stop_one.wait()
            stop_two.wait()
            for run, task, index, rig in ((group, "safe_restart.stop", -1, one), (mapped, "restart", 0, two)):
                assert rig.first_job_id in str(run.links(task, index)["Flink job"])
                assert run.tasks()[task if index < 0 else f"{task}[{index}]"]["state"] == "running"
        group.wait_end()
        mapped.wait_end()
        for run, task, index, rig in ((group, "safe_restart.start", -1, one), (mapped, "restart", 0, two)):
            assert rig.running()[0] in str(run.links(task, index)["Flink job"])
            world.check_restarted_once(rig)


@case
def secrets_used_printed_and_in_errors(world: World) -> None:
    """What :func:`test_no_secret_is_left_anywhere` looks for; a marker lies where secrets must not."""
    jobs = [FlinkJob(MARKER, flink_conn_id="flink_default")]
    with world.job() as rig:
        jobs += [older(rig.job, flink_conn_id=f"flink_{name}") for name in ("token", "marked", "dead")]
        run = world.run("canary", CANARY, *jobs, description=MARKER)
        run.wait_state("absent", "deferred")
        world.note_triggers("canary")
        run.mark("absent", "failed")
        run.wait_end("failed")
        states = {name: ti["state"] for name, ti in run.tasks().items()}
        assert states == {**dict.fromkeys(("careless", "with_token", "marked"), "success"),
                          "absent": "failed", "dead": "failed"}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_scheduler(outcomes: dict[str, Future[None]], name: str) -> None:
    outcomes[name].result()


def test_no_secret_is_left_anywhere(outcomes: dict[str, Future[None]], world: World) -> None:
    for future in outcomes.values():
        future.exception()
    sent = {value for _, value in world.flink.sent | world.gateway.sent}
    login = base64.b64encode(f"ingress:{SECRETS['password']}".encode()).decode()
    assert {f"Basic {login}", SECRETS["header"], f"Bearer {SECRETS['token']}"} <= sent, (
        "the secrets were not used"
    )
    more = [("triggers", text) for text in world.triggers]
    wanted = {"logs", "xcom", "rendered_task_instance_fields", "serialized_dag", "triggers", "links"}
    assert places(world.airflow, MARKER, more) >= wanted, "a secret there would not have been found"
    assert {name: places(world.airflow, secret, more) for name, secret in SECRETS.items()} == {
        name: set() for name in SECRETS
    }


def test_example_dags_are_parsed_without_errors(world: World) -> None:
    for file in (REPOSITORY / "dags").glob("*.py"):
        world.airflow.wait_dag(file.stem)
    assert world.airflow.import_errors() == []
