from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.bench import __main__ as bench
from tests.bench import registry
from tests.bench.downtime_pairs import Compared, Window, said
from tests.bench.registry import MEASUREMENTS, Measurement, chosen, names

BENCH = Path(bench.__file__).parent


def entry(name: str, value: float, target: float = 1.3, better: str = "lower") -> dict[str, Any]:
    return {
        "name": name, "value": value, "target": target, "better": better, "unit": "x", "against": "REST", "runs": 3,
    }  # fmt: skip


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Measurements ``one`` and ``two`` whose answers a test may set; an error is raised."""
    answers: dict[str, Any] = {"one": entry("one", 1.1), "two": entry("two", 20, 20, "higher")}

    class Stub(Measurement):
        def run(self, runs: int | None = None) -> list[dict[str, Any]]:
            answer = answers[self.module]
            if isinstance(answer, Exception):
                raise answer
            return [{**answer, "runs": runs or self.runs}]

    monkeypatch.setattr(registry, "MEASUREMENTS", (Stub("one", ("one",), 3), Stub("two", ("two",), 3)))
    return answers


def test_what_is_named_is_measured_printed_and_written(
    figures: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / ".playground" / "bench.json"

    assert bench.main(["two", "--runs", "7"], result) == 0

    assert json.loads(result.read_text()) == [{**figures["two"], "runs": 7}]
    printed = capsys.readouterr().out
    assert "1 of 1 targets are met." in printed
    assert ">= 20 x" in printed


def test_a_missed_target_is_said_and_is_no_failure(
    figures: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures["one"] = entry("one", 1.31)

    assert bench.main([], tmp_path / "bench.json") == 0

    printed = capsys.readouterr().out
    assert "1 of 2 targets are met." in printed
    assert "MISSED: one is 1.31 x, the target is <= 1.3 x." in printed


def test_what_cannot_be_measured_fails_and_costs_the_others_nothing(
    figures: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures["one"] = RuntimeError("no stack")

    assert bench.main([], tmp_path / "bench.json") == 1

    assert [each["name"] for each in json.loads((tmp_path / "bench.json").read_text())] == ["two"]
    captured = capsys.readouterr()
    assert "NOT MEASURED: one" in captured.out
    assert "no stack" in captured.err


@pytest.mark.usefixtures("figures")
def test_a_name_that_nobody_measures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["thre"], tmp_path / "bench.json") == 2

    assert "There are: one, two." in capsys.readouterr().err
    assert not (tmp_path / "bench.json").exists()


def test_a_name_chooses_its_module_only() -> None:
    assert [each.module for each in chosen(["import_cost"])] == ["imports"]
    assert chosen([]) == list(MEASUREMENTS)
    assert len(set(names())) == len(names())


@pytest.mark.parametrize("measurement", MEASUREMENTS, ids=lambda each: each.module)
def test_every_registered_name_is_in_its_module(measurement: Measurement) -> None:
    """Looked at without importing: some modules need engines that only ``make bench`` installs."""
    module = ast.parse((BENCH / f"{measurement.module}.py").read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(module) if isinstance(node, ast.Constant)}
    functions = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}

    assert "run" in functions
    assert {re.sub("_(moved|alternating)$", "", name) for name in measurement.names} <= texts


def test_the_ratio_is_that_of_the_medians_and_the_rows_decide_first() -> None:
    ours = tuple(Window(running, running + 100) for running in (90, 110, 500))
    theirs = tuple(Window(running, running + 100) for running in (80, 100, 120))

    made = Compared(ours, theirs).entry("downtime_vs_rest", target=1.3, against="REST", counted="")

    assert (made["value"], made["all_tasks_value"], made["runs"]) == (1.1, 1.05, 3)
    assert made["spread_ms"] == {"ours": [90, 500], "baseline": [80, 120]}
    assert made["spread"] == [1.1, 4.17]
    with pytest.raises(RuntimeError, match="1 lost, 0 doubled"):
        said(30, 1000, 1, 0)
