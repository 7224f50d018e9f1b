"""Receiving's own settings, from the environment; refused with the reason when the service starts."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.gs1 import ScannerProfile
from delivery.settings import read_settings
from services.receiving.domain.batches import LatestDay
from services.receiving.domain.numbering import NumberPattern, PatternRefused
from services.receiving.domain.sites import Sites

BUILT_IN_SCANNERS: Mapping[str, ScannerProfile] = {
    "default": ScannerProfile(),
    "exact": ScannerProfile(separators=()),
    "spelled-out": ScannerProfile(separators=("<GS>", "{GS}", "|", "~", "␝")),
}
"""`exact` repairs nothing; `spelled-out` is for devices that send the four characters `<GS>`."""


_FURTHEST_EAST = dt.timezone(dt.timedelta(hours=14))
"""Where a day begins first."""


class Scanner(BaseModel):
    """What one kind of device does to its scans, as a setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    separators: tuple[str, ...] = ScannerProfile().separators
    prefix: str = ""
    suffix: str = ""


class ReceivingSettings(BaseSettings):
    """Each field is the environment variable of the same name in capitals; maps are JSON."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    batch_number_pattern: str = Field(
        default="{date:%Y%m%d}-{seq:03}-{supplier}",
        max_length=80,
        description="How our own batch numbers are made: text, {date:…}, {seq:03} (needed) and {supplier}.",
    )
    over_receipt_percent: Decimal = Field(
        default=Decimal(10), ge=0, le=1000, description="How much more than expected is accepted."
    )
    default_time_zone: str = Field(
        default="",
        description="Of sites that neither inventory nor SITE_TIME_ZONES names. Empty: the offset of a given time.",
    )
    site_time_zones: dict[str, str] = Field(
        default_factory=dict, description='Of sites that inventory did not tell of: {"HRB-1": "Asia/Shanghai"}.'
    )
    scanner_profiles: dict[str, Scanner] = Field(
        default_factory=dict, description='Devices by name: {"dock-4": {"separators": ["<GS>"], "suffix": "\\r"}}.'
    )

    @field_validator("batch_number_pattern")
    @classmethod
    def _makes_numbers(cls, written: str) -> str:
        try:
            NumberPattern.read(written)
        except PatternRefused as refused:
            raise ValueError(str(refused)) from None
        return written

    @field_validator("default_time_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is no time zone of the IANA database, such as Asia/Shanghai") from None
        return name

    @field_validator("site_time_zones")
    @classmethod
    def _are_zones(cls, zones: dict[str, str]) -> dict[str, str]:
        for site_id, name in zones.items():
            if not cls._is_a_zone(name):
                raise ValueError(f"the time zone of site {site_id!r} is empty: leave the site out instead")
        return zones

    @property
    def pattern(self) -> NumberPattern:
        """The pattern, read."""
        return NumberPattern.read(self.batch_number_pattern)

    @property
    def scanners(self) -> Mapping[str, ScannerProfile]:
        """Every scanner profile by name."""
        named = {
            name: ScannerProfile(separators=each.separators, prefix=each.prefix, suffix=each.suffix)
            for name, each in self.scanner_profiles.items()
        }
        return {**BUILT_IN_SCANNERS, **named}

    def day_at(self, site_id: str, moment: dt.datetime, sites: Sites) -> dt.date:
        """Which day it is at a site: by its time zone, else by the offset that the time was given with."""
        zone = self._zone(site_id, sites)
        return (moment if zone is None else moment.astimezone(zone)).date()

    def latest_day_at(self, site_id: str | None, moment: dt.datetime, sites: Sites, *, now: dt.datetime) -> LatestDay:
        """The day that nobody at the site is past: what is later lies in the future there, whatever its time zone.

        Without a site, at any of them.
        """
        zone = None if site_id is None else self._zone(site_id, sites)
        day = moment.astimezone(zone or _FURTHEST_EAST).date()
        return LatestDay(day, None if zone is None else site_id, past=moment < now)

    def _zone(self, site_id: str, sites: Sites) -> ZoneInfo | None:
        """What inventory told counts before what is set here."""
        if (told := sites.zone(site_id)) is not None:
            return told
        name = self.site_time_zones.get(site_id, self.default_time_zone)
        return ZoneInfo(name) if name else None


@lru_cache(maxsize=1)
def receiving_settings() -> ReceivingSettings:
    """The settings in force, read once. Raises `SettingsRefused` naming each that is out of its limits."""
    return read_settings(ReceivingSettings)
