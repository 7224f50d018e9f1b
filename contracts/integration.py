"""What integration says: the catalog, receipts and production from outside, demands, and cost postings for the ERP."""

import datetime as dt
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from contracts.event import Event, Part
from contracts.values import (
    BatchNo,
    Climate,
    Code,
    Currency,
    Delta,
    Gtin,
    Listed,
    Moment,
    Money,
    Origin,
    Quantity,
    Reference,
    Strategy,
    Text,
    Unit,
)


class UnitConversion(Part):
    """One `unit` is exactly `numerator / denominator` base units: a fraction, so that a third stays a third."""

    unit: Unit
    numerator: int = Field(gt=0, le=10**15)
    denominator: int = Field(default=1, gt=0, le=10**15)


class GtinAlias(Part):
    """A GTIN is another name of an item in one of its units."""

    gtin: Gtin
    unit: Unit


class UniqueWithin(Listed):
    """Within what a batch number is unique."""

    ITEM = "item"
    ITEM_AND_SUPPLIER = "item_and_supplier"
    UNKNOWN = "unknown"


class ItemDefined(Event):
    """The whole current definition of an item; a later one replaces it. Days are calendar days, percents 0–100."""

    key_field: ClassVar[str] = "catalog_key"

    item_id: Code
    name: Text
    base_unit: Unit
    units: tuple[UnitConversion, ...] = ()
    gtins: tuple[GtinAlias, ...] = ()
    shelf_life_days: int | None = Field(default=None, gt=0, le=36_500)
    expiry_required: bool = True
    min_days_at_receipt: int | None = Field(default=None, ge=0, le=36_500)
    min_percent_at_receipt: int | None = Field(default=None, ge=0, le=100)
    near_expiry_days: int | None = Field(default=None, ge=0, le=36_500)
    climate: Climate = Climate.AMBIENT
    inspection_required: bool = True
    batch_no_unique_within: UniqueWithin = UniqueWithin.ITEM
    active: bool = True
    revision: int = Field(ge=1, description="Grows by one with every change of this item.")

    @property
    def catalog_key(self) -> str:
        """Items and partners share the compacted topic, so their keys are told apart."""
        return f"item/{self.item_id}"


class PartnerRole(Listed):
    """What a partner is to us."""

    SUPPLIER = "supplier"
    CUSTOMER = "customer"
    UNKNOWN = "unknown"


class ShelfLifeRule(Part):
    """What a customer wants left on the needed-on date: days, and percent of total life. No `item_id`: any item."""

    item_id: Code | None = None
    min_days: int | None = Field(default=None, ge=0, le=36_500)
    min_percent: int | None = Field(default=None, ge=0, le=100)


class PartnerDefined(Event):
    """The whole current definition of a supplier or customer."""

    key_field: ClassVar[str] = "catalog_key"

    partner_id: Code
    name: Text
    roles: tuple[PartnerRole, ...] = Field(min_length=1)
    gln: str | None = Field(default=None, pattern=r"^[0-9]{13}$")
    shelf_life_rules: tuple[ShelfLifeRule, ...] = ()
    active: bool = True
    revision: int = Field(ge=1)

    @property
    def catalog_key(self) -> str:
        """See `ItemDefined.catalog_key`."""
        return f"partner/{self.partner_id}"


class ReceiptExpected(Event):
    """Goods will arrive at a site: from a supplier's order, a production report, or a customer's return."""

    expected_receipt_id: UUID
    origin: Origin
    item_id: Code
    quantity: Quantity
    unit: Unit
    site_id: Code
    due_on: dt.date
    partner_id: Code | None = None
    batch_no: BatchNo | None = None
    supplier_batch_no: Reference | None = None
    manufactured_on: dt.date | None = None
    expires_on: dt.date | None = None
    best_before: dt.date | None = None
    reference: Reference | None = Field(default=None, description="Purchase order, work order or return number.")
    given_back: bool = Field(
        default=False, description="Material that production took and did not use: a batch that is known already."
    )


