"""What pip and Maven deliver is unpacked; what they complain about is passed on."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from playground import registries
from playground.errors import FetchError
from playground.versions import DEFAULT, KNOWN, Versions


def sdist(path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in ("lib/flink-dist.jar", "opt/flink-python.jar", "lib/README", "plugins/x/y.jar"):
            member = tarfile.TarInfo(f"apache-flink-libraries-2.1.3/deps/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return path


def wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("pyflink/lib/flink-dist.jar", "pyflink/opt/flink-python.jar", "pyflink/lib/sub/z.jar"):
            archive.writestr(name, "lib/flink-dist.jar")
    return path


@pytest.mark.parametrize(("build", "name"), [(sdist, "flink.tar.gz"), (wheel, "flink.whl")])
def test_only_flinks_lib_is_kept(build: object, name: str, tmp_path: Path) -> None:
    assert callable(build)
    target = tmp_path / "target"
    target.mkdir()
    registries._extract_lib(build(tmp_path / name), target)
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "flink-dist.jar": "lib/flink-dist.jar"
    }


def fake_maven(folder: Path, script: str) -> None:
    folder.mkdir()
    program = folder / "mvn"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_failing_maven_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_maven(tmp_path / "bin", "echo '[ERROR] Could not find artifact x:y:1'; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    target = tmp_path / "cache" / "connectors"
    target.mkdir(parents=True)
    _, connectors, _ = registries.bundles(DEFAULT)
    with pytest.raises(FetchError) as caught:
        connectors.fetch(target)
    sentence, *rest = str(caught.value).splitlines()
    assert sentence.startswith("mvn could not fetch org.apache.iceberg:iceberg-flink-runtime-2.1:1.11.0, ")
    assert "check the network and the registry's settings, then run again" in sentence
    assert rest == ["[ERROR] Could not find artifact x:y:1"]


def test_maven_gets_each_artifact_and_a_repository_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_maven(tmp_path / "bin", f'cat pom.xml > {tmp_path}/pom; echo "$@" > {tmp_path}/arguments')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    target = tmp_path / "cache" / "kafka"
    target.mkdir(parents=True)
    _, _, kafka = registries.bundles(DEFAULT)
    kafka.fetch(target)
    pom, arguments = (tmp_path / "pom").read_text(), (tmp_path / "arguments").read_text()
    broker, logger = pom.split("</dependency>")[:2]
    assert "kafka_2.13" in broker
    assert "<exclusion>" not in broker, "the broker needs its dependencies"
    assert "slf4j-simple" in logger
    assert "<exclusion>" in logger
    assert "--strict-checksums" in arguments
    assert f"-Dmaven.repo.local={tmp_path / 'cache'}/" in arguments
    assert f"-DoutputDirectory={target}" in arguments
    assert [path.name for path in target.parent.iterdir()] == ["kafka"], "scratch is removed"


@pytest.mark.parametrize("versions", KNOWN.values(), ids=lambda versions: versions.flink)
def test_bundles_of_two_versions_never_mix(versions: Versions) -> None:
    flink, connectors, _ = registries.bundles(versions)
    others = {
        bundle.name
        for other in KNOWN.values()
        if other != versions
        for bundle in registries.bundles(other)[:2]
    }
    assert not {flink.name, connectors.name} & others
