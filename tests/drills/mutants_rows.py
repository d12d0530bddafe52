"""Mutants of the code that reads rows and asks engines; run like those of :mod:`tests.drills.mutants`."""

from __future__ import annotations

from tests.drills.mutants import Mutant

_ENGINE = ("tests/integration/integrity/test_offsets_by_engine.py",)
_KEYS = ("tests/integration/integrity/test_key_unique.py",)
_NUMBERS = ("tests/integration/integrity/test_sequence.py",)
_SQL = ("tests/integration/integrity/test_sql_check.py",)
_BAD = ("tests/integration/integrity/test_bad_rows.py",)
_PLAN = ("tests/unit/integrity/test_plan.py",)
_DIALECTS = ("tests/unit/integrity/test_dialects.py",)
_GATEWAY = ("tests/integration/flink/test_query.py",)
_COVER = ("tests/unit/integrity/test_coverage.py",)
_OFFSETS = ("tests/unit/integrity/test_offset_rows.py",)
_KAFKA = ("tests/integration/integrity/test_kafka_offsets.py",)
_FILES = ("tests/integration/integrity/test_several_files.py",)
_PIECES = ("tests/integration/integrity/test_pieces.py",)
_PARALLEL = ("tests/unit/integrity/test_in_parallel.py",)
_CLI = ("tests/integration/cli/test_verify_engine.py",)

