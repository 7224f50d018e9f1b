"""Who a batch is: its facts, which known batch a label means, and where the two disagree."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from uuid import UUID

from contracts.integration import UniqueWithin
from contracts.values import DatePrecision, DateSource, Origin
from services.receiving.domain.items import Item
from services.receiving.domain.reasons import Reason
from services.receiving.domain.shelf_life import computed_expiry


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a batch. `expires_on` is inclusive; `supplier_batch_no` is the maker's and never rewritten."""

    batch_no: str
    origin: Origin
    supplier_id: str | None = None
    supplier_batch_no: str | None = None
    manufactured_on: dt.date | None = None
    expires_on: dt.date | None = None
    expiry_precision: DatePrecision | None = None
    expiry_source: DateSource | None = None
    best_before: dt.date | None = None
    received_on: dt.date | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A registered batch. `batch_id` never changes."""

    batch_id: UUID
    item_id: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class LatestDay:
    """The day that nobody at a site is past. `site_id` None: its time zone is not known, so nobody on Earth.

    `past`: the day of an earlier moment, not of now.
    """

    day: dt.date
    site_id: str | None
    past: bool = False

    def later(self, day: dt.date) -> str:
        """What is wrong with a day after it."""
        today = "the day of receipt" if self.past else "today"
        if self.site_id is not None:
            return f"{day} is later than {today} at site {self.site_id!r}, {self.day}"
        known = "was the latest date on Earth then" if self.past else "is the latest date on Earth now"
        return f"{day} is later than {today} anywhere ({self.day} {known})"


_COMPARED = ("expires_on", "manufactured_on")
_COMPARED_WHERE_BOTH_KNOW = ("supplier_id", "supplier_batch_no", "best_before")


def meant_batch(
    claimed: Facts, item: Item, known: Sequence[Batch], *, given_back: bool = False
) -> Batch | Reason | None:
    """Which of the batches `known` of this item and number a label means; None when it is a new one.

    Where a number is unique per item and supplier, another supplier's batch of the same number is another batch. What a
    customer returns or production has `given_back` names no supplier: it means the only batch of that number, or
    somebody has to say which.
    """
    comes_back = given_back or claimed.origin is Origin.CUSTOMER
    same = [batch for batch in known if batch.facts.batch_no == claimed.batch_no]
    if item.unique_within is UniqueWithin.ITEM_AND_SUPPLIER:
        if comes_back and claimed.supplier_id is None and len(same) > 1:
            suppliers = ", ".join(sorted(str(batch.facts.supplier_id) for batch in same))
            return Reason(
                "which_supplier",
                f"batch number {claimed.batch_no!r} of item {item.item_id!r} is known from {suppliers}: name the "
                "supplier",
            )
        if not comes_back or claimed.supplier_id is not None:
            same = [batch for batch in same if batch.facts.supplier_id == claimed.supplier_id]
    by_supplier = [batch for batch in same if batch.facts.supplier_id == claimed.supplier_id]
    return next(iter([*by_supplier, *same]), None)


def differences(existing: Facts, claimed: Facts, *, given_back: bool = False) -> tuple[str, ...]:
    """Where a label contradicts the batch on record, by field. What the label does not say contradicts nothing.

    A date that the record lacks counts: adding it changes when stock may leave, and that is a person's decision.
    A supplier's number or a best-before date that the record lacks does not: nothing is decided by it.
    """
    differs = [name for name in _COMPARED if getattr(claimed, name) not in (None, getattr(existing, name))]
    differs += [
        name
        for name in _COMPARED_WHERE_BOTH_KNOW
        if None not in (getattr(claimed, name), getattr(existing, name))
        and getattr(claimed, name) != getattr(existing, name)
    ]
    comes_back = given_back or claimed.origin is Origin.CUSTOMER
    if not comes_back and claimed.origin is not existing.origin:
        differs.append("origin")
    return tuple(differs)


def filled(claimed: Facts, existing: Facts) -> Facts:
    """`claimed` with what it leaves open taken from the record, so that a label with a number alone is enough.

    An expiry is taken over with its precision and source, and only where the label's manufacture date is the record's.
    """
    known = {
        field.name: getattr(existing, field.name)
        for field in fields(Facts)
        if getattr(claimed, field.name) is None and not field.name.startswith("expir")
    }
    whole = replace(claimed, **known)
    if claimed.expires_on is None and whole.manufactured_on == existing.manufactured_on:
        whole = replace(
            whole,
            expires_on=existing.expires_on,
            expiry_precision=existing.expiry_precision,
            expiry_source=existing.expiry_source,
        )
    return whole


def taken_over(existing: Facts, claimed: Facts, differs: Collection[str]) -> Facts:
    """`existing` with what a label said otherwise when it arrived, and what the record lacks.

    The rest stays as it is on record now: it may have been corrected while the label waited for a person.
    """
    names = {*differs, *(name for name in _COMPARED_WHERE_BOTH_KNOW if getattr(existing, name) is None)}
    if "expires_on" in names:
        names |= {"expiry_precision", "expiry_source"}
    return replace(existing, **{name: getattr(claimed, name) for name in names})


def with_computed_expiry(facts: Facts, item: Item) -> Facts:
    """An expiry that nobody stated is manufacture date + shelf life, where both are known."""
    if facts.expires_on is not None or facts.manufactured_on is None or item.shelf_life_days is None:
        return facts
    return replace(
        facts,
        expires_on=computed_expiry(facts.manufactured_on, item.shelf_life_days),
        expiry_precision=DatePrecision.DAY,
        expiry_source=DateSource.COMPUTED,
    )


def date_problems(facts: Facts, latest: LatestDay) -> list[Reason]:
    """Dates that cannot be, where no day is later than `latest` yet."""
    reasons = []
    made, expires = facts.manufactured_on, facts.expires_on
    if made is not None and made > latest.day:
        reasons.append(Reason("manufactured_in_future", f"manufacture date {latest.later(made)}"))
    if made is not None and expires is not None and expires < made:
        reasons.append(Reason("expires_before_manufacture", f"expires on {expires}, manufactured on {made}"))
    return reasons


def corrected(
    facts: Facts,
    item: Item | None,
    *,
    manufactured_on: dt.date | None,
    expires_on: dt.date | None,
    source: DateSource,
    latest: LatestDay,
) -> Facts | Reason:
    """`facts` with other dates, or why that cannot be. A computed expiry follows its manufacture date."""
    after = facts if manufactured_on is None else replace(facts, manufactured_on=manufactured_on)
    if expires_on is not None:
        after = replace(after, expires_on=expires_on, expiry_precision=DatePrecision.DAY, expiry_source=source)
    elif manufactured_on is not None and facts.expiry_source is DateSource.COMPUTED and item is not None:
        after = with_computed_expiry(replace(after, expires_on=None), item)
    if problems := date_problems(after, latest):
        return problems[0]
    if after == facts:
        return Reason(
            "nothing_changed",
            f"batch {facts.batch_no!r} already has manufacture date {facts.manufactured_on} and expiry "
            f"{facts.expires_on}",
        )
    return after
