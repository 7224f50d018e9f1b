"""Sites, as far as inventory told of them: what is known is held to, what is not known is let pass."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.receiving.domain.reasons import Reason

MOST_NAMED = 10
"""Docks that a refusal lists."""


@dataclass(frozen=True, slots=True)
class Site:
    """A site as it was last said. `docks` is empty while nobody described any; `time_zone` is then a guess."""

    time_zone: str
    set_up: bool
    docks: Set[str]


@dataclass(frozen=True, slots=True)
class Sites:
    """The sites that somebody speaks of. `all_heard`: sites were told of, and every one of them was heard."""

    known: Mapping[str, Site]
    all_heard: bool

    def zone(self, site_id: str) -> ZoneInfo | None:
        """The time zone that a person gave the site, if it was heard and this machine knows it."""
        site = self.known.get(site_id)
        if site is None or not site.set_up:
            return None
        try:
            return ZoneInfo(site.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return None

    def problem(self, site_id: str, location_id: str) -> tuple[str, Reason] | None:
        """Why goods cannot arrive at a location, with the field that says so.

        An inventory that never told of a site may be older than this service and know many: then nothing is refused.
        """
        site = self.known.get(site_id)
        if site is None:
            if not self.all_heard:
                return None
            says = f"inventory has no site {site_id!r}: correct it, or describe it there first (PUT /sites/{site_id})"
            return "site_id", Reason("unknown_site", says)
        if not site.docks or location_id in site.docks:
            return None
        docks = sorted(site.docks)
        more = f" and {len(docks) - MOST_NAMED} more" if len(docks) > MOST_NAMED else ""
        says = f"goods do not arrive at {location_id!r} of site {site_id!r}: its docks are "
        return "location_id", Reason("not_a_dock", f"{says}{', '.join(docks[:MOST_NAMED])}{more}")


NOWHERE = Sites({}, all_heard=False)
"""No site is meant."""
