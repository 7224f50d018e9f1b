"""What trace tells its operators of its own tables, beside the metrics of the delivery layer."""

from prometheus_client import Gauge

from delivery import Survey

SURVEY = Survey(
    query="""
        WITH scope AS (
            SELECT recall_batch.*
            FROM recall JOIN recall_batch USING (recall_id)
            WHERE recall.closed_at IS NULL AND NOT recall.drill AND recall_batch.lifted_at IS NULL
        )
        SELECT (SELECT count(*) FROM recall WHERE closed_at IS NULL AND NOT drill),
               count(*) FILTER (WHERE node = name_id AND NOT ruled_out_by_time),
               count(*) FILTER (WHERE unheld),
               extract(epoch FROM clock_timestamp() - min(said_at) FILTER (WHERE unheld))
        FROM (SELECT node, name_id, ruled_out_by_time, said_at,
                     said_at IS NOT NULL AND NOT EXISTS (
                         SELECT FROM hold WHERE hold.batch_id = scope.node AND hold.reference = scope.recall_id::text
                     ) AS unheld
              FROM scope) AS each
    """,
    gauges=(
        Gauge("trace_recalls_open", "Recalls, without drills, that are not closed.", registry=None),
        Gauge(
            "trace_recall_batches_unregistered",
            "Batches of open recalls that production named and receiving has not registered.",
            registry=None,
        ),
        Gauge(
            "trace_recall_batches_unheld",
            "Batches of open recalls, said to be recalled, on which inventory has no hold yet.",
            registry=None,
        ),
        Gauge(
            "trace_recall_unheld_age_seconds", "How long ago the first of them was said to be recalled.", registry=None
        ),
    ),
)
