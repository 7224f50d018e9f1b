"""A service that knows no warehouse word, to show what the delivery layer promises: it counts what it hears."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from delivery import Announcements, Answer, Desk, NeverWorks, Said, Service, Work, columns, desk, does, hears, main


class _Fact(BaseModel):
    event_type: ClassVar[str] = ""

    name: str
    n: int

    @property
    def key(self) -> str:
        return self.name

    @classmethod
    def read(cls, body: bytes) -> "_Fact":
        return cls.model_validate_json(body)

    def write(self) -> bytes:
        return self.model_dump_json().encode()


class Rung(_Fact):
    """The bell `name` rang for the `n`th time."""

    event_type: ClassVar[str] = "bells.Rung"


class Counted(_Fact):
    """`name` was counted."""

    event_type: ClassVar[str] = "toy.Counted"


@dataclass(frozen=True)
class ToyTopic:
    name: str
    events: tuple[type[_Fact], ...]
    compacted: bool = False
    foreign: bool = False


RUNGS = ToyTopic("bells.rungs.v1", (Rung,))
COUNTS = ToyTopic("toy.counts.v1", (Counted,))
TOPICS = (RUNGS, COUNTS)


class Ring(BaseModel):
    """Ring a bell by HTTP."""

    name: str = Field(min_length=1, max_length=20)
    n: int


failures: dict[str, list[Exception]] = {}
"""What the handler raises when it meets a name, each once."""


async def _count(work: Work, rungs: Sequence[Rung | Ring]) -> None:
    for rung in rungs:
        if failures.get(rung.name):
            raise failures[rung.name].pop(0)
        if rung.name.startswith("never"):
            raise NeverWorks(f"{rung.name!r} is not a bell")
        if rung.name.startswith("bug"):
            raise ZeroDivisionError(rung.name)
    await work.db.execute(
        """
        INSERT INTO counted (name, total, seen)
        SELECT name, count(*), array_agg(n ORDER BY i)
        FROM unnest($1::text[], $2::bigint[], $3::int[]) AS r (name, n, i)
        GROUP BY name
        ON CONFLICT (name) DO UPDATE SET total = counted.total + excluded.total, seen = counted.seen || excluded.seen
        """,
        *columns(((rung.name, rung.n, i) for i, rung in enumerate(rungs)), 3),
    )


@hears(Rung)
async def count(work: Work, rungs: Sequence[Rung]) -> Announcements:
    await _count(work, rungs)
    return [Said(Counted(name=rung.name, n=rung.n), because=rung) for rung in rungs]


@does(Ring)
async def ring(work: Work, rings: Sequence[Ring]) -> Sequence[Answer]:
    await work.lock(each.name for each in rings)
    await _count(work, rings)
    return [Answer({"name": each.name, "n": each.n}, 201, [Counted(name=each.name, n=each.n)]) for each in rings]


router = APIRouter()


@router.post("/rings", status_code=201)
async def post_ring(body: Ring, at: Annotated[Desk, Depends(desk("operator"))]) -> Response:
    """Ring."""
    return await at.do(body, keys=[body.name])


service = Service(
    name="toy",
    about="Counts bells.",
    package="tests.delivery.toy",
    topics=TOPICS,
    hears=(count,),
    does=(ring,),
    routers=(router,),
)

if __name__ == "__main__":
    raise SystemExit(main(service))
