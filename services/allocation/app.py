"""Allocation, composed."""

from contracts.topics import TOPICS
from delivery import Service
from services.allocation.api import router
from services.allocation.commands import (
    cancel_demands,
    raise_demands,
    replan_demands,
)
from services.allocation.handlers import (
    follow_stock,
    learn_customers,
    learn_items,
    learn_sites,
    promise_stock,
    withdraw_demands,
)
from services.allocation.picking import scan_picks
from services.allocation.rehearing import SHELF
from services.allocation.shipping import dispatch_shipments, make_shipments
from services.allocation.survey import SURVEY

service = Service(
    name="allocation",
    about="Decides which batch leaves for whom: demands, explained promises, picks and shipments.",
    package="services.allocation",
    topics=TOPICS,
    hears=(promise_stock, withdraw_demands, follow_stock, learn_items, learn_customers, learn_sites),
    does=(raise_demands, cancel_demands, replan_demands, scan_picks, make_shipments, dispatch_shipments),
    rebuilds=(SHELF,),
    routers=(router,),
    survey=SURVEY,
    # The ledger is followed in fewer, larger chunks; a demand that comes by message meanwhile waits so long at most.
    gathers=0.06,
    side_by_side=2,
)
