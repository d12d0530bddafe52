"""How the parts are fetched: Flink from PyPI with pip, everything else with Maven.

No address is known here: pip and Maven use what the user or the machine has configured.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

from playground.disk import MEGABYTE
from playground.downloads import Bundle
from playground.errors import FetchError, MissingToolError
from playground.processes import bound
from playground.tools import find_maven
from playground.versions import KAFKA, Artifact, Versions, kafka_broker

_FETCH_TIMEOUT = 1800.0

_POM = """<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>playground</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>{dependencies}</dependencies>
</project>
"""
_ALONE = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"


def bundles(versions: Versions) -> tuple[Bundle, Bundle, Bundle]:
    """Flink, its connectors, and Kafka."""
    connectors = versions.connectors()
    return (
        Bundle(f"flink-{versions.flink}", 1500 * MEGABYTE, _flink_libraries(versions.flink)),
        Bundle(
            f"connectors-{versions.flink}-{_fingerprint(connectors)}", 400 * MEGABYTE, _maven_jars(connectors)
        ),
        Bundle(f"kafka-{KAFKA}-{_fingerprint(kafka_broker())}", 200 * MEGABYTE, _maven_jars(kafka_broker())),
    )


def _fingerprint(artifacts: Sequence[Artifact]) -> str:
    """Changed pins get a directory of their own instead of a mixture."""
    return hashlib.sha256("\n".join(map(str, artifacts)).encode()).hexdigest()[:8]


def _flink_libraries(version: str) -> Callable[[Path], None]:
    """The jars of Flink's `lib` directory: they come in the Python package, `flink-dist` is not in Maven."""

    def fetch(target: Path) -> None:
        scratch = _scratch_beside(target)
        requirement = f"apache-flink-libraries=={version}"
        # pip unpacks the source archive to ask it for its metadata: let that happen on the checked disk.
        quiet = ("--quiet", "--no-deps", "--no-cache-dir", "--disable-pip-version-check")
        command = [*_pip(), "download", *quiet, "--dest", str(scratch / "dest"), requirement]
        _run(command, what=requirement, cwd=scratch)
        for archive in (scratch / "dest").iterdir():
            _extract_lib(archive, target)
        shutil.rmtree(scratch)

    return fetch


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise MissingToolError(
            f"{sys.executable} has neither pip nor uv, one of which fetches Flink: install one of them into it."
        )
    return [uv, "tool", "run", "--quiet", "pip"]  # environments made by uv have no pip


def _extract_lib(archive: Path, target: Path) -> None:
    """Copy `.../lib/*.jar` of a source archive (`deps/lib`) or a wheel (`pyflink/lib`) into `target`."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in filter(_is_lib_jar, wheel.namelist()):
                with wheel.open(name) as source, (target / PurePosixPath(name).name).open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
        return
    with tarfile.open(archive) as sdist:
        for member in sdist:
            if _is_lib_jar(member.name) and (content := sdist.extractfile(member)):
                with content, (target / PurePosixPath(member.name).name).open("wb") as copy:
                    shutil.copyfileobj(content, copy, 1 << 20)


def _is_lib_jar(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix == ".jar" and path.parts[-3:-1] in (("deps", "lib"), ("pyflink", "lib"))


def _maven_jars(artifacts: Sequence[Artifact]) -> Callable[[Path], None]:
    """The jars of the artifacts, from a Maven repository of this fetch alone.

    A private one, because a jar that was truncated in the user's own repository would be copied as it is.
    """

    def fetch(target: Path) -> None:
        scratch = _scratch_beside(target)
        (scratch / "pom.xml").write_text(_POM.format(dependencies="".join(map(_dependency, artifacts))))
        repository = f"-Dmaven.repo.local={scratch / 'repository'}"
        goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}")
        command = [str(find_maven()), "-q", "-B", "--strict-checksums", repository, *goal]
        _run(command, what=", ".join(map(str, artifacts)), cwd=scratch)
        shutil.rmtree(scratch)

    return fetch


def _dependency(artifact: Artifact) -> str:
    return (
        f"<dependency><groupId>{escape(artifact.group)}</groupId><artifactId>{escape(artifact.name)}</artifactId>"
        f"<version>{escape(artifact.version)}</version>{'' if artifact.transitive else _ALONE}</dependency>"
    )


def _scratch_beside(target: Path) -> Path:
    scratch = target.with_name(target.name + ".scratch")
    (scratch / "tmp").mkdir(parents=True)
    return scratch


def _run(command: list[str], *, what: str, cwd: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(cwd / "tmp")}
    answer = subprocess.run(
        bound(command),
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_FETCH_TIMEOUT,
        check=False,
    )
    if answer.returncode:
        last = "\n".join(answer.stdout.strip().splitlines()[-8:])
        raise FetchError(
            f"{Path(command[0]).name} could not fetch {what}: check the network and the registry's settings, "
            f"then run again. Its last lines:\n{last}"
        )
