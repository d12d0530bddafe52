"""The example job as a jar: built here, from our own classes only, once for each source and set of libraries."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from playground import registries
from playground.catalog import Catalog
from playground.downloads import Cache
from playground.errors import PlaygroundError
from playground.sql import TABLE, UID_SUFFIX, Sink, Source
from playground.tools import find_java
from playground.versions import FLINK_2_1, Versions

ENTRY_CLASS = "OrdersJob"
_SOURCE = Path(__file__).with_name("jobs") / f"{ENTRY_CLASS}.java"
_COMPILE_TIMEOUT = 300.0
_MANIFEST = f"Manifest-Version: 1.0\r\nMain-Class: {ENTRY_CLASS}\r\n\r\n"


def orders_jar(versions: Versions, *, cache: Cache | None = None) -> Path:
    """The jar of `jobs/OrdersJob.java` for these versions.

    Kept in the cache under a name that changes with the source and the libraries; written in one step, so a kill
    leaves no half jar. Raises `MissingToolError` without a compiler, `PlaygroundError` with its output if it fails.
    """
    cache = cache or Cache()
    source = _source_for(versions)
    needed = registries.bundles(versions)[:2]
    key = hashlib.sha256("\n".join([source, *(bundle.name for bundle in needed)]).encode()).hexdigest()[:12]
    jar = cache.root / "jobs" / f"orders-job-{versions.flink}-{key}.jar"
    if not zipfile.is_zipfile(jar):
        _build(source, cache.ensure(*needed), jar)
    return jar


def orders_args(
    catalog: Catalog,
    source: Source,
    *,
    sink: Sink = "v2",
    table: str = TABLE,
    uid: str = UID_SUFFIX,
    job_name: str = "orders",
    parallelism: int = 1,
) -> list[str]:
    """The program arguments of the job, the same subject as `sql.orders_script`."""
    options = {
        "bootstrap": source.bootstrap,
        "topic": source.topic,
        "group": job_name,
        "table": table,
        "sink": sink,
        "uid": uid,
        "name": job_name,
        "parallelism": str(parallelism),
        "catalog": catalog.name,
        **{f"catalog.{key}": value for key, value in catalog.java_properties.items()},
    }
    return [f"{key}={value}" for key, value in options.items()]


def _source_for(versions: Versions) -> str:
    """The fat Kafka connector shades the record class, the thin one does not: only the import differs."""
    return _SOURCE.read_text().replace(FLINK_2_1.kafka_record_class, versions.kafka_record_class)


def _build(source: str, libraries: Sequence[Path], jar: Path) -> None:
    jar.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jar.parent) as folder:
        classes = Path(folder, "classes")
        classes.mkdir()
        code = Path(folder, _SOURCE.name)
        code.write_text(source)
        class_path = ":".join(f"{library}/*" for library in libraries)
        command = [str(find_java().javac()), "-nowarn", "-cp", class_path, "-d", str(classes), str(code)]
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT, check=False
        )
        if answer.returncode:
            raise PlaygroundError(f"{_SOURCE.name} does not compile: {answer.stderr[-3000:]}")
        built = Path(folder, jar.name)
        with zipfile.ZipFile(built, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("META-INF/MANIFEST.MF", _MANIFEST)
            for compiled in sorted(classes.rglob("*.class")):
                archive.write(compiled, compiled.relative_to(classes))
        shutil.move(built, jar)
