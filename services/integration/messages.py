"""What outsiders send: production reports of a MES, demands and acknowledgements of an ERP.

All are closed: an unknown field is refused, so that nobody believes we understood it. Decimals are text, never binary
floats. The JSON Schema of each is in `schemas/` beside this module.
"""

import datetime as dt
import hashlib
import json
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from contracts.integration import GenealogyMode
from contracts.values import BatchNo, Code, Currency, Gtin, Moment, Money, Quantity, QuantityOrZero, Unit
from services.integration.domain.production import Material, Report

Words = Annotated[str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00-\x08\x0b-\x1f]+$")]
"""Text for people: no control characters but tab and line feed."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$")]
"""The number of an outside document or message: one line."""


def _not_negative(amount: Decimal) -> Decimal:
    if amount < 0:
        raise ValueError("must be zero or more")
    return amount


Amount = Annotated[Money, AfterValidator(_not_negative)]
"""Money that is not negative."""


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _SaidByMes(_Said):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Measured(_SaidByMes):
    """A quantity and its unit (UN/ECE Rec 20). `value` is decimal text."""

    value: Quantity = Field(examples=["250.75"])
    uom: Unit = Field(examples=["KGM"])


class MeasuredOrNone(_SaidByMes):
    """As `Measured`; zero is allowed."""

    value: QuantityOrZero = Field(examples=["250.75"])
    uom: Unit = Field(examples=["KGM"])


class Cost(_SaidByMes):
    """An amount of money. `value` is decimal text."""

    value: Amount = Field(examples=["1250.00"])
    currency: Currency = Field(examples=["CNY"])


class ProducedLot(_SaidByMes):
    """What was made since the last report of this lot. `quantity` may be zero: an order was aborted, or only closed."""

    material_definition_id: Code = Field(description="Our item.", examples=["COCOA-MIX-1"])
    gtin: Gtin | None = None
    lot_id: BatchNo = Field(description="The batch number on the label.", examples=["CM260318"])
    quantity: MeasuredOrNone
    scrap: MeasuredOrNone | None = Field(default=None, description="Kept with the message; not stock.")
    status: Literal["PendingQC", "Released", "Rejected", "Conditional"] | None = Field(
        default=None, description="The MES's opinion; quality is decided by inspection here."
    )
    disposition: Literal["Planned", "In-Process", "Restricted", "UnRestricted", "Closed"] | None = None
    manufactured_on: dt.date
    expires_on: dt.date | None = Field(default=None, description="Usable through this day.")
    best_before: dt.date | None = None


class ConsumedLot(_SaidByMes):
    """A lot that went into the produced one since the last report."""

    material_definition_id: Code = Field(examples=["WMP-25"])
    lot_id: BatchNo = Field(examples=["WMP2602A"])
    supplier_lot_id: Name | None = None
    quantity: Measured
    use: Literal["Consumed", "Destructive Sample"] = "Consumed"
    genealogy_mode: Literal["exact", "proportional", "backflush", "unknown"] = "exact"
    consumed_at: Moment | None = None


class Equipment(_SaidByMes):
    """Kept with the message."""

    equipment_id: Name
    use: Words | None = None


class Personnel(_SaidByMes):
    """Kept with the message."""

    person_id: Name
    role: Words | None = None


class TestResult(_SaidByMes):
    """Kept with the message."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    test_id: Name
    characteristic: Words
    value: Words | None = None
    uom: Unit | None = None
    lower_limit: Name | None = None
    upper_limit: Name | None = None
    result: Literal["Pass", "Fail", "Pending", "NotApplicable"]
    evaluated_at: Moment
    evaluated_by: Name | None = None


class Deviation(_SaidByMes):
    """Kept with the message."""

    deviation_id: Name
    severity: Literal["Minor", "Major", "Critical"]
    text: Words | None = None


class SignedBy(_SaidByMes):
    """Kept with the message."""

    signer: Name
    meaning: Words
    signed_at: Moment


