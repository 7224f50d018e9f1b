"""Where every unit of a batch is: movements folded into places, and the account that must come out at zero."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from contracts.values import PlaceKind
from contracts.values import plain as without_exponent

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Spot:
    """One end of a movement as stock is counted there; an outside place has no site, or a partner, or neither."""

    kind: PlaceKind
    site_id: str = ""
    location_id: str = ""
    partner_id: str = ""
    quality: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A quantity (> 0, base unit) of a batch went from one spot to another. `undoes`: it reverses an earlier step."""

    quantity: Decimal
    source: Spot
    target: Spot
    undoes: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """What came to a spot and what went from it, ever; what is there is the difference.

    Both are needed: production gives batches and takes them, and a sum of both says neither.
    """

    came: Decimal = NOTHING
    went: Decimal = NOTHING

    @property
    def there(self) -> Decimal:
        """What is at the spot now; below zero where goods come from (suppliers, production)."""
        return self.came - self.went

    def __add__(self, other: "Flow") -> "Flow":
        return Flow(self.came + other.came, self.went + other.went)


def flows_of(steps: Iterable[Step]) -> dict[Spot, Flow]:
    """Fold steps into spots. A reversal takes back what came and went, it is not a new arrival."""
    flows: dict[Spot, Flow] = defaultdict(Flow)
    for step in steps:
        if step.undoes:
            flows[step.source] += Flow(came=-step.quantity)
            flows[step.target] += Flow(went=-step.quantity)
        else:
            flows[step.source] += Flow(went=step.quantity)
            flows[step.target] += Flow(came=step.quantity)
    return dict(flows)


@dataclass(frozen=True, slots=True)
class Claims:
    """What others than the ledger say about a batch, to hold the ledger against (base unit; None: they say nothing).

    `produced`: by production reports that stand. `received`: counted at the dock, returns apart. `consumed`: by the
    production reports of what was made from it.
    """

    produced: Decimal | None = None
    received: Decimal | None = None
    consumed: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """Two sources that do not agree, by how much, in words. `quantity` is signed: what the first has more."""

    code: str
    quantity: Decimal
    text: str


@dataclass(frozen=True, slots=True)
class Account:
    """Where a batch's quantity is (base unit). `entered` is what is to be accounted for, as `entered_by` says it."""

    entered: Decimal
    entered_by: str
    booked: Decimal
    on_hand: Decimal
    shipped: Decimal
    returned: Decimal
    consumed: Decimal
    scrapped: Decimal
    adjusted: Decimal
    sent_back: Decimal
    elsewhere: Decimal
    differences: tuple[Difference, ...] = ()

    @property
    def accounted(self) -> Decimal:
        """What is known to be somewhere: here, with customers, in other batches, scrapped, written off, sent back."""
        return (
            self.on_hand
            + (self.shipped - self.returned)
            + self.consumed
            + self.scrapped
            + self.adjusted
            + self.sent_back
            + self.elsewhere
        )

    @property
    def unaccounted(self) -> Decimal:
        """What entered and is nowhere; below zero when more is somewhere than ever entered."""
        return self.entered - self.accounted

    @property
    def percent(self) -> Decimal | None:
        """How much of what entered is accounted for; see `percent_of`."""
        return percent_of(self.entered, abs(self.unaccounted))


def account_of(flows: Mapping[Spot, Flow], claims: Claims) -> Account:
    """The account of one batch.

    What entered is what the production reports say, else what the dock counted, else what the ledger booked in. The
    ledger alone always comes out at zero; a difference is one between sources, and it is named.
    """
    came: dict[PlaceKind, Decimal] = defaultdict(lambda: NOTHING)
    went: dict[PlaceKind, Decimal] = defaultdict(lambda: NOTHING)
    for spot, flow in flows.items():
        came[spot.kind] += flow.came
        went[spot.kind] += flow.went
    booked = went[PlaceKind.SUPPLIER] + went[PlaceKind.PRODUCTION]
    if claims.produced is not None:
        entered, entered_by = claims.produced, "production reports"
    elif claims.received is not None:
        entered, entered_by = claims.received, "receipts"
    else:
        entered, entered_by = booked, "the ledger"
    consumed = came[PlaceKind.PRODUCTION]
    differences: list[Difference] = []

    def compare(code: str, first: Decimal | None, second: Decimal | None, text: str) -> None:
        if first is not None and second is not None and first != second:
            differences.append(Difference(code, first - second, text.format(first=plain(first), second=plain(second))))

    compare("produced_not_received", claims.produced, claims.received or NOTHING, "{first} reported, {second} received")
    compare("received_not_booked", claims.received, booked, "{first} counted at the dock, {second} booked in")
    compare("consumed_not_booked", claims.consumed, consumed, "{first} consumed by reports, {second} by the ledger")
    return Account(
        entered=entered,
        entered_by=entered_by,
        booked=booked,
        on_hand=came[PlaceKind.LOCATION] - went[PlaceKind.LOCATION],
        shipped=came[PlaceKind.CUSTOMER],
        returned=went[PlaceKind.CUSTOMER],
        consumed=consumed,
        scrapped=came[PlaceKind.SCRAP] - went[PlaceKind.SCRAP],
        adjusted=came[PlaceKind.ADJUSTMENT] - went[PlaceKind.ADJUSTMENT],
        sent_back=came[PlaceKind.SUPPLIER],
        elsewhere=came[PlaceKind.UNKNOWN] - went[PlaceKind.UNKNOWN],
        differences=tuple(differences),
    )


def percent_of(entered: Decimal, astray: Decimal) -> Decimal | None:
    """How much of `entered` is not astray: 0 to 100, to two places, never rounded up; None when nothing entered."""
    if entered <= 0:
        return NOTHING if astray else None
    share = 1 - min(astray / entered, Decimal(1))
    return (share * 100).quantize(Decimal("0.01"), rounding="ROUND_DOWN")


def plain(quantity: Decimal) -> str:
    """Without an exponent and without trailing zeros: `100`, `12.5`."""
    text = without_exponent(quantity)
    return text.rstrip("0").rstrip(".") if "." in text else text
