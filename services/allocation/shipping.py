"""What people ask about shipments: gather what was picked, send it to the gate. Waiting commands are done together."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from asyncpg import Record

from contracts.allocation import ShipmentDispatched
from delivery import Answer, Refusal, Work, does, new_id
from services.allocation import queries
from services.allocation.store import AllocationStore, NewShipment
from services.allocation.views import ShipmentView


@dataclass(frozen=True, slots=True)
class MakeShipment:
    """Put what was picked for a customer at a site into a shipment; of these demands only, if any are named."""

    customer_id: str
    site_id: str
    demand_ids: frozenset[UUID] | None
    carrier: str | None


@dataclass(frozen=True, slots=True)
class DispatchShipment:
    """Send a shipment to the gate."""

    shipment_id: UUID


@does(MakeShipment)
async def make_shipments(work: Work, commands: Sequence[MakeShipment]) -> Sequence[Answer]:
    """Gather what is picked; what one shipment has the next does not find."""
    store = AllocationStore(work.db)
    orders = {(command.customer_id, command.site_id) for command in commands}
    items = {share.item_id for share in await store.picked_for(orders)}
    await work.lock(items)
    # Of an item that was first picked between the two looks the lock is not held: it waits for the next shipment.
    left = {share.reservation_id: share for share in await store.picked_for(orders) if share.item_id in items}
    made: dict[int, NewShipment] = {}
    for n, command in enumerate(commands):
        lines = [
            share
            for share in left.values()
            if (share.customer_id, share.site_id) == (command.customer_id, command.site_id)
            and (command.demand_ids is None or share.demand_id in command.demand_ids)
        ]
        if not lines:
            continue
        for share in lines:
            del left[share.reservation_id]
        made[n] = NewShipment(
            new_id(),
            command.customer_id,
            command.site_id,
            command.carrier,
            work.cause(command).actor or "unknown",
            tuple((new_id(), share.reservation_id) for share in lines),
        )
    if made:
        await store.make_shipments([*made.values()], work.now)
    views = await _shipment_views(work, [shipment.shipment_id for shipment in made.values()])
    return [
        Answer(views[made[n].shipment_id], 201)
        if n in made
        else Refusal(
            409,
            "nothing_picked",
            f"nothing that was picked for customer {command.customer_id!r} at site {command.site_id!r} waits for a "
            "shipment",
            field="customer_id",
        )
        for n, command in enumerate(commands)
    ]


@does(DispatchShipment)
async def dispatch_shipments(work: Work, commands: Sequence[DispatchShipment]) -> Sequence[Answer]:
    """Ask inventory to let every line of a shipment leave."""
    store = AllocationStore(work.db)
    wanted = {command.shipment_id for command in commands}
    await work.lock(await store.items_of_shipments(wanted))
    shipments = await store.lock_shipments(wanted)
    answers: dict[int, Answer] = {}
    going: dict[UUID, int] = {}
    for n, command in enumerate(commands):
        shipment = shipments.get(command.shipment_id)
        person = work.cause(command).person
        if shipment is None:
            answers[n] = Refusal(
                404, "unknown_shipment", f"there is no shipment {command.shipment_id}", field="shipment_id"
            )
        elif person is not None and not person.may_at(shipment["site_id"]):
            answers[n] = Refusal(
                403,
                "wrong_site",
                f"the shipment is at site {shipment['site_id']!r}, not among {sorted(person.sites)}",
                field="shipment_id",
            )
        elif shipment["dispatched_at"] is not None or command.shipment_id in going:
            answers[n] = Refusal(
                409, "already_dispatched", f"shipment {command.shipment_id} was dispatched already", field="shipment_id"
            )
        else:
            going[command.shipment_id] = n
    by = {shipment_id: work.cause(commands[n]).actor or "unknown" for shipment_id, n in going.items()}
    says: dict[UUID, list[ShipmentDispatched]] = {}
    for line in await store.dispatch(by, work.now) if by else ():
        says.setdefault(line["shipment_id"], []).append(_dispatched(line, work.now))
    views = await _shipment_views(work, [*says])
    for shipment_id, n in going.items():
        if shipment_id in says:
            answers[n] = Answer(views[shipment_id], 200, says[shipment_id])
        else:
            answers[n] = Refusal(
                409, "nothing_to_dispatch", f"every line of shipment {shipment_id} was taken back", field="shipment_id"
            )
    return [answers[n] for n in range(len(commands))]


def _dispatched(line: Record, now: dt.datetime) -> ShipmentDispatched:
    return ShipmentDispatched(
        shipment_id=line["shipment_id"],
        line_id=line["line_id"],
        demand_id=line["demand_id"],
        reference=line["reference"],
        customer_id=line["customer_id"],
        site_id=line["site_id"],
        item_id=line["item_id"],
        batch_id=line["batch_id"],
        batch_no=line["batch_no"],
        location_id=line["staged_at"],
        quantity=line["quantity"],
        unit=line["unit"],
        carrier=line["carrier"],
        dispatched_at=now,
    )


async def _shipment_views(work: Work, shipment_ids: Sequence[UUID]) -> dict[UUID, ShipmentView]:
    rows = await queries.shipments(work.db, shipment_ids=shipment_ids, limit=len(shipment_ids))
    return {row["shipment_id"]: ShipmentView.model_validate(row) for row in rows}
