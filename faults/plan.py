"""What will be done and what will go wrong, drawn from a seed before anything runs.

The same seed gives the same deeds in the same order for each actor, and the same faults at the same seconds. What the
services answer, and when, is not in it: how far each actor comes is up to the machine.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from deploy.local.play.input import Item, Partner, Site, Zone
from deploy.local.processes import SERVICES

SITE = "SZ1"
"""Where most happens, and whose midnight falls into the middle of a run."""

FAR_SITE = "RT1"
CUSTOMERS = ("CU-NORTH", "CU-SOUTH", "CU-EAST")
SUPPLIERS = ("SU-ALDER", "SU-BIRCH")

Manner = Literal["once", "again", "twice"]
MANNERS: tuple[Manner, ...] = ("once", "again", "twice")
Then = Literal["transfer", "hold", "count", "adjust", "reverse", "status"]

_BINS = 90


def _item(kind: str, number: int, *, inspected: bool) -> Item:
    raw = kind == "RM"
    return Item(
        item_id=f"{kind}-{number:02}",
        ndc=f"{'2' if raw else '3'}{number:04}-0001-1",
        name=f"{'Material' if raw else 'Product'} {number}",
        kind="raw" if raw else "finished",
        base_unit="KGM" if raw else "C62",
        label_unit="XDR" if raw else "XCT",
        units={"XDR": Fraction(25)} if raw else {"XCT": Fraction(12)},
        shelf_life_days=730,
        climate="ambient",
        inspected=inspected,
        min_percent_at_receipt=None,
    )


ITEMS = {
    item.item_id: item
    for item in (
        *(_item("RM", number, inspected=number != 3) for number in range(1, 4)),
        *(_item("FG", number, inspected=number != 4) for number in range(1, 6)),
    )
}
RAW = tuple(item for item in ITEMS.values() if item.kind == "raw")
GOODS = tuple(item for item in ITEMS.values() if item.kind == "finished")

PARTNERS = {
    **{name: Partner(name, f"Supplier {name}", "supplier", ()) for name in SUPPLIERS},
    **{name: Partner(name, f"Customer {name}", "customer", ()) for name in CUSTOMERS},
}


def _site(site_id: str, time_zone: str) -> Site:
    def zone(zone_id: str, purpose: str, *locations: str) -> Zone:
        return Zone(site_id, zone_id, zone_id.title(), purpose, "ambient", locations, None)

    return Site(
        site_id,
        f"Warehouse {site_id}",
        time_zone,
        (
            zone("DOCK", "receiving", "DOCK"),
            zone("QUAR", "quarantine", *(f"Q-{number:03}" for number in range(20))),
            zone("RACK", "storage", *(f"A-{number:03}" for number in range(_BINS))),
            zone("REJ", "rejected", *(f"R-{number:03}" for number in range(10))),
            zone("STAGE", "staging", "STAGE"),
        ),
    )


SITES = (_site(SITE, "Asia/Shanghai"), _site(FAR_SITE, "Europe/Amsterdam"))


@dataclass(frozen=True, slots=True)
class Delivery:
    """Goods from a supplier, and what becomes of them. Days are counted from today; `quantity` is in `unit`.

    `expires_in` of 0 ends at the midnight of the run. `rejected` is the share that inspection rejects.
    """

    item: Item
    batch_no: str
    site_id: str
    supplier_id: str
    reference: str
    announced: bool
    made_ago: int
    expires_in: int
    quantity: Decimal
    unit: str
    unit_cost: Decimal | None
    rejected: Decimal
    manner: Manner
    then: tuple[Then, ...]
    pause: float


@dataclass(frozen=True, slots=True)
class Order:
    """A demand in the base unit, how it is raised, and what becomes of it."""

    reference: str
    item: Item
    site_id: str
    customer_id: str
    quantity: Decimal
    needed_in: int
    strategy: str
    by_erp: bool
    said_twice: bool
    wrong_scan: bool
    fate: str
    manner: Manner
    pause: float


@dataclass(frozen=True, slots=True)
class Production:
    """A lot of a product, reported in some pieces; `swapped`: the pieces come in the wrong order."""

    item: Item
    batch_no: str
    work_order: str
    pieces: tuple[Decimal, ...]
    consumed: Decimal
    swapped: bool
    said_twice: bool
    expires_in: int
    manner: Manner
    pause: float


@dataclass(frozen=True, slots=True)
class Care:
    """Something that quality or the catalog's owner does to whatever is there."""

    what: Literal["hold", "recall", "item", "malformed", "repeat"]
    draw: float
    keep: bool
    manner: Manner
    pause: float


