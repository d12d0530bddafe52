"""Two ways of restarting one running job, in turn, compared by the downtime that Flink's own timestamps give."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from playground.rest import get_json
from tests.e2e.rig import Rig, wait_until

Restarter = Callable[[str], str]
"""Restarts the job with the given id and returns the id of the new one, which is RUNNING."""
WARM_UP = 2
_SETTLE_TIMEOUT = 60.0
_CACHE_SECONDS = 10.0


@dataclass(frozen=True)
class Window:
    """One restart in milliseconds: from the old job's FINISHED to the new one's RUNNING, and to its last task's."""

    running_ms: int
    all_tasks_ms: int


@dataclass(frozen=True)
class Compared:
    """The windows of both sides; the same index is the same pair."""

    ours: tuple[Window, ...]
    theirs: tuple[Window, ...]

    def entry(self, name: str, *, target: float, against: str, counted: str) -> dict[str, Any]:
        """One entry of ``bench.json``; ``value`` is the ratio of the medians."""
        ours, theirs = [w.running_ms for w in self.ours], [w.running_ms for w in self.theirs]
        ours_all, theirs_all = [w.all_tasks_ms for w in self.ours], [w.all_tasks_ms for w in self.theirs]
        ratios = [a / b for a, b in zip(ours, theirs, strict=True) if b]
        return {
            "name": name,
            "value": round(statistics.median(ours) / statistics.median(theirs), 2),
            "target": target,
            "better": "lower",
            "unit": "x",
            "against": against,
            "runs": len(ours),
            "median_ms": {"ours": statistics.median(ours), "baseline": statistics.median(theirs)},
            "spread_ms": {"ours": _spread(ours), "baseline": _spread(theirs)},
            "quartiles_ms": {"ours": _quartiles(ours), "baseline": _quartiles(theirs)},
            "spread": [round(min(ratios), 2), round(max(ratios), 2)],
            "all_tasks_value": round(statistics.median(ours_all) / statistics.median(theirs_all), 2),
            "all_tasks_median_ms": {
                "ours": statistics.median(ours_all),
                "baseline": statistics.median(theirs_all),
            },
            "counted": counted,
        }


def compare(
    rig: Rig, pairs: int, ours: Restarter, theirs: Restarter, before_pair: Callable[[], object] | None = None
) -> Compared:
    """Restart the job ``2 * pairs`` times, each pair in the other order than the one before.

    The job is settled before each restart (all tasks run, a checkpoint is done), so both sides stop the same thing.
    The first :data:`WARM_UP` pairs are not counted: Flink's fresh JVMs make them slow on both sides.
    """
    job_id = rig.first_job_id
    windows: tuple[list[Window], list[Window]] = ([], [])
    for pair in range(WARM_UP + pairs):
        if before_pair is not None:
            before_pair()
        for side in (0, 1) if pair % 2 else (1, 0):
            _settle(rig, job_id)
            new_job_id = (ours, theirs)[side](job_id)
            windows[side].append(_window(rig, job_id, new_job_id))
            job_id = new_job_id
    return Compared(tuple(windows[0][WARM_UP:]), tuple(windows[1][WARM_UP:]))


def count_offsets(rig: Rig, pairs: int) -> str:
    """Hold the table against the topic; the sentence says what was counted.

    :raises RuntimeError: an order is lost or doubled: then the timings are of no interest.
    """
    produced = rig.finish(120)
    lost, doubled = rig.damage(produced)
    return said(pairs, produced.total, lost, doubled)


def said(pairs: int, orders: int, lost: int, doubled: int) -> str:
    """The sentence on the rows after all pairs.

    :raises RuntimeError: it would not be a good one.
    """
    restarts = 2 * (WARM_UP + pairs)
    sentence = (
        f"{restarts} restarts, {orders} orders in the topic, {lost} lost, {doubled} doubled in the table"
    )
    if lost or doubled:
        raise RuntimeError(sentence)
    return sentence


def _settle(rig: Rig, job_id: str) -> None:
    """Wait until the job runs as if for long; Flink answers from caches of some seconds."""

    def has_settled() -> bool:
        job = get_json(f"{rig.stack.flink_url}/jobs/{job_id}")
        checkpoints = get_json(f"{rig.stack.flink_url}/jobs/{job_id}/checkpoints")
        running = all(vertex["status"] == "RUNNING" for vertex in job["vertices"])
        return running and checkpoints["latest"]["completed"] is not None

    wait_until(has_settled, f"a checkpoint of {job_id}", _SETTLE_TIMEOUT)


def _window(rig: Rig, old_job_id: str, new_job_id: str) -> Window:
    ended = _timestamp(rig, old_job_id, "FINISHED")
    running = _timestamp(rig, new_job_id, "RUNNING")
    vertices = get_json(f"{rig.stack.flink_url}/jobs/{new_job_id}")["vertices"]
    tasks = max(at for vertex in vertices for at in _task_starts(rig, new_job_id, vertex["id"]))
    return Window(running - ended, tasks - ended)


def _task_starts(rig: Rig, job_id: str, vertex_id: str) -> Iterable[int]:
    url = f"{rig.stack.flink_url}/jobs/{job_id}/vertices/{vertex_id}/subtasktimes"

    def starts() -> list[int]:
        return [subtask["timestamps"].get("RUNNING", 0) for subtask in get_json(url)["subtasks"]]

    wait_until(lambda: min(starts()) > 0, f"the start of the tasks of {job_id}", _CACHE_SECONDS)
    return starts()


def _timestamp(rig: Rig, job_id: str, state: str) -> int:
    deadline = time.monotonic() + _CACHE_SECONDS
    while time.monotonic() < deadline:
        at = int(get_json(f"{rig.stack.flink_url}/jobs/{job_id}")["timestamps"][state])
        if at > 0:
            return at
        time.sleep(0.1)
    raise RuntimeError(f"Job {job_id} has no timestamp for {state}.")


def _spread(values: list[int]) -> list[int]:
    return [min(values), max(values)]


def _quartiles(values: list[int]) -> list[float]:
    if len(values) < 2:
        return [values[0], values[0]]
    first, _, third = statistics.quantiles(values, n=4)
    return [first, third]
