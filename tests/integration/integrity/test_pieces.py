"""Rows read in pieces, several at a time: the answer is a naive count's, whatever the files look like inside."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.types import LongType

from airflow_flink_iceberg.checks import kafka_offsets
from airflow_flink_iceberg.integrity.engines import arrow, coverage, pieces
from airflow_flink_iceberg.integrity.engines.arrow import OffsetRows, read_offsets
from airflow_flink_iceberg.integrity.engines.coverage import TooManyRanges
from airflow_flink_iceberg.integrity.suite import run_checks
from airflow_flink_iceberg.model import Outcome
from tests.integration.integrity.lake import SCHEMA, Lake

GROUP = 16
PIECE = 40
"""Rows of a row group and of a piece: a group belongs to one piece, though their edges do not meet."""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A table whose files have many row groups, and a reader of many small pieces."""
    monkeypatch.setattr(pieces, "PIECE_ROWS", PIECE)
    monkeypatch.setattr(pieces, "BATCH_ROWS", 7)
    return Lake(tmp_path, properties={"write.parquet.row-group-limit": str(GROUP)})


def table(rows: list[tuple[int, int]]) -> pa.Table:
    columns = {"order_id": range(len(rows)), "kpart": [p for p, _ in rows], "koff": [o for _, o in rows]}
    return pa.table(columns, schema=SCHEMA)


def read(lake: Lake, **given: Any) -> OffsetRows:
    return read_offsets(lake.access.load(), lake.head(), "kpart", "koff", **given)


