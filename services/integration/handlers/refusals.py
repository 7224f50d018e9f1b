"""A rule's "no" as the answer of an HTTP call."""

from delivery import Answer, Refusal
from services.integration.domain.refused import Refused

CONFLICTS = frozenset(
    {
        "already_taken",
        "already_waiting",
        "base_unit_in_use",
        "corrects_replaced",
        "gtin_taken",
        "lot_closed",
        "lot_of_another_item",
        "lot_of_another_source",
        "message_differs",
        "reference_differs",
        "unit_in_use",
    }
)
"""What would be right at another time or with another name; everything else is not as it must be."""


def refusal(refused: Refused) -> Answer:
    """409 for a conflict with what is known, 422 for a message that breaks a rule by itself."""
    where = f"{refused.field}: " if refused.field else ""
    return Refusal(409 if refused.code in CONFLICTS else 422, refused.code, where + refused.detail, field=refused.field)
