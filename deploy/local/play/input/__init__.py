"""What the demo plays with: small CSV files, read into plain values. Where their facts are from: `README.md`."""

import csv
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from contracts.gs1 import check_digit, element_string, parse_bracketed

FOLDER = Path(__file__).parent

UNIT_WORDS = {
    "KGM": "kg",
    "GRM": "g",
    "C62": "pieces",
    "XDR": "drums",
    "XBO": "bottles",
    "XPU": "trays",
    "XCS": "cases",
    "XCT": "cartons",
    "XPO": "pouches",
    "XBX": "boxes",
    "XCI": "canisters",
    "XVI": "vials",
}
"""How people call the units of the input, by their UN/ECE Rec 20 code."""


@dataclass(frozen=True, slots=True)
class Item:
    """What is stocked. `units` are exact: one of the unit is that many base units."""

    item_id: str
    ndc: str
    name: str
    kind: str
    base_unit: str
    label_unit: str
    units: dict[str, Fraction]
    shelf_life_days: int
    climate: str
    inspected: bool
    min_percent_at_receipt: int | None

    @property
    def gtin(self) -> str:
        """The 14-digit GTIN of the package: `003`, the ten digits of the NDC, and the check digit."""
        digits = self.ndc.replace("-", "")
        if len(digits) != 10:
            raise ValueError(f"NDC {self.ndc!r} has {len(digits)} digits: a GTIN is built from 10")
        return f"003{digits}{check_digit('003' + digits)}"

    def in_base_units(self, quantity: Decimal, unit: str) -> Decimal:
        """`quantity` of `unit` in base units, exactly."""
        exact = Fraction(quantity) * self.units.get(unit, Fraction(1))
        return Decimal(exact.numerator) / Decimal(exact.denominator)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a customer wants left; without an item, of any item."""

    item_id: str | None
    min_days: int | None
    min_percent: int | None


@dataclass(frozen=True, slots=True)
class Partner:
    """A supplier or a customer."""

    partner_id: str
    name: str
    role: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Zone:
    """An area of a site and its locations."""

    site_id: str
    zone_id: str
    name: str
    purpose: str
    climate: str
    locations: tuple[str, ...]
    capacity: Decimal | None


@dataclass(frozen=True, slots=True)
class Site:
    """A warehouse with its time zone (IANA name)."""

    site_id: str
    name: str
    time_zone: str
    zones: tuple[Zone, ...]


@dataclass(frozen=True, slots=True)
class Purchase:
    """A line that a supplier delivers: what its label says, and what a unit of it costs (CNY; None: not known yet)."""

    reference: str
    item: Item
    supplier_id: str
    batch_no: str
    made_on: dt.date
    expires_on: dt.date
    received_on: dt.date
    quantity: Decimal
    unit: str
    unit_cost: Decimal | None
    site_id: str
    tells: str

    @property
    def key(self) -> tuple[str, str]:
        """Item and batch number."""
        return self.item.item_id, self.batch_no


@dataclass(frozen=True, slots=True)
class Consumed:
    """A batch that goes into a produced one, in its base unit."""

    item: Item
    batch_no: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Produced:
    """A production report before it is put into the MES's words; the cost of labour and machines in CNY."""

    message_id: str
    work_order: str
    level: str
    item: Item
    batch_no: str
    sequence: int
    final: bool
    made_on: dt.date
    expires_on: dt.date
    quantity: Decimal
    unit: str
    conversion_cost: Decimal
    consumed: tuple[Consumed, ...]
    tells: str

    @property
    def key(self) -> tuple[str, str]:
        """Item and batch number."""
        return self.item.item_id, self.batch_no


@dataclass(frozen=True, slots=True)
class Wanted:
    """A demand, who raises it, and what becomes of it in the story."""

    reference: str
    customer_id: str
    site_id: str
    item: Item
    quantity: Decimal
    unit: str
    needed_on: dt.date
    strategy: str
    batch_no: str | None
    raised_by: str
    then: str


@dataclass(frozen=True, slots=True)
class Input:
    """All of it. Dates were counted from `today`."""

    today: dt.date
    items: dict[str, Item]
    partners: dict[str, Partner]
    sites: tuple[Site, ...]
    purchases: tuple[Purchase, ...]
    produced: tuple[Produced, ...]
    wanted: tuple[Wanted, ...]

    @property
    def summary(self) -> str:
        """How much it is, in one line."""
        batches = {one.key for one in self.purchases} | {one.key for one in self.produced}
        return (
            f"{len(self.items)} items, {len(batches)} batches, {len(self.wanted)} demands, "
            f"{len(self.partners)} partners, {len(self.sites)} sites"
        )

    def name_of(self, partner_id: str) -> str:
        """A partner's name; its code when it is unknown."""
        return self.partners[partner_id].name if partner_id in self.partners else partner_id


