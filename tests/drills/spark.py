"""Spark with Iceberg's runtime, from PyPI and Maven, as a DB-API connection over a process of its own.

A Thrift server would need one more driver; what the package sees is the same, a connection with cursors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playground import registries
from playground.disk import MEGABYTE
from playground.downloads import Bundle, Cache
from playground.tools import find_java
from playground.versions import Artifact

PYSPARK = "3.5.9"
_JARS = [
    Artifact("org.apache.iceberg", "iceberg-spark-runtime-3.5_2.12", "1.11.0"),
    Artifact("org.xerial", "sqlite-jdbc", "3.50.3.0"),
]

SERVER = """
import json, sys
from pyspark.sql import SparkSession

settings = json.loads(sys.argv[1])
builder = SparkSession.builder.master("local[1]")
for key, value in settings.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
out = sys.stdout
print("ready", file=out, flush=True)
for line in sys.stdin:
    try:
        rows = [list(row) for row in spark.sql(json.loads(line)).collect()]
        answer = {"rows": rows}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"}
    print(json.dumps(answer, default=str), file=out, flush=True)
spark.stop()
"""


class SparkError(Exception):
    """What Spark said."""


class SparkProcess:
    """One Spark; ``connect`` is what an engine is given."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def connect(self) -> SparkCursor:
        return SparkCursor(self)

    def run(self, statement: str) -> list[list[Any]]:
        assert self._process.stdin is not None
        print(json.dumps(statement), file=self._process.stdin, flush=True)
        answer = json.loads(self.line())
        if "error" in answer:
            raise SparkError(answer["error"])
        return list(answer["rows"])

    def line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SparkError("Spark has ended")
        return line


class SparkCursor:
    """Connection and cursor in one, as much of DB-API as is asked for."""

    def __init__(self, spark: SparkProcess) -> None:
        self._spark = spark
        self._rows: list[list[Any]] = []

    def cursor(self) -> SparkCursor:
        return self

    def execute(self, statement: str) -> None:
        self._rows = self._spark.run(statement)

    def fetchmany(self, size: int) -> list[list[Any]]:
        page, self._rows = self._rows[:size], self._rows[size:]
        return page


@contextmanager
def spark_process(database: Path, warehouse: Path, log: Path) -> Iterator[SparkProcess]:
    """Spark whose catalog ``lake`` is the SQLite file; ended with the block."""
    libraries, jars = Cache().ensure(
        Bundle(f"pyspark-{PYSPARK}", 1500 * MEGABYTE, _install),
        Bundle(f"spark-{_JARS[0].name}-{_JARS[0].version}", 300 * MEGABYTE, registries._maven_jars(_JARS)),
    )
    catalog = "spark.sql.catalog.lake"
    settings = {
        "spark.jars": ",".join(str(jar) for jar in sorted(jars.glob("*.jar"))),
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
        f"{catalog}.uri": f"jdbc:sqlite:{database}",
        f"{catalog}.warehouse": f"file://{warehouse}",
        f"{catalog}.jdbc.schema-version": "V1",
        f"{catalog}.cache-enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
    }
    environment = {
        **os.environ,
        "PYTHONPATH": str(libraries),
        "JAVA_HOME": str(find_java().java.resolve().parent.parent),
        "SPARK_LOCAL_DIRS": str(log.parent),
    }
    command = [sys.executable, "-c", SERVER, json.dumps(settings)]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        spark = SparkProcess(process)
        try:
            assert spark.line() == "ready\n", log.read_text()
            yield spark
        finally:
            assert process.stdin is not None
            process.stdin.close()  # the end of its input ends it, and its JVM with it
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _install(target: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    tool = (
        [str(uv), "pip", "install", "--python", sys.executable]
        if uv.exists()
        else [sys.executable, "-m", "pip", "install"]
    )
    subprocess.run(
        [*tool, "--quiet", "--target", str(target), f"pyspark=={PYSPARK}"], check=True, timeout=1800
    )
