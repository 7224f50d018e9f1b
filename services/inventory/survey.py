"""What inventory tells its operators of its own tables, beside the metrics of the delivery layer."""

from prometheus_client import Gauge

from delivery import Survey
from services.inventory.checker import OPEN_DIFFERENCES

SURVEY = Survey(
    query="""
        SELECT (SELECT count(*) FROM ledger_difference WHERE settled_at IS NULL),
               (SELECT count(*)
                FROM site
                CROSS JOIN LATERAL (
                    SELECT FROM batch_at_site
                    WHERE batch_at_site.site_id = site.site_id
                      AND state IN ('watched', 'near')
                      AND expires_on < (clock_timestamp() AT TIME ZONE site.time_zone)::date
                ) AS overdue),
               (SELECT count(*) FROM owed_consumption WHERE quantity > 0)
    """,
    gauges=(
        OPEN_DIFFERENCES,
        Gauge(
            "inventory_expired_unlocked",
            "Batches at sites that are past their last day there and not locked yet.",
            registry=None,
        ),
        Gauge(
            "inventory_consumption_owed", "Consumptions that wait until their goods are in the books.", registry=None
        ),
    ),
)
