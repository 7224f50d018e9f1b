"""Inventory, composed."""

from contracts.topics import TOPICS
from delivery import Refold, Service, Watch
from services.inventory.api import router
from services.inventory.building import change_building
from services.inventory.checker import OPEN_DIFFERENCES, check_now, check_slice
from services.inventory.commands import change_stock
from services.inventory.handlers import (
    book_consumption,
    book_picks,
    book_receipts,
    change_quality,
    correct_dates,
    follow_recalls,
    learn_items,
    open_the_gate,
)
from services.inventory.refolding import fold_again, next_items
from services.inventory.rehearing import CATALOG
from services.inventory.remembering import CANNOT_KNOW, take_up, take_up_sites
from services.inventory.settings import InventorySettings, inventory_settings
from services.inventory.survey import SURVEY
from services.inventory.watches import watch_expiry, watch_sites

SITES_SECONDS = 5
"""Between two looks for sites that are to be told of."""

service = Service(
    name="inventory",
    about="The stock of every batch, exact at every place and time: an append-only ledger, holds, and the gate.",
    package="services.inventory",
    topics=TOPICS,
    hears=(
        learn_items,
        book_receipts,
        change_quality,
        correct_dates,
        book_picks,
        open_the_gate,
        book_consumption,
        follow_recalls,
    ),
    does=(change_stock, change_building, check_now),
    routers=(router,),
    takes_up=(take_up, take_up_sites),
    cannot_know=CANNOT_KNOW,
    rebuilds=(Refold("balances", "the ledger", next_items, fold_again), CATALOG),
    watches=(
        Watch("expiry", lambda: inventory_settings().expiry_watch_seconds, watch_expiry),
        Watch("sites", lambda: SITES_SECONDS, watch_sites),
        Watch("checker", lambda: inventory_settings().checker_seconds, check_slice),
    ),
    settings=(InventorySettings,),
    metrics=(OPEN_DIFFERENCES,),
    survey=SURVEY,
)
