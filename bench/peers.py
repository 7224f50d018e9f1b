"""What the same work took elsewhere, measured on 2026-11-22 on two virtual cores with durable commits.

Other machines give other figures: that is why our own bound is measured anew in each run, and these are only quoted.
"""

MEASURED_ON = "2026-11-22"

PEERS: dict[str, dict[str, float]] = {
    "W1": {"Odoo 19": 170, "InvenTree 1.5": 153, "ERPNext 15": 8.2},
    "W2": {"Odoo 19": 64, "InvenTree 1.5": 30, "ERPNext 15": 6.7},
    "W3": {"Odoo 19": 8.6, "InvenTree 1.5": 9.6, "ERPNext 15": 3.1},
    "W3-1-client": {"Odoo 19": 8.6, "InvenTree 1.5": 9.6, "ERPNext 15": 3.1},
    "W4-FIFO": {"Odoo 19": 10.3, "InvenTree 1.5": 3.4, "ERPNext 15": 8.2},
    "W4-FEFO": {"Odoo 19": 11.3, "InvenTree 1.5": 3.8, "ERPNext 15": 7.3},
    "W4-LIFO": {"Odoo 19": 10.6},
    "W4b": {"Odoo 19": 19},
    "W5": {"Odoo 19": 44, "InvenTree 1.5": 30},
    "W7-100": {"Odoo 19": 47, "InvenTree 1.5": 101, "ERPNext 15": 110},
    "W7-1000": {"Odoo 19": 109, "InvenTree 1.5": 162, "ERPNext 15": 206},
    "W7-10000": {"Odoo 19": 513, "InvenTree 1.5": 516},
    "W7-100-taken": {"InvenTree 1.5": 430},
    "W7-1000-taken": {"InvenTree 1.5": 3_300},
    "W7-10000-taken": {"InvenTree 1.5": 27_000},
    "W8-100": {"Odoo 19": 5, "InvenTree 1.5": 1.8, "ERPNext 15": 15},
    "W8-1000": {"Odoo 19": 26, "InvenTree 1.5": 6.4, "ERPNext 15": 86},
    "W8-10000": {"Odoo 19": 271},
    "W9": {"Odoo 19": 31},
    "W9-back": {"Odoo 19": 63},
    "R2-1": {"Odoo 19": 9.4},
    "R2-2": {"Odoo 19": 8.5, "InvenTree 1.5": 12.3, "ERPNext 15": 8.7},
    "R2-8": {"Odoo 19": 7.0, "InvenTree 1.5": 8.9, "ERPNext 15": 7.0},
    "R3": {"Odoo 19": 18.9},
}
"""By the id of our figure, in its unit: a rate or milliseconds at the median. Double bookings are counts of orders."""

DOUBLE_BOOKED = {"Odoo 19": "13 of 120 orders", "InvenTree 1.5": "7 of 60", "ERPNext 15": "16 of 40"}
"""What R2 found on the peers after clients had reserved the same item at once."""
