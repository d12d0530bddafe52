"""What tells two versions of a job apart, and what does not."""

from __future__ import annotations

from pathlib import Path

from airflow_flink_iceberg.integrity.fingerprint import fingerprint
from airflow_flink_iceberg.model import FlinkJob, JarDeployment, SqlDeployment, TableSink
from airflow_flink_iceberg.model.job import ExternalDeployment
from tests.support.proof_worlds import state

SCRIPT = """CREATE TABLE t (id BIGINT) WITH ('connector' = 'kafka', 'properties.password' = 'one');
SET 'execution.checkpointing.interval' = '1 min';
INSERT INTO shop.orders SELECT * FROM t;"""
UPLOADED = "3f8b2c6e-1111-4222-8333-444455556666_orders.jar"


def of_script(
    script: str, *sinks: TableSink, offsets: tuple[int, ...] = (1,), topic: str = "orders"
) -> str | None:
    job = FlinkJob("orders", deployment=SqlDeployment("job.sql"), sinks=list(sinks))
    return fingerprint(job, script, state("a:1", list(offsets), topic=topic))


def of_jar(jar: str, **arguments: object) -> str | None:
    return fingerprint(FlinkJob("orders", deployment=JarDeployment(jar, **arguments)), None, None)  # type: ignore[arg-type]


def test_a_script_is_told_by_its_statements_and_topics() -> None:
    made_of = of_script(SCRIPT)
    assert made_of == of_script(SCRIPT.replace("'one'", "'two'").replace("INSERT", "-- more\nINSERT"))
    assert made_of == of_script(SCRIPT.replace("1 min", "5 s"))
    assert made_of == of_script(SCRIPT, TableSink("shop.orders"), offsets=(5, 9))
    others = {
        of_script(SCRIPT.replace("FROM t", "FROM t WHERE id > 3")),
        of_script(SCRIPT.replace("BIGINT", "INT")),
        of_script(SCRIPT, topic="refunds"),
    }
    assert len({made_of, *others}) == 4


def test_a_rebuilt_jar_of_the_same_name_is_another_jar(tmp_path: Path) -> None:
    jar = tmp_path / "orders.jar"
    jar.write_bytes(b"first build")
    first = of_jar(str(jar), upload=True)
    assert len(first or "") == 32
    assert of_jar(str(jar), upload=True) == first
    jar.write_bytes(b"second build")
    assert of_jar(str(jar), upload=True) not in (first, None)


def test_an_upload_is_told_by_its_id_and_by_what_it_is_started_with() -> None:
    ids = (UPLOADED, UPLOADED.replace("3f8b2c6e", "00000000"))
    found = [
        of_jar(jar, entry_class=entry, program_args=args)
        for jar in ids
        for entry in ("A", "B")
        for args in ([], ["-x"])
    ]
    assert None not in found
    assert len(set(found)) == 8


def test_what_cannot_be_told_is_not_taken_for_equal(tmp_path: Path) -> None:
    """A bare name may be any build; a file may be gone; who starts the job elsewhere tells nothing of it."""
    assert of_jar("orders.jar") is None
    assert of_jar(str(tmp_path / "gone.jar"), upload=True) is None
    assert fingerprint(FlinkJob("orders", deployment=ExternalDeployment()), SCRIPT, None) is None
    assert of_script("INSERT INTO a SELECT 1; INSERT INTO b SELECT 2;") is None
