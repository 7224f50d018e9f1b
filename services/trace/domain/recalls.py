"""What a recall reaches, and how far it has come."""

import datetime as dt
import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from services.trace.domain.genealogy import Direction, Genealogy


@dataclass(frozen=True, slots=True)
class Reached:
    """A node in a recall's scope. `ruled_out_by_time`: a link leads there, but it left before anything came in.

    Such a node is recalled all the same (clocks of machines are often wrong); quality may lift it with that reason.
    """

    node: UUID
    depth: int
    ruled_out_by_time: bool


def scope_of(genealogy: Genealogy, seed: UUID, *, lifted: Collection[UUID] = ()) -> tuple[Reached, ...]:
    """The seed and everything made from it, nearest first; not through what was lifted out of the scope."""
    seeds = genealogy.meant_by(seed)
    linked = genealogy.walk(seeds, Direction.DOWN, in_time=False, barred=lifted)
    in_time = genealogy.walk(seeds, Direction.DOWN, in_time=True, barred=lifted)
    return tuple(
        Reached(node, depth, ruled_out_by_time=node not in in_time.steps)
        for node, depth in sorted(linked.steps.items(), key=lambda found: (found[1], str(found[0])))
    )


@dataclass(frozen=True, slots=True)
class Member:
    """A node of an open recall's scope, as it is kept."""

    node: UUID
    lifted: bool


@dataclass(frozen=True, slots=True)
class Extension:
    """What changes in an open scope: names that are batches now (name → batch id), and nodes that join."""

    became: dict[UUID, UUID]
    joins: tuple[Reached, ...]


def extension_of(genealogy: Genealogy, seed: UUID, members: Collection[Member]) -> Extension:
    """What an open scope gains from links and batches learnt since. It never loses: lifting is a person's decision."""
    lifted = {bearer for member in members if member.lifted for bearer in genealogy.meant_by(member.node)}
    became: dict[UUID, UUID] = {}
    for member in members:
        bearer = genealogy.meant_by(member.node)[0]
        if not member.lifted and bearer != member.node:
            became[member.node] = bearer
    known = {member.node for member in members} | set(became.values())
    scope = scope_of(genealogy, seed, lifted=lifted)
    return Extension(became, tuple(reached for reached in scope if reached.node not in known))


def fingerprint(nodes: Iterable[UUID]) -> str:
    """SHA-256 (hex) of a scope: what quality saw in a preview is what is opened, or it is asked again."""
    return hashlib.sha256("\n".join(sorted(str(node) for node in nodes)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recall's holds have come. Times are those of the services that did it."""

    batches: int
    to_hold: int
    held: int
    all_held_after_ms: int | None


def progress_of(opened_at: dt.datetime, to_hold: Iterable[tuple[dt.datetime, dt.datetime | None]]) -> Progress:
    """Count the holds seen. `to_hold`: for each batch that is registered and not lifted, when it joined and was held.

    `all_held_after_ms` is how long the last hold took: from the opening, or from the batch's joining if that was later.
    """
    waits = list(to_hold)
    held = [(joined, at) for joined, at in waits if at is not None]
    complete = bool(waits) and len(held) == len(waits)
    slowest = max((at - max(joined, opened_at) for joined, at in held), default=dt.timedelta(0))
    return Progress(
        batches=len(waits),
        to_hold=len(waits) - len(held),
        held=len(held),
        all_held_after_ms=max(0, round(slowest.total_seconds() * 1000)) if complete else None,
    )
