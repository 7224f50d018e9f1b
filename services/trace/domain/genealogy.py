"""Which batches went into which: a directed graph that may hold cycles (rework), and walks through it.

Links join names (see `names`); `Genealogy` decides which batch a name means:

* a consumed name with a supplier's number means the batches that carry that number, if there are any;
* a consumed name that no batch bears means the batches whose supplier gave them that number, or the supplier's number
  that was reported beside it: people at the line read whatever label they find first;
* a produced name means the batches that came from production, if there are any;
* otherwise a name means every batch that bears it, and the edge is marked as not `certain`: a recall that freezes one
  batch too many is better than one that misses one;
* a name that no batch bears stands for itself: a batch that was used and never registered here.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from services.trace.domain.names import name_id

_EVER = dt.datetime.min.replace(tzinfo=dt.UTC)
_NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)


class Direction(StrEnum):
    """Towards what was made from a batch, or towards what it was made from."""

    DOWN = "down"
    UP = "up"


class Link(NamedTuple):
    """A production report's line: `quantity` (in the consumed item's base unit) of a name went into another name.

    It happened between `started_at` and `ended_at`. `superseded_by` is the report that replaced this one's.
    """

    report_id: UUID
    line_no: int
    consumed: UUID
    produced: UUID
    quantity: Decimal
    unit: str
    mode: str
    work_order: str
    started_at: dt.datetime
    ended_at: dt.datetime
    supplier_batch_no: str | None = None
    superseded_by: UUID | None = None
    consumed_item: str | None = None


class Bearer(NamedTuple):
    """A registered batch, as far as it tells which batch a name means. `item_id` goes with the supplier's number."""

    batch_id: UUID
    name_id: UUID
    produced: bool
    supplier_batch_no: str | None = None
    item_id: str | None = None


