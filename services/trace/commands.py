"""What people do to recalls: open, lift a batch out, close."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from contracts.event import Event
from contracts.trace import BatchRecalled, BatchRecallLifted, RecallClosed, RecallOpened
from delivery import Answer, Refusal, Work, does, new_id
from services.trace.domain.custody import plain
from services.trace.domain.genealogy import Direction
from services.trace.domain.recalls import fingerprint, scope_of
from services.trace.queries import (
    Node,
    find_genealogy,
    find_members,
    find_named,
    find_nodes,
    find_recall,
    find_scope,
    find_standings,
    open_recall_of,
)
from services.trace.scopes import joinings, own_lines, recalled
from services.trace.store import TraceStore


@dataclass(frozen=True, slots=True)
class OpenRecall:
    """Recall a batch (or a name nobody registered) and everything made from it."""

    batch_id: UUID | None
    item_id: str | None
    batch_no: str | None
    reason: str
    preview_hash: str | None
    drill: bool = False


@dataclass(frozen=True, slots=True)
class LiftBatch:
    """Take one batch out of a recall's scope."""

    recall_id: UUID
    batch_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class CloseRecall:
    """End a recall."""

    recall_id: UUID
    reason: str


def seed_among(nodes: Sequence[Node], asked: str) -> Node | Answer:
    """The one node that was asked for, or why there is none."""
    if not nodes:
        detail = f"{asked}: trace has not heard that anybody registered, received, consumed or produced it"
        return Refusal(404, "unknown_batch", detail, field="batch_id")
    if len(nodes) > 1:
        ids = ", ".join(f"{node.node} (supplier {node.supplier_id or 'unknown'})" for node in nodes)
        return Refusal(
            409,
            "ambiguous_batch",
            f"{asked} means {len(nodes)} batches: give the batch_id of one: {ids}",
            field="batch_id",
        )
    return nodes[0]


@does(OpenRecall)
async def open_recalls(work: Work, commands: Sequence[OpenRecall]) -> Sequence[Answer]:
    """Freeze the scope and say it, batch by batch. Nobody adds to the genealogy meanwhile."""
    await TraceStore(work.db).freeze_genealogy()
    return [await _open(work, command) for command in commands]


async def _open(work: Work, command: OpenRecall) -> Answer:
    store, now = TraceStore(work.db), work.now
    actor = work.cause(command).actor or "unknown"
    if command.batch_id is not None:
        seed = seed_among(await find_nodes(work.db, command.batch_id), f"batch {command.batch_id}")
    else:
        item_id, batch_no = command.item_id or "", command.batch_no or ""
        seed = seed_among(await find_named(work.db, item_id, batch_no), f"batch {batch_no!r} of item {item_id!r}")
    if isinstance(seed, Answer):
        return seed
    already = await open_recall_of(work.db, seed.node)
    if already is not None and not command.drill:
        detail = f"batch {seed.batch_no!r} of item {seed.item_id!r} has an open recall already: {already}"
        return Refusal(409, "already_open", detail, field="batch_id")
    found = await find_genealogy(work.db, [seed], Direction.DOWN)
    scope = scope_of(found.genealogy, seed.node)
    seen = fingerprint(reached.node for reached in scope)
    if command.preview_hash is not None and command.preview_hash != seen:
        detail = (
            f"the scope is not what the preview showed: it has {len(scope)} batches now, with hash {seen}, "
            f"not {command.preview_hash}: look at a new preview"
        )
        return Refusal(409, "scope_changed", detail, field="preview_hash")
    recall_id = new_id()
    await store.open_recall(
        recall_id, seed.node, seed.item_id, seed.batch_no, command.reason, now, actor, drill=command.drill
    )
    await store.join(joinings(recall_id, scope, found, now, seeds={seed.node}, drill=command.drill))
    opened = RecallOpened(
        recall_id=recall_id,
        item_id=seed.item_id,
        batch_id=seed.node,
        batch_no=seed.batch_no,
        reason=command.reason,
        batches=len(scope),
        opened_at=now,
    )
    said: list[BatchRecalled] = [
        recalled(recall_id, found.nodes[reached.node], command.reason, now, seed=reached.node == seed.node)
        for reached in scope
        if found.nodes[reached.node].batch_id is not None
    ]
    # Of a drill nobody is told, and nothing has happened to its batches.
    says: list[Event] = [] if command.drill else [opened, *said]
    await store.tell(own_lines(says, now, actor=actor))
    body = {
        "recall_id": str(recall_id),
        "status": "open",
        "drill": command.drill,
        "batch_id": str(seed.node),
        "item_id": seed.item_id,
        "batch_no": seed.batch_no,
        "reason": command.reason,
        "batch_count": len(scope),
        "waiting_for_registration": len(scope) - len(said),
        "opened_at": now.isoformat(),
        "opened_by": actor,
    }
    return Answer(body, 201, says)


