"""The main job in nine steps, told while it happens. Everything goes through the public HTTP and the public topics."""

from collections.abc import Callable

from deploy.local.play.afterwards import postings, recall, traces
from deploy.local.play.arriving import inspections, production_reports, put_aways, scans_at_the_dock, set_the_stage
from deploy.local.play.leaving import demands_and_promises, picks_and_shipments
from deploy.local.play.scene import Scene

PARTS = (
    ("The stage: a catalog, two sites, what is in stock", set_the_stage),
    ("The MES reports what was made, and from what", production_reports),
    ("An operator scans labels at the dock", scans_at_the_dock),
    ("Goods are put where every rule allows it", put_aways),
    ("An inspector decides and signs", inspections),
    ("Demands get the right batches, or hear what is short and why", demands_and_promises),
    ("Picks are scanned, shipments ask at the gate", picks_and_shipments),
    ("Where it came from, where it went", traces),
    ("Every movement is valued and posted to the ERP once", postings),
    ("Quality recalls a raw material", recall),
)
"""The parts in their order; the first is the stage, the others are the nine steps of the main job."""


async def play(scene: Scene, *, entering: Callable[[int], object] | None = None) -> None:
    """All parts; `entering` is told the number of each before it begins.

    Raises:
        StepFailed: a part did not come true.
    """
    for number, (title, part) in enumerate(PARTS):
        scene.world.step = f"{number}. {title}"
        scene.tell.step(number, title)
        if entering is not None:
            entering(number)
        await part(scene)
