"""What the parts of the play share: who and what is there, and what the later parts must remember of the earlier."""

from dataclasses import dataclass, field

from deploy.local.play.erp import Erp
from deploy.local.play.input import Input
from deploy.local.play.mes import Mes
from deploy.local.play.people import People
from deploy.local.play.telling import Telling
from deploy.local.play.world import World

RECALLED = ("RM-10106-3248", "XF-26118")
"""The raw material that is recalled: item and batch number."""


@dataclass(slots=True)
class Scene:
    """The services, the outside world, the people, and the voice that tells.

    `demands` are the demand ids by reference. `held_batch` is held before anybody wants it, `refused_line` is the
    shipment line that did not pass the gate, `discarded` counts the parked messages that a person gave up.
    """

    world: World
    given: Input
    mes: Mes
    erp: Erp
    tell: Telling
    people: People = field(init=False)
    demands: dict[str, str] = field(default_factory=dict)
    held_batch: str = ""
    refused_line: str = ""
    recall_id: str = ""
    discarded: int = 0

    def __post_init__(self) -> None:
        self.people = People(self.world, self.given)
