"""What allocation tells its operators of its own tables, beside the metrics of the delivery layer."""

from prometheus_client import Gauge

from delivery import Survey

SURVEY = Survey(
    query="""
        SELECT count(*), extract(epoch FROM clock_timestamp() - min(raised_at))
        FROM demand WHERE missing > 0 AND cancelled_at IS NULL
    """,
    gauges=(
        Gauge(
            "allocation_demands_short",
            "Demands of which something is promised to nobody: they wait for stock.",
            registry=None,
        ),
        Gauge("allocation_shortage_age_seconds", "How long ago the first of them was raised.", registry=None),
    ),
)