class ProductionReport(_SaidByMes):
    """What a MES reports of one lot. Words of ISA-95; a co-product is reported as a lot of its own.

    The Business To Manufacturing Markup Language (B2MML) is used courtesy of MESA International.
    """

    model_config = ConfigDict(
        title="ProductionReport",
        json_schema_extra={
            "examples": [
                {
                    "messageId": "MES-2026-000731",
                    "workOrderId": "WO-55120",
                    "site": "HRB-1",
                    "responseState": "Completed",
                    "final": True,
                    "sequence": 1,
                    "actualStart": "2026-03-18T06:00:00+08:00",
                    "actualEnd": "2026-03-18T13:30:00+08:00",
                    "producedLot": {
                        "materialDefinitionId": "COCOA-MIX-1",
                        "lotId": "CM260318",
                        "quantity": {"value": "250.75", "uom": "KGM"},
                        "manufacturedOn": "2026-03-18",
                        "expiresOn": "2027-03-18",
                    },
                    "consumed": [
                        {
                            "materialDefinitionId": "WMP-25",
                            "lotId": "WMP2602A",
                            "quantity": {"value": "60.125", "uom": "KGM"},
                        }
                    ],
                }
            ]
        },
    )

    source: Code | None = Field(
        default=None, description="Which MES; without it the ce_source header, else `mes`. Names messages and lots."
    )
    message_id: Name = Field(description="Unique for ever at its source: the same message counts once.")
    operations_response_id: Name | None = None
    work_order_id: Name
    operations_definition_id: Name | None = Field(default=None, description="Recipe and version.")
    site: Code
    area: Name | None = None
    line: Name | None = None
    response_state: Literal["Running", "Completed", "Closed", "Aborted"] = Field(
        description="Kept with the message. `final` closes a lot; what an aborted order consumed counts all the same."
    )
    final: bool = Field(description="True: the last report of this lot.")
    sequence: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Counts the reports of this lot from 1; a gap makes later ones wait.",
    )
    corrects: Name | None = Field(
        default=None, description="The messageId of the report of the same lot that this one replaces as a whole."
    )
    actual_start: Moment
    actual_end: Moment
    produced_lot: ProducedLot
    consumed: tuple[ConsumedLot, ...] = Field(max_length=1_000)
    conversion_cost: Cost | None = Field(default=None, description="Labour, machine and overhead of this report.")
    equipment: tuple[Equipment, ...] = Field(default=(), max_length=100)
    personnel: tuple[Personnel, ...] = Field(default=(), max_length=100)
    test_results: tuple[TestResult, ...] = Field(default=(), max_length=500)
    deviations: tuple[Deviation, ...] = Field(default=(), max_length=100)
    signatures: tuple[SignedBy, ...] = Field(default=(), max_length=20)

    def as_report(self, source: str) -> Report:
        """In the words of our rules. `source` counts where the message names none."""
        lot = self.produced_lot
        return Report(
            source=self.source or source,
            message_id=self.message_id,
            work_order=self.work_order_id,
            site_id=self.site,
            final=self.final,
            sequence=self.sequence,
            corrects=self.corrects,
            started_at=self.actual_start,
            ended_at=self.actual_end,
            item_id=lot.material_definition_id,
            gtin=lot.gtin,
            batch_no=lot.lot_id,
            quantity=lot.quantity.value,
            unit=lot.quantity.uom,
            manufactured_on=lot.manufactured_on,
            expires_on=lot.expires_on,
            best_before=lot.best_before,
            consumed=tuple(
                Material(
                    each.material_definition_id,
                    each.lot_id,
                    each.supplier_lot_id,
                    each.quantity.value,
                    each.quantity.uom,
                    GenealogyMode(each.genealogy_mode),
                    each.consumed_at,
                )
                for each in self.consumed
            ),
            conversion=None if self.conversion_cost is None else self.conversion_cost.value,
        )


class DemandMessage(_Said):
    """One order line of the ERP. The reference names it for ever: the same line again changes nothing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "reference": "SO-48213/10",
                    "customer_id": "C-2041",
                    "site_id": "HRB-1",
                    "item_id": "WMP-25",
                    "quantity": "4",
                    "unit": "BX",
                    "needed_on": "2026-03-20",
                }
            ]
        }
    )

    reference: Name = Field(description="Order and line; unique.")
    message_id: Name | None = Field(default=None, description="The ERP's id of this message, kept with it.")
    customer_id: Code
    site_id: Code
    item_id: Code
    quantity: Quantity
    unit: Unit = Field(description="Any unit of the item; converted exactly to its base unit.")
    needed_on: dt.date
    strategy: Literal["fefo", "fifo", "lifo", "specified"] = "fefo"
    batch_no: BatchNo | None = Field(default=None, description="Which batch, where `strategy` is `specified`.")
    min_days_left: int | None = Field(default=None, ge=0, le=36_500)
    min_percent_left: int | None = Field(default=None, ge=0, le=100)

    @model_validator(mode="after")
    def _a_batch_when_specified(self) -> "DemandMessage":
        if (self.strategy == "specified") != (self.batch_no is not None):
            raise ValueError(
                f"strategy {self.strategy!r} with batch_no {self.batch_no!r}: 'specified' needs one, no other has one"
            )
        return self


class AcknowledgementBody(_Said):
    """What the ERP did with a posting: its document, or why it was rejected."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"accepted": {"const": True}}},
            "then": {"properties": {"erp_document": {"type": "string"}}, "required": ["erp_document"]},
            "else": {
                "anyOf": [
                    {"properties": {"code": {"type": "string"}}, "required": ["code"]},
                    {"properties": {"text": {"type": "string"}}, "required": ["text"]},
                ]
            },
        }
    )

    accepted: bool = Field(examples=[True])
    erp_document: Name | None = Field(
        default=None,
        validate_default=True,
        description="The document it was booked with; needed when accepted.",
        examples=["5000012345"],
    )
    erp_year: int | None = Field(default=None, ge=1900, le=9999, examples=[2026])
    code: Name | None = Field(
        default=None, description="Why it was rejected; this or `text` is needed then.", examples=["M7-021"]
    )
    text: Words | None = Field(default=None, validate_default=True, examples=["Period 02/2026 is closed"])

    @field_validator("erp_document")
    @classmethod
    def _booked_somewhere(cls, document: str | None, info: ValidationInfo) -> str | None:
        if document is None and info.data.get("accepted") is True:
            raise ValueError("an accepted posting needs the document that it was booked with")
        return document

    @field_validator("text")
    @classmethod
    def _rejected_for_a_reason(cls, text: str | None, info: ValidationInfo) -> str | None:
        # A code that is no code has its own error.
        if text is None and info.data.get("accepted") is False and info.data.get("code", "") is None:
            raise ValueError("a rejected posting needs a reason: `code` or `text`")
        return text


class AcknowledgementMessage(AcknowledgementBody):
    """As it comes on `erp.acknowledgements.v1`."""

    posting_id: UUID


def digest_of(body: object) -> bytes:
    """SHA-256 of a JSON value, whatever the order of its names and its blanks."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_plain)
    return hashlib.sha256(canonical.encode()).digest()


def _plain(value: object) -> str:
    # 4, 4.0 and 4.00 are one quantity; 28 digits are more than any limit here allows.
    return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)
