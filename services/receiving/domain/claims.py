"""What a receipt line says: what was typed, then the label, then what was announced."""

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from contracts.values import DatePrecision, DateSource, Origin, Quality
from services.receiving.domain.expected import Expected
from services.receiving.domain.items import Alias
from services.receiving.domain.labels import Label
from services.receiving.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class TypedLine:
    """A receipt line as it was entered. `accept_short_life` is the reason for taking goods that live too short."""

    expected_receipt_id: UUID | None = None
    scan: str | None = None
    item_id: str | None = None
    batch_no: str | None = None
    number_batch: bool = False
    supplier_id: str | None = None
    supplier_batch_no: str | None = None
    manufactured_on: dt.date | None = None
    expires_on: dt.date | None = None
    best_before: dt.date | None = None
    quantity: Decimal | None = None
    unit: str | None = None
    quality: Quality | None = None
    production: bool = False
    accept_short_life: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """One line with every source put together, not yet judged."""

    origin: Origin
    item_id: str | None
    batch_no: str | None
    number_batch: bool
    supplier_id: str | None
    supplier_typed: bool
    supplier_batch_no: str | None
    manufactured_on: dt.date | None
    expires_on: dt.date | None
    expiry_precision: DatePrecision | None
    expiry_source: DateSource | None
    best_before: dt.date | None
    quantity: Decimal | None
    unit: str | None
    quality: Quality | None
    partner_id: str | None
    expected: Expected | None
    accept_short_life: str | None
    notes: tuple[Reason, ...] = ()
    problems: tuple[Reason, ...] = field(default=())

    @property
    def given_back(self) -> bool:
        """Whether this is material that production took and did not use."""
        return self.expected is not None and self.expected.given_back


def claim_of(
    typed: TypedLine,
    label: Label | Reason | None,
    aliases: tuple[Alias, ...],
    expected: Expected | None,
    *,
    partner_id: str | None,
    site_id: str,
) -> Claim:
    """Put a line together. `aliases` are the items that the label's GTIN names; `partner_id` is the receipt's.

    What contradicts itself is a problem; a typed value that differs from the label counts, and says so.
    """
    problems: list[Reason] = []
    notes: list[Reason] = []
    if isinstance(label, Reason):
        problems.append(label)
        label = None
    if typed.expected_receipt_id is not None and expected is None:
        problems.append(Reason("unknown_expectation", f"expected receipt {typed.expected_receipt_id} is not known"))
    if expected is not None and expected.site_id != site_id:
        problems.append(
            Reason("wrong_site", f"the goods are expected at site {expected.site_id!r}, not at {site_id!r}")
        )
    item_id, unit_of_label = _item(typed, label, aliases, expected, problems)
    batch_no = typed.batch_no or (label.batch_no if label else None)
    origin = expected.origin if expected else Origin.PRODUCTION if typed.production else Origin.SUPPLIER
    if expected is not None and expected.batch_no is not None:
        if batch_no is None:
            batch_no = expected.batch_no
        elif batch_no != expected.batch_no and origin is Origin.PRODUCTION:
            problems.append(
                Reason("not_the_expected_batch", f"batch {batch_no!r}: production announced {expected.batch_no!r}")
            )
        elif batch_no != expected.batch_no:
            notes.append(Reason("another_batch", f"batch {expected.batch_no!r} was announced, not {batch_no!r}"))
    if label is not None:
        notes += label.doubts
        notes += _typed_over(typed, label)
    expires_on, precision, source = _expiry(typed, label, expected)
    supplier_id = _supplier(typed, expected, origin, partner_id, problems)
    quantity, unit = _quantity(typed, label, unit_of_label)
    return Claim(
        origin=origin,
        item_id=item_id,
        batch_no=batch_no,
        number_batch=typed.number_batch,
        supplier_id=supplier_id,
        supplier_typed=supplier_id is not None and (expected is None or supplier_id != expected.partner_id),
        supplier_batch_no=typed.supplier_batch_no or (expected.supplier_batch_no if expected else None),
        manufactured_on=typed.manufactured_on
        or (label.manufactured_on if label else None)
        or (expected.manufactured_on if expected else None),
        expires_on=expires_on,
        expiry_precision=precision,
        expiry_source=source,
        best_before=typed.best_before
        or (label.best_before if label else None)
        or (expected.best_before if expected else None),
        quantity=quantity,
        unit=unit,
        quality=typed.quality,
        partner_id=partner_id or (expected.partner_id if expected else None) or supplier_id,
        expected=expected,
        accept_short_life=typed.accept_short_life,
        notes=tuple(notes),
        problems=tuple(problems),
    )


