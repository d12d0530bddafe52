"""Mutants of the proof's code: each is one mistake that somebody could make, and the tests that have to notice it.

``python -m tests.drills.mutants [NUMBER ...]`` applies each to a copy of the repository and runs its tests there; it
ends with 1 if a mutant survives, or if its text is not in the code any more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "airflow_flink_iceberg"
_GAP = ("tests/unit/integrity/test_history_gap.py",)
_MODEL = ("tests/unit/integrity/test_history_model.py",)
_STATE = ("tests/integration/integrity/test_state_matches_table.py",)
_KEPT = ("tests/integration/integrity/test_baselines.py",)
_SINCE = ("tests/integration/integrity/test_since_rows.py",)
_TIMES = ("tests/integration/integrity/test_event_time.py",)
_STAGED = ("tests/integration/integrity/test_staged_rows.py",)
_MANIFESTS = ("tests/integration/integrity/test_bad_manifests.py",)
_METADATA = ("tests/integration/integrity/test_metadata_checks.py",)
_MEMORY = ("tests/integration/integrity/test_memory.py",)
_SUITE = ("tests/integration/integrity/test_suite.py", "tests/unit/integrity/test_progress.py")


@dataclass(frozen=True)
class Mutant:
    """One replacement in one file of the package, and the test files that fail because of it."""

    file: str
    text: str
    instead: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant("iceberg/live_entries.py", "len(entries) != added + existing", "False", _MANIFESTS),
    Mutant(
        "integrity/settlement.py",
        '            doubt=f"a manifest',
        '            text=f"a manifest',
        _MANIFESTS,
    ),
    Mutant("integrity/settlement.py", "        if unstaged:\n", "        if False:\n", _STAGED),
    Mutant("integrity/settlement.py", "Settle.ROWS else LISTED", "Settle.ROWS else None", _MEMORY),
    Mutant("integrity/settlement.py", "keep = None if check.settle is Settle.ROWS else", "keep =", _STATE),
    Mutant("integrity/staged_rows.py", "    _require_there(table, entries)\n", "", _STAGED),
    Mutant("integrity/staged_rows.py", "snapshot.commit.job_id in jobs for", "True for", _STATE),
    Mutant("integrity/since_rows.py", "    if _is_rolled_back(", "    if False and _is_rolled_back(", _SINCE),
    Mutant("integrity/runners/row_arithmetic.py", "else Outcome.UNKNOWN\n", "else Outcome.PASS\n", _METADATA),
    Mutant("integrity/runners/commit_lag.py", "if staged.data_rows is None or", "if False and", _METADATA),
    Mutant(
        "integrity/runners/state_matches_table.py", "and _may_be_another_topic(context)", "and False", _KEPT
    ),
    Mutant("integrity/history_gap.py", "return self.now + self.pending_rows", "return self.now", _GAP),
    Mutant(
        "integrity/history_gap.py",
        "self.own_rows - self.pending_at_baseline - self.consumed",
        "self.own_rows - self.consumed",
        _GAP,
    ),
    Mutant("integrity/history_gap.py", "return checkpoint_id > state.checkpoint_id", "return False", _GAP),
    Mutant("integrity/history_gap.py", "return not state.is_drained", "return True", _GAP),
    Mutant(
        "integrity/history_gap.py",
        "if origin.job_id not in tree:\n        return False",
        "if False:\n        return False",
        _GAP,
    ),
    Mutant("integrity/history_gap.py", "if not snapshot.is_append_only:", "if False:", _GAP),
    Mutant("integrity/history_gap.py", "< e.checkpoint_id]", "<= e.checkpoint_id]", _GAP),
    Mutant("integrity/history_gap.py", "if not walk.complete:", "if False:", _GAP),
    Mutant("integrity/history_gap.py", "if strange:", "if False:", _GAP),
    Mutant("integrity/history_gap.py", "if not judged:", "if False:", _MODEL),
    Mutant(
        "integrity/history_gap.py",
        "judged = above.snapshots[later + rivals :]",
        "judged = above.snapshots[later:]",
        _MODEL,
    ),
    Mutant("integrity/same_world.py", "if _is_older(context, state, baseline):", "if False:", _KEPT),
    Mutant("integrity/same_world.py", "if baseline.table_uuid != uuid:", "if False:", _GAP),
    Mutant("integrity/same_world.py", "baseline.fingerprint != context.fingerprint and", "False and", _GAP),
    Mutant("integrity/consumed.py", "if offset < begin:", "if False:", _GAP),
    Mutant("integrity/consumed.py", "records += offset - begin", "records += offset - begin + 1", _GAP),
    Mutant("integrity/consumed.py", "if then is None or now != then:", "if then is None:", _GAP),
    Mutant("integrity/proof_state.py", "if metadata.channel_handles:", "if False:", _GAP),
    Mutant("integrity/proof_state.py", "if source.lost_splits:", "if False:", _GAP),
    Mutant("integrity/proof_state.py", "if operator.holds_data:", "if False:", _GAP),
    Mutant("integrity/matching.py", "if rows is not Rows.ONE_TO_ONE:", "if False:", _GAP),
    Mutant(
        "integrity/matching.py",
        "if context.baseline is None and context.why_no_baseline:",
        "if False:",
        _KEPT,
    ),
    Mutant("integrity/settlement.py", "if context.baseline and rewrites:", "if False:", _STATE),
    Mutant("integrity/settlement.py", "is_odd = bool(found.beyond) or", "is_odd =", _STATE),
    Mutant("integrity/settlement.py", "if reading.has_deletes:", "if False:", _STATE),
    Mutant("integrity/settlement.py", "max(found.short - ends.pending_now, 0)", "0", _STATE),
    Mutant("integrity/engines/bounds.py", "if file.record_count != high - low + 1:", "if False:", _STATE),
    Mutant("integrity/engines/bounds.py", "if first != last:", "if False:", _STATE),
    Mutant("integrity/runners/state_matches_table.py", "if found.is_clean:", "if True:", _STATE),
    Mutant("integrity/runners/state_matches_table.py", "if gap.rival:", "if False:", _GAP),
    Mutant("integrity/baselines.py", "if gap.rows or gap.rival or", "if gap.rival or", _GAP),
    Mutant("integrity/baselines.py", "if older is None or older.basis is Basis.PROVEN:", "if True:", _KEPT),
    Mutant("integrity/baselines.py", "if found.gap.rows != acceptance.rows:", "if False:", _KEPT),
    Mutant("integrity/beginning.py", "if record.table_uuid != history.metadata.uuid:", "if False:", _KEPT),
    Mutant("integrity/beginning.py", ") or _dropped(", ") and _dropped(", _KEPT),
    Mutant("integrity/beginning.py", "pinned_id != record.snapshot_id", "False", _KEPT),
    Mutant("integrity/beginning.py", "if record.branch != branch:", "if False:", _KEPT),
    Mutant("integrity/kept_baselines.py", "[KEPT - 1 :]", "[KEPT:]", _KEPT),
    Mutant("iceberg/baseline_properties.py", "if len(text) > MAX_BYTES:", "if False:", _KEPT),
    Mutant("iceberg/baseline_properties.py", "or not isinstance(number, int)", "", _KEPT),
    Mutant("integrity/since_rows.py", "part.rows - part.doubled - part.beyond", "0", _SINCE),
    Mutant("integrity/since_rows.py", "reached[number] - starts[number] - part.beyond", "0", _SINCE),
    Mutant(
        "integrity/since_rows.py", "if manifest.added_snapshot_id not in self.since:", "if False:", _SINCE
    ),
    Mutant("integrity/since_rows.py", "if entry.snapshot_id in self.since:", "if True:", _SINCE),
    Mutant("integrity/since_rows.py", "baseline.basis is Basis.GIVEN and not rows.files", "False", _SINCE),
    Mutant(
        "integrity/since_rows.py", "return not (is_elsewhere and new.files_of_others)", "return True", _SINCE
    ),
    Mutant("integrity/since_rows.py", "if gap.last >= starts[gap.partition]", "if True", _SINCE),
    Mutant(
        "integrity/engines/bounds.py",
        "in schema_of(table, snapshot_id).fields}",
        "in table.schema().fields}",
        _STATE,
    ),
    Mutant(
        "integrity/event_spans.py",
        "in schema_of(table, snapshot_id).fields",
        "in table.schema().fields",
        _TIMES,
    ),
    Mutant("integrity/event_spans.py", "reader.look_back(added)", "pass", _TIMES),
    Mutant("integrity/runners/event_time.py", "{**_added_by(before), **added}", "added", _TIMES),
    Mutant(
        "integrity/runners/state_matches_table.py",
        "judged = _judge_unlike if unlike",
        "judged = _judge if unlike",
        _STATE,
    ),
    Mutant("integrity/runners/state_matches_table.py", "    if found.damaged:\n", "    if False:\n", _STATE),
    Mutant("integrity/settlement.py", "return len(files) - len(reading.open)", "return len(files)", _STATE),
    Mutant("integrity/beginning.py", "record.job_name in (None, job_name)", "True", _KEPT),
    Mutant(
        "integrity/kept_baselines.py",
        "(record.branch, record.job_name) ==",
        "(record.branch, baseline.job_name) ==",
        _KEPT,
    ),
    Mutant(
        "integrity/kept_baselines.py",
        "return (record.branch, record.job_id,",
        "return (record.job_id,",
        _KEPT,
    ),
    Mutant(
        "integrity/consumed.py", "not in (None, then)]", "not in (None, then, topics.ids.get(t))]", _SINCE
    ),
    Mutant("integrity/edges.py", "if self.pending_now and len(now) > 1:", "if False:", _STATE),
    Mutant("integrity/edges.py", "if self.unplaced_before and len(before) > 1:", "if False:", _STATE),
    Mutant("integrity/edges.py", "start - staged.get(key, 0)", "start", _STAGED),
    Mutant("integrity/settlement.py", "if staged is not None:", "if False:", _STAGED),
    Mutant("integrity/staged_rows.py", "or staged.rows != entry.rows", "", _STAGED),
    Mutant("integrity/since_rows.py", "at - staged.get(key, 0)", "at", _STAGED),
    Mutant("integrity/suite.py", "except Exception as error:", "except KeyError as error:", _SUITE),
    Mutant(
        "integrity/suite.py", "not self._taken or self._taken + megabytes <= self._megabytes", "True", _SUITE
    ),
    Mutant("integrity/progress.py", "if now - self._last < self.interval:", "if False:", _SUITE),
    Mutant(
        "integrity/progress.py",
        "return Bar(stream) if stream.isatty() else None",
        "return Bar(stream)",
        _SUITE,
    ),
    Mutant("integrity/results.py", "if _size(fitted) <= REPORT_BYTES:", "if True:", _SUITE),
)


def survivors(numbers: list[int]) -> list[str]:
    """What the tests did not notice, and mutants whose text is gone; a line is printed for each mutant."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        for name in (PACKAGE, "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "data"))
        (copy / "tests" / "data").symlink_to(ROOT / "tests" / "data")
        shutil.copy(ROOT / "pyproject.toml", copy)
        shutil.copytree(
            ROOT / "playground", copy / "playground", ignore=shutil.ignore_patterns("__pycache__")
        )
        return [line for number in numbers if (line := _survives(copy, number))]


def _survives(copy: Path, number: int) -> str:
    mutant = MUTANTS[number]
    file = copy / PACKAGE / mutant.file
    whole = file.read_text(encoding="utf-8")
    name = f"{number}: {mutant.file}: {mutant.text!r} -> {mutant.instead!r}"
    if mutant.text not in whole:
        print(f"GONE      {name}", flush=True)
        return f"{name}: the text is not in the code any more"
    file.write_text(whole.replace(mutant.text, mutant.instead), encoding="utf-8")
    try:
        done = _run_tests(copy, mutant.tests)
    finally:
        file.write_text(whole, encoding="utf-8")
    is_killed = done.returncode == 1
    print(f"{'killed   ' if is_killed else 'SURVIVED '} {name}", flush=True)
    return "" if is_killed else f"{name}: {done.stdout[-300:]}"


def _run_tests(copy: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Exit code 1 of pytest is a failed test; 2 and more is a mutant that cannot even be imported."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


if __name__ == "__main__":
    chosen = [int(number) for number in sys.argv[1:]] or list(range(len(MUTANTS)))
    sys.exit(bool(survivors(chosen)))
