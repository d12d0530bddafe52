"""The pages of the docs that say what was shown, made from what the drills have left in ``build``.

``python -m tests.drills.evidence`` reads ``worlds.json``, ``shapes.json``, ``model.json`` and the ``e2e.json`` that the
end-to-end tests leave, and writes ``docs/evidence/*.md``, which ``docs/evidence.md`` includes: no number of theirs is
typed by hand. It refuses to write them of a run in which a world was not as expected, a SAFE was wrong or a number
differed, with exit code 1; a world that is missing is said at the top of its table.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_flink_iceberg.model.decision import Cause
from playground.versions import KAFKA
from tests.drills import model_rates, record, runs, shapes, worlds
from tests.drills.record import After, Row
from tests.e2e import starts as e2e
from tests.support.judged import Judged

DOCS = Path(__file__).resolve().parents[2] / "docs" / "evidence"
_WRONG = (Judged.SAFE_WRONG, Judged.NUMBER_WRONG)
_UNCLEAR = (Judged.WRONG_REFUSAL, Judged.UNKNOWN)
_MADE = "<!-- made by `python -m tests.drills.evidence` -->\n\n"


def main() -> int:
    """Write the pages."""
    rows, played, model = record.read(record.RESULTS), _read(shapes.RESULT), _read(model_rates.RESULT)
    of_tests = e2e.read(e2e.RESULTS)
    problems = [*_problems(rows, played, model), *_problems_of_tests(of_tests)]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    pages = {
        "shares": shares_page(rows, played, model, of_tests),
        "worlds": worlds_page(rows),
        "causes": causes_page(rows, played["starts"]),
        "shapes": shapes_page(played["starts"]),
        "unclear": unclear_page(rows, played["starts"], of_tests),
        "runs": runs_page(runs.read(runs.RESULTS)),
    }
    DOCS.mkdir(exist_ok=True)
    for name, text in pages.items():
        (DOCS / f"{name}.md").write_text(_MADE + text, encoding="utf-8")
    return 0


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _problems(rows: Sequence[Row], played: Mapping[str, Any], model: Mapping[str, Any]) -> Iterator[str]:
    for row in rows:
        if not row.as_expected:
            yield f"{row.world} with {row.sink} on {row.flink} was not as expected: {row}"
        if row.judged in _UNCLEAR and not row.why:
            yield f"{row.world} with {row.sink}: why nothing better can be said is not said"
    for start in played["starts"]:
        if start["kind"] in _WRONG:
            yield f"{start['shape']} with {start['sink']}, {start['start']}: {start['kind']}"
    for sink, counts in model["starts"].items():
        yield from (f"model, {sink}: {counts[kind]} times {kind}" for kind in _WRONG if counts.get(kind))


def _problems_of_tests(of_tests: Sequence[e2e.Row]) -> Iterator[str]:
    if not of_tests:
        yield f"{e2e.RESULTS} has no starts; run the end-to-end tests: make e2e"
    for row in of_tests:
        if row.judged in _WRONG:
            yield f"{row.test}, {row.table}: {row.judged}: {row}"


def shares_page(
    rows: Sequence[Row], played: Mapping[str, Any], model: Mapping[str, Any], of_tests: Sequence[e2e.Row]
) -> str:
    """How often the guard was right, over all starts that were made and counted."""
    of_worlds = Counter(row.judged for row in rows if row.judged)
    of_shapes = Counter(Judged(start["kind"]) for start in played["starts"])
    of_e2e = Counter(row.judged for row in of_tests if row.judged)
    of_model = {
        sink: Counter({Judged(kind): count for kind, count in counts.items()})
        for sink, counts in model["starts"].items()
    }
    columns = {
        "worlds, real Flink": of_worlds,
        "ten job shapes, real Flink": of_shapes,
        "e2e tests, real Flink": of_e2e,
        **{f"model, {sink}": counts for sink, counts in of_model.items()},
        "all": sum((of_worlds, of_shapes, of_e2e, *of_model.values()), Counter()),
    }
    lines = [
        [str(kind), *(_share(counts[kind], counts.total()) for counts in columns.values())] for kind in Judged
    ]
    lines.append(["**starts**", *(f"**{counts.total():,}**" for counts in columns.values())])
    real: list[Row | e2e.Row] = [*rows, *of_tests]
    flink = " and ".join(sorted({row.flink for row in real}, reverse=True))
    days = sorted({row.on for row in real} | {played["on"], model["on"]})
    iceberg = ", ".join(sorted({row.iceberg for row in real}))
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    text = f"Flink {flink}, Iceberg {iceberg}, Kafka {KAFKA}; run {when}.\n\n"
    text += _table(["class", *columns], lines)
    harmless = model["harmless_unknowns"]
    unknown = sum(counts[Judged.UNKNOWN] for counts in of_model.values())
    safe = sum(counts[Judged.SAFE_RIGHT] for counts in of_model.values())
    refused = sum(counts[Judged.WRONG_REFUSAL] for counts in of_model.values())
    return text + (
        f"\nThe model's lives are mostly unhappy ones on purpose. Of its starts that would have done no harm, "
        f"{safe / max(1, safe + refused + harmless):.1%} were called SAFE; {harmless:,} of its {unknown:,} UNKNOWN "
        "would have done none.\n" + _not_in_the_shares(of_tests)
    )


def _not_in_the_shares(of_tests: Sequence[e2e.Row]) -> str:
    """What cannot be compared with rows is said with its number."""
    became = Counter(row.became for row in of_tests)
    refused = Counter(row.verdict for row in of_tests if row.became == e2e.Became.NOT_MADE)
    said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(refused.items()))
    return (
        f"\nThe end-to-end tests decided on {len(of_tests)} starts in {len({row.test for row in of_tests})} files. "
        f"Not in the table are {became[e2e.Became.NOT_MADE]} that were refused and not made"
        f"{f' ({said})' if said else ''}, and {became[e2e.Became.UNCOUNTED]} that were made and could not be "
        "counted.\n"
    )


def worlds_page(rows: Sequence[Row]) -> str:
    """One line for each world, or two where its sinks differ."""
    head = ("world", "what was done", "sink", "Flink", "the guard's answer", "rows said", "rows counted",
            "the proof afterwards")  # fmt: skip
    lines, before = [], ""
    for group in _grouped(_in_order(rows)):
        first = group[0]
        is_new = first.world != before
        before = first.world
        cause = f" `{first.cause}`" if first.cause else ""
        lines.append(
            [
                first.world if is_new else "",
                first.done if is_new else "",
                _joined(row.sink for row in group),
                first.flink,
                f"{first.verdict}{cause}",
                _joined("-" if row.said is None else f"{row.said:,}" for row in group),
                _joined(map(_counted, group)),
                _joined(map(_proof, group)),
            ]
        )
    played = {(row.world, row.sink) for row in rows}
    missing = [f"{world.name} ({sink})" for world in worlds.WORLDS for sink in world.expected
               if (world.name, sink) not in played]  # fmt: skip
    warning = f"Not run: {', '.join(missing)}.\n\n" if missing else ""
    return warning + _table(head, lines)


def causes_page(rows: Iterable[Row], starts: Iterable[Mapping[str, Any]]) -> str:
    """For each cause of a refusal the worlds that have shown it."""
    shown: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.cause and row.world not in shown[row.cause]:
            shown[row.cause].append(row.world)
    for start in starts:
        name = f"job shape {start['shape']}: {start['start']}"
        if start["cause"] and not any(each in shown[start["cause"]] for each in (name,)):
            shown[start["cause"]].append(name)
    lines = [[f"`{cause}`", _first(shown.get(cause, []))] for cause in Cause]
    return _table(("cause", "shown on real Flink by"), lines)


def shapes_page(starts: Sequence[Mapping[str, Any]]) -> str:
    """The classes by shape, and the answers by start."""
    kinds = [kind for kind in Judged if any(start["kind"] == kind for start in starts)]
    by_shape = [
        [
            shape,
            *(
                str(sum(start["shape"] == shape and start["kind"] == kind for start in starts))
                for kind in kinds
            ),
        ]
        for shape in dict.fromkeys(start["shape"] for start in starts)
    ]
    by_start = [
        [
            name,
            *(
                str(sum(start["start"] == name and start["kind"] == kind for start in starts))
                for kind in kinds
            ),
        ]
        for name in dict.fromkeys(start["start"] for start in starts)
    ]
    return (
        _table(["job shape, both sinks", *map(str, kinds)], by_shape)
        + "\n"
        + _table(["start, all shapes and both sinks", *map(str, kinds)], by_start)
    )


def unclear_page(
    rows: Iterable[Row], starts: Iterable[Mapping[str, Any]], of_tests: Iterable[e2e.Row]
) -> str:
    """All that was refused though it was harmless, and all UNKNOWN, with the reason."""
    lines = [
        [group[0].world, _joined(row.sink for row in group), f"{group[0].verdict} `{group[0].cause}`",
         _joined(map(_counted, group)), group[0].why]
        for group in _grouped(row for row in _in_order(list(rows)) if row.judged in _UNCLEAR)
    ]  # fmt: skip
    of_shapes: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for start in starts:
        if start["kind"] in _UNCLEAR:
            answer = f"{start['verdict']} `{start['cause']}`"
            of_shapes[start["shape"], start["start"], answer].append(start)
    lines += [
        [
            f"job shape {shape}: {name}",
            _joined(start["sink"] for start in group),
            answer,
            _joined(
                "never runs" if start["lost"] is None else _damage(start["lost"], start["doubled"])
                for start in group
            ),
            f"The guard: {group[0]['message']}",
        ]
        for (shape, name, answer), group in of_shapes.items()
    ]
    lines += [
        [f"`tests/e2e/{row.test}`", "", f"{row.verdict} `{row.cause}`", _damage(row.lost or 0, row.doubled or 0),
         f"The guard: {row.message}"]
        for row in of_tests
        if row.judged in _UNCLEAR
    ]  # fmt: skip
    return _table(("world or start", "sink", "answer", "rows counted", "why"), lines)


def runs_page(played: Iterable[runs.Run]) -> str:
    """Each drill's newest run."""
    head = ("drill (`tests/drills/test_*.py`)", "passed", "failed", "seconds", "commit", "day")
    lines = [
        [run.drill, f"{run.passed:,}", f"{run.failed:,}", f"{run.seconds:,.0f}", run.commit, run.on]
        for run in sorted(played, key=lambda run: run.drill)
    ]
    return _table(head, lines)