class ExpectedReceiptWithdrawn(Event):
    """Goods that were expected will not come (cancelled, or replaced by a corrected report)."""

    expected_receipt_id: UUID
    item_id: Code
    reason: Text


class GenealogyMode(Listed):
    """How well a consumption is known."""

    EXACT = "exact"
    PROPORTIONAL = "proportional"
    BACKFLUSH = "backflush"
    UNKNOWN = "unknown"


class ConsumedBatch(Part):
    """A batch that went into a produced one; `quantity` in the consumed item's base unit."""

    item_id: Code
    batch_no: BatchNo
    supplier_batch_no: Reference | None = None
    quantity: Quantity
    unit: Unit
    mode: GenealogyMode = GenealogyMode.EXACT


class BatchProduced(Event):
    """A production report as we understood it: what was made, from what. Partial reports of one batch add up."""

    report_id: UUID
    item_id: Code
    batch_no: BatchNo
    quantity: Quantity
    unit: Unit
    site_id: Code
    work_order: Reference
    sequence: int = Field(ge=1, description="Per produced batch, from the MES.")
    final: bool
    manufactured_on: dt.date
    expires_on: dt.date | None = None
    started_at: Moment
    ended_at: Moment
    consumed: tuple[ConsumedBatch, ...] = ()
    corrects: UUID | None = Field(default=None, description="The report that this one replaces.")


class MaterialConsumed(Event):
    """One consumed batch of a production report, said under the consumed item so that its stock stays in order."""

    consumption_id: UUID
    report_id: UUID
    item_id: Code
    batch_no: BatchNo
    supplier_batch_no: Reference | None = None
    quantity: Quantity
    unit: Unit
    site_id: Code
    into_item_id: Code
    into_batch_no: BatchNo
    work_order: Reference
    consumed_at: Moment


class DemandRaised(Event):
    """Somebody wants a quantity of an item out of a site by a date."""

    demand_id: UUID
    reference: Reference = Field(description="The ERP's order and line.")
    customer_id: Code
    site_id: Code
    item_id: Code
    quantity: Quantity
    unit: Unit
    needed_on: dt.date
    strategy: Strategy = Strategy.FEFO
    batch_no: BatchNo | None = Field(default=None, description="Which batch, where `strategy` is `specified`.")
    min_days_left: int | None = Field(default=None, ge=0, le=36_500)
    min_percent_left: int | None = Field(default=None, ge=0, le=100)
    raised_at: Moment


class DemandWithdrawn(Event):
    """The demand is no longer wanted."""

    demand_id: UUID
    item_id: Code
    reason: Text


class PostingKind(Listed):
    """What happened, in the ERP's words."""

    RECEIPT = "receipt"
    PRODUCTION = "production"
    ISSUE = "issue"
    CONSUMPTION = "consumption"
    ADJUSTMENT = "adjustment"
    RETURN = "return"
    SCRAP = "scrap"
    REVALUATION = "revaluation"
    REVERSAL = "reversal"
    UNKNOWN = "unknown"


class CostPosted(Event):
    """One cost fact for the ERP, posted once and never edited; a mistake is answered by a reversal.

    `value` and `unit_cost` are absent while the batch's cost is unknown; a `revaluation` follows when it is learnt.
    """

    posting_id: UUID
    kind: PostingKind
    item_id: Code
    batch_id: UUID
    batch_no: BatchNo
    quantity: Delta = Field(description="Signed change of stock, in the item's base unit; zero for a revaluation.")
    unit: Unit
    unit_cost: Money | None = None
    value: Money | None = Field(default=None, description="Signed change of the stock's value.")
    currency: Currency
    movement_id: UUID | None = None
    movement_sequence: int | None = Field(default=None, ge=1)
    posting_date: dt.date
    reference: Reference | None = None
    partner_id: Code | None = None
    reverses: UUID | None = None
    variance: Money | None = Field(
        default=None,
        description="With a revaluation: what goods that had left before would have been worth more (signed). It is a "
        "cost of the company, not a change of the stock's value.",
    )
