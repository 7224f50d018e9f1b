"""Production reports: which are taken, in what order, and what they mean in our words.

Reports of one lot are taken in the order of their `sequence`. One that comes too early waits for those before it; one
that was already taken is refused. A report may replace an earlier one of the same lot (`corrects`).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from contracts.integration import GenealogyMode
from services.integration.domain.refused import Refused
from services.integration.domain.units import Units


class ReportStatus(StrEnum):
    """What became of a report here."""

    TAKEN = "taken"
    WAITING = "waiting"
    REPLACED = "replaced"
    OUTLIVED = "outlived"


@dataclass(frozen=True, slots=True)
class Material:
    """A consumed batch as the report names it, in the unit it names."""

    item_id: str
    batch_no: str
    supplier_batch_no: str | None
    quantity: Decimal
    unit: str
    mode: GenealogyMode
    consumed_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One production report, in the units it names. `quantity` may be zero; `conversion` is money in our currency."""

    source: str
    message_id: str
    work_order: str
    site_id: str
    final: bool
    sequence: int | None
    corrects: str | None
    started_at: dt.datetime
    ended_at: dt.datetime
    item_id: str
    gtin: str | None
    batch_no: str
    quantity: Decimal
    unit: str
    manufactured_on: dt.date
    expires_on: dt.date | None
    best_before: dt.date | None
    consumed: tuple[Material, ...] = ()
    conversion: Decimal | None = None


@dataclass(frozen=True, slots=True)
class MadeItem:
    """What a rule needs of an item: its units and the GTINs that name it."""

    units: Units
    gtins: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Made:
    """A report that every rule allows, in base units. `consumed` has one line for each consumed batch."""

    report: Report
    quantity: Decimal
    unit: str
    consumed: tuple[Material, ...]


def understand(report: Report, items: Mapping[str, MadeItem]) -> Made | Refused:
    """The report in base units, or the first rule it breaks."""
    if refused := _date_problem(report):
        return refused
    if report.quantity == 0 and not report.consumed and not report.final:
        return Refused("says_nothing", "the report makes nothing, consumes nothing and is not final", "producedLot")
    made = items.get(report.item_id)
    if made is None:
        return _unknown_item(report.item_id, "producedLot.materialDefinitionId")
    if report.gtin is not None and report.gtin not in made.gtins:
        return Refused(
            "wrong_gtin",
            f"GTIN {report.gtin!r} does not name item {report.item_id!r}: "
            f"it has {', '.join(sorted(made.gtins)) or 'none'}",
            "producedLot.gtin",
        )
    quantity = made.units.to_base(report.quantity, report.unit)
    if isinstance(quantity, Refused):
        return replace(quantity, field="producedLot.quantity")
    consumed: dict[tuple[str, str], Material] = {}
    for n, material in enumerate(report.consumed):
        item = items.get(material.item_id)
        if item is None:
            return _unknown_item(material.item_id, f"consumed[{n}].materialDefinitionId")
        in_base = item.units.to_base(material.quantity, material.unit)
        if isinstance(in_base, Refused):
            return replace(in_base, field=f"consumed[{n}].quantity")
        key = (material.item_id, material.batch_no)
        if key in consumed:
            in_base += consumed[key].quantity
        consumed[key] = replace(material, quantity=in_base, unit=item.units.base)
    return Made(report, quantity, made.units.base, tuple(consumed.values()))


def _unknown_item(item_id: str, where: str) -> Refused:
    return Refused("unknown_item", f"item {item_id!r} is not defined: define it, then send the report again", where)


def _date_problem(report: Report) -> Refused | None:
    if report.ended_at < report.started_at:
        return Refused(
            "ends_before_start", f"actualEnd {report.ended_at} is before actualStart {report.started_at}", "actualEnd"
        )
    for name, day in (("expiresOn", report.expires_on), ("bestBefore", report.best_before)):
        if day is not None and day < report.manufactured_on:
            return Refused(
                "expires_before_manufacture",
                f"{name} {day} is before manufacturedOn {report.manufactured_on}",
                f"producedLot.{name}",
            )
    return None


