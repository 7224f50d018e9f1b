"""Goods arrive: every line of a receipt is judged by itself and gets its own answer."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from uuid import UUID

from contracts.receiving import ReceiptConflictFound
from contracts.values import Quality
from delivery import Announcement, Answer, Person, Refusal, Work, does, new_id
from delivery.problems import MEDIA_TYPE
from services.receiving.announcing import kept, received, registered, told
from services.receiving.bodies import ReceiptLine, ReceiveGoods
from services.receiving.domain.batches import Batch
from services.receiving.domain.claims import Claim, TypedLine, claim_of
from services.receiving.domain.expected import Expected
from services.receiving.domain.items import Alias, Item
from services.receiving.domain.labels import Label, read_label
from services.receiving.domain.lines import Accepted, Conflicting, Outcome, Partner, Refused, Terms, judge, wants_number
from services.receiving.domain.matching import matched
from services.receiving.domain.reasons import Reason
from services.receiving.domain.sites import Sites
from services.receiving.rows import Arrival, Changes, ConflictRow, DecisionRow, LineRow, ReceiptRow
from services.receiving.settings import ReceivingSettings, receiving_settings
from services.receiving.store import FreeNumbers, ReceivingStore, SeriesWish, arrival_as_json, scope_supplier
from services.receiving.views import LineView, ReasonView, ReceiptAnswer

MAY_ACCEPT_SHORT_LIFE = {"supervisor", "quality", "admin"}


@dataclass(frozen=True, slots=True)
class _Line:
    """A line on its way: what was typed, what its label says."""

    command: ReceiveGoods
    line_no: int
    typed: TypedLine
    label: Label | Reason | None

    @property
    def gtin(self) -> str | None:
        return self.label.gtin if isinstance(self.label, Label) else None


@dataclass(slots=True)
class _Dock:
    """What the lines of a transaction are judged against; each line sees what the lines before it did."""

    expected: dict[UUID, Expected]
    aliases: dict[str, tuple[Alias, ...]]
    items: dict[str, Item]
    partners: dict[str, Partner]
    batches: dict[tuple[str, str], list[Batch]]
    sites: Sites
    open_ids: dict[tuple[str, str], list[UUID]] = field(default_factory=dict)
    numbers: FreeNumbers | None = None

    def claim(self, line: _Line) -> Claim:
        """One line with all its sources put together."""
        expected = self.expected.get(line.typed.expected_receipt_id) if line.typed.expected_receipt_id else None
        return claim_of(
            line.typed,
            line.label,
            self.aliases.get(line.gtin or "", ()),
            expected,
            partner_id=line.command.partner_id,
            site_id=line.command.site_id,
        )

    def matched(self, line: _Line, terms: Terms) -> Claim:
        """As `claim`; a line that names no expected receipt counts for the only one that fits."""
        claim = self.claim(line)
        if line.typed.expected_receipt_id is not None or claim.item_id is None:
            return claim
        site_id = line.command.site_id
        return matched(
            claim,
            self.items.get(claim.item_id),
            [self.expected[id_] for id_ in self.open_ids.get((claim.item_id, site_id), ())],
            site_id=site_id,
            reference=line.command.reference,
            over_percent=terms.over_receipt_percent,
        )

    def judge(self, claim: Claim, terms: Terms) -> Outcome:
        """Judge a claim, with the next number where it wants one."""
        if wants_number(claim) and self.numbers is not None:
            series = (claim.item_id or "", terms.on, claim.supplier_id)
            claim = replace(claim, batch_no=self.numbers.next(*series))
            if claim.batch_no is None and (says := self.numbers.exhausted(*series)) is not None:
                claim = replace(claim, problems=(*claim.problems, Reason("batch_numbers_exhausted", says)))
        known = self.batches.get((claim.item_id or "", claim.batch_no or ""), ())
        partner = self.partners.get(claim.supplier_id or "")
        return judge(claim, self.items.get(claim.item_id or ""), partner, known, terms)


@does(ReceiveGoods)
async def receive_goods(work: Work, commands: Sequence[ReceiveGoods]) -> Sequence[Answer]:
    """Receive goods, line by line: received, in conflict, or refused with reasons."""
    settings = receiving_settings()
    store = ReceivingStore(work.db)
    sites = await store.sites({command.site_id for command in commands})
    by_command = [_read_lines(command, work, settings, sites) for command in commands]
    lines = [line for mine in by_command for line in mine]
    dock = await _load(work, store, lines, sites)
    await _number(store, dock, lines, work, settings)
    changes = Changes()
    answers = []
    for command, mine in zip(commands, by_command, strict=True):
        if command.scanner not in settings.scanners:
            answers.append(unknown_scanner(command.scanner, settings))
            continue
        if command.received_at is not None and command.received_at > work.now:
            answers.append(
                Refusal(
                    422,
                    "received_in_future",
                    f"received at {command.received_at.isoformat()}: it is {work.now.isoformat()}",
                    field="received_at",
                )
            )
            continue
        if (nowhere := sites.problem(command.site_id, command.location_id)) is not None:
            field_, reason = nowhere
            answers.append(Refusal(409, reason.code, reason.text, field=field_))
            continue
        answers.append(_receive(work, command, mine, dock, changes, settings))
    await store.save(changes, work)
    return answers


def _read_lines(command: ReceiveGoods, work: Work, settings: ReceivingSettings, sites: Sites) -> list[_Line]:
    on = settings.day_at(command.site_id, command.received_at or work.now, sites)
    profile = settings.scanners.get(command.scanner, settings.scanners["default"])
    lines = []
    for line_no, line in enumerate(command.lines, start=1):
        label = None if line.scan is None else read_label(line.scan, profile, on)
        lines.append(_Line(command, line_no, _typed(line), label))
    return lines


def _typed(line: ReceiptLine) -> TypedLine:
    values = {name: getattr(line, name) for name in ReceiptLine.model_fields if name != "accept_short_life"}
    accept = line.accept_short_life
    return TypedLine(**values, accept_short_life=accept.reason if accept else None)


async def _load(work: Work, store: ReceivingStore, lines: Sequence[_Line], sites: Sites) -> _Dock:
    """Find out which items the lines are about, lock them, then read what they are judged against."""
    expectations = {id_ for line in lines if (id_ := line.typed.expected_receipt_id) is not None}
    aliases = await store.aliases({line.gtin for line in lines if line.gtin is not None})
    dock = _Dock(await store.expected(expectations), aliases, {}, {}, {}, sites)
    item_ids = {item_id for line in lines if (item_id := dock.claim(line).item_id) is not None}
    await work.lock(item_ids)
    dock.expected = await store.expected(expectations)
    dock.items = await store.items(item_ids)
    claims = [dock.claim(line) for line in lines]
    unnamed = {
        (claim.item_id, line.command.site_id, claim.supplier_id)
        for line, claim in zip(lines, claims, strict=True)
        if claim.item_id is not None and line.typed.expected_receipt_id is None
    }
    for expected in await store.expected_openly(unnamed):
        dock.expected.setdefault(expected.expected_receipt_id, expected)
        ids = dock.open_ids.setdefault((expected.item_id, expected.site_id), [])
        ids.append(expected.expected_receipt_id)
    dock.partners = await store.partners({claim.supplier_id for claim in claims if claim.supplier_id is not None})
    dock.batches = await store.batches_numbered(
        {(claim.item_id, claim.batch_no) for claim in claims if claim.item_id is not None and claim.batch_no}
    )
    return dock


async def _number(
    store: ReceivingStore, dock: _Dock, lines: Sequence[_Line], work: Work, settings: ReceivingSettings
) -> None:
    """Have free numbers ready for the lines that want one."""
    claims = [(line, dock.claim(line)) for line in lines]
    of_item = Counter(claim.item_id for _, claim in claims)
    wishes: list[SeriesWish] = []
    seen: set[tuple[str, str]] = set()
    for line, claim in claims:
        if wants_number(claim) and (item_id := claim.item_id) in dock.items and item_id is not None:
            on = settings.day_at(line.command.site_id, line.command.received_at or work.now, dock.sites)
            series = (item_id, settings.pattern.series(on, claim.supplier_id))
            # A number typed or made in this transaction may be one of the free ones: as many to spare, once a series.
            spare = 0 if series in seen else of_item[item_id]
            seen.add(series)
            wishes.append(SeriesWish(item_id, on, claim.supplier_id, 1 + spare))
    if wishes:
        dock.numbers = await store.free_numbers(settings.pattern, wishes)


def _receive(
    work: Work,
    command: ReceiveGoods,
    lines: Sequence[_Line],
    dock: _Dock,
    changes: Changes,
    settings: ReceivingSettings,
) -> Answer:
    """Judge the lines of one receipt in their order and note what changes."""
    person = work.cause(command).person
    assert person is not None  # noqa: S101  # commands come by HTTP
    receipt_id = new_id()
    received_at = command.received_at or work.now
    terms = Terms(
        on=settings.day_at(command.site_id, received_at, dock.sites),
        latest=settings.latest_day_at(command.site_id, received_at, dock.sites, now=work.now),
        may_accept_short_life=bool(person.roles & MAY_ACCEPT_SHORT_LIFE),
        over_receipt_percent=settings.over_receipt_percent,
    )
    rows: list[LineRow] = []
    views: list[LineView] = []
    says: list[Announcement] = []
    for line in lines:
        claim = dock.matched(line, terms)
        outcome = dock.judge(claim, terms)
        batch: Batch | None = None
        conflict_id: UUID | None = None
        match outcome:
            case Accepted():
                batch = _accept(work, line, claim, outcome, dock, changes, says, terms, person)
                arrival = _arrival(command, claim, outcome.quantity, outcome.quality, dock, work)
                changes.receive(receipt_id, line.line_no, batch, arrival)
                says.append(received(batch, arrival, receipt_id, line.line_no))
            case Conflicting():
                batch = outcome.existing
                arrival = _arrival(command, claim, outcome.quantity, outcome.quality, dock, work)
                conflict_id = _note_conflict(work, line, outcome, arrival, receipt_id, changes, says)
            case Refused():
                pass
        if batch is not None and not isinstance(outcome, Refused) and outcome.short_life:
            accepted = {"receipt_id": str(receipt_id), "line_no": line.line_no}
            reasons = [asdict(reason) for reason in outcome.short_life]
            changes.decisions.append(
                DecisionRow(
                    new_id(),
                    batch.batch_id,
                    "short_life_accepted",
                    person.subject,
                    person.name,
                    claim.accept_short_life,
                    None,
                    {**accepted, "reasons": reasons},
                )
            )
        view = _view(line, claim, outcome, batch, conflict_id)
        views.append(view)
        rows.append(
            LineRow(
                receipt_id=receipt_id,
                line_no=line.line_no,
                outcome=view.outcome,
                batch_id=view.batch_id,
                batch_no=view.batch_no,
                quality=view.quality,
                quantity=view.quantity,
                reasons=[reason.model_dump() for reason in view.reasons],
                entered=command.lines[line.line_no - 1].model_dump(mode="json", exclude_defaults=True),
            )
        )
    answer = ReceiptAnswer(receipt_id=receipt_id, lines=views)
    if all(view.outcome == "refused" for view in views):
        return _nothing_received(answer)
    changes.lines += rows
    changes.receipts.append(
        ReceiptRow(
            receipt_id,
            command.site_id,
            command.location_id,
            command.partner_id,
            command.reference,
            received_at,
            person.subject,
        )
    )
    return Answer(answer, 201, says)


def _accept(
    work: Work,
    line: _Line,
    claim: Claim,
    outcome: Accepted,
    dock: _Dock,
    changes: Changes,
    says: list[Announcement],
    terms: Terms,
    person: Person,
) -> Batch:
    """The batch that the line is received on, registered if it is new."""
    item_id = claim.item_id or ""
    batch = outcome.existing
    if batch is None:
        batch = Batch(new_id(), item_id, outcome.facts)
        if dock.numbers is not None:
            if wants_number(claim):
                dock.numbers.take(item_id, terms.on, claim.supplier_id, changes, person.subject)
            dock.numbers.block(item_id, outcome.facts.batch_no)
        dock.batches.setdefault((item_id, outcome.facts.batch_no), []).append(batch)
        changes.registered.append((batch, scope_supplier(batch.facts, dock.items.get(item_id))))
        changes.decisions.append(
            DecisionRow(
                new_id(), batch.batch_id, "registered", person.subject, person.name, None, None, kept(batch.facts)
            )
        )
        says.append(registered(batch, work.now))
    if claim.expected is not None and outcome.progress is not None:
        changes.progress[claim.expected.expected_receipt_id] = outcome.progress
        dock.expected[claim.expected.expected_receipt_id] = replace(
            claim.expected, received=outcome.progress.received, status=outcome.progress.status
        )
    return batch


def _note_conflict(
    work: Work,
    line: _Line,
    outcome: Conflicting,
    arrival: Arrival,
    receipt_id: UUID,
    changes: Changes,
    says: list[Announcement],
) -> UUID:
    """Keep the line for a person to decide; returns the conflict's id."""
    conflict_id = new_id()
    changes.conflicts.append(
        ConflictRow(
            conflict_id=conflict_id,
            receipt_id=receipt_id,
            line_no=line.line_no,
            batch=outcome.existing,
            existing=kept(outcome.existing.facts),
            claimed=kept(outcome.claimed),
            differs=outcome.differs,
            arrival=arrival_as_json(arrival),
            site_id=line.command.site_id,
        )
    )
    says.append(
        ReceiptConflictFound(
            conflict_id=conflict_id,
            item_id=outcome.existing.item_id,
            batch_id=outcome.existing.batch_id,
            existing=told(outcome.existing.facts),
            claimed=told(outcome.claimed),
            differs=outcome.differs,
            found_at=work.now,
        )
    )
    return conflict_id


