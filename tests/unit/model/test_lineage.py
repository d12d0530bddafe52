"""Runs that belong together, whichever of them is asked, and contradicting or circular records."""

from __future__ import annotations

from airflow_flink_iceberg.model.lineage import Lineage
from tests.support.guard_worlds import links, run_id

A, B, C = (run_id(letter) for letter in "abc")


def test_a_tree_holds_ancestors_siblings_and_their_descendants() -> None:
    lineage = links("b<a:4 c<a:4 d<c:9 f<e:1")
    for member in "abcd":
        assert lineage.tree(run_id(member)) == {run_id(each) for each in "abcd"}
    assert lineage.tree(run_id("e")) == {run_id("e"), run_id("f")}
    assert Lineage().tree(A) == {A}


def test_the_first_link_of_a_run_stays_and_a_cycle_ends() -> None:
    lineage = links("b<a:4").with_links(links("b<c:9").links)
    assert (lineage.parent(B).parent_job_id, lineage.parent(B).checkpoint_id) == (A, 4)  # type: ignore[union-attr]
    assert lineage.parent(A) is None
    assert links("a<b:1 b<a:1").tree(A) == {A, B}


def test_a_lineage_knows_how_much_of_each_ancestor_a_state_contains() -> None:
    lineage = links("c<b:9 b<a:4 c<f:1")
    assert lineage.contained(C) == {B: 9, A: 4}
    assert lineage.contained(A) == {}
    assert [link.job_id for link in lineage.children(A)] == [B]
    assert links("a<b:1 b<a:1").contained(A) == {B: 1}


def test_members_belong_to_every_tree_and_stay_when_links_come() -> None:
    lineage = Lineage(members=frozenset({A})).with_links(links("b<a:4").links)
    assert lineage.tree(C) == {A, B, C}
    assert A in lineage
    assert C not in lineage
    assert lineage
    assert not Lineage()


def test_what_descends_from_a_state_or_a_later_one() -> None:
    lineage = links("b<a:4 c<b:1 d<a:3 a<c:1")
    assert lineage.after(A, 4) == {B, C}
    assert lineage.after(A, 3) == {B, C, run_id("d")}
    assert lineage.after(A, 5) == frozenset()
