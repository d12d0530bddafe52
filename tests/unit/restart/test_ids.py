"""Ids that collide when they should and never else; the pin's name."""

from __future__ import annotations

import re

from airflow_flink_iceberg.restart import ids
from airflow_flink_iceberg.restart.pin import tag_name
from tests.support.guard_worlds import run_id

A, B = run_id("a"), run_id("b")


def test_every_part_of_a_trigger_id_makes_another_one() -> None:
    same = ("nonce", A, "stop", 0, 1)
    others = [("other", A, "stop", 0, 1), ("nonce", B, "stop", 0, 1), ("nonce", A, "savepoint", 0, 1)]
    others += [("nonce", A, "stop", 1, 1), ("nonce", A, "stop", 0, 2), ("nonce", A, "stop", 0, 11)]
    made = {ids.trigger_id(*parts) for parts in [same, *others]}
    assert len(made) == 7
    assert ids.trigger_id(*same) == ids.trigger_id(*same)
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in made)


def test_two_rivals_choose_the_same_id_for_the_same_state() -> None:
    assert ids.start_id(A, 5, 1) == ids.start_id(A, 5, 1)
    made = {ids.start_id(A, 5, 1), ids.start_id(A, 5, 2), ids.start_id(A, 51, 1), ids.start_id(B, 5, 1)}
    made |= {
        ids.first_start_id("nonce", 0, 1),
        ids.first_start_id("nonce", 1, 1),
        ids.first_start_id("n", 0, 1),
    }
    assert len(made) == 7
    # Parts are set apart, so that none flows into the next.
    assert ids.first_start_id("n", 11, 1) != ids.first_start_id("n", 1, 11)


def test_a_pins_name_is_stable_and_allowed_as_a_reference() -> None:
    assert tag_name("orders", A, 1_700_000_000_123) == "restore-point.orders.20231114T221320Z.aaaaaaaa"
    strange = tag_name("Bestellungen / täglich" + "x" * 200, A, 0)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", strange)
    assert tag_name("///", A, 0).startswith("restore-point.job.")
