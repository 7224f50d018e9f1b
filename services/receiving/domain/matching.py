"""Which announcement goods mean that came without naming one."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from services.receiving.domain.claims import Claim
from services.receiving.domain.expected import Expected, ExpectedStatus, progress
from services.receiving.domain.items import Item, in_base_units
from services.receiving.domain.reasons import Reason

MOST_NAMED = 10
"""Expected receipts that an answer lists."""


def fits(expected: Expected, claim: Claim, site_id: str) -> bool:
    """Whether the goods are of the kind announced: origin, item, site, and the partner and batch that it names."""
    return (
        expected.status in (ExpectedStatus.OPEN, ExpectedStatus.PARTLY)
        and (expected.origin, expected.item_id, expected.site_id) == (claim.origin, claim.item_id, site_id)
        and expected.partner_id in (None, claim.supplier_id)
        and expected.batch_no in (None, claim.batch_no)
    )


def matched(
    claim: Claim,
    item: Item | None,
    opened: Sequence[Expected],
    *,
    site_id: str,
    reference: str | None,
    over_percent: Decimal,
) -> Claim:
    """A claim that names no expected receipt, against the only one of `opened` that fits and has enough left.

    Of several, the only one with the receipt's `reference` is meant; else none is taken and all are named. A match says
    what the goods count for and cost. It adds no fact to the batch: nobody said that it is the one announced.
    """
    if item is None or claim.quantity is None or claim.unit is None:
        return claim
    quantity = in_base_units(claim.quantity, claim.unit, item)
    if isinstance(quantity, Reason):
        return claim
    fitting = [
        expected
        for expected in opened
        if fits(expected, claim, site_id) and not isinstance(progress(expected, quantity, item, over_percent), Reason)
    ]
    if len(fitting) > 1 and reference is not None:
        of_reference = [expected for expected in fitting if expected.reference == reference]
        fitting = of_reference if len(of_reference) == 1 else fitting
    match fitting:
        case []:
            return claim
        case [only]:
            note = Reason("matched_expectation", f"counts for expected receipt {_named(only)}, the only one that fits")
            return replace(claim, expected=only, notes=(*claim.notes, note))
        case _:
            names = ", ".join(_named(expected) for expected in fitting[:MOST_NAMED])
            more = f" and {len(fitting) - MOST_NAMED} more" if len(fitting) > MOST_NAMED else ""
            says = (
                f"counts for none of the {len(fitting)} expected receipts that fit, so its cost is not known: {names}"
                f"{more}; name the right one as expected_receipt_id"
            )
            return replace(claim, notes=(*claim.notes, Reason("several_expectations", says)))


def _named(expected: Expected) -> str:
    reference = f"{expected.reference}, " if expected.reference else ""
    return f"{expected.expected_receipt_id} ({reference}due on {expected.due_on})"