def rng_of(seed: int, actor: str) -> random.Random:
    """The dice of one actor: nobody else's throws change them."""
    return random.Random(f"{seed}/{actor}")


def _manner(dice: random.Random) -> Manner:
    return dice.choices(MANNERS, (80, 12, 8))[0]


def deliveries(seed: int, actor: str) -> Iterator[Delivery]:
    """Without end."""
    dice = rng_of(seed, actor)
    number = 0
    while True:
        number += 1
        item = dice.choice((*ITEMS.values(), *RAW))
        in_base = dice.random() < 0.3
        yield Delivery(
            item=item,
            batch_no=f"{actor[:2].upper()}{actor[-1]}{number:05}",
            site_id=SITE if dice.random() < 0.85 else FAR_SITE,
            supplier_id=dice.choice(SUPPLIERS),
            reference=f"PO-{actor}-{number}",
            announced=dice.random() < 0.5,
            made_ago=dice.randint(1, 90),
            expires_in=0 if dice.random() < 0.2 else -2 if dice.random() < 0.04 else dice.randint(20, 600),
            quantity=Decimal(dice.randint(40, 900) if in_base else dice.randint(4, 60)),
            unit=item.base_unit if in_base else item.label_unit,
            unit_cost=None if dice.random() < 0.15 else Decimal(dice.randint(100, 99_999)) / 100,
            rejected=Decimal(dice.choice((0, 0, 0, 0, 10, 100))) / 100,
            manner=_manner(dice),
            then=tuple(
                dice.choices(("transfer", "hold", "count", "adjust", "reverse", "status"), k=dice.choice((0, 1, 1, 2)))
            ),
            pause=dice.uniform(0, 0.6),
        )


def orders(seed: int, actor: str) -> Iterator[Order]:
    """Without end."""
    dice = rng_of(seed, actor)
    number = 0
    while True:
        number += 1
        yield Order(
            reference=f"SO-{actor}-{number}/10",
            item=dice.choice(GOODS),
            site_id=SITE if dice.random() < 0.9 else FAR_SITE,
            customer_id=dice.choice(CUSTOMERS),
            quantity=Decimal(dice.randint(1, 60)),
            needed_in=dice.randint(1, 30),
            strategy=dice.choice(("fefo", "fefo", "fifo", "lifo")),
            by_erp=dice.random() < 0.4,
            said_twice=dice.random() < 0.2,
            wrong_scan=dice.random() < 0.15,
            fate=dice.choices(("ship", "pick", "cancel", "leave"), (70, 6, 14, 10))[0],
            manner=_manner(dice),
            pause=dice.uniform(0, 0.5),
        )


def productions(seed: int, actor: str) -> Iterator[Production]:
    """Without end."""
    dice = rng_of(seed, actor)
    number = 0
    while True:
        number += 1
        pieces = tuple(Decimal(12 * dice.randint(2, 20)) for _ in range(dice.choice((1, 1, 2))))
        yield Production(
            item=dice.choice(GOODS),
            batch_no=f"P{actor[-1]}{number:05}",
            work_order=f"WO-{actor}-{number}",
            pieces=pieces,
            consumed=Decimal(dice.randint(1, 30)) / 4,
            swapped=len(pieces) > 1 and dice.random() < 0.5,
            said_twice=dice.random() < 0.25,
            expires_in=dice.randint(100, 700),
            manner=_manner(dice),
            pause=dice.uniform(0.2, 1.2),
        )


def cares(seed: int, actor: str, what: Sequence[str], pause: tuple[float, float]) -> Iterator[Care]:
    """Without end: one of `what` after the other, at random."""
    dice = rng_of(seed, actor)
    while True:
        yield Care(
            what=dice.choice(what),  # type: ignore[arg-type]
            draw=dice.random(),
            keep=dice.random() < 0.3,
            manner=_manner(dice),
            pause=dice.uniform(*pause),
        )