@dataclass(frozen=True, slots=True)
class Known:
    """A report that was let in earlier. `received` is how much of what it announced has arrived, in base units."""

    report_id: UUID
    message_id: str
    sequence: int
    final: bool
    status: ReportStatus
    quantity: Decimal
    consumed: Mapping[tuple[str, str], Decimal]
    expected_receipt_id: UUID | None = None
    received: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Lot:
    """A production lot of one MES: its reports by message id. An unknown lot has none."""

    source: str
    batch_no: str
    item_id: str
    reports: Mapping[str, Known] = field(default_factory=dict)

    @property
    def next_sequence(self) -> int:
        """The number that is taken next: one more than the highest taken, replaced or not."""
        return 1 + max((known.sequence for known in self.reports.values() if known.status in _PASSED), default=0)

    @property
    def closed_by(self) -> Known | None:
        """The final report that stands, if there is one."""
        return next(
            (known for known in self.reports.values() if known.final and known.status is ReportStatus.TAKEN), None
        )

    @property
    def waiting(self) -> list[Known]:
        """Those that came too early, in their order."""
        return sorted(
            (known for known in self.reports.values() if known.status is ReportStatus.WAITING),
            key=lambda known: known.sequence,
        )

    def having(self, *known: Known) -> "Lot":
        """The lot with these reports as they are now."""
        return replace(self, reports={**self.reports, **{each.message_id: each for each in known}})


_PASSED = frozenset({ReportStatus.TAKEN, ReportStatus.REPLACED})


@dataclass(frozen=True, slots=True)
class Take:
    """Take the report now, as number `sequence` of its lot; `instead_of` is what it replaces."""

    sequence: int
    instead_of: Known | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Keep the report until number `missing` of its lot has come; `instead_of` waits no longer."""

    sequence: int
    missing: int
    instead_of: Known | None = None


def place(report: Report, lot: Lot) -> Take | Wait | Refused:
    """Whether a report that is new here is taken now, waits, or cannot be taken."""
    if lot.item_id != report.item_id:
        return Refused(
            "lot_of_another_item",
            f"lot {report.batch_no!r} is of item {lot.item_id!r}: it cannot become {report.item_id!r}",
            "producedLot.lotId",
        )
    replaced = None
    if report.corrects is not None:
        replaced = lot.reports.get(report.corrects)
        if replaced is None:
            return Refused(
                "corrects_unknown",
                f"report {report.corrects!r} is not known for lot {report.batch_no!r}: a correction names a report "
                "of the same lot",
                "corrects",
            )
        if replaced.status not in {ReportStatus.TAKEN, ReportStatus.WAITING}:
            return Refused(
                "corrects_replaced",
                f"report {report.corrects!r} is {replaced.status}: correct the latest one",
                "corrects",
            )
        if report.sequence is None or report.sequence == replaced.sequence:
            if replaced.status is ReportStatus.WAITING:
                return _in_order(report, lot, replaced.sequence, replaced)
            return Take(replaced.sequence, replaced)
    return _in_order(report, lot, report.sequence, replaced)


def _in_order(report: Report, lot: Lot, sequence: int | None, replaced: Known | None) -> Take | Wait | Refused:
    following = lot.next_sequence
    sequence = following if sequence is None else sequence
    closed = lot.closed_by
    if closed is not None and closed is not replaced:
        return Refused(
            "lot_closed",
            f"lot {lot.batch_no!r} was closed by report {closed.message_id!r}, number {closed.sequence}: correct that "
            "one instead",
            "final",
        )
    if sequence < following:
        return Refused(
            "already_taken",
            f"number {sequence} of lot {lot.batch_no!r} was already taken: the next is {following}",
            "sequence",
        )
    if any(known.sequence == sequence and known is not replaced for known in lot.waiting):
        return Refused(
            "already_waiting", f"another number {sequence} of lot {lot.batch_no!r} already waits", "sequence"
        )
    return Take(sequence, replaced) if sequence == following else Wait(sequence, following, replaced)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a report changes against the one it replaces, in base units.

    `expect` is what must still arrive of the lot; `consume` what was consumed more, `give_back` what less.
    """

    expect: Decimal
    consume: tuple[Material, ...]
    give_back: Mapping[tuple[str, str], Decimal]


def difference(made: Made, instead_of: Known | None) -> Difference:
    """A first report changes everything; a correction only what is different. What has arrived stays arrived."""
    before = instead_of.consumed if instead_of is not None else {}
    arrived = instead_of.received if instead_of is not None else Decimal(0)
    consume = []
    after = {(material.item_id, material.batch_no): material for material in made.consumed}
    for key, material in after.items():
        more = material.quantity - before.get(key, Decimal(0))
        if more > 0:
            consume.append(replace(material, quantity=more))
    give_back = {
        key: less
        for key, quantity in before.items()
        if (less := quantity - (after[key].quantity if key in after else Decimal(0))) > 0
    }
    return Difference(max(made.quantity - arrived, Decimal(0)), tuple(consume), give_back)


def released(lot: Lot) -> Known | None:
    """The waiting report whose turn has come, if there is one."""
    if lot.closed_by is not None:
        return None
    return next((known for known in lot.waiting if known.sequence == lot.next_sequence), None)


def outlived(lot: Lot) -> Sequence[Known]:
    """The waiting reports that can never be taken, since the lot was closed before them."""
    return lot.waiting if lot.closed_by is not None else ()