def _in_order(rows: Sequence[Row]) -> list[Row]:
    """As the worlds are listed, then the others as they were played."""
    places = {world.name: place for place, world in enumerate(worlds.WORLDS)}
    return sorted(rows, key=lambda row: places.get(row.world, len(places)))


def _grouped(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows of one world that differ in sink and numbers only."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.world, row.flink, row.verdict, row.cause, row.after), []).append(row)
    yield from groups.values()


def _counted(row: Row) -> str:
    if row.lost is None or row.doubled is None:
        return After(row.after).value
    return _damage(row.lost, row.doubled)


def _proof(row: Row) -> str:
    return "; ".join(filter(None, (row.proof, row.by_rows))) or "-"


def _damage(lost: int, doubled: int) -> str:
    parts = [f"{lost:,} lost"] * bool(lost) + [f"{doubled:,} doubled"] * bool(doubled)
    return ", ".join(parts) or "exact"


def _joined(texts: Iterable[str]) -> str:
    found = list(texts)
    return found[0] if len(set(found)) == 1 else " / ".join(found)


def _first(names: Sequence[str], most: int = 3) -> str:
    if not names:
        return "-"
    more = f"; {len(names) - most} more" if len(names) > most else ""
    return "; ".join(names[:most]) + more


def _share(count: int, total: int) -> str:
    return f"{count:,} ({count / max(1, total):.1%})"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    shown = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in shown)


if __name__ == "__main__":
    sys.exit(main())
