"""Stacks for the long tests, started only when a drill asks for one, and the table of worlds that they leave."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from playground.stack import Stack
from playground.versions import select
from tests.drills import record, runs

_played: dict[str, list[pytest.TestReport]] = defaultdict(list)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what each file's tests have come to."""
    file = Path(report.nodeid.partition("::")[0])
    if file.parent.name == "drills":
        _played[file.stem.removeprefix("test_")].append(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave one line for each drill; one that was skipped as a whole has not run."""
    if hasattr(session.config, "workerinput"):
        return  # a lane: its tests are reported by the session that leads
    runs.write(
        runs.new_run(
            drill,
            passed=sum(each.when == "call" and each.passed for each in reports),
            failed=len({each.nodeid for each in reports if each.failed}),
            seconds=sum(each.duration for each in reports),
        )
        for drill, reports in _played.items()
        if any(each.when == "call" or each.failed for each in reports)
    )


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The default Flink."""
    directory: Path = tmp_path_factory.mktemp("drill-stack")
    with Stack(directory, checkpoint_interval=1.0, slots=24) as running:
        yield running


@pytest.fixture(scope="session")
def old_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The same stack on Flink 1.20."""
    directory: Path = tmp_path_factory.mktemp("old-stack")
    with Stack(directory, versions=select("1.20.5"), checkpoint_interval=1.0, slots=24) as running:
        yield running


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> Iterator[list[record.Row]]:
    """What was played; at the end it is written as JSON and, where no lane runs beside, printed."""
    played: list[record.Row] = []
    yield played
    record.write(played)
    if reporter := request.config.pluginmanager.getplugin("terminalreporter"):
        reporter.write_line("")
        reporter.write_line(record.as_table(played))
