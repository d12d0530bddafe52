"""The page of what was shown: nothing wrong gets onto it, nothing is left out unsaid, each number is a row's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.model.decision import Cause
from tests.drills import evidence, model_rates, record, runs, shapes, worlds
from tests.drills.record import After, Row
from tests.e2e import starts
from tests.support.judged import Judged

DOUBLED = Row(
    "older state, new id", "v2", "2.1.3", "WOULD_DUPLICATE", "older_state", 1467, "as said", 0, 1467, True, 9.0,
    done="A savepoint of the running job.", on="2026-01-02", proof="+1467 doubled", by_rows="+1467 -0",
)  # fmt: skip
EXACT = replace(
    DOUBLED,
    world="stopped and started",
    verdict="SAFE",
    cause=None,
    said=0,
    after="exact",
    doubled=0,
    proof="",
    by_rows="",
)
UNKNOWN = replace(
    DOUBLED, world="no record", verdict="UNKNOWN", cause="lineage_cut", said=None, after="exact", doubled=0,
    why="Nobody has recorded it.",
)  # fmt: skip
START = {
    "shape": "filter", "sink": "v1", "start": "restart", "verdict": "SAFE", "cause": None, "said": None, "lost": 0,
    "doubled": 0, "kind": Judged.SAFE_RIGHT.value, "message": "",
}  # fmt: skip

TESTED = starts.Row(
    "test_recover.py", "shop.table_1", "2.1.3", "WOULD_LOSE", "pending_dropped", 64, "Flink drops it.",
    starts.Became.COUNTED.value, 64, 0, on="2026-01-03",
)  # fmt: skip
NOT_MADE = replace(TESTED, became=starts.Became.NOT_MADE.value, lost=None, doubled=None)
UNCOUNTED = replace(NOT_MADE, verdict="SAFE", became=starts.Became.UNCOUNTED.value)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a run reads and writes, with a good run in it."""
    for module, name in ((record, "RESULTS"), (shapes, "RESULT"), (model_rates, "RESULT"), (runs, "RESULTS")):
        monkeypatch.setattr(module, name, tmp_path / f"{module.__name__}.json")
    monkeypatch.setattr(evidence, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(starts, "RESULTS", tmp_path / "e2e.json")
    starts.write([TESTED, NOT_MADE, UNCOUNTED], starts.RESULTS)
    leave(
        tmp_path,
        [EXACT, DOUBLED, replace(DOUBLED, sink="v1", said=5, doubled=5, proof="", by_rows=""), UNKNOWN],
    )
    return tmp_path


def leave(directory: Path, rows: list[Row], start: dict[str, Any] = START, **of_model: int) -> None:
    (directory / "tests.drills.record.json").unlink(missing_ok=True)
    record.write(rows, directory / "tests.drills.record.json")
    model = {Judged.SAFE_RIGHT.value: 90, Judged.UNKNOWN.value: 10, **of_model}
    for module, document in (
        (shapes, {"on": "2026-01-03", "starts": [start]}),
        (model_rates, {"on": "2026-01-03", "harmless_unknowns": 2, "starts": {"v2": model, "v1": model}}),
    ):
        (directory / f"{module.__name__}.json").write_text(json.dumps(document))


def cells(page: Path, first: str) -> list[str]:
    """The cells of the row that begins with this one."""
    (line,) = [line for line in page.read_text().splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_each_world_has_its_answer_and_its_rows(written: Path) -> None:
    assert evidence.main() == 0
    page = written / "docs" / "worlds.md"
    assert cells(page, DOUBLED.world) == [
        "older state, new id", "A savepoint of the running job.", "v2 / v1", "2.1.3", "WOULD_DUPLICATE `older_state`",
        "1,467 / 5", "1,467 doubled / 5 doubled", "+1467 doubled; +1467 -0 / -",
    ]  # fmt: skip
    assert cells(page, EXACT.world)[4:] == ["SAFE", "0", "exact", "-"]
    assert "older state after all three (v2)" in page.read_text().partition("\n\n|")[0], (
        "what was not run is said"
    )


def test_the_shares_are_over_all_starts(written: Path) -> None:
    evidence.main()
    page = written / "docs" / "shares.md"
    assert cells(page, Judged.SAFE_RIGHT)[1:] == [
        "1 (25.0%)",
        "1 (100.0%)",
        "0 (0.0%)",
        "90 (90.0%)",
        "90 (90.0%)",
        "182 (88.3%)",
    ]
    assert cells(page, Judged.RIGHT_WITH_NUMBER)[1:4] == ["2 (50.0%)", "0 (0.0%)", "1 (100.0%)"]
    assert cells(page, "**starts**")[-1] == "**206**"
    assert "3 starts in 1 files" in page.read_text()
    assert "1 that were refused and not made (1 WOULD_LOSE), and 1 that were made and" in page.read_text()
    assert "run 2026-01-02 to 2026-01-03" in page.read_text()


def test_what_is_unclear_says_why_and_a_cause_names_its_world(written: Path) -> None:
    evidence.main()
    assert cells(written / "docs" / "unclear.md", UNKNOWN.world)[-1] == "Nobody has recorded it."
    causes = written / "docs" / "causes.md"
    assert cells(causes, "`older_state`")[-1] == DOUBLED.world
    assert all(cells(causes, f"`{cause}`") for cause in Cause)


def test_each_drill_shows_its_newest_run(written: Path) -> None:
    first = runs.Run("wide", 1, 1, 60.4, "abc1234", "2026-01-01")
    runs.write([first, runs.Run("fuzz", 1, 0, 9.6, "abc1234", "2026-01-01")], runs.RESULTS)
    runs.write([runs.Run("wide", 2, 0, 1234.5, "def5678", "2026-01-02")], runs.RESULTS)
    assert evidence.main() == 0
    page = written / "docs" / "runs.md"
    assert cells(page, "wide") == ["wide", "2", "0", "1,234", "def5678", "2026-01-02"]
    assert cells(page, "fuzz") == ["fuzz", "1", "0", "10", "abc1234", "2026-01-01"]


@pytest.mark.parametrize(
    "rows",
    [
        [replace(DOUBLED, as_expected=False)],
        [replace(UNKNOWN, why="")],
    ],
)
def test_a_run_that_went_wrong_makes_no_page(
    written: Path, rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    leave(written, rows)
    assert evidence.main() == 1
    assert rows[0].world in capsys.readouterr().err
    assert not (written / "docs").exists()


@pytest.mark.parametrize("kind", [Judged.SAFE_WRONG, Judged.NUMBER_WRONG])
def test_a_wrong_answer_makes_no_page(written: Path, kind: Judged) -> None:
    leave(written, [EXACT], START | {"kind": kind.value})
    assert evidence.main() == 1
    leave(written, [EXACT], START, **{kind.value: 1})
    assert evidence.main() == 1


@pytest.mark.parametrize(
    "tested",
    [
        [replace(TESTED, verdict="SAFE", cause=None, said=0)],
        [replace(TESTED, said=65)],
        [],
    ],
)
def test_a_wrong_answer_in_a_test_or_no_test_makes_no_page(
    written: Path, tested: list[starts.Row], capsys: pytest.CaptureFixture[str]
) -> None:
    starts.RESULTS.unlink()
    starts.write(tested, starts.RESULTS)
    assert evidence.main() == 1
    assert (tested[0].test if tested else "make e2e") in capsys.readouterr().err
    assert not (written / "docs").exists()


def test_a_test_that_was_refused_without_need_is_listed(written: Path) -> None:
    starts.write([TESTED, replace(TESTED, lost=0)], starts.RESULTS)
    assert evidence.main() == 0
    assert cells(written / "docs" / "unclear.md", "`tests/e2e/test_recover.py`")[2:] == [
        "WOULD_LOSE `pending_dropped`", "exact", "The guard: Flink drops it.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "judged"),
    [
        (EXACT, Judged.SAFE_RIGHT),
        (replace(EXACT, after=After.NO_NUMBER.value, doubled=3), Judged.SAFE_WRONG),
        (replace(EXACT, after=After.NEVER_RUNS.value), Judged.SAFE_WRONG),
        (DOUBLED, Judged.RIGHT_WITH_NUMBER),
        (replace(DOUBLED, after=After.NUMBER_WRONG.value), Judged.NUMBER_WRONG),
        (replace(DOUBLED, after=After.NO_NUMBER.value), Judged.RIGHT_WITHOUT_NUMBER),
        (replace(DOUBLED, after=After.EXACT.value), Judged.WRONG_REFUSAL),
        (UNKNOWN, Judged.UNKNOWN),
        (replace(DOUBLED, verdict="one refused"), None),
    ],
)
def test_a_row_is_judged_by_what_was_counted(row: Row, judged: Judged | None) -> None:
    assert row.judged is judged


def test_a_later_run_replaces_its_worlds_and_keeps_the_others(tmp_path: Path) -> None:
    results = tmp_path / "worlds.json"
    record.write([EXACT, DOUBLED], results)
    record.write([replace(DOUBLED, doubled=7)], results)
    assert record.read(results) == [EXACT, replace(DOUBLED, doubled=7)]


def test_every_world_that_may_end_unknown_says_why() -> None:
    named = [
        world for world in worlds.WORLDS for each in world.expected.values() if each.verdict == "UNKNOWN"
    ]
    assert named
    assert [world.name for world in named if not world.why] == []
