"""What each caller was told is what happened: every acknowledged write is there once, every refused one is not."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from faults.oracle.seen import Check, Seen


def untold(seen: Seen) -> Iterator[str]:
    """Every caller was told something, and the same however often."""
    for call in seen.journal.untold():
        yield f"{call.service} never answered {call.kind} {call.key}, sent {call.tries} times"
    yield from seen.journal.contradictions


def kept_answers(seen: Seen) -> Iterator[str]:
    """The answer that is kept for each key is the one that its caller got."""
    kept = {
        (service, row["caller"], row["idempotency_key"]): row
        for (service, table), rows in seen.rows.items()
        if table == "answer"
        for row in rows
    }
    for call in seen.journal.calls:
        row = kept.get((call.service, call.by, call.key))
        if row is None:
            # What was wrong by itself (a field, a role, a path) was refused before anything was kept.
            if call.done:
                yield f"{call.service} has no answer to {call.kind} {call.key}, which was told {call.status}"
        elif (row["status"], bytes(row["body"])) != (call.status, call.content):
            yield (
                f"{call.service} keeps the answer {row['status']} to {call.kind} {call.key}, which was told "
                f"{call.status}: {bytes(row['body'])[:120]!r}, {call.content[:120]!r}"
            )


def _once(what: str, told: Iterable[Any], there: Iterable[Any]) -> Iterator[str]:
    """Both sides hold the same things, each once."""
    asked, found = Counter(map(str, told)), Counter(map(str, there))
    for each in sorted(asked.keys() | found.keys()):
        if asked[each] != found[each]:
            yield f"{what} {each}: {asked[each]} times told to its caller, {found[each]} times there"


def written_once(seen: Seen) -> Iterator[str]:
    """What can only come of a call or a message from outside is there for each that was taken, and for no other."""
    journal = seen.journal

    def ids(service: str, kind: str, field: str) -> list[Any]:
        return [call.answer[field] for call in journal.told(service, kind)]

    def column(service: str, table: str, field: str) -> list[Any]:
        return [row[field] for row in seen.of(service, table)]

    yield from _once("receipt", ids("receiving", "receipt", "receipt_id"), column("receiving", "receipt", "receipt_id"))
    yield from _once(
        "inspection",
        ids("receiving", "inspection", "inspection_id"),
        column("receiving", "inspection", "inspection_id"),
    )
    yield from _once(
        "expected receipt",
        ids("integration", "expected receipt", "expected_receipt_id"),
        [
            row["expected_receipt_id"]
            for row in seen.of("integration", "expected_receipt")
            if row["origin"] != "production"
        ],
    )
    yield from _once(
        "manual hold",
        ids("inventory", "hold", "hold_id"),
        [row["hold_id"] for row in seen.of("inventory", "hold") if row["kind"] == "manual"],
    )
    yield from _once(
        "lifted manual hold",
        ids("inventory", "lifted hold", "hold_id"),
        [
            row["hold_id"]
            for row in seen.of("inventory", "hold")
            if row["kind"] == "manual" and row["lifted_sequence"] is not None
        ],
    )
    raised = {row["demand_id"] for row in seen.of("integration", "demand")}
    yield from _once(
        "demand of a planner",
        ids("allocation", "demand", "demand_id"),
        [row["demand_id"] for row in seen.of("allocation", "demand") if row["demand_id"] not in raised],
    )
    yield from _once("demand of the ERP", journal.demands, column("integration", "demand", "reference"))
    yield from _once("production report", journal.reports, column("integration", "production_report", "message_id"))
    yield from _once(
        "withdrawn demand",
        ids("integration", "withdrawal", "demand_id"),
        [row["demand_id"] for row in seen.of("integration", "demand") if row["withdrawn"]],
    )
    yield from _once(
        "shipment",
        ids("allocation", "shipment", "shipment_id"),
        column("allocation", "shipment", "shipment_id"),
    )
    yield from _once(
        "dispatched shipment",
        ids("allocation", "dispatch", "shipment_id"),
        [row["shipment_id"] for row in seen.of("allocation", "shipment") if row["dispatched"]],
    )
    yield from _once("recall", ids("trace", "recall", "recall_id"), column("trace", "recall", "recall_id"))
    yield from _once(
        "closed recall",
        ids("trace", "closed recall", "recall_id"),
        [row["recall_id"] for row in seen.of("trace", "recall") if row["closed"]],
    )


def moved_once(seen: Seen) -> Iterator[str]:
    """Each movement that a person asked for is in the ledger once, and nobody asked for another."""
    told: list[str] = []
    for kind in ("put-away", "transfer", "status change"):
        told += [call.answer["movement_id"] for call in seen.journal.told("inventory", kind)]
    for call in seen.journal.told("inventory", "adjustment"):
        told += [call.answer["movement"]["movement_id"]] if call.answer["movement"] else []
    for call in seen.journal.told("inventory", "reversal"):
        told += [call.answer["movement"]["movement_id"]]
        told += [movement["movement_id"] for movement in call.answer["because_of_counts"]]
    picks = {row["reservation_id"] for row in seen.of("allocation", "reservation")}
    by_hand = {"put_away", "transfer", "status_change", "adjustment", "reversal"}
    there = [
        row["movement_id"]
        for row in seen.of("inventory", "movement")
        # What a pick found that the books did not have is an adjustment too; it names the pick.
        if row["reason"] in by_hand and row["reference"] not in picks
    ]
    yield from _once("movement", told, there)


def scanned_once(seen: Seen) -> Iterator[str]:
    """Each scan that was accepted is one pick, each other one a refusal; nothing was picked unscanned."""
    accepted: list[str] = []
    refused = 0
    for call in seen.journal.told("allocation", "scan"):
        if call.answer["verdict"] == "accepted":
            accepted.append(call.answer["pick"]["pick_id"])
        else:
            refused += 1
    yield from _once("pick", accepted, (body["pick_id"] for body in seen.bodies("allocation.PickConfirmed")))
    if refused != len(seen.of("allocation", "refused_scan")):
        there = len(seen.of("allocation", "refused_scan"))
        yield f"{refused} scans were told that they are refused, {there} refusals are kept"


def _calls(seen: Seen) -> str:
    done, refused = sum(call.done for call in seen.journal.calls), sum(call.refused for call in seen.journal.calls)
    return f"{len(seen.journal.calls)} calls: {done} done, {refused} refused"


TOLD = (
    Check("every caller was told, and the same each time", untold, _calls),
    Check("the answers that are kept are those that were given", kept_answers, _calls),
    Check(
        "what was acknowledged is there once, what was refused is not",
        written_once,
        lambda seen: f"{len(seen.journal.reports)} reports, {len(seen.journal.demands)} ERP demands, {_calls(seen)}",
    ),
    Check(
        "each movement that was asked for is in the ledger once",
        moved_once,
        lambda seen: f"{len(seen.of('inventory', 'movement'))} movements",
    ),
    Check(
        "each accepted scan is one pick",
        scanned_once,
        lambda seen: f"{len(seen.journal.told('allocation', 'scan'))} scans",
    ),
)
