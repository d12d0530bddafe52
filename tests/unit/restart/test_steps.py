"""The record as a fence: whoever cannot write it has been replaced and touches nothing more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_flink_iceberg.model.errors import InvalidValue, Superseded
from airflow_flink_iceberg.restart.steps import JsonFileStore, MemoryStore, Step, Steps


def test_a_zombie_loses_at_its_next_write(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "steps.json"
    zombie = Steps(JsonFileStore(path))
    zombie.write({Step.STOP: {"intent": {"job_id": "a"}}})
    heir = Steps(JsonFileStore(path))
    with pytest.raises(Superseded, match="newer run"):
        zombie.write({Step.STOP: {"outcome": {}}})
    with pytest.raises(Superseded):
        zombie.touch()
    assert heir.intent(Step.STOP) == {"job_id": "a"}
    assert heir.outcome(Step.STOP) is None
    heir.touch()
    assert Steps(JsonFileStore(path)).intent(Step.STOP) == {"job_id": "a"}


@pytest.mark.parametrize("method", ["delete", "clear"])
def test_a_zombie_forgets_nothing_either(tmp_path: Path, method: str) -> None:
    path = tmp_path / "steps.json"
    zombie = JsonFileStore(path)
    heir = JsonFileStore(path)
    heir.set("key", 1)
    with pytest.raises(Superseded):
        getattr(zombie, method)(*["key"] * (method == "delete"))
    assert heir.get("key") == 1
    getattr(heir, method)(*["key"] * (method == "delete"))
    assert heir.get("key") is None


@pytest.mark.parametrize("text", ["[]", "5", '{"values": 5}', '{"va', "\x00"])
def test_a_file_that_is_no_record_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "steps.json"
    path.write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011 - what it says is Python's own
        JsonFileStore(path)
    assert path.read_text() == text


def test_a_full_disk_fences_and_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "steps.json"
    store = JsonFileStore(path)
    steps = Steps(store)
    steps.write({Step.STOP: {"intent": {"n": 1}}})
    path.with_suffix(".json.new").mkdir()  # the temporary file cannot be opened, as on a full disk
    with pytest.raises(Superseded, match="IsADirectoryError"):
        steps.write({Step.STOP: {"intent": {"n": 2}}})
    assert steps.intent(Step.STOP) == {"n": 1}
    assert json.loads(path.read_text())["values"]["flink_iceberg"]["steps"]["stop"]["intent"] == {"n": 1}


class Refusing(MemoryStore):
    def set(self, key, value) -> None:
        raise ConnectionError("https://ada:secret@db")


def test_any_failure_of_a_store_is_a_fence_and_shows_no_secret() -> None:
    steps = Steps(Refusing())
    with pytest.raises(Superseded) as caught:
        steps.write({Step.START: {"intent": {}}})
    assert "secret" not in str(caught.value)
    assert steps.intent(Step.START) is None
    assert steps.writes == 1


def test_steps_are_merged_and_share_one_write() -> None:
    store = MemoryStore()
    steps = Steps(store)
    steps.write({Step.STOP: {"intent": {"a": 1}}})
    steps.write({Step.STOP: {"outcome": {"b": 2}}, Step.START: {"intent": {"c": 3}}})
    again = Steps(store)
    assert (again.intent(Step.STOP), again.outcome(Step.STOP), again.intent(Step.START)) == (
        {"a": 1}, {"b": 2}, {"c": 3},
    )  # fmt: skip
    assert (steps.writes, len(store)) == (2, 1)
    again.drop(Step.STOP, "outcome")
    assert (again.outcome(Step.STOP), again.intent(Step.STOP)) == (None, {"a": 1})
    assert Steps(store).outcome(Step.STOP) == {"b": 2}  # not yet written
    again.touch()
    assert Steps(store).outcome(Step.STOP) is None


def test_a_retry_keeps_the_epoch_and_a_clear_changes_it() -> None:
    store = MemoryStore()
    first = Steps(store, epoch=2)
    assert (first.is_new_request, first.recorded_epoch) == (False, None)
    first.touch()
    assert not Steps(store, epoch=2).is_new_request
    cleared = Steps(store, epoch=3)
    assert cleared.is_new_request
    assert cleared.nonce == first.nonce
    cleared.forget()
    assert not cleared.is_new_request
    cleared.touch()
    assert Steps(store, epoch=3).nonce == first.nonce
    assert Steps(store, epoch=2).is_new_request  # also when the number falls


def test_a_record_of_another_version_is_not_guessed_at() -> None:
    for strange in ({"format": 2}, "text", [1]):
        with pytest.raises(InvalidValue, match="format 1"):
            Steps(MemoryStore(flink_iceberg=strange))