ROW_MUTANTS = (
    Mutant("integrity/engines/islands.py", "ORDER BY lo) - 1 AS hole", "ORDER BY lo) AS hole", _ENGINE),
    Mutant("integrity/engines/islands.py", "PARTITION BY {group}, times ORDER", "PARTITION BY {group} ORDER", _ENGINE),
    Mutant("integrity/engines/islands.py", "(times - 1) AS n_doubled", "times AS n_doubled", _ENGINE),
    Mutant("integrity/engines/islands.py", "[:cap]", "[1:cap]", _ENGINE),
    Mutant("integrity/engines/islands.py", "WHEN lo < {end} THEN hi - {end} + 1", "WHEN lo < {end} THEN 1", _ENGINE),
    Mutant("integrity/engines/islands.py", "MAX_VALUE = 2**61", "MAX_VALUE = 2**64", _NUMBERS),
    Mutant("integrity/engines/offsets_sql.py", "item.missing + at_edges", "item.missing", _ENGINE),
    Mutant("integrity/engines/offsets_sql.py", "if partition not in seen:", "if False:", _ENGINE),
    Mutant("integrity/engines/dbapi.py", "            run.cancel()\n", "", _ENGINE),
    Mutant("integrity/engines/dbapi.py", "if run.error is not None:", "if False:", _ENGINE),
    Mutant("integrity/engines/duckdb_files.py", "if manifest.has_added_files() or", "if False and", _ENGINE),
    Mutant("integrity/engines/sql.py", "name.replace(mark, mark * 2)", "name", _DIALECTS),
    Mutant("integrity/plan.py", "size.rows is None or size.rows == rows:", "size.rows is None or True:", _ENGINE),
    Mutant("integrity/plan.py", "    if hidden:\n", "    if False:\n", _PLAN),
    Mutant("integrity/plan.py", "return Plan(size, too_much, engine)", "return plan", _PLAN),
    Mutant("integrity/plan.py", 'return f"snapshot {context', 'return None and f"snapshot {context', _BAD),
    Mutant("integrity/engines/live.py", "item.sequence_number > number", "item.sequence_number >= number", _KEYS),
    Mutant("integrity/engines/live.py", "item.partition is None or item.partition == _partition(file)", "True", _KEYS),
    Mutant("integrity/engines/live.py", "is_live[gone.to_numpy()] = False", "pass", _KEYS),
    Mutant("integrity/engines/live.py", "positions.for_data_file(number, file, file.partition)", "set()", _KEYS),
    Mutant("integrity/engines/keys.py", "if self._size > self._max_bytes:", "if False:", _KEYS),
    Mutant("integrity/engines/keys.py", "self._without_key += found.without_key", "pass", _KEYS),
    Mutant("integrity/engines/keys.py", "is_null = 0 THEN times - 1", "is_null = 0 THEN times", _KEYS),
    Mutant("integrity/runners/key_unique.py", "if counts.doubled:", "if False:", _KEYS),
    Mutant("integrity/engines/sequences.py", "codes * len(values) +", "codes +", _NUMBERS),
    Mutant("integrity/engines/keys.py", "_TIMES: pa.array(times + 1)", "_TIMES: pa.array(times)", _FILES),
    Mutant("integrity/engines/live.py", "return unknown", "return 0", _FILES),
    Mutant("integrity/engines/live.py", "count * (_COPIES * self._bytes + beside)", "count", _FILES),
    Mutant("integrity/engines/live.py", "row.memory_of(file, beside, allowed)", "0", _FILES),
    Mutant("integrity/engines/sequences.py", "found.coverage.renumber(", "len(", _NUMBERS),
    Mutant("integrity/engines/sequences.py", "coverage.renumber(ranks)", "pass", _NUMBERS),
    Mutant("integrity/runners/sql.py", "engine.source(pinned, ()).join(around)", "'orders'.join(around)", _SQL),
    Mutant("integrity/runners/sql.py", "    if is_value and _number(value) is not None:", "    if False:", _SQL),
    Mutant("flink/script.py", "if writing := sorted(_WRITES.intersection(words)):", "if writing := []:", _SQL),
    Mutant("integrity/engines/segments.py", ">= _OFFSETS - 1 or", ">= _OFFSETS or", _COVER),
    Mutant("integrity/engines/segments.py", "- part >= _PARTITIONS", "- part > _PARTITIONS", _COVER),
    Mutant("integrity/engines/segments.py", "np.argsort(rows % lag, kind=\"stable\")", "np.arange(len(rows))", _COVER),
    Mutant("integrity/engines/segments.py", "broken |= partitions[lag:] !=", "partitions[lag:] !=", _COVER),
    Mutant("integrity/engines/segments.py", "(runs.end > runs.start) & ", "", _OFFSETS),
    Mutant("integrity/engines/segments.py", "runs.end - 1 <= most", "runs.end - 2 <= most", _OFFSETS),
    Mutant("integrity/engines/segments.py", "is_inside & (runs.partition >= 0)", "is_inside", _OFFSETS),
    Mutant("integrity/engines/coverage.py", "self._collect(other._merged)", "pass", _PIECES),
    Mutant("integrity/engines/coverage.py", "        other._compact()\n", "", _PIECES),
    Mutant("integrity/engines/pieces.py", "// rows == self.number", "// rows == min(self.number, 1)", _PIECES),
    Mutant("integrity/engines/pieces.py", "row += metadata.row_group(number).num_rows", "row += 1", _PIECES),
    Mutant("integrity/engines/arrow.py", "if piece.is_last:\n            self", "if True:\n            self", _PIECES),
    Mutant("integrity/engines/arrow.py", "self._file_problem = 0, None", "_ = 0, None", _PIECES),
    Mutant("integrity/engines/arrow.py", "self._file_problem or next(", "next(", _PIECES),
    Mutant("integrity/engines/arrow.py", "self.invalid += found.invalid\n", "pass\n", _KAFKA),
    Mutant("integrity/suite.py", "max(memory_mb // 4, 1)", "512", _PIECES),
    Mutant("integrity/engines/in_parallel.py", "taken + price > allowed", "False", _PARALLEL),
    Mutant("integrity/engines/in_parallel.py", "asked.popleft()", "asked.pop()", _PARALLEL),
    Mutant("integrity/engines/columns.py", "if snapshot is None:\n        raise", "if False:\n        raise", _BAD),
    Mutant("flink/gateway.py", "not until_end and (job_id is not None", "(job_id is not None", _GATEWAY),
    Mutant("flink/gateway.py", "            self._close_operation(operation)\n", "            pass\n", _GATEWAY),
    Mutant("cli/verify_engine.py", "chosen = tier if tier and", "chosen = own.tier if tier and", _CLI),
)  # fmt: skip