def _item(
    typed: TypedLine,
    label: Label | None,
    aliases: tuple[Alias, ...],
    expected: Expected | None,
    problems: list[Reason],
) -> tuple[str | None, str | None]:
    """The item that all sources agree on, and the unit of the label's GTIN."""
    item_id = typed.item_id or (expected.item_id if expected else None)
    if expected is not None and item_id != expected.item_id:
        problems.append(Reason("wrong_item", f"item {item_id!r}: {expected.item_id!r} is expected"))
    if label is None or label.gtin is None:
        return item_id, None
    if not aliases:
        problems.append(Reason("unknown_gtin", f"GTIN {label.gtin} is no item of the catalog"))
        return item_id, None
    named = sorted({alias.item_id for alias in aliases})
    if item_id is None and len(named) > 1:
        problems.append(Reason("ambiguous_gtin", f"GTIN {label.gtin} names the items {', '.join(named)}: name one"))
        return None, None
    item_id = item_id or named[0]
    if item_id not in named:
        problems.append(
            Reason("wrong_item", f"the label's GTIN {label.gtin} is item {', '.join(named)}, not {item_id!r}")
        )
        return item_id, None
    return item_id, next(alias.unit for alias in aliases if alias.item_id == item_id)


def _supplier(
    typed: TypedLine, expected: Expected | None, origin: Origin, partner_id: str | None, problems: list[Reason]
) -> str | None:
    if origin is not Origin.SUPPLIER:
        return typed.supplier_id
    supplier_id = typed.supplier_id or (expected.partner_id if expected else None) or partner_id
    if expected is not None and expected.partner_id not in (
        None,
        typed.supplier_id or partner_id or expected.partner_id,
    ):
        problems.append(
            Reason(
                "wrong_supplier",
                f"supplier {typed.supplier_id or partner_id!r}: the goods are expected from {expected.partner_id!r}",
            )
        )
    return supplier_id


def _expiry(
    typed: TypedLine, label: Label | None, expected: Expected | None
) -> tuple[dt.date | None, DatePrecision | None, DateSource | None]:
    if typed.expires_on is not None:
        return typed.expires_on, DatePrecision.DAY, DateSource.ENTERED
    if label is not None and label.expires_on is not None:
        return label.expires_on, label.expiry_precision, DateSource.LABEL
    if expected is not None and expected.expires_on is not None:
        made_here = expected.origin is Origin.PRODUCTION
        return expected.expires_on, DatePrecision.DAY, DateSource.MES if made_here else DateSource.ENTERED
    return None, None, None


def _quantity(typed: TypedLine, label: Label | None, unit_of_label: str | None) -> tuple[Decimal | None, str | None]:
    """Typed, else as many as the label counts, else the weight it carries. A label alone is not taken for one piece."""
    if typed.quantity is not None or label is None:
        return typed.quantity, typed.unit or unit_of_label
    if label.count is not None:
        return Decimal(label.count), typed.unit or unit_of_label
    if label.net_weight_kg is not None:
        return label.net_weight_kg, typed.unit or "KGM"
    return None, typed.unit or unit_of_label


def _typed_over(typed: TypedLine, label: Label) -> list[Reason]:
    return [
        Reason("typed_over_label", f"the label says {says} {label_has}, {has} was typed and counts")
        for says, has, label_has in (
            ("batch number", typed.batch_no, label.batch_no),
            ("manufacture date", typed.manufactured_on, label.manufactured_on),
            ("expiry", typed.expires_on, label.expires_on),
            ("best before", typed.best_before, label.best_before),
        )
        if None not in (has, label_has) and has != label_has
    ]