def _arrival(
    command: ReceiveGoods, claim: Claim, quantity: Decimal, quality: Quality, dock: _Dock, work: Work
) -> Arrival:
    return Arrival(
        site_id=command.site_id,
        location_id=command.location_id,
        quantity=quantity,
        unit=dock.items[claim.item_id or ""].base_unit,
        entered_quantity=claim.quantity or quantity,
        entered_unit=claim.unit or "",
        quality=quality,
        origin=claim.origin,
        partner_id=claim.partner_id,
        expected_receipt_id=claim.expected.expected_receipt_id if claim.expected else None,
        reference=command.reference or (claim.expected.reference if claim.expected else None),
        received_at=command.received_at or work.now,
    )


def _view(line: _Line, claim: Claim, outcome: Outcome, batch: Batch | None, conflict_id: UUID | None) -> LineView:
    reasons = outcome.reasons if isinstance(outcome, Refused) else outcome.notes
    said = [ReasonView(code=reason.code, text=reason.text) for reason in reasons]
    match outcome:
        case Refused():
            return LineView(
                line_no=line.line_no,
                outcome="refused",
                item_id=claim.item_id,
                batch_no=claim.batch_no,
                reasons=said,
            )
        case _:
            return LineView(
                line_no=line.line_no,
                outcome="received" if isinstance(outcome, Accepted) else "conflict",
                item_id=claim.item_id,
                batch_id=batch.batch_id if batch else None,
                conflict_id=conflict_id,
                batch_no=batch.facts.batch_no if batch else None,
                quality=outcome.quality,
                quantity=outcome.quantity,
                expected_receipt_id=claim.expected.expected_receipt_id if claim.expected else None,
                reasons=said,
            )


def unknown_scanner(name: str, settings: ReceivingSettings) -> Answer:
    """The named scanner profile is not set up."""
    return Refusal(
        422,
        "unknown_scanner",
        f"scanner profile {name!r}: {', '.join(sorted(settings.scanners))} are set up",
        field="scanner",
    )


def _nothing_received(answer: ReceiptAnswer) -> Answer:
    """No line was received, so there is no receipt: a problem, with the answer to every line in it."""
    detail = "; ".join(f"line {line.line_no}: {line.reasons[0].text}" for line in answer.lines[:5])
    body = {
        "type": "about:blank",
        "title": "Refused",
        "status": 409,
        "code": "nothing_received",
        "detail": detail,
        "fields": [
            {"field": f"lines[{line.line_no - 1}]", "problem": line.reasons[0].text} for line in answer.lines[:5]
        ],
        "lines": [line.model_dump(mode="json") for line in answer.lines],
    }
    return Answer(body, 409, (), MEDIA_TYPE)
