"""What becomes of a receipt line: received, in conflict with the batch on record, or refused with every reason."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from contracts.gs1 import batch_no_problem
from contracts.values import Origin, Quality
from services.receiving.domain.batches import (
    Batch,
    Facts,
    LatestDay,
    date_problems,
    differences,
    filled,
    meant_batch,
    with_computed_expiry,
)
from services.receiving.domain.claims import Claim
from services.receiving.domain.expected import Progress, progress
from services.receiving.domain.items import Item, in_base_units
from services.receiving.domain.reasons import Reason
from services.receiving.domain.shelf_life import has_expired, too_short


@dataclass(frozen=True, slots=True)
class Partner:
    """A partner as the catalog has it."""

    partner_id: str
    supplies: bool
    active: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds when a line is judged: the day at the site, what the person may, how much too much is taken.

    `latest` is the day that nobody at the site is past; it differs from `on` where the site's time zone is not known.
    """

    on: dt.date
    latest: LatestDay
    may_accept_short_life: bool
    over_receipt_percent: Decimal


@dataclass(frozen=True, slots=True)
class Accepted:
    """The line is received: on the batch `existing`, or on a new one with these facts. `quantity` in the base unit."""

    facts: Facts
    existing: Batch | None
    quantity: Decimal
    quality: Quality
    progress: Progress | None
    notes: tuple[Reason, ...]
    short_life: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflicting:
    """The batch number is known with other facts: nothing is received until a person decides."""

    claimed: Facts
    existing: Batch
    differs: tuple[str, ...]
    quantity: Decimal
    quality: Quality
    notes: tuple[Reason, ...]
    short_life: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The line is not received; at least one reason."""

    reasons: tuple[Reason, ...]


Outcome = Accepted | Conflicting | Refused


def wants_number(claim: Claim) -> bool:
    """Whether the line's batch number is to be made by us."""
    return claim.number_batch and claim.batch_no is None and claim.item_id is not None


def judge(claim: Claim, item: Item | None, supplier: Partner | None, known: Sequence[Batch], terms: Terms) -> Outcome:
    """Judge one line by the item's control flags; every entry point comes through here.

    `known` are the registered batches of this item and number. A line that is refused names all of its problems at
    once, so that it need not be tried once for each.
    """
    problems = list(claim.problems)
    if item is None:
        problems.append(
            Reason("item_missing", "no item is named, and the label and the expectation name none")
            if claim.item_id is None
            else Reason("unknown_item", f"item {claim.item_id!r} is not in the catalog")
        )
        return Refused(tuple(problems))
    if not item.active:
        problems.append(Reason("item_inactive", f"item {item.item_id!r} is no longer active"))
    problems += _supplier_problems(claim, supplier)
    quantity = _quantity(claim, item)
    if isinstance(quantity, Reason):
        problems.append(quantity)
    quality = _quality(claim, item)
    if isinstance(quality, Reason):
        problems.append(quality)
    if claim.batch_no is None:
        problems.append(Reason("batch_no_missing", "the batch number is missing: type it, scan it, or ask for one"))
    elif (says := batch_no_problem(claim.batch_no)) is not None:
        problems.append(Reason("batch_no", says))
    if claim.batch_no is None or isinstance(quantity, Reason) or isinstance(quality, Reason):
        return Refused(tuple(problems))

    claimed = claimed_facts(claim, claim.batch_no, terms.on)
    existing = meant_batch(claimed, item, known, given_back=claim.given_back)
    if isinstance(existing, Reason):
        return Refused((*problems, existing))
    claimed = with_computed_expiry(filled(claimed, existing.facts) if existing else claimed, item)
    problems += _missing_dates(claimed, item)
    problems += date_problems(claimed, terms.latest)
    short_life, life_problems = _life(claim, claimed, item, terms)
    problems += life_problems
    done = None if claim.expected is None else progress(claim.expected, quantity, item, terms.over_receipt_percent)
    if isinstance(done, Reason):
        problems.append(done)
        done = None
    if problems:
        return Refused(tuple(dict.fromkeys(problems)))
    notes = claim.notes + tuple(
        Reason("short_life_accepted", f"{reason.text}; accepted: {claim.accept_short_life}") for reason in short_life
    )
    if existing is not None and (differs := differences(existing.facts, claimed, given_back=claim.given_back)):
        says = "; ".join(
            f"{name} is {getattr(existing.facts, name)} on record, {getattr(claimed, name)} on arrival"
            for name in differs
        )
        notes += (Reason("batch_differs", f"batch {claimed.batch_no!r} is known with other facts: {says}"),)
        return Conflicting(claimed, existing, differs, quantity, quality, notes, short_life)
    facts = existing.facts if existing else claimed
    return Accepted(facts, existing, quantity, quality, done, notes, short_life)


