"""The catalog and what is expected, heard again. How much of it has come is receiving's own."""

from delivery import Connection, Derived, Rehear
from services.receiving.handlers import define_items, define_partners, expect_receipts
from services.receiving.store import ReceivingStore


async def count_what_came(db: Connection) -> None:
    """What has come of each expectation, by the lines that were received here."""
    await ReceivingStore(db).count_received_again()


ANNOUNCEMENTS = Rehear(
    "announcements",
    "integration's topics",
    tables=(
        Derived("item", ("item_id",)),
        Derived("item_unit", ("item_id", "unit")),
        Derived("item_gtin", ("gtin", "item_id")),
        Derived("partner", ("partner_id",)),
        Derived("expected_receipt", ("expected_receipt_id",)),
    ),
    hears=(define_items, define_partners, expect_receipts),
    finish=count_what_came,
)