class Edge(NamedTuple):
    """A link between two nodes; a node is a batch, or a name that no batch bears. `certain`: no other was meant."""

    source: UUID
    target: UUID
    certain: bool
    link: Link

    def far_end(self, direction: Direction) -> UUID:
        """The node that a walk in `direction` arrives at."""
        return self.target if direction is Direction.DOWN else self.source


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk reached: each node with the least number of steps to it (0 for a start), and the edges it took."""

    steps: dict[UUID, int]
    edges: tuple[Edge, ...]


class Genealogy:
    """Links and batches as a graph. Superseded links are left out of every walk and kept in `superseded`."""

    def __init__(self, links: Iterable[Link], batches: Iterable[Bearer]) -> None:
        self._bearers: dict[UUID, list[Bearer]] = defaultdict(list)
        self._numbered_by_supplier: dict[UUID, list[Bearer]] = defaultdict(list)
        for batch in batches:
            self._bearers[batch.name_id].append(batch)
            if batch.supplier_batch_no is not None and batch.item_id is not None:
                self._numbered_by_supplier[name_id(batch.item_id, batch.supplier_batch_no)].append(batch)
        self._down: dict[UUID, list[Edge]] = defaultdict(list)
        self._up: dict[UUID, list[Edge]] = defaultdict(list)
        self.superseded: list[Edge] = []
        for link in links:
            for edge in self._edges_of(link):
                if link.superseded_by is None:
                    self._down[edge.source].append(edge)
                    self._up[edge.target].append(edge)
                else:
                    self.superseded.append(edge)

    def meant_by(self, name: UUID) -> tuple[UUID, ...]:
        """The nodes that bear a name: its batches, else those whose supplier's number it is, else the name itself."""
        bearers = self._bearers.get(name) or self._numbered_by_supplier.get(name) or []
        return tuple(batch.batch_id for batch in bearers) or (name,)

    def edges(self, node: UUID, direction: Direction) -> Sequence[Edge]:
        """The edges that leave a node in a direction."""
        return (self._down if direction is Direction.DOWN else self._up).get(node, ())

    def _edges_of(self, link: Link) -> Iterable[Edge]:
        sources = self._meant_as_consumed(link)
        targets = self._meant_as_produced(link)
        certain = len(sources) == len(targets) == 1
        return (Edge(source, target, certain, link) for source in sources for target in targets)

    def _meant_as_consumed(self, link: Link) -> Sequence[UUID]:
        bearers = self._bearers.get(link.consumed)
        wanted = link.supplier_batch_no
        if not bearers and wanted is not None and link.consumed_item is not None:
            bearers = self._numbered_by_supplier.get(name_id(link.consumed_item, wanted))
        if not bearers:
            return self.meant_by(link.consumed)
        exact = [each.batch_id for each in bearers if wanted is not None and each.supplier_batch_no == wanted]
        return exact or [each.batch_id for each in bearers]

    def _meant_as_produced(self, link: Link) -> Sequence[UUID]:
        bearers = self._bearers.get(link.produced)
        if not bearers:
            return [link.produced]
        made = [each.batch_id for each in bearers if each.produced]
        return made or [each.batch_id for each in bearers]

    def walk(
        self,
        starts: Iterable[UUID],
        direction: Direction,
        *,
        depth: int | None = None,
        in_time: bool = True,
        barred: Collection[UUID] = (),
    ) -> Walk:
        """Everything that is reached from `starts`, at most `depth` steps away, never through a `barred` node.

        With `in_time`, only ways that time allows: what left a batch before anything of the start had come into it
        cannot hold it. Walking down, a node's mark is the earliest moment at which something of the start may have come
        in; walking up, the latest moment at which it may still have left. Marks only get better, so cycles end.
        """
        down = direction is Direction.DOWN
        marks = {start: _EVER if down else _NEVER for start in starts if start not in barred}
        steps = dict.fromkeys(marks, 0)
        taken: dict[int, Edge] = {}
        front = list(marks)
        step = 0
        while front and (depth is None or step < depth):
            step += 1
            better: dict[UUID, dt.datetime] = {}
            for node in front:
                mark = marks[node]
                for edge in self.edges(node, direction):
                    link, far = edge.link, edge.far_end(direction)
                    if far in barred:
                        continue
                    if in_time and (link.ended_at < mark if down else link.started_at > mark):
                        continue
                    taken[id(edge)] = edge
                    if not in_time:
                        reached = mark
                    elif down:
                        reached = max(mark, link.started_at)
                    else:
                        reached = min(mark, link.ended_at)
                    known = better.get(far, marks.get(far))
                    if known is None or (reached < known if down else reached > known):
                        better[far] = reached
            for node, mark in better.items():
                marks[node] = mark
                steps.setdefault(node, step)
            front = list(better)
        return Walk(steps, tuple(taken.values()))


@dataclass(frozen=True, slots=True)
class Branch:
    """A node of a tree, with the edge that led to it (none at the root).

    A node that hangs in several places is opened once, where it was met first; `elsewhere` marks the others.
    `cut`: there is more below, past the depth that was asked for.
    """

    node: UUID
    by: Edge | None
    branches: tuple["Branch", ...] = ()
    elsewhere: bool = False
    cut: bool = False


def tree_of(genealogy: Genealogy, root: UUID, direction: Direction, *, depth: int, walk: Walk | None = None) -> Branch:
    """The graph below (or above) `root` as a tree ready to be drawn, at most `depth` levels deep.

    It is as big as the graph, not as the number of ways through it: every node is opened once. `walk` limits it to the
    edges that a walk took.
    """
    allowed = None if walk is None else {id(edge) for edge in walk.edges}
    opened: set[UUID] = set()

    def open_node(node: UUID, by: Edge | None, left: int) -> Branch:
        edges = [edge for edge in genealogy.edges(node, direction) if allowed is None or id(edge) in allowed]
        if node in opened:
            return Branch(node, by, elsewhere=bool(edges))
        if edges and not left:
            return Branch(node, by, cut=True)
        opened.add(node)
        branches = tuple(open_node(edge.far_end(direction), edge, left - 1) for edge in edges)
        return Branch(node, by, branches)

    return open_node(root, None, depth)
