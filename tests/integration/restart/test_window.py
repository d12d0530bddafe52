"""What happens between the old job's end and the new job's start; every request there is downtime."""

from __future__ import annotations

import gc

from airflow_flink_iceberg.restart.restart import restart
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from tests.support.restart_world import OPTIONS

REQUESTS = ["operation", "overview", "run", "status"]
"""The stop's result, the jobs of the cluster, the launch, and the status that says RUNNING."""
STORE_WRITES = 1


class NotingStore(MemoryStore):
    """Notes each write among the server's requests."""

    def __init__(self, events: list[str]) -> None:
        self._events = events

    def set(self, key, value) -> None:
        self._events.append("write")
        super().set(key, value)


def test_requests_and_writes_inside_the_window_do_not_grow(flink, systems) -> None:
    events: list[str] = []

    def note(request) -> None:
        new = [job.job_id for job in flink.jobs.values() if job.restored]
        if request.path.endswith("/status"):
            owner = request.path.split("/")[2]
            events.append(f"status {'new' if owner in new else flink.old.state}")
        elif "/savepoints/" in request.path:
            events.append("operation")
        else:
            events.append(request.path.rsplit("/", 1)[-1])

    flink.after = note
    flink.polls_until_stopped = 3
    restart(systems, Steps(NotingStore(events)), OPTIONS)
    window = events[events.index("status FINISHED") + 1 : events.index("status new") + 1]
    assert [event.split()[0] for event in window if event != "write"] == REQUESTS
    assert window.count("write") == STORE_WRITES
    assert window.index("write") == window.index("run") - 1  # the record is the launch's fence


def test_the_pointer_of_an_unmoved_table_is_all_that_is_read_of_it(flink, lake, systems, monkeypatch) -> None:
    from airflow_flink_iceberg.iceberg.catalog import TableAccess

    flink.commits_at_stop = False  # an idle stop
    flink.rows_at_stop = 0
    read: list[str] = []
    read_file = TableAccess.read_file
    monkeypatch.setattr(
        TableAccess,
        "read_file",
        lambda self, name: (read.append(name), read_file(self, name))[1],  # type: ignore[func-returns-value]
    )
    during: list[int] = []
    flink.after = lambda request: (
        during.append(len(read)) if request.path.endswith(("/stop", "/run")) else None
    )
    restart(systems, Steps(MemoryStore()), OPTIONS)
    # Before the stop the pin moved the table, which is read once more; nothing else.
    assert during[1] - during[0] <= 1


def test_no_full_collection_of_garbage_falls_into_the_window(flink, systems) -> None:
    frozen: dict[str, int] = {}
    flink.after = lambda request: frozen.update({request.path.rsplit("/", 1)[-1]: gc.get_freeze_count()})
    restart(systems, Steps(MemoryStore()), OPTIONS)
    assert min(frozen["stop"], frozen["run"]) > 10_000  # what pytest alone has loaded
    assert gc.get_freeze_count() == 0
