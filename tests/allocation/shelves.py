"""Small shelves, and random ones."""

import datetime as dt
import uuid
from decimal import Decimal

from hypothesis import strategies as st

from contracts.values import Strategy
from services.allocation.domain.planning import Wanted
from services.allocation.domain.stock import Spot, Stock

TODAY = dt.date(2026, 3, 5)
SITE = "HRB-1"


def batch_id(batch_no: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, batch_no)


def batch(
    batch_no: str,
    *,
    free: object = 10,
    expires: str | None = "2026-09-01",
    made: str | None = None,
    received: str = "2026-01-10",
    at: str = "A-1",
    site: str = SITE,
    quality: str = "released",
    purpose: str = "storage",
    held_for: str = "",
    promised: object = 0,
) -> Stock:
    return Stock(
        spot=Spot(batch_id(batch_no), site, at, quality),
        batch_no=batch_no,
        purpose=purpose,
        quantity=Decimal(str(free)),
        received_on=dt.date.fromisoformat(received),
        expires_on=dt.date.fromisoformat(expires) if expires else None,
        manufactured_on=dt.date.fromisoformat(made) if made else None,
        held_for=held_for,
        promised=Decimal(str(promised)),
    )


def wanting(quantity: object, **wish: object) -> Wanted:
    return Wanted(**{"site_id": SITE, "quantity": Decimal(str(quantity)), "alive_on": TODAY, **wish})  # type: ignore[arg-type]


quantities = st.decimals(min_value="0.001", max_value=50, places=3)
days = st.integers(-20, 400).map(lambda number: TODAY + dt.timedelta(days=number))


@st.composite
def stocks(draw: st.DrawFn) -> Stock:
    number = draw(st.integers(0, 12))
    return Stock(
        spot=Spot(
            batch_id(f"B{number}"),
            draw(st.sampled_from([SITE, SITE, SITE, "SHA-1"])),
            draw(st.sampled_from(["A-1", "A-2", "B-1"])),
            draw(st.sampled_from(["released", "released", "released", "pending", "rejected"])),
        ),
        batch_no=f"B{number}",
        purpose=draw(st.sampled_from(["storage", "storage", "receiving", "staging"])),
        quantity=draw(quantities),
        received_on=draw(days),
        expires_on=draw(st.none() | days),
        manufactured_on=draw(st.none() | days.map(lambda day: day - dt.timedelta(days=100))),
        held_for=draw(st.sampled_from(["", "", "", "recall (glass)"])),
    )


shelves = st.lists(stocks(), max_size=25, unique_by=lambda stock: stock.spot)


@st.composite
def wishes(draw: st.DrawFn) -> Wanted:
    strategy = draw(st.sampled_from([Strategy.FEFO, Strategy.FIFO, Strategy.LIFO, Strategy.SPECIFIED]))
    return Wanted(
        site_id=SITE,
        quantity=draw(quantities),
        alive_on=TODAY + dt.timedelta(days=draw(st.sampled_from([0, 3, 90]))),
        strategy=strategy,
        batch_no=draw(st.sampled_from(["B0", "B1", "B2"])) if strategy is Strategy.SPECIFIED else None,
        min_days=draw(st.none() | st.integers(0, 200)),
        min_percent=draw(st.none() | st.integers(0, 100)),
        expiry_required=draw(st.booleans()),
    )
