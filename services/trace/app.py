"""Trace, composed."""

from contracts.topics import TOPICS
from delivery import Service
from services.trace.api import router as batches
from services.trace.commands import close_recalls, lift_batches, open_recalls
from services.trace.handlers import remember
from services.trace.recall_api import router as recalls
from services.trace.rehearing import GRAPH
from services.trace.survey import SURVEY

service = Service(
    name="trace",
    about="Where every batch came from, where it went, and recalls that account for every unit of it.",
    package="services.trace",
    topics=TOPICS,
    hears=(remember,),
    does=(open_recalls, lift_batches, close_recalls),
    rebuilds=(GRAPH,),
    routers=(batches, recalls),
    survey=SURVEY,
    # What it remembers is read later, by people; goods and money do not wait for it.
    gathers=0.1,
)
