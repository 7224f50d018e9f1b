"""Production reports: kept once as they came, taken in the order of their lot, and said in our words."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from pydantic import ValidationError

from contracts.event import Event
from contracts.integration import (
    BatchProduced,
    ConsumedBatch,
    ExpectedReceiptWithdrawn,
    MaterialConsumed,
    ReceiptExpected,
)
from contracts.topics import MES_REPORTS
from contracts.values import Origin
from delivery import Announcements, Answer, ForeignMessage, NeverWorks, Said, Work, does, hears_foreign, new_id
from services.integration.domain.production import (
    Known,
    Lot,
    Made,
    MadeItem,
    Report,
    ReportStatus,
    Take,
    difference,
    outlived,
    place,
    released,
    understand,
)
from services.integration.domain.refused import Refused
from services.integration.domain.units import Units
from services.integration.handlers.demands import explain
from services.integration.handlers.receipts import currency_problem
from services.integration.handlers.refusals import refusal
from services.integration.handlers.valuation import settle_lots
from services.integration.messages import ProductionReport, digest_of
from services.integration.store.catalog import CatalogStore
from services.integration.store.messages import MessageStore, RawMessage
from services.integration.store.production import LetIn, ProductionStore, SaidConsumption, Settled
from services.integration.store.receipts import Expectation, ReceiptStore
from services.integration.store.valuation import LotKey

DEFAULT_SOURCE = "mes"
"""Who reports where neither the message nor its headers say so."""


_is_source = re.compile(r"[!-~]{1,40}").fullmatch


def is_source(text: str) -> bool:
    """Whether `text` can name a MES."""
    return _is_source(text) is not None


@dataclass(frozen=True, slots=True)
class TakeReport:
    """A production report, with the text that it came as."""

    message: ProductionReport
    raw: str
    source: str = DEFAULT_SOURCE
    via: str = "http"


@dataclass(frozen=True, slots=True)
class _Known:
    """The same message came before."""

    report_id: UUID


@dataclass(frozen=True, slots=True)
class _LetIn:
    """The report is kept: taken, or waiting for `missing`. `says` includes what it released."""

    report_id: UUID
    status: ReportStatus
    missing: int | None
    released: tuple[UUID, ...]
    says: tuple[Event, ...]


_Outcome = _Known | _LetIn | Refused


@dataclass(slots=True)
class _Books:
    """What the reports of one transaction are decided from, and what is to be saved of them."""

    work: Work
    items: dict[str, MadeItem]
    lots: dict[tuple[str, str], Lot]
    owners: dict[LotKey, str]
    messages: dict[tuple[str, str], tuple[UUID, bytes]]
    bodies: Mapping[UUID, Report]
    raw: list[RawMessage] = field(default_factory=list)
    let_in: list[LetIn] = field(default_factory=list)
    statuses: dict[UUID, ReportStatus] = field(default_factory=dict)
    settled: list[Settled] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)
    withdrawn: list[tuple[UUID, str]] = field(default_factory=list)
    consumed: list[SaidConsumption] = field(default_factory=list)
    made: dict[UUID, Made] = field(default_factory=dict)
    touched: set[LotKey] = field(default_factory=set)

    def decide(self, command: TakeReport) -> _Outcome:
        """Let one report in, or say why not."""
        report = command.message.as_report(command.source)
        name = (report.source, report.message_id)
        digest = digest_of(json.loads(command.raw))
        if name in self.messages:
            report_id, known_digest = self.messages[name]
            if known_digest == digest:
                return _Known(report_id)
            return Refused(
                "message_differs",
                f"message {report.message_id!r} of {report.source!r} came before with other content: a correction has "
                "a messageId of its own and names this one in `corrects`",
                "messageId",
            )
        if command.message.conversion_cost is not None:
            refused = currency_problem(command.message.conversion_cost.currency)
            if refused is not None:
                return replace(refused, field="conversionCost.currency")
        made = understand(report, self.items)
        if isinstance(made, Refused):
            return made
        owner = self.owners.get((report.item_id, report.batch_no), report.source)
        if owner != report.source:
            return Refused(
                "lot_of_another_source",
                f"lot {report.batch_no!r} of item {report.item_id!r} is reported by {owner!r}, "
                f"not by {report.source!r}",
                "producedLot.lotId",
            )
        lot_name = (report.source, report.batch_no)
        lot = self.lots.get(lot_name) or Lot(report.source, report.batch_no, report.item_id)
        placed = place(report, lot)
        if isinstance(placed, Refused):
            return placed

        report_id = new_id()
        self.messages[name] = (report_id, digest)
        self.owners[report.item_id, report.batch_no] = owner
        self.raw.append(RawMessage(report_id, "production_report", *name, digest, command.raw, command.via))
        self.made[report_id] = made
        before = placed.instead_of
        if before is not None:
            lot = lot.having(replace(before, status=ReportStatus.REPLACED))
            self.statuses[before.report_id] = ReportStatus.REPLACED
        known = Known(
            report_id,
            report.message_id,
            placed.sequence,
            report.final,
            ReportStatus.TAKEN if isinstance(placed, Take) else ReportStatus.WAITING,
            made.quantity,
            {(each.item_id, each.batch_no): each.quantity for each in made.consumed},
        )
        self.statuses[report_id] = known.status
        self.let_in.append(LetIn(report_id, made, placed.sequence, known.status, before.report_id if before else None))
        if not isinstance(placed, Take):
            self.lots[lot_name] = lot.having(known)
            return _LetIn(report_id, known.status, placed.missing, (), ())
        known, says = self._take(known, made, before)
        lot = lot.having(known)
        lot, following, more = self._release(lot)
        self.lots[lot_name] = lot
        return _LetIn(report_id, ReportStatus.TAKEN, None, tuple(following), (*says, *more))

    def _release(self, lot: Lot) -> tuple[Lot, list[UUID], list[Event]]:
        """Take the waiting reports whose turn has come, and give up those that can have none any more."""
        following: list[UUID] = []
        says: list[Event] = []
        while (waiting := released(lot)) is not None:
            made = self.made.get(waiting.report_id) or understand(self.bodies[waiting.report_id], self.items)
            if isinstance(made, Refused):
                # The rules held when it was let in; items in use keep their units. It stays listed as waiting.
                break
            known, more = self._take(replace(waiting, status=ReportStatus.TAKEN), made, None)
            self.statuses[waiting.report_id] = ReportStatus.TAKEN
            lot = lot.having(known)
            following.append(waiting.report_id)
            says += more
        for late in outlived(lot):
            self.statuses[late.report_id] = ReportStatus.OUTLIVED
            lot = lot.having(replace(late, status=ReportStatus.OUTLIVED))
        return lot, following, says

    def _take(self, known: Known, made: Made, before: Known | None) -> tuple[Known, list[Event]]:
        """Say what a report means: what is expected from it, and what it consumed."""
        report, says = made.report, list[Event]()
        if before is not None and before.status is not ReportStatus.TAKEN:
            before = None
        changes = difference(made, before)
        if before is not None and before.expected_receipt_id is not None:
            why = f"replaced by report {report.message_id}"
            self.withdrawn.append((before.expected_receipt_id, why))
            says.append(
                ExpectedReceiptWithdrawn(
                    expected_receipt_id=before.expected_receipt_id, item_id=report.item_id, reason=why
                )
            )
        expected = None
        if changes.expect > 0:
            expected = ReceiptExpected(
                expected_receipt_id=new_id(),
                origin=Origin.PRODUCTION,
                item_id=report.item_id,
                quantity=changes.expect,
                unit=made.unit,
                site_id=report.site_id,
                due_on=self.work.now.date(),
                batch_no=report.batch_no,
                manufactured_on=report.manufactured_on,
                expires_on=report.expires_on,
                best_before=report.best_before,
                reference=report.work_order,
            )
            self._expect(expected, "production", known.report_id)
            says.append(expected)
        if made.quantity > 0:
            says.append(_produced(known, made, before))
        for material in changes.consume:
            line = SaidConsumption(
                new_id(),
                known.report_id,
                report.item_id,
                report.batch_no,
                material.item_id,
                material.batch_no,
                material.quantity,
            )
            self.consumed.append(line)
            says.append(
                MaterialConsumed(
                    consumption_id=line.consumption_id,
                    report_id=known.report_id,
                    item_id=material.item_id,
                    batch_no=material.batch_no,
                    supplier_batch_no=material.supplier_batch_no,
                    quantity=material.quantity,
                    unit=material.unit,
                    site_id=report.site_id,
                    into_item_id=report.item_id,
                    into_batch_no=report.batch_no,
                    work_order=report.work_order,
                    consumed_at=material.consumed_at or report.ended_at,
                )
            )
        for (item_id, batch_no), less in changes.give_back.items():
            back = ReceiptExpected(
                expected_receipt_id=new_id(),
                origin=Origin.PRODUCTION,
                item_id=item_id,
                quantity=less,
                unit=self.items[item_id].units.base,
                site_id=report.site_id,
                due_on=self.work.now.date(),
                batch_no=batch_no,
                reference=report.work_order,
                given_back=True,
            )
            self._expect(back, "own", known.report_id)
            says.append(back)
        arrived = before.received if before is not None else made.quantity * 0
        expected_id = expected.expected_receipt_id if expected else None
        self.settled.append(Settled(known.report_id, expected_id, arrived))
        self.touched.add((report.item_id, report.batch_no))
        return replace(known, expected_receipt_id=expected_id, received=arrived), says

    def _expect(self, event: ReceiptExpected, basis: str, report_id: UUID) -> None:
        factor = self.items[event.item_id].units.factors[event.unit]
        self.expectations.append(Expectation(event, event.quantity, event.unit, factor, basis, report_id=report_id))

    async def save(self) -> None:
        """One statement for each table."""
        await MessageStore(self.work.db).keep(self.raw, self.work.now)
        store = ProductionStore(self.work.db)
        await store.open_lots(list(self.lots.values()))
        await store.let_in(self.let_in, self.work.now)
        await store.settle(self.statuses, self.settled, self.work.now)
        await store.say_consumed(self.consumed)
        receipts = ReceiptStore(self.work.db)
        await receipts.expect(self.expectations, self.work.now)
        await receipts.withdraw(self.withdrawn, self.work.now)


def _produced(known: Known, made: Made, before: Known | None) -> BatchProduced:
    report = made.report
    return BatchProduced(
        report_id=known.report_id,
        item_id=report.item_id,
        batch_no=report.batch_no,
        quantity=made.quantity,
        unit=made.unit,
        site_id=report.site_id,
        work_order=report.work_order,
        sequence=known.sequence,
        final=known.final,
        manufactured_on=report.manufactured_on,
        expires_on=report.expires_on,
        started_at=report.started_at,
        ended_at=report.ended_at,
        consumed=tuple(
            ConsumedBatch(
                item_id=each.item_id,
                batch_no=each.batch_no,
                supplier_batch_no=each.supplier_batch_no,
                quantity=each.quantity,
                unit=each.unit,
                mode=each.mode,
            )
            for each in made.consumed
        ),
        corrects=before.report_id if before is not None else None,
    )


async def _load(work: Work, commands: Sequence[TakeReport]) -> _Books:
    """Lock all that these reports concern, in one order, and read it."""
    reports = [command.message.as_report(command.source) for command in commands]
    await work.lock(
        key
        for report in reports
        for key in (
            f"report/{report.source}/{report.message_id}",
            f"lot/{report.source}/{report.batch_no}",
            report.item_id,
            *(material.item_id for material in report.consumed),
        )
    )
    messages = await MessageStore(work.db).known(
        "production_report", ((report.source, report.message_id) for report in reports)
    )
    store = ProductionStore(work.db)
    lots, owners = await store.lots((report.source, report.batch_no, report.item_id) for report in reports)
    waiting = {known.report_id: lot.source for lot in lots.values() for known in lot.waiting}
    bodies = {
        report_id: ProductionReport.model_validate_json(body).as_report(waiting[report_id])
        for report_id, body in (await store.waiting_bodies(waiting)).items()
    }
    concerned = {item_id for report in (*reports, *bodies.values()) for item_id in _items_of(report)}
    concerned |= {item_id for lot in lots.values() for known in lot.reports.values() for item_id, _ in known.consumed}
    items = {
        item_id: MadeItem(Units.of(item), frozenset(alias.gtin for alias in item.gtins))
        for item_id, item in (await CatalogStore(work.db).items(concerned)).items()
    }
    return _Books(work, items, lots, owners, messages, bodies)


def _items_of(report: Report) -> Iterable[str]:
    yield report.item_id
    for material in report.consumed:
        yield material.item_id


@does(TakeReport)
async def take_reports(work: Work, commands: Sequence[TakeReport]) -> Sequence[Answer]:
    """201 taken, 202 waiting for an earlier one, 200 already known, 409 and 422 refused."""
    books = await _load(work, commands)
    outcomes = [books.decide(command) for command in commands]
    await books.save()
    postings = await settle_lots(work, books.touched)
    answers = []
    for n, outcome in enumerate(outcomes):
        match outcome:
            case Refused():
                answers.append(refusal(outcome))
            case _Known(report_id):
                answers.append(Answer({"report_id": report_id, "status": "already_known"}))
            case _LetIn():
                body = {
                    "report_id": outcome.report_id,
                    "status": outcome.status.value,
                    "waits_for_sequence": outcome.missing,
                    "released": list(outcome.released),
                }
                waits = outcome.status is ReportStatus.WAITING
                answers.append(Answer(body, 202 if waits else 201, outcome.says))
        if n == len(outcomes) - 1 and postings:
            answers[-1] = replace(answers[-1], says=[*answers[-1].says, *postings])
    return answers


@hears_foreign(MES_REPORTS)
async def hear_reports(work: Work, records: Sequence[ForeignMessage]) -> Announcements:
    """As by HTTP; what would be refused there is parked here with the same words."""
    commands = []
    for record in records:
        try:
            message = ProductionReport.model_validate_json(record.body)
        except ValidationError as error:
            raise NeverWorks(f"not a production report: {explain(error)}") from None
        source = record.headers.get("ce_source") or DEFAULT_SOURCE
        if not is_source(source):
            raise NeverWorks(f"header 'ce_source' is {source[:80]!r}: 1 to 40 printable ASCII characters, no space")
        commands.append(TakeReport(message, record.body.decode(), source, record.topic))
    books = await _load(work, commands)
    said: list[Said] = []
    for record, command in zip(records, commands, strict=True):
        outcome = books.decide(command)
        if isinstance(outcome, Refused):
            raise NeverWorks(f"{outcome.field}: {outcome.detail}")
        if isinstance(outcome, _LetIn):
            said += [Said(event, because=record) for event in outcome.says]
    await books.save()
    return [*said, *await settle_lots(work, books.touched)]