def damaged(seed: int) -> Iterator[list[tuple[int, int]]]:
    """Files of one stream, in runs or in turns, some rows lost and some there again, in the same file or another."""
    random = np.random.default_rng(seed)
    partitions, run = int(random.integers(1, 6)), int(random.choice([1, 5, 50]))
    stream = [
        (place // run % partitions, place // run // partitions * run + place % run) for place in range(1500)
    ]
    replay: list[tuple[int, int]] = []
    for start in range(0, 1500, 250):
        rows = [row for row in stream[start : start + 250] if random.random() > 0.01] + replay
        again = random.integers(0, len(rows), 3)
        replay = [rows[int(place)] for place in random.integers(0, len(rows), 4)]
        yield rows + [rows[int(place)] for place in again]


def truth(rows: list[tuple[int, int]]) -> tuple[set[tuple[int, int]], dict[tuple[int, int], int]]:
    """Missing records, and how often those occur that occur more than once."""
    times = Counter(rows)
    tops = {part: max(offset for owner, offset in times if owner == part) for part, _ in times}
    missing = {(part, offset) for part, top in tops.items() for offset in range(top)} - set(times)
    return missing, {row: count for row, count in times.items() if count > 1}


def found(rows: OffsetRows) -> tuple[set[tuple[int, int]], dict[tuple[int, int], int]]:
    summary = rows.coverage.summary(first_offset=0, cap=10_000)
    missing = {(gap.partition, at) for gap in summary.gaps for at in range(gap.first, gap.last + 1)}
    doubled = {
        (each.partition, at): each.times
        for each in summary.duplicates
        for at in range(each.first, each.last + 1)
    }
    return missing, doubled


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("seed", range(8))
def test_damage_in_many_files_and_row_groups_is_counted_exactly(
    small: Lake, seed: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow, "threads_for", lambda _: threads)
    monkeypatch.setattr(coverage, "_COMPACT_AT", 8)
    everything: list[tuple[int, int]] = []
    for number, rows in enumerate(damaged(seed)):
        small.commit(f"A:{number + 1}", table(rows))
        everything += rows
    answer = read(small)
    assert found(answer) == truth(everything)
    assert (answer.rows, answer.files, answer.problem_files) == (len(everything), 6, 0)


@pytest.mark.parametrize("rows", [1, 39, 40, 41, 79, 200])
def test_every_row_group_is_in_one_piece(small: Lake, rows: int) -> None:
    small.commit("A:1", table([(0, offset) for offset in range(rows)]))
    answer = read(small)
    assert (answer.rows, found(answer), answer.problem_files) == (rows, (set(), {}), 0)


def test_pieces_of_one_large_file_are_read_at_the_same_time(
    small: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.commit("A:1", table([(0, offset) for offset in range(200)]))
    monkeypatch.setattr(arrow, "threads_for", lambda _: 2)  # on one core, too
    two = threading.Barrier(2, timeout=10)
    begin = pieces.direct_batches

    def both(io: Any, piece: pieces.Piece, columns: Any) -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(begin(io, piece, columns) or ()):
            if piece.number < 2 and number == 0:
                two.wait()
            yield batch

    monkeypatch.setattr(arrow, "direct_batches", both)
    assert read(small).rows == 200


@pytest.mark.parametrize(("memory_mb", "most"), [(1, 1), (96, 2)])
def test_what_is_read_at_a_time_stays_within_the_suites_memory(
    small: Lake, monkeypatch: pytest.MonkeyPatch, memory_mb: int, most: int
) -> None:
    small.commit("A:1", table([(0, offset) for offset in range(400)]))
    begin, under_way, at_a_time = pieces.direct_batches, set[int](), list[int]()

    def counting(io: Any, piece: pieces.Piece, columns: Any) -> Iterator[pa.RecordBatch]:
        under_way.add(piece.number)
        yield from begin(io, piece, columns) or ()
        at_a_time.append(len(under_way))
        under_way.remove(piece.number)

    monkeypatch.setattr(arrow, "direct_batches", counting)
    check = kafka_offsets("kpart", "koff", offsets="dense")
    report = run_checks([check], small.context(), memory_mb=memory_mb)
    assert report.results[0].outcome is Outcome.PASS
    assert len(at_a_time) == 10
    assert max(at_a_time) <= most


def test_little_memory_changes_no_answer(small: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "AT_ONCE", 1)  # nothing fits: column chunks are streamed
    rows = [(0, offset) for offset in range(300) if offset != 77] + [(0, 5)]
    small.commit("A:1", table(rows))
    assert found(read(small, memory_mb=1)) == truth(rows)


def test_a_file_that_breaks_in_the_middle_is_one_problem_and_hides_no_other(small: Lake) -> None:
    small.commit("A:1", table([(1, offset) for offset in [*range(100), 7]]))
    small.commit("A:2", table([(0, offset) for offset in range(200)]))
    small.commit("A:3", table([(2, offset) for offset in range(50)]))
    broken = next(path for path in small.data_files() if pq.read_table(path)["kpart"][0].as_py() == 0)
    chunk = pq.read_metadata(broken).row_group(6).column(2)
    data = bytearray(broken.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    broken.write_bytes(bytes(data))
    answer = read(small)
    assert (answer.files, answer.problem_files) == (3, 1)
    assert answer.problems[0].path == f"file://{broken}"
    assert "the manifest says" not in answer.problems[0].reason  # the cause, not that rows are missing then
    assert found(answer)[1] == {(1, 7): 2}


def test_a_missing_file_of_several_pieces_is_one_problem(small: Lake) -> None:
    small.commit("A:1", table([(0, offset) for offset in range(200)]))
    small.data_files()[0].unlink()
    answer = read(small)
    assert (answer.files, answer.problem_files, answer.rows) == (1, 1, 0)
    assert answer.has_damage


def test_a_row_group_that_lost_rows_is_a_problem_of_the_file(small: Lake) -> None:
    small.commit("A:1", table([(0, offset) for offset in range(200)]))
    file = small.data_files()[0]
    pq.write_table(pq.read_table(file).slice(0, 199), file, row_group_size=GROUP)
    answer = read(small)
    assert [problem.reason for problem in answer.problems] == ["has 199 rows where the manifest says 200"]


def test_columns_that_changed_names_with_each_other_are_not_mixed_up(small: Lake) -> None:
    small.commit("A:1", table([(0, offset) for offset in range(100)]))
    for old, new in (("kpart", "between"), ("order_id", "kpart"), ("between", "order_id")):
        with small.table.update_schema() as update:
            update.rename_column(old, new)
        small.table.refresh()
    small.commit("A:2", pa.table({"kpart": pa.array([0]), "order_id": pa.array([0], pa.int32())}))
    rows = read_offsets(small.access.load(), small.head(), "order_id", "kpart")
    # What is called kpart now are the numbers 0 to 99 of what was order_id, and one more 0.
    assert found(rows) == (set(), {(0, 0): 2})


def test_files_without_ids_are_read_by_the_name_mapping(small: Lake, tmp_path: Path) -> None:
    rows = [(0, offset) for offset in range(200) if offset != 9]
    path = tmp_path / "foreign.parquet"
    pq.write_table(table(rows), path, row_group_size=GROUP)
    small.table.add_files([f"file://{path}"])
    assert found(read(small)) == truth(rows)
    with small.table.update_schema() as update:
        update.rename_column("koff", "position")
    small.table.refresh()
    small.commit("A:2", table([(0, 200)]).rename_columns(["order_id", "kpart", "position"]))
    renamed = read_offsets(small.access.load(), small.head(), "kpart", "position")
    assert found(renamed) == truth([*rows, (0, 200)])


def test_an_int_that_became_a_long_is_read_in_old_and_new_files(tmp_path: Path) -> None:
    narrow = pa.schema([pa.field("kpart", pa.int32()), pa.field("koff", pa.int32())])
    lake = Lake(tmp_path, narrow)
    lake.commit("A:1", pa.table({"kpart": [0, 0], "koff": [0, 1]}, schema=narrow))
    with lake.table.update_schema() as update:
        update.update_column("koff", LongType())
    lake.table.refresh()
    wide = pa.schema([pa.field("kpart", pa.int32()), pa.field("koff", pa.int64())])
    lake.commit("A:2", pa.table({"kpart": [0, 0], "koff": [3, 2**40]}, schema=wide))
    rows = read(lake)
    assert (rows.rows, rows.problem_files) == (4, 0)
    assert [(gap.first, gap.last) for gap in rows.coverage.summary().gaps] == [(2, 2), (4, 2**40 - 1)]


def test_deleted_rows_of_a_file_with_many_row_groups_do_not_count(small: Lake) -> None:
    small.commit("A:1", table([(0, offset) for offset in [*range(200), *range(50, 60)]]))
    small.table.refresh()
    small.table.delete("order_id >= 200")
    assert found(read(small)) == (set(), {})


def test_offsets_that_are_too_sparse_end_the_reading(small: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "MAX_RANGES", 50)
    monkeypatch.setattr(coverage, "_COMPACT_AT", 8)
    small.commit("A:1", table([(0, offset) for offset in range(0, 2000, 2)]))
    with pytest.raises(TooManyRanges, match="more than 50 separate ranges"):
        read(small)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reading")]
