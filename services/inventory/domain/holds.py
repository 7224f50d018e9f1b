"""Holds: reasons why stock may not be used now. They stack; each covers a batch everywhere, at a site or at a bin."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from contracts.values import HoldKind
from services.inventory.domain.ledger import Spot


@dataclass(frozen=True, slots=True)
class Hold:
    """An open hold on a batch; without `location_id` at all of the site, without `site_id` everywhere."""

    hold_id: UUID
    item_id: str
    batch_id: UUID
    kind: HoldKind
    reason: str
    site_id: str | None = None
    location_id: str | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        if self.location_id is not None and self.site_id is None:
            raise ValueError(f"a hold at location {self.location_id!r} without its site: location codes are a site's")

    def covers(self, batch_id: UUID, spot: Spot) -> bool:
        """Whether stock of a batch at a spot may not be used because of this."""
        return (
            batch_id == self.batch_id
            and self.site_id in (None, spot.site_id)
            and self.location_id in (None, spot.location_id)
        )

    @property
    def where(self) -> str:
        """Words for its reach."""
        if self.site_id is None:
            return "everywhere"
        return f"at site {self.site_id!r}" + (f", location {self.location_id!r}" if self.location_id else "")


def covering(holds: Iterable[Hold], batch_id: UUID, spot: Spot) -> list[Hold]:
    """The holds that stand in the way of stock at a spot."""
    return [hold for hold in holds if hold.covers(batch_id, spot)]


def following(holds: Iterable[Hold], batch_id: UUID, source: Spot, target: Spot) -> list[Hold]:
    """Holds of the source's bin that have to go along when some of the batch moves: a move does not lift a hold.

    A count is about the bin and stays there.
    """
    known = list(holds)
    alike = {(hold.kind, hold.reference) for hold in covering(known, batch_id, target)}
    return [
        hold
        for hold in covering(known, batch_id, source)
        if hold.location_id is not None
        and hold.kind is not HoldKind.COUNT
        and (hold.kind, hold.reference) not in alike
        and (source.site_id, source.location_id) != (target.site_id, target.location_id)
    ]
