"""What receiving tells its operators of its own tables, beside the metrics of the delivery layer."""

from prometheus_client import Gauge

from delivery import Survey

SURVEY = Survey(
    query="""
        SELECT conflict.open, conflict.age, pending.due, pending.age
        FROM (SELECT count(*) AS open, extract(epoch FROM clock_timestamp() - min(found_at)) AS age
              FROM conflict WHERE decision IS NULL) AS conflict,
             (SELECT count(*) AS due, extract(epoch FROM clock_timestamp() - min(since)) AS age
              FROM pending_stock WHERE decided < received) AS pending
    """,
    gauges=(
        Gauge("receiving_conflicts_open", "Labels that contradict the record and wait for a person.", registry=None),
        Gauge("receiving_conflict_age_seconds", "Age of the oldest such label.", registry=None),
        Gauge("receiving_inspections_due", "Batches at sites of which something waits for inspection.", registry=None),
        Gauge("receiving_inspection_age_seconds", "How long the first of them waits.", registry=None),
    ),
)
