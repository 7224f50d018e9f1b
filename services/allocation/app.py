"""Allocation, composed."""

from contracts.topics import TOPICS
from delivery import Service
from services.allocation.api import router
from services.allocation.commands import (
    cancel_demands,
    dispatch_shipments,
    make_shipments,
    raise_demands,
    replan_demands,
    scan_picks,
)
from services.allocation.handlers import (
    follow_stock,
    learn_customers,
    learn_items,
    promise_stock,
    withdraw_demands,
)

service = Service(
    name="allocation",
    about="Decides which batch leaves for whom: demands, explained promises, picks and shipments.",
    package="services.allocation",
    topics=TOPICS,
    hears=(promise_stock, withdraw_demands, follow_stock, learn_items, learn_customers),
    does=(raise_demands, cancel_demands, replan_demands, scan_picks, make_shipments, dispatch_shipments),
    routers=(router,),
)
