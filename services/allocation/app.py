"""Allocation, composed."""

from contracts.topics import TOPICS
from delivery import Service
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
)
