"""While a job is down, the garbage collector leaves alone what was there before."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from airflow_flink_iceberg.restart.collector import only_new_collected


class _Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The collector comes when it is called, and finds nothing frozen."""
    gc.disable()
    gc.unfreeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()


def _dropped() -> weakref.ref[_Ring]:
    return weakref.ref(_Ring())


def test_old_garbage_waits_and_new_garbage_goes() -> None:
    old = _dropped()
    with only_new_collected():
        new = _dropped()
        gc.collect()
        assert (old() is None, new() is None) == (False, True)
    gc.collect()
    assert old() is None


def test_nothing_stays_frozen_after_an_error() -> None:
    with pytest.raises(KeyError), only_new_collected():
        raise KeyError
    assert gc.get_freeze_count() == 0


def test_what_somebody_else_has_frozen_stays_so() -> None:
    theirs = _dropped()
    gc.freeze()
    with only_new_collected():
        pass
    gc.collect()
    assert isinstance(theirs(), _Ring)