@does(LiftBatch)
async def lift_batches(work: Work, commands: Sequence[LiftBatch]) -> Sequence[Answer]:
    """Take batches out of scopes; what was made from them stays in until it is lifted too."""
    await TraceStore(work.db).change_scopes()
    return [await _lift(work, command) for command in commands]


async def _lift(work: Work, command: LiftBatch) -> Answer:
    store, now = TraceStore(work.db), work.now
    recall = await find_recall(work.db, command.recall_id)
    if recall is None:
        return Refusal(404, "unknown_recall", f"recall {command.recall_id} does not exist", field="recall_id")
    if recall["closed_at"] is not None:
        detail = f"recall {command.recall_id} was closed at {recall['closed_at'].isoformat()}"
        return Refusal(409, "already_closed", detail, field="recall_id")
    scope = {row["node"]: row for row in await find_scope(work.db, command.recall_id)}
    row = scope.get(command.batch_id)
    if row is None:
        detail = f"batch {command.batch_id} is not among the {len(scope)} batches of recall {command.recall_id}"
        return Refusal(404, "not_in_scope", detail, field="batch_id")
    if row["lifted_at"] is not None:
        detail = f"batch {command.batch_id} was lifted at {row['lifted_at'].isoformat()}: {row['lift_reason']}"
        return Refusal(409, "already_lifted", detail, field="batch_id")
    await store.lift(command.recall_id, command.batch_id, command.reason, now)
    lifted = BatchRecallLifted(
        recall_id=command.recall_id,
        item_id=row["item_id"],
        batch_id=command.batch_id,
        reason=command.reason,
        lifted_at=now,
    )
    # A batch that was never said to be recalled has no hold to be lifted: nothing is said of it now either.
    says = [lifted] if row["said_at"] is not None else []
    await store.tell(own_lines(says, now, actor=work.cause(command).actor))
    left = sum(other["lifted_at"] is None for other in scope.values()) - 1
    body = {
        "recall_id": str(command.recall_id),
        "batch_id": str(command.batch_id),
        "lifted_at": now.isoformat(),
        "batches_left": left,
    }
    return Answer(body, 200, says)


@does(CloseRecall)
async def close_recalls(work: Work, commands: Sequence[CloseRecall]) -> Sequence[Answer]:
    """End recalls, and say of each what was not accounted for. Holds stay until their batches are lifted."""
    await TraceStore(work.db).change_scopes()
    return [await _close(work, command) for command in commands]


async def _close(work: Work, command: CloseRecall) -> Answer:
    store, now = TraceStore(work.db), work.now
    actor = work.cause(command).actor or "unknown"
    recall = await find_recall(work.db, command.recall_id)
    if recall is None:
        return Refusal(404, "unknown_recall", f"recall {command.recall_id} does not exist", field="recall_id")
    if recall["closed_at"] is not None:
        detail = f"recall {command.recall_id} was closed at {recall['closed_at'].isoformat()}"
        return Refusal(409, "already_closed", detail, field="recall_id")
    scope = [row for row in await find_scope(work.db, command.recall_id) if row["lifted_at"] is None]
    nodes = await find_members(work.db, scope)
    standings = await find_standings(work.db, nodes, await find_genealogy(work.db, nodes, Direction.DOWN, depth=1))
    unaccounted = [
        {
            "batch_id": str(node.node),
            "item_id": node.item_id,
            "batch_no": node.batch_no,
            "quantity": plain(account.unaccounted),
            "unit": standings[node.node].unit,
        }
        for node in nodes
        for account in [standings[node.node].account]
        if account.unaccounted
    ]
    await store.close_recall(command.recall_id, command.reason, now, actor)
    closed = RecallClosed(recall_id=command.recall_id, item_id=recall["item_id"], reason=command.reason, closed_at=now)
    says = [] if recall["drill"] else [closed]
    # The event names an item only; in the timeline it belongs to the batch that was recalled.
    await store.tell(replace(line, subject=recall["seed"]) for line in own_lines(says, now, actor=actor))
    body = {
        "recall_id": str(command.recall_id),
        "status": "closed",
        "drill": recall["drill"],
        "closed_at": now.isoformat(),
        "closed_by": actor,
        "took_seconds": (now - recall["opened_at"]).total_seconds(),
        "unaccounted": unaccounted,
    }
    return Answer(body, 200, says)