def _supplier_problems(claim: Claim, supplier: Partner | None) -> list[Reason]:
    """A supplier that integration named in an expectation is taken on its word; a typed one must be in the catalog."""
    if claim.origin is not Origin.SUPPLIER:
        return []
    if claim.supplier_id is None:
        return [Reason("supplier_missing", "the supplier is missing: goods from outside need one")]
    if supplier is None and claim.supplier_typed:
        return [Reason("unknown_supplier", f"supplier {claim.supplier_id!r} is not in the catalog")]
    if supplier is not None and not supplier.supplies:
        return [Reason("not_a_supplier", f"partner {claim.supplier_id!r} is no supplier")]
    if supplier is not None and not supplier.active:
        return [Reason("supplier_inactive", f"supplier {claim.supplier_id!r} is no longer active")]
    return []


def _quantity(claim: Claim, item: Item) -> Decimal | Reason:
    if claim.quantity is None:
        return Reason("quantity_missing", "the quantity is missing, and the label has neither a count nor a weight")
    if claim.unit is None:
        return Reason("unit_missing", f"the unit of {claim.quantity:f} is missing")
    return in_base_units(claim.quantity, claim.unit, item)


def _quality(claim: Claim, item: Item) -> Quality | Reason:
    """What the goods arrive as. Nobody may skip an inspection by typing, and rejecting is an inspection's decision."""
    inspected = item.inspection_required or claim.origin is Origin.CUSTOMER
    if claim.quality is None:
        return Quality.PENDING if inspected else Quality.RELEASED
    if claim.quality is Quality.RELEASED and inspected:
        why = "goods that come back from a customer" if claim.origin is Origin.CUSTOMER else f"item {item.item_id!r}"
        return Reason("inspection_required", f"quality 'released': {why} must be inspected, only 'pending' is possible")
    if claim.quality not in (Quality.PENDING, Quality.RELEASED):
        return Reason(
            "quality", f"quality {claim.quality.value!r} at receipt: only 'pending' or 'released' is possible"
        )
    return claim.quality


def claimed_facts(claim: Claim, batch_no: str, on: dt.date) -> Facts:
    """The batch as the line describes it, if `on` is the day of its first receipt."""
    return Facts(
        batch_no=batch_no,
        origin=claim.origin,
        supplier_id=claim.supplier_id,
        supplier_batch_no=claim.supplier_batch_no,
        manufactured_on=claim.manufactured_on,
        expires_on=claim.expires_on,
        expiry_precision=claim.expiry_precision,
        expiry_source=claim.expiry_source,
        best_before=claim.best_before,
        received_on=on,
    )


def _missing_dates(facts: Facts, item: Item) -> list[Reason]:
    reasons = []
    if item.shelf_life_days is not None and facts.manufactured_on is None:
        reasons.append(
            Reason(
                "manufacture_date_missing",
                f"the manufacture date is missing: item {item.item_id!r} lives {item.shelf_life_days} days from it",
            )
        )
    if item.expiry_required and facts.expires_on is None:
        reasons.append(Reason("expiry_missing", f"the expiry is missing: item {item.item_id!r} needs one"))
    return reasons


def _life(claim: Claim, facts: Facts, item: Item, terms: Terms) -> tuple[tuple[Reason, ...], list[Reason]]:
    """What was too short and is accepted, and what is refused. What comes back was here before."""
    if facts.expires_on is None or claim.given_back or claim.origin is Origin.CUSTOMER:
        return (), []
    if has_expired(facts.expires_on, terms.on):
        return (), [Reason("expired", f"expired on {facts.expires_on}: today is {terms.on}")]
    short = too_short(item, facts.manufactured_on, facts.expires_on, terms.on)
    if not short or claim.accept_short_life is None:
        return (), short
    if not terms.may_accept_short_life:
        return (), [*short, Reason("supervisor_needed", "only a supervisor or quality may accept a short life")]
    return tuple(short), []


def settled_problem(facts: Facts, item: Item, on: dt.date, latest: LatestDay, origin: Origin) -> Reason | None:
    """Why a conflict may not be settled with these facts, if it may not."""
    if problems := [*_missing_dates(facts, item), *date_problems(facts, latest)]:
        return problems[0]
    if facts.expires_on is not None and origin is not Origin.CUSTOMER and has_expired(facts.expires_on, on):
        return Reason("expired", f"expired on {facts.expires_on}: today is {on}")
    return None


def set_apart(claimed: Facts, batch_no: str) -> Facts:
    """The facts of a batch that gets a number of its own; the number on the label stays beside it as the supplier's."""
    kept = claimed.supplier_batch_no or (claimed.batch_no if claimed.origin is Origin.SUPPLIER else None)
    return replace(claimed, batch_no=batch_no, supplier_batch_no=kept)
