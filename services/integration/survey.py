"""What integration tells its operators of its own tables, beside the metrics of the delivery layer."""

from prometheus_client import Gauge

from delivery import Survey
from services.integration.watches import OPEN_DIFFERENCES

SURVEY = Survey(
    query="""
        SELECT (SELECT count(*) FROM item_check WHERE NOT holds),
               (SELECT count(*) FROM unanswered_posting),
               (SELECT extract(epoch FROM clock_timestamp() - posted_at)
                FROM unanswered_posting JOIN posting USING (number) ORDER BY number LIMIT 1),
               (SELECT count(*) FROM acknowledgement WHERE NOT accepted)
               + (SELECT count(*) FROM acknowledgement WHERE NOT counts AND accepted),
               (SELECT count(*) FROM unvalued_movement),
               (SELECT count(*) FROM production_report WHERE status = 'waiting')
    """,
    gauges=(
        OPEN_DIFFERENCES,
        Gauge("integration_postings_unanswered", "Postings that the ERP has not answered.", registry=None),
        Gauge("integration_posting_age_seconds", "Age of the oldest such posting.", registry=None),
        Gauge(
            "integration_postings_contested",
            "Answers of the ERP that refuse a posting, or contradict an earlier answer.",
            registry=None,
        ),
        Gauge(
            "integration_movements_unvalued",
            "Movements that are posted without a value, since their cost is not known.",
            registry=None,
        ),
        Gauge("integration_reports_waiting", "Production reports that wait for one before them.", registry=None),
    ),
)