def read_input(today: dt.date, folder: Path = FOLDER) -> Input:
    """Read the CSV files of `folder`, counting their days from `today`.

    Raises:
        ValueError: a line that does not make sense; the text names file, line and value.
    """
    items = {item.item_id: item for item in map(_item, _lines(folder / "items.csv"))}
    rules: dict[str, list[Rule]] = {}
    for line in _lines(folder / "shelf_life_rules.csv"):
        rules.setdefault(line["partner_id"], []).append(
            Rule(line["item_id"] or None, _whole(line["min_days"]), _whole(line["min_percent"]))
        )
    zones: dict[str, list[Zone]] = {}
    for line in _lines(folder / "places.csv"):
        zones.setdefault(line["site_id"], []).append(_zone(line))
    return Input(
        today=today,
        items=items,
        partners={
            line["partner_id"]: Partner(
                line["partner_id"], line["name"], line["role"], tuple(rules.get(line["partner_id"], ()))
            )
            for line in _lines(folder / "partners.csv")
        },
        sites=tuple(
            Site(line["site_id"], line["name"], line["time_zone"], tuple(zones.get(line["site_id"], ())))
            for line in _lines(folder / "sites.csv")
        ),
        purchases=tuple(
            Purchase(
                reference=line["reference"],
                item=items[line["item_id"]],
                supplier_id=line["supplier_id"],
                batch_no=line["batch_no"],
                made_on=today - dt.timedelta(days=int(line["made_days_ago"])),
                expires_on=today + dt.timedelta(days=int(line["expires_in_days"])),
                received_on=today - dt.timedelta(days=int(line["received_days_ago"])),
                quantity=Decimal(line["quantity"]),
                unit=line["unit"],
                unit_cost=Decimal(line["unit_cost"]) if line["unit_cost"] else None,
                site_id=line["site_id"],
                tells=line["tells"],
            )
            for line in _lines(folder / "purchases.csv")
        ),
        produced=tuple(
            Produced(
                message_id=line["message_id"],
                work_order=line["work_order"],
                level=line["level"],
                item=items[line["item_id"]],
                batch_no=line["batch_no"],
                sequence=int(line["sequence"]),
                final=line["final"] == "yes",
                made_on=today - dt.timedelta(days=int(line["made_days_ago"])),
                expires_on=today + dt.timedelta(days=int(line["expires_in_days"])),
                quantity=Decimal(line["quantity"]),
                unit=line["unit"],
                conversion_cost=Decimal(line["conversion_cost"]),
                consumed=tuple(_consumed(part, items) for part in line["consumed"].split(";")),
                tells=line["tells"],
            )
            for line in _lines(folder / "production.csv")
        ),
        wanted=tuple(
            Wanted(
                reference=line["reference"],
                customer_id=line["customer_id"],
                site_id=line["site_id"],
                item=items[line["item_id"]],
                quantity=Decimal(line["quantity"]),
                unit=line["unit"],
                needed_on=today + dt.timedelta(days=int(line["needed_in_days"])),
                strategy=line["strategy"],
                batch_no=line["batch_no"] or None,
                raised_by=line["raised_by"],
                then=line["then"],
            )
            for line in _lines(folder / "demands.csv")
        ),
    )


def label(item: Item, batch_no: str, *, made_on: dt.date | None = None, expires_on: dt.date | None = None) -> str:
    """What a scanner reads from the GS1 symbol of a package: GTIN, dates and batch number as an element string."""
    typed = f"(01){item.gtin}"
    if made_on is not None:
        typed += f"(11){made_on:%y%m%d}"
    if expires_on is not None:
        typed += f"(17){expires_on:%y%m%d}"
    return element_string(parse_bracketed(f"{typed}(10){batch_no}"))


def _lines(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(csv.DictReader(file, strict=True), start=2):
            if None in line or None in line.values():
                raise ValueError(f"{path.name} line {number}: has not as many columns as the first line")
            yield line


def _whole(text: str) -> int | None:
    return int(text) if text else None


def _item(line: dict[str, str]) -> Item:
    units = (part.partition("=") for part in line["units"].split(";") if part)
    return Item(
        item_id=line["item_id"],
        ndc=line["ndc"],
        name=line["name"],
        kind=line["kind"],
        base_unit=line["base_unit"],
        label_unit=line["label_unit"],
        units={unit: Fraction(factor) for unit, _, factor in units},
        shelf_life_days=int(line["shelf_life_days"]),
        climate=line["climate"],
        inspected=line["inspection"] == "yes",
        min_percent_at_receipt=_whole(line["min_percent_at_receipt"]),
    )


def _zone(line: dict[str, str]) -> Zone:
    count = int(line["count"])
    name = line["locations"]
    return Zone(
        site_id=line["site_id"],
        zone_id=line["zone_id"],
        name=line["name"],
        purpose=line["purpose"],
        climate=line["climate"],
        locations=(name,) if count == 1 else tuple(f"{name}{number:02}" for number in range(1, count + 1)),
        capacity=Decimal(line["capacity"]) if line["capacity"] else None,
    )


def _consumed(part: str, items: dict[str, Item]) -> Consumed:
    batch, _, quantity = part.partition("=")
    item_id, _, batch_no = batch.partition("/")
    return Consumed(items[item_id], batch_no, Decimal(quantity))
