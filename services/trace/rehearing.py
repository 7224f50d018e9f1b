"""Everything that trace knows from others can be heard again. Recalls cannot: they are trace's own decisions."""

from collections.abc import Sequence

from contracts.event import Event
from delivery import Announcements, Derived, Rehear, Work, hears
from services.trace.handlers import HEARD, remember_facts

_SPOT = ("batch_id", "kind", "site_id", "location_id", "partner_id", "quality")


@hears(*HEARD)
async def hear_again(work: Work, events: Sequence[Event]) -> Announcements:
    """As `remember`, but open recalls: those have learnt of it when it was heard first."""
    await remember_facts(work, events)
    return []


GRAPH = Rehear(
    "graph",
    "all topics",
    tables=(
        Derived("item", ("item_id",)),
        Derived("partner", ("partner_id",)),
        Derived("batch", ("batch_id",)),
        Derived("report", ("report_id",)),
        Derived("link", ("report_id", "line_no")),
        Derived("receipt", ("receipt_id", "line_no")),
        Derived("movement", ("movement_id",)),
        Derived("custody", _SPOT),
        Derived("hold", ("hold_id",)),
        Derived("promise", ("reservation_id",)),
        Derived("revocation", ("reservation_id", "revoked_at")),
        Derived("pick", ("pick_id",)),
        Derived("dispatch", ("line_id",)),
        Derived("refusal", ("line_id",)),
        # What trace said itself has no event: it does not listen to its own topic.
        Derived("timeline", ("subject", "event_id", "sentence"), but=("id",), rows="event_id IS NOT NULL"),
    ),
    hears=(hear_again,),
)
