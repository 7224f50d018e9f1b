"""Nothing expired, held or rejected passed the gate, by sequence; and no midnight was missed."""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from zoneinfo import ZoneInfo

from faults.oracle.seen import Check, Row, Seen


def _covers(hold: Row, movement: Row) -> bool:
    """Whether a hold was open, and over that place, when the movement was numbered."""
    return (
        hold["batch_id"] == movement["batch_id"]
        and hold["placed_sequence"] < movement["sequence"]
        and (hold["lifted_sequence"] is None or hold["lifted_sequence"] > movement["sequence"])
        and hold["site_id"] in (None, movement["from_site_id"])
        and hold["location_id"] in (None, movement["from_location_id"])
    )


def gate_was_shut(seen: Seen) -> Iterator[str]:
    """Every issue was of released stock under no hold that had not expired at its site."""
    holds: dict[str, list[Row]] = defaultdict(list)
    for hold in seen.of("inventory", "hold"):
        holds[hold["batch_id"]].append(hold)
    zones = {row["site_id"]: ZoneInfo(row["time_zone"]) for row in seen.of("inventory", "site")}
    purposes = {(row["site_id"], row["location_id"]): row["purpose"] for row in seen.of("inventory", "location")}
    batches = {row["batch_id"]: row for row in seen.of("inventory", "batch")}
    for issue in seen.of("inventory", "movement"):
        if issue["reason"] != "issue":
            continue
        batch = batches[issue["batch_id"]]
        name = f"item {issue['item_id']} batch {batch['batch_no']} number {issue['sequence']}"
        if issue["from_quality"] != "released":
            yield f"{name} left although it was {issue['from_quality']}"
        day = issue["recorded_at"].astimezone(zones[issue["from_site_id"]]).date()
        if batch["expires_on"] is not None and batch["expires_on"] < day:
            yield f"{name} left on {day} although it expired on {batch['expires_on']}"
        if purposes.get((issue["from_site_id"], issue["from_location_id"])) in ("quarantine", "rejected"):
            yield f"{name} left from {issue['from_location_id']}, where isolated goods stand"
        for hold in holds[issue["batch_id"]]:
            if _covers(hold, issue):
                yield (
                    f"{name} left under the {hold['kind']} hold {hold['hold_id']}, open from number "
                    f"{hold['placed_sequence']} to {hold['lifted_sequence'] or 'now'}"
                )


def midnights_were_kept(seen: Seen) -> Iterator[str]:
    """What stands at a site after the midnight that ended its last day is locked there."""
    zones = {row["site_id"]: ZoneInfo(row["time_zone"]) for row in seen.of("inventory", "site")}
    locked = {
        (row["batch_id"], row["site_id"])
        for row in seen.of("inventory", "hold")
        if row["kind"] == "expiry" and row["lifted_sequence"] is None
    }
    batches = {row["batch_id"]: row for row in seen.of("inventory", "batch")}
    standing: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in seen.of("inventory", "balance"):
        standing[row["batch_id"], row["site_id"]] += row["quantity"]
    for (batch_id, site_id), quantity in sorted(standing.items()):
        expires_on = batches[batch_id]["expires_on"]
        today = seen.at.astimezone(zones[site_id]).date()
        if expires_on is not None and expires_on < today and (batch_id, site_id) not in locked:
            yield (
                f"batch {batches[batch_id]['batch_no']} of {batches[batch_id]['item_id']}: {quantity:f} stand at "
                f"{site_id} on {today} unlocked, expired on {expires_on}"
            )


def _expired(seen: Seen) -> str:
    locked = sum(1 for row in seen.of("inventory", "hold") if row["kind"] == "expiry")
    return f"{locked} batches locked by the midnight of the run"


GATE = (
    Check(
        "nothing expired, held or rejected passed the gate",
        gate_was_shut,
        lambda seen: (
            f"{sum(1 for row in seen.of('inventory', 'movement') if row['reason'] == 'issue')} issues against "
            f"{len(seen.of('inventory', 'hold'))} holds"
        ),
    ),
    Check("no midnight was missed", midnights_were_kept, _expired),
)
