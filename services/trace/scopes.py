"""How recalls open, grow and end inside a transaction: what is found, decided, kept and said."""

import datetime as dt
from collections.abc import Collection, Sequence
from uuid import UUID

from contracts.event import Event
from contracts.trace import BatchRecalled
from delivery import Connection
from services.trace.domain.genealogy import Direction
from services.trace.domain.recalls import Reached, extension_of
from services.trace.domain.sentences import detail_of, lines_of
from services.trace.queries import Found, Node, find_genealogy, find_nodes, find_scope, members_of, recalls_touched
from services.trace.store import Joining, Told, TraceStore


async def extend_recalls(db: Connection, names: Collection[UUID], now: dt.datetime) -> list[Event]:
    """Take into open recalls what was learnt about `names`: batches made from recalled ones, names now registered.

    The caller holds the lock of `TraceStore.grow_genealogy`. Returns what is to be said.
    """
    says: list[Event] = []
    store = TraceStore(db)
    for recall in await recalls_touched(db, names):
        seeds = await find_nodes(db, recall["seed"])
        found = await find_genealogy(db, seeds, Direction.DOWN)
        scope = await find_scope(db, recall["recall_id"])
        extension = extension_of(found.genealogy, recall["seed"], members_of(scope))
        if extension.became:
            await store.become(recall["recall_id"], extension.became, now)
            names_of = {row["node"]: row for row in scope}
            for name, batch_id in extension.became.items():
                seed = names_of[name]["seed"]
                says.append(recalled(recall["recall_id"], found.nodes[batch_id], recall["reason"], now, seed=seed))
        if extension.joins:
            await store.join(joinings(recall["recall_id"], extension.joins, found, now))
            says += [
                recalled(recall["recall_id"], found.nodes[reached.node], recall["reason"], now, seed=False)
                for reached in extension.joins
                if found.nodes[reached.node].batch_id is not None
            ]
    if says:
        await store.tell(own_lines(says, now, actor=None))
    return says


def joinings(
    recall_id: UUID,
    scope: Sequence[Reached],
    found: Found,
    now: dt.datetime,
    *,
    seeds: Collection[UUID] = (),
    drill: bool = False,
) -> list[Joining]:
    """Reached nodes as rows of a scope; one that is not registered yet waits unsaid, and in a drill all do."""
    return [
        Joining(
            recall_id=recall_id,
            node=node.node,
            name_id=node.name_id,
            item_id=node.item_id,
            batch_no=node.batch_no,
            seed=node.node in seeds,
            depth=reached.depth,
            ruled_out_by_time=reached.ruled_out_by_time,
            joined_at=now,
            said_at=now if node.batch_id is not None and not drill else None,
        )
        for reached in scope
        for node in [found.nodes[reached.node]]
    ]


def recalled(recall_id: UUID, node: Node, reason: str, now: dt.datetime, *, seed: bool) -> BatchRecalled:
    """What is said of a registered batch that enters a scope."""
    return BatchRecalled(
        recall_id=recall_id,
        item_id=node.item_id,
        batch_id=node.node,
        batch_no=node.batch_no,
        seed=seed,
        reason=reason,
        recalled_at=now,
    )


def own_lines(events: Sequence[Event], now: dt.datetime, *, actor: str | None) -> list[Told]:
    """What trace says itself, as lines of timelines: it does not listen to its own topic."""
    return [
        Told(
            line.subject,
            line.at or now,
            now,
            None,
            event.event_type,
            actor,
            line.sentence,
            detail_of(event, line.subject),
        )
        for event in events
        for line in lines_of(event)
    ]