FaultKind = Literal[
    "kill", "freeze", "restart", "replica", "broker kill", "broker freeze",
    "database cut", "database kill", "database freeze", "line cut", "line slow",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, `at` seconds after the load began, for `seconds`; `service` where it strikes one."""

    at: float
    kind: FaultKind
    seconds: float
    service: str = ""


@dataclass(frozen=True, slots=True)
class Toll:
    """How many of each fault there are in a run."""

    kills: int = 215
    freezes: int = 12
    restarts: int = 10
    replicas: int = 10
    broker_kills: int = 6
    broker_freezes: int = 3
    database_cuts: int = 10
    database_kills: int = 6
    database_freezes: int = 3
    line_cuts: int = 15
    line_slows: int = 8

    def only(self, kinds: Collection[str]) -> "Toll":
        """Nothing but these, by their names here."""
        return Toll(*(getattr(self, name) if name in kinds else 0 for name in self.__dataclass_fields__))

    def scaled(self, by: float) -> "Toll":
        """As many for a run `by` times as long; at least one of each."""
        return Toll(*(max(1, round(getattr(self, name) * by)) for name in self.__dataclass_fields__))


BEYOND_SESSION = 8.0
"""Seconds: a consumer that was silent for so long has lost its partitions (SESSION_TIMEOUT_MS is 6,000 in a run)."""


_PERIOD = 30.0
"""Seconds of a storm of kills and the calm behind it."""


def _stormy(at: float) -> float:
    """Three of four kills fall into the first third of each half minute: in the calm behind them work gets done."""
    begins, within = divmod(at, _PERIOD)
    part = within / _PERIOD
    warped = part / 0.75 * 0.35 if part < 0.75 else 0.35 + (part - 0.75) / 0.25 * 0.65
    return (begins + warped) * _PERIOD


def faults(seed: int, seconds: float, toll: Toll) -> list[Fault]:
    """The faults of a run in the order of their time. The last seconds are left to those that take long."""
    dice = rng_of(seed, "faults")
    long, short = max(1.0, seconds - 15), max(1.0, seconds - 4)

    def spread(count: int, until: float) -> list[float]:
        # One in each slice of the run, anywhere in it: as many as asked for, and still together now and then.
        return [(slot + dice.random()) * until / count for slot in range(count)]

    def services(count: int) -> list[str]:
        drawn = [name for _ in range(count // len(SERVICES) + 1) for name in dice.sample(SERVICES, len(SERVICES))]
        return drawn[:count]

    found: list[Fault] = []

    def add(kind: FaultKind, count: int, until: float, lasting: tuple[float, float], *, service: bool) -> None:
        names = services(count) if service else [""] * count
        found.extend(
            Fault(at, kind, dice.uniform(*lasting), name) for at, name in zip(spread(count, until), names, strict=True)
        )

    add("kill", toll.kills, short, (0.0, 0.8), service=True)
    found = [replace(kill, at=_stormy(kill.at)) for kill in found]
    add("freeze", toll.freezes, long, (BEYOND_SESSION, BEYOND_SESSION + 2), service=True)
    # Behind every second frozen one stands another, who takes its partitions over; then the first one wakes.
    found.extend(
        Fault(max(0.0, frozen.at - 6), "replica", frozen.seconds + 12, frozen.service)
        for frozen in found[-toll.freezes :: 2]
        if frozen.kind == "freeze"
    )
    add("restart", toll.restarts, short, (0.0, 0.3), service=True)
    add("replica", toll.replicas, long, (6.0, 20.0), service=True)
    add("broker kill", toll.broker_kills, long, (0.0, 2.0), service=False)
    add("broker freeze", toll.broker_freezes, long, (1.0, 6.0), service=False)
    add("database cut", toll.database_cuts, short, (0.0, 0.0), service=True)
    add("database kill", toll.database_kills, long, (0.0, 2.0), service=False)
    add("database freeze", toll.database_freezes, long, (1.0, 6.0), service=False)
    add("line cut", toll.line_cuts, short, (0.0, 1.5), service=True)
    add("line slow", toll.line_slows, long, (2.0, 8.0), service=True)
    return sorted(found, key=lambda fault: fault.at)
