"""The genealogy as a pure graph."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.trace.domain.genealogy import Bearer, Branch, Direction, Genealogy, Link, tree_of
from services.trace.domain.recalls import Member, extension_of, fingerprint, progress_of, scope_of
from tests.trace.stories import an_id
from tests.trace.stories import at as hour


def link(consumed: object, produced: object, *, start: float = 0, end: float = 100, n: int = 0, **more: object) -> Link:
    """Without times: one that could have been at any time."""
    return Link(
        report_id=an_id("report", consumed, produced, n),
        line_no=1,
        consumed=an_id(consumed),
        produced=an_id(produced),
        quantity=Decimal(1),
        unit="KGM",
        mode="exact",
        work_order="WO",
        started_at=hour(start),
        ended_at=hour(end),
        **more,  # type: ignore[arg-type]
    )


timed_graphs = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(0, 12), st.integers(0, 12)), max_size=24
).map(
    lambda edges: [
        link(source, target, start=min(t1, t2), end=max(t1, t2), n=n)
        for n, (source, target, t1, t2) in enumerate(edges)
    ]
)


def ways(links: Sequence[Link], start: UUID, *, in_time: bool) -> set[UUID]:
    """Where trying gets to: every path without a repeated link on which each ends after all before it began."""
    reached = {start}

    def go(node: UUID, latest: dt.datetime, used: frozenset[int]) -> None:
        for index, each in enumerate(links):
            if each.consumed == node and index not in used and (not in_time or each.ended_at >= latest):
                reached.add(each.produced)
                go(each.produced, max(latest, each.started_at), used | {index})

    go(start, dt.datetime.min.replace(tzinfo=dt.UTC), frozenset())
    return reached


@given(timed_graphs, st.booleans())
def test_every_walk_ends_and_down_and_up_are_inverse(links: list[Link], in_time: bool) -> None:
    graph = Genealogy(links, [])
    nodes = [an_id(n) for n in range(8)]
    down = {node: set(graph.walk([node], Direction.DOWN, in_time=in_time).steps) for node in nodes}
    up = {node: set(graph.walk([node], Direction.UP, in_time=in_time).steps) for node in nodes}
    assert all((lower in down[upper]) == (upper in up[lower]) for upper in nodes for lower in nodes)


@given(timed_graphs.map(lambda links: links[:7]), st.booleans())
def test_a_walk_reaches_exactly_what_trying_every_way_reaches(links: list[Link], in_time: bool) -> None:
    graph = Genealogy(links, [])
    for node in (an_id(n) for n in range(8)):
        assert set(graph.walk([node], Direction.DOWN, in_time=in_time).steps) == ways(links, node, in_time=in_time)


@given(timed_graphs)
def test_time_only_ever_takes_away_and_a_tree_shows_every_node_once(links: list[Link]) -> None:
    graph = Genealogy(links, [])
    root = an_id(0)
    linked = graph.walk([root], Direction.DOWN, in_time=False)
    assert set(graph.walk([root], Direction.DOWN).steps) <= set(linked.steps)

    def count(branch: Branch) -> list[UUID]:
        return ([] if branch.elsewhere else [branch.node]) + [each for sub in branch.branches for each in count(sub)]

    drawn = count(tree_of(graph, root, Direction.DOWN, depth=100))
    assert set(drawn) == set(linked.steps)
    assert drawn.count(root) == 1


@given(timed_graphs, st.integers(1, 4))
def test_a_walk_of_some_depth_is_the_part_of_the_whole_that_is_so_near(links: list[Link], depth: int) -> None:
    graph = Genealogy(links, [])
    whole = graph.walk([an_id(0)], Direction.DOWN, in_time=False)
    part = graph.walk([an_id(0)], Direction.DOWN, in_time=False, depth=depth)
    assert part.steps == {node: step for node, step in whole.steps.items() if step <= depth}


@given(timed_graphs, st.integers(0, 7), st.sets(st.integers(1, 7), max_size=3))
def test_an_open_scope_grows_to_what_opening_it_now_would_find(links: list[Link], known: int, lifted: set[int]) -> None:
    earlier = Genealogy(links[:known], [])
    now = Genealogy(links, [])
    barred = {an_id(n) for n in lifted}
    seed = an_id(0)
    members = [Member(reached.node, False) for reached in scope_of(earlier, seed, lifted=barred)]
    members += [Member(node, True) for node in barred]
    joins = extension_of(now, seed, members).joins
    assert {reached.node for reached in joins} | {member.node for member in members if not member.lifted} == {
        reached.node for reached in scope_of(now, seed, lifted=barred)
    }


def test_what_went_out_before_anything_came_in_is_not_reached() -> None:
    graph = Genealogy([link("mix", "early", start=0, end=1), link("raw", "mix", start=5, end=6)], [])
    assert an_id("early") not in graph.walk([an_id("raw")], Direction.DOWN).steps
    [_, _, early] = scope_of(graph, an_id("raw"))
    assert (early.node, early.ruled_out_by_time) == (an_id("early"), True)


def test_a_superseded_link_leads_nowhere_and_is_kept() -> None:
    graph = Genealogy([link("raw", "mix", superseded_by=an_id("new"))], [])
    assert set(graph.walk([an_id("raw")], Direction.DOWN).steps) == {an_id("raw")}
    assert [edge.target for edge in graph.superseded] == [an_id("mix")]


def test_a_produced_name_means_the_batch_that_came_from_production() -> None:
    ours = Bearer(an_id("ours"), an_id("mix"), produced=True)
    bought = Bearer(an_id("bought"), an_id("mix"), produced=False)
    graph = Genealogy([link("raw", "mix")], [ours, bought])
    assert set(graph.walk([an_id("raw")], Direction.DOWN).steps) == {an_id("raw"), ours.batch_id}


def test_a_name_that_is_registered_becomes_its_batch_in_an_open_scope() -> None:
    batch = Bearer(an_id("batch"), an_id("mix"), produced=True)
    graph = Genealogy([link("raw", "mix")], [batch])
    extension = extension_of(graph, an_id("raw"), [Member(an_id("raw"), False), Member(an_id("mix"), False)])
    assert (extension.became, extension.joins) == ({an_id("mix"): batch.batch_id}, ())


def test_a_fingerprint_tells_scopes_apart_and_knows_no_order() -> None:
    a, b, c = an_id("a"), an_id("b"), an_id("c")
    assert fingerprint([a, b]) == fingerprint([b, a]) != fingerprint([a, c])


def test_all_held_is_said_only_when_all_are_and_a_late_joiner_counts_from_its_joining() -> None:
    opened = hour(0)
    second = dt.timedelta(seconds=1)
    some = progress_of(opened, [(opened, opened + second), (opened, None)])
    assert (some.held, some.to_hold, some.all_held_after_ms) == (1, 1, None)
    late = progress_of(opened, [(opened, opened + second), (hour(5), hour(5) + 2 * second)])
    assert late.all_held_after_ms == 2000
    assert progress_of(opened, []).all_held_after_ms is None
